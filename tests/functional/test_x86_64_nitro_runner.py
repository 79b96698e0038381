#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Enclaves by the commands of nitro-cli, in an x86_64 parent."""

from nitro_runner import Foreign, Laptop, Run   # noqa: F401
from nitro_parent import NitroParentTest, only_wanted

load_tests = only_wanted

if __name__ == '__main__':
    NitroParentTest.main()
