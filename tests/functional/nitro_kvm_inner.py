#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What the lab chooses in this virtual machine, for ACCEL=auto and kvm.

The machine has the lab's files, and what it needs of the distribution.
"""

import os
import sys
from pathlib import Path

TOP = Path('/lab')
sys.path.insert(0, str(TOP / 'contrib/nitro-lab'))
os.environ['BUILD'] = str(TOP / 'build')

# pylint: disable=wrong-import-position
from nitro_lab import accel, packages                # noqa: E402
from nitro_lab.config import LabError                # noqa: E402

packages.fetch = lambda: None
packages.firmware_directories = lambda: sorted((TOP / 'firmware').glob('*'))
for choice in 'auto', 'kvm':
    os.environ['ACCEL'] = choice
    accel.chosen.cache_clear()
    try:
        print('%s: %s' % (choice, accel.chosen()))
    except LabError as error:
        print('%s: %s (%s)' % (choice, error, error.hint))
