# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors

# Device set of the lean build on a host that can run Nitro Enclaves
include nitro-parent.mak

CONFIG_NITRO_MACHINE=y
