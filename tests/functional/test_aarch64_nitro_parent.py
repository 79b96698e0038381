#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Enclaves launched through the real driver, in an aarch64 parent."""

from nitro_launches import Boot, Life, Monitor    # noqa: F401
from nitro_nsm import Module    # noqa: F401
from nitro_parent import NitroParentTest, only_wanted
from nitro_reboot import Reboot    # noqa: F401
from nitro_secrets import Proxied, Secrets    # noqa: F401

load_tests = only_wanted

if __name__ == '__main__':
    NitroParentTest.main()
