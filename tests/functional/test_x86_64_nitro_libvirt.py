#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Enclaves are domains of libvirt, in an x86_64 parent.

On this architecture only: the daemon takes minutes in an emulated arm64
parent; its domains are validated here, and its command line is launched there.
"""

from nitro_libvirt import Debian12, Debian13, Examples      # noqa: F401
from nitro_parent import NitroParentTest, only_wanted

load_tests = only_wanted

if __name__ == '__main__':
    NitroParentTest.main()
