#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The driver in an aarch64 parent with the older interrupt controller."""

import nitro_host
from nitro_parent import NitroParentTest, only_wanted


class Gicv2m(nitro_host.Interrupts):
    """Messages become interrupts by a frame of GICv2, not by the ITS."""

    machine = 'virt,gic-version=2'
    controller = 'GICv2m-PCI-MSIX'


load_tests = only_wanted

if __name__ == '__main__':
    NitroParentTest.main()
