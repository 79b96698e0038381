# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""An emulated EC2 parent: images, virtual machines, launches."""
