# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What differs between the architectures a parent and its enclaves have.

The environment variable ARCH chooses one; without it, it is this machine's.
"""

import collections
import os

from .config import LabError

Arch = collections.namedtuple('Arch', (
    'name',         # as uname -m says
    'debian',       # as dpkg says
    'image_flag',   # in the header of enclave images
    'aws_kernel',   # file name of AWS's kernel for enclaves
    'console',      # the first serial port
    'parent_words',     # for the parent's kernel
    'machine',      # the parent's -M
    'cpu',          # the parent's -cpu
    'kvm_machine',  # the two with KVM
    'kvm_cpu',
    'threads',      # of a core of the parent
    'hypervisor_option',    # that names the QEMU of enclaves
    'firmware',     # (package, directory) with what the machines load
))

ARCHES = {
    'x86_64': Arch('x86_64', 'amd64', 0, 'bzImage', 'ttyS0',
                   # The timer's check needs CPU time that a busy host has not
                   'earlyprintk=ttyS0 no_timer_check', 'q35',
                   # No instructions that the emulation is slow at
                   'max,la57=off,erms=off,fsrm=off',
                   'q35', 'host,pmu=off', 2, '--qemu',
                   (('qemu-system-data', 'usr/share/qemu'),
                    ('seabios', 'usr/share/seabios'))),
    'aarch64': Arch('aarch64', 'arm64', 1, 'Image', 'ttyAMA0', 'earlycon',
                    'virt,gic-version=3', 'neoverse-n1',
                    'virt,gic-version=host', 'host', 1, '--qemu-aarch64',
                    ()),
}


def _chosen(name):
    if name not in ARCHES:
        raise LabError("ARCH=%s is not known" % name,
                       'choose one of ' + ', '.join(ARCHES))
    return ARCHES[name]


HOST = ARCHES.get(os.uname().machine)
GUEST = _chosen(os.environ.get('ARCH', os.uname().machine))
FOREIGN = GUEST is not HOST     # made with the cross compiler

PROGRAM = 'qemu-system-' + GUEST.name
