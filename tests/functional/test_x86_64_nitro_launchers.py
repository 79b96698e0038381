#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Launchers of others and ours, in an x86_64 parent.

On this architecture only: all of them take long in an emulated arm64 parent,
and ours are there in other files.
"""

from nitro_launchers import (DebianQemu, NitroRun, OurQemu,     # noqa: F401
                             Sample)
from nitro_page import Page    # noqa: F401
from nitro_parent import NitroParentTest, only_named

load_tests = only_named

if __name__ == '__main__':
    NitroParentTest.main()
