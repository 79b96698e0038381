#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""An enclave is a service of systemd, in an aarch64 parent.

When systemd launches anew is told by the same unit on all architectures, and
tested in an x86_64 parent.
"""

from nitro_systemd import Life    # noqa: F401
from nitro_parent import NitroParentTest, only_wanted

load_tests = only_wanted

if __name__ == '__main__':
    NitroParentTest.main()
