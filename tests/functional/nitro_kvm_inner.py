#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The lab in a virtual machine that has images, and nothing to make them.

  inner               print what it chooses for ACCEL=auto and kvm
  inner COMMAND...    run a command of the lab
"""

import os
import sys
import types
from pathlib import Path

TOP = Path('/lab')
sys.path.insert(0, str(TOP / 'contrib/nitro-lab'))
os.environ['BUILD'] = str(TOP / 'build')

# pylint: disable=wrong-import-position
from nitro_lab import (accel, images, kernels, launch,     # noqa: E402
                       packages, parent, patience, run)
from nitro_lab.config import LAB, LabError                # noqa: E402

# Far above what an enclave in an emulated machine takes on a busy host
BOOT_SECONDS = 240


def take_what_is_there():
    """No packages are fetched, no images are made."""
    def give(value):
        return lambda *_args, **_options: value

    packages.fetch = images.build_all = give(None)
    packages.firmware_directories = give(sorted(
        (TOP / 'firmware').glob('*')))
    images.parent_kernel = give(LAB / 'parent-kernel')
    images.parent_initramfs = give(LAB / 'parent.cpio')
    images.demo_image = give(LAB / 'demo-run.eif')
    kernels.of_parent = give(types.SimpleNamespace(
        release=os.uname().release))
    parent.LEASH = ()           # busybox has no such setpriv


def use_huge_pages():
    """Each new page of a guest is a fault that goes through two hypervisors."""
    words = parent.cpus_and_memory
    parent.cpus_and_memory = lambda *layout: [
        word.replace('memory-backend-memfd,',
                     'memory-backend-memfd,hugetlb=on,hugetlbsize=2M,')
        for word in words(*layout)]
    command = parent.Parent.hypervisor_command
    enclave = ('-object', 'memory-backend-memfd,id=huge,size=%dM,share=on,'
               'hugetlb=on,hugetlbsize=2M' % run.DEMO_MIB,
               '-machine', 'memory-backend=huge')
    parent.Parent.hypervisor_command = lambda it: [
        *command(it), *(word for arg in enclave
                        for word in ('--qemu-arg', arg))]


def be_patient():
    """An emulated CPU that waits for the host's seems to be busy."""
    command = run.Order.command
    run.Order.command = lambda order, arguments: [
        *command(order, arguments), '-global',
        'nitro-heartbeat.timeout=%d' % (2 * BOOT_SECONDS)]
    run.BOOT_SECONDS = BOOT_SECONDS
    patience.Silence.BUSY_SECONDS = patience.PATIENCE
    # Each look takes long, too
    parent.POLL_SECONDS = launch.POLL_SECONDS = 2


def choose():
    """Print the choices."""
    for choice in 'auto', 'kvm':
        os.environ['ACCEL'] = choice
        accel.chosen.cache_clear()
        try:
            print('%s: %s' % (choice, accel.chosen()))
        except LabError as error:
            print('%s: %s (%s)' % (choice, error, error.hint))


def main():
    """Run one command."""
    take_what_is_there()
    if sys.argv[1:]:
        be_patient()
        use_huge_pages()
        from nitro_lab import cli       # pylint: disable=C0415
        cli.main()
    choose()


main()
