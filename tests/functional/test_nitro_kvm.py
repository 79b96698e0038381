#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: the lab with KVM, on virtualization that is emulated.

The machine stands for a developer's computer: an emulated parent without
devices, whose CPUs have AMD's SVM with nested paging, or arm64's EL2.  Its
kernel, the distribution's, has a true KVM, with which it runs a parent and an
enclave as users do.  Emulation in the emulation would take an hour, so an
enclave that boots has had KVM.
"""

import time
from pathlib import Path

from nitro_parent import ScopedTest, images, only_wanted, report

from nitro_lab import config, kernels, packages, python
from nitro_lab.arch import GUEST, PROGRAM
from nitro_lab.cpio import Link
from nitro_lab.equipment import Equipment
from nitro_lab.parent import Parent

CPU, MACHINE, MODULES = {
    # Without five levels of page tables, as other parents
    'x86_64': ('max,la57=off,erms=off,fsrm=off', 'q35', ('kvm_amd',)),
    # Without what is slow to emulate
    'aarch64': ('max,pauth-impdef=on,lpa2=off,sve=off,sme=off',
                'virt,virtualization=on,gic-version=3', ()),
}[GUEST.name]
MEMORY_MIB = 1600       # for the machines inside
OUT = '/lab/build/out'
LAB = '/lab/build/lab'
# Few CPUs, each of which has a timer that is a way through two hypervisors
RUN = ('run', '--cpus', '1', '--threads', '1')
HUGE_PAGES = 640        # of 2 MiB, for the parent inside and its enclave
# Seen once in a hundred boots on emulated virtualization: an enclave spins
# before its first word
HUNG = 'no heartbeat within'
HYPERVISOR = OUT + '/contrib/nitro-hypervisor/nitro-hypervisor'
INNER = '/lab/inner'
# The guest that tries KVM gets more time than natively
ENVIRONMENT = ('env', 'NITRO_KVM_SECONDS=200')
PROBE = (HYPERVISOR, '--check-kvm', GUEST.hypervisor_option,
         '%s/%s' % (OUT, PROGRAM))


class Computer(Parent):
    """A machine with virtualization, and nothing for enclaves of its own.

    It has two CPUs: more of them wait for each other on a busy host.
    """

    cpu = CPU

    def cores(self):
        return 2

    def page_words(self):
        return ''

    def cpu_words(self, last):
        return ''


def _below(directory, target):
    return {'%s/%s' % (target, path.relative_to(directory)): path
            for path in sorted(directory.rglob('*')) if path.is_file()
            and '__pycache__' not in path.parts}


def _modules():
    """Guest path -> module, in the order in which they are loaded."""
    closure = kernels.of_parent().modules().closure(MODULES)
    return {'/lab/kvm/%s.ko' % name: data for name, data in closure}


def _programs():
    hypervisor = images.guest_hypervisor()
    return {HYPERVISOR: hypervisor, **{
        guest: Path(path) for guest, path
        in images.shared_libraries(hypervisor).items()},
        '%s/%s' % (OUT, PROGRAM): Link('/bin/' + PROGRAM),
        INNER: Path(__file__).with_name('nitro_kvm_inner.py')}


def _images():
    return {LAB + '/parent-kernel': images.parent_kernel(),
            LAB + '/parent.cpio': images.parent_initramfs(),
            LAB + '/demo-run.eif': images.demo_image(
                'demo-run', 'demo.mode=poweroff', 'demo.seconds=0')}


def _firmware():
    found = {}
    for number, path in enumerate(packages.firmware_directories()):
        found.update(_below(path, '/lab/firmware/%d' % number))
    return found


def computer():
    """The machine, not booted yet."""
    packages.fetch()
    images.build_all()
    files = {**python.files(), **_programs(), **_firmware(), **_modules(),
             **_images(), **python.nitro_run_files('/lab'),
             **_below(config.HERE, '/lab/contrib/nitro-lab')}
    directory = Path(config.OUT, 'tests', 'functional', GUEST.name,
                     'nitro-kvm')
    return Computer(0, MEMORY_MIB, files, devices=False, machine=MACHINE,
                    accelerator='tcg', directory=directory,
                    equipment=Equipment(threads=1))


class Kvm(ScopedTest):
    """ACCEL= where KVM runs guests, and where it does not any more."""

    @classmethod
    def setUpClass(cls):
        cls.machine = computer()
        cls.machine.__enter__()
        cls.addClassCleanup(cls.machine.stop)
        report('machine with virtualization up', cls.machine.boot_seconds)
        cls.load()

    @classmethod
    def load(cls):
        """KVM's modules, or its device where it is part of the kernel."""
        for path in _modules():
            cls.machine.check(['insmod', path])
        cls.machine.check('echo %d > /proc/sys/vm/nr_hugepages' % HUGE_PAGES)
        if not MODULES:
            cls.machine.run(['mv', '/dev/no-kvm', '/dev/kvm'])

    def unload(self):
        """KVM is gone until the end of the test."""
        self.machine.check(['rmmod', *(
            path.rpartition('/')[2].removesuffix('.ko')
            for path in reversed(_modules()))] if MODULES else
            ['mv', '/dev/kvm', '/dev/no-kvm'])
        self.addCleanup(self.load)

    def inner(self, *words):
        """Run the lab in the machine."""
        return self.machine.run([*ENVIRONMENT, 'python3', INNER, *words])

    def choices(self):
        """What the lab chooses in the machine."""
        return self.inner()

    def test_run(self):
        """A parent and its enclave: heartbeat, console, orderly end."""
        run = self.inner(*RUN)
        if HUNG in run.errors:
            report('an enclave hung, once more', 0)
            run = self.inner(*RUN)
        self.assertEqual(run.status, 0, run.output + run.errors)
        self.assertIn('guests     KVM', run.output)
        self.assertIn('heartbeat  received', run.output)
        self.assertIn('demo: orderly power-off', run.output)
        log = self.machine.check('cat %s/run/parent-*/hypervisor.log' % LAB)
        self.assertIn('enclaves: kvm', log)
        if GUEST.name == 'x86_64':
            self.assertIn('kernel unpacks itself', log)
        self.assertNotRegex(log, 'warning|cannot')

    def test_tried(self):
        """A guest runs, and so KVM is chosen."""
        self.assertEqual(self.choices().output, 'auto: kvm\nkvm: kvm\n')
        begun = time.monotonic()
        self.machine.check([*ENVIRONMENT, *PROBE])
        report('KVM tried, runs guests', time.monotonic() - begun)

    def test_forbidden(self):
        """Users without rights learn how to get them."""
        self.machine.check(['chmod', '600', '/dev/kvm'])
        self.addCleanup(self.machine.check, ['chmod', '666', '/dev/kvm'])
        run = self.machine.run([
            'su', '-s', '/bin/sh', 'nobody', '-c', ' '.join(PROBE)])
        self.assertEqual(run.status, 1)
        self.assertEqual(run.output, '')
        self.assertIn('no permission for /dev/kvm', run.errors)
        self.assertIn('usermod -aG kvm nobody', run.errors)

    def test_removed(self):
        """Without KVM guests are emulated, and who insists gets the reason."""
        self.unload()
        run = self.choices()
        self.assertEqual(run.errors, '')
        self.assertRegex(run.output, r'\Aauto: tcg\nkvm: ACCEL=kvm: cannot use'
                         r' /dev/kvm: .*modprobe kvm')


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
