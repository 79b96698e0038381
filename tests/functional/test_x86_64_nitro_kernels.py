#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Other kernels of the distribution, in an x86_64 parent.

On this architecture only: make check-launchers runs on this machine's.
"""

from nitro_kernels import NewerKernel    # noqa: F401
from nitro_parent import NitroParentTest, only_named

load_tests = only_named

if __name__ == '__main__':
    NitroParentTest.main()
