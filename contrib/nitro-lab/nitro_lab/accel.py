# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""KVM where it runs guests, or else the emulation (TCG).

The environment variable ACCEL chooses: auto (the default), kvm or tcg.
Whether KVM runs guests is tried by nitro-hypervisor --check-kvm.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

from . import images, packages
from .arch import FOREIGN, GUEST
from .config import LabError

CHOICES = ('auto', 'kvm', 'tcg')
DEVICE = Path('/dev/kvm')
# QEMU's -accel
OPTION = {'kvm': 'kvm', 'tcg': 'tcg,thread=multi'}
# For people
NAMES = {'kvm': 'KVM', 'tcg': 'emulated (TCG)'}


def wanted():
    """What ACCEL says."""
    choice = os.environ.get('ACCEL') or 'auto'
    if choice not in CHOICES:
        raise LabError('ACCEL=%s is not known' % choice,
                       'choose one of ' + ', '.join(CHOICES))
    return choice


@functools.cache
def refusal():
    """Why KVM runs no guests here, with what can be done; None if it does.

    It is tried once per process.
    """
    packages.fetch()
    argv = [images.hypervisor(), '--check-kvm', GUEST.hypervisor_option,
            images.emulator()]
    for path in packages.firmware_directories():
        argv += ['--firmware-dir', path]
    run = subprocess.run(argv, text=True, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, errors='replace',
                         stdin=subprocess.DEVNULL, check=False)
    if run.returncode == 0:
        return None
    what, _, hint = run.stderr.strip().partition('\n')
    return what.removeprefix('nitro-hypervisor: '), hint


def _forbidden():
    """The one reason against KVM that the user can do something about."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        # access() does not know the rules of a container
        return isinstance(error, PermissionError)
    return False


def _say_emulated(reason):
    print('nitro-lab: guests are emulated: ' + reason, file=sys.stderr)


@functools.cache
def chosen():
    """'kvm' or 'tcg'."""
    choice = wanted()
    if choice == 'kvm' and FOREIGN:
        _say_emulated('KVM runs guests of this machine\'s architecture, not of '
                      + GUEST.name)
    if choice == 'tcg' or FOREIGN:
        return 'tcg'
    reason = refusal()
    if not reason:
        return 'kvm'
    if choice == 'kvm':
        raise LabError('ACCEL=kvm: ' + reason[0], reason[1] or
                       'leave ACCEL out to have guests emulated')
    if _forbidden():
        _say_emulated('; '.join(reason))
    return 'tcg'


def cpu(accelerator):
    """The parent's -cpu."""
    return GUEST.kvm_cpu if accelerator == 'kvm' else GUEST.cpu


def machine(accelerator):
    """The parent's -M, unless another one is asked for."""
    return GUEST.kvm_machine if accelerator == 'kvm' else GUEST.machine
