#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What a parent can be given, from another terminal: an aarch64 parent."""

from nitro_equipment import Equipped, Kept, Launched  # noqa: F401
from nitro_parent import NitroParentTest, only_wanted

load_tests = only_wanted

if __name__ == '__main__':
    NitroParentTest.main()
