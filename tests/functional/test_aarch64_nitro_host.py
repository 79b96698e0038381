#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What the driver takes from an aarch64 parent."""

from nitro_host import (Gicv2m, HugePages, Interrupts,  # noqa: F401
                        Places, Pool)
from nitro_parent import NitroParentTest, only_wanted

load_tests = only_wanted

if __name__ == '__main__':
    NitroParentTest.main()
