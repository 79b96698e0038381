#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: what the driver takes from the machine it runs on.

Interrupts, CPUs and huge pages differ between the architectures; the tables
here say how.
"""

import os
import re
import signal

from nitro_parent import (DEMO, DEMO_MIB, POOL, TINY, NitroParentTest,
                          ScopedTest, cpu_list, only_wanted, stop_parent)

from nitro_lab.arch import GUEST

# What /proc/interrupts calls the interrupts of PCI functions
CONTROLLER = {'x86_64': 'PCI-MSIX', 'aarch64': 'ITS-PCI-MSIX'}

# What the kernel says when a CPU has been unplugged
UNPLUGGED = {'x86_64': 'smpboot: CPU %d is now offline',
             'aarch64': 'psci: CPU%d killed'}

# Written to ne_cpus: what becomes of it, the kernel's words
REFUSED_POOLS = (
    ('', 'Invalid argument', 'No CPUs available in CPU pool'),
    ('0', 'Invalid argument', 'CPU 0 has to remain available'),
    ('0-5', 'Invalid argument', 'CPU 0 has to remain available'),
    ('words', 'Invalid argument', 'Error in cpulist parse'),
    ('99', 'out of range', 'Error in cpulist parse'))
HALF_CORES = (
    ('1', 'Invalid argument', 'CPU sibling 1 for CPU 0 is in CPU pool'),
    ('2', 'Invalid argument', 'CPU 3 is not in CPU pool'),
    ('3-5', 'Invalid argument', 'CPU 2 is not in CPU pool'))
POOLS = {'x86_64': ('2-3', '2-5', '4,5'),
         'aarch64': ('1', '3', '1-3', '2,5', '1-5')}

# Take the PCI function's memory away and give it back, again and again, while
# other CPUs sleep for moments: each sleep writes to an interrupt controller
MOVES = r'''
cd /sys/bus/pci/devices
for device in *; do [ $(cat $device/device) = 0xe4c1 ] && break; done
command=$(od -An -tx1 -j4 -N2 $device/config | sed 's/ /\\x/g')
for i in 1 2 3; do while :; do sleep 0.002; done & done
while [ $((n += 1)) -le 2000 ]; do
    printf '\0\0\0\0\0\0' 1<>$device/config
    printf "\0\0\0\0$command" 1<>$device/config
done
kill $(jobs -p)
'''

# Sizes of huge pages in KiB that the distribution's kernel has
PAGE_SIZES = {'x86_64': {2048, 1048576},
              'aarch64': {64, 2048, 32768, 1048576}}


class Places(NitroParentTest):
    """Files and devices, as an instance's distribution has them."""

    def test_rights(self):
        """Owner, group and mode of what launchers use."""
        for path, rights in (('/dev/nitro_enclaves', 'root ne 660'),
                             ('/dev/vsock', 'root root 666'),
                             ('/run/nitro_enclaves', 'root ne 775'),
                             ('/run', 'root root 755'),
                             ('/var/log', 'root root 755'),
                             ('/mnt', 'root root 755')):
            self.assertEqual(self.parent.check(
                ['stat', '-c', '%U %G %a', path]), rights + '\n', path)

    def test_streams(self):
        """Streams by name, as scripts use them; a user in group ne."""
        result = self.parent.run(
            ['sh', '-c', 'cat /dev/stdin; echo 1 > /dev/stdout;'
             ' echo 2 > /dev/stderr; echo 3 > /dev/fd/1;'
             ' su ec2-user -c "id -gn"'], data=b'words\n')
        self.assertEqual(result, (0, 'words\n1\n3\nne\n', '2\n'))


    def test_moving_memory(self):
        """Accesses reach their device while the memory map changes.

        With QEMU 10.0.13 alone two of three runs fail: the emulator aborts
        in iotlb_to_section(), or all its CPUs sleep for ever.
        """
        self.parent.check(['sh', '-c', MOVES])
        self.parent.check(['true'])


class Interrupts(NitroParentTest):
    """Message signalled interrupts of the PCI function."""

    controller = CONTROLLER[GUEST.name]

    def controllers(self):
        """What it may be; with KVM an Arm parent has that of the host."""
        return {self.controller, Gicv2m.controller} \
            if self.parent.accelerator == 'kvm' else {self.controller}

    def interrupts(self):
        """Vector -> how often it came, and by which controller."""
        lines = re.findall(r'(?m)^ *\d+:((?: +\d+)+) +(\S+?)-[0-9a-f:.]+ .*'
                           r' (enclave_\w+)$',
                           self.parent.get('/proc/interrupts'))
        return {name: (sum(map(int, counts.split())), controller)
                for counts, controller, name in lines}

    def test_both_vectors(self):
        """Each command is answered by one, the enclave's end by the other."""
        before = self.interrupts()
        self.assertEqual(before.keys(), {'enclave_cmd', 'enclave_evt'})
        for _, chip in before.values():
            self.assertIn(chip, self.controllers())
        launch = self.boot()
        for pid in self.enclave_processes():
            os.kill(pid, signal.SIGKILL)
        self.end(launch)
        after = self.interrupts()
        self.assertEqual(after['enclave_evt'][0],
                         before['enclave_evt'][0] + 1)
        # Slot, memory, one per CPU, start, information, free
        self.assertGreaterEqual(after['enclave_cmd'][0],
                                before['enclave_cmd'][0] + 7)


class Gicv2m(Interrupts):
    """The older interrupt controller of Arm, in a parent of its own."""

    machine = 'virt,gic-version=2'
    accelerator = 'tcg'     # hosts with a GICv3 may not offer it
    controller = 'GICv2m-PCI-MSIX'

    @classmethod
    def setUpClass(cls):
        stop_parent()
        if GUEST.name == 'aarch64':
            super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        stop_parent()


class Pool(NitroParentTest):
    """CPUs the driver takes from the parent."""

    def tearDown(self):
        self.set_pool('2-%d' % (self.parent_cpus + 1))
        super().tearDown()

    def set_pool(self, cpus):
        """Write the pool; returns what the shell says."""
        return self.parent.run('echo "%s" > %s' % (cpus, POOL)).errors

    def online(self):
        """CPUs the parent has for itself."""
        return cpu_list(self.parent.get('/sys/devices/system/cpu/online'))

    def test_distinct_cores(self):
        """By its core a CPU is found in the pool: each has its number."""
        self.set_pool('')
        cores = {}
        for cpu in self.online():
            core = self.parent.get('/sys/devices/system/cpu/cpu%d/topology/'
                                   'core_id' % cpu)
            cores.setdefault(int(core), []).append(cpu)
        self.assertEqual({len(cpus) for cpus in cores.values()},
                         {GUEST.threads})
        self.assertEqual(len(self.online()), self.parent_cpus + 2)

    def test_accepted(self):
        """CPUs of a pool are unplugged, and come back with the next."""
        everything = set(range(self.parent_cpus + 2))
        for cpus in POOLS[GUEST.name]:
            with self.case(cpus):
                self.set_pool('')
                self.parent.run(['dmesg', '-c'])
                self.assertEqual(self.set_pool(cpus), '')
                self.assertEqual(self.parent.get(POOL).strip(), cpus)
                self.assertEqual(self.online(), everything - cpu_list(cpus))
                said = self.parent.check('dmesg')
                for cpu in cpu_list(cpus):
                    self.assertIn(UNPLUGGED[GUEST.name] % cpu, said)
        self.set_pool('')
        self.assertEqual(self.online(), everything)

    def refuse(self, cpus, error, reason):
        """One list the driver does not take."""
        with self.case(cpus or 'nothing'):
            self.parent.run(['dmesg', '-c'])
            self.assertIn(error, self.set_pool(cpus))
            self.assertIn(reason, self.parent.check('dmesg'))

    def test_refused(self):
        """Lists that cannot be a pool."""
        for cpus, error, reason in REFUSED_POOLS:
            self.refuse(cpus, error, reason)
        if GUEST.threads > 1:
            for cpus, error, reason in HALF_CORES:
                self.refuse(cpus, error, reason)

    def test_refused_offline(self):
        """A CPU that is unplugged already."""
        self.set_pool('')
        switch = '/sys/devices/system/cpu/cpu5/online'
        self.parent.check('echo 0 > ' + switch)
        try:
            self.refuse('4-5', 'Invalid argument', 'CPU 5 is offline, has to'
                        ' be online')
        finally:
            self.parent.check('echo 1 > ' + switch)

    def test_refused_in_use(self):
        """The pool stays as it is while an enclave has a part of it."""
        job = self.parent.spawn(['lab', 'ne', 'create', 'vcpu', 0, 'hold'])
        job.wait_for('holding')
        self.refuse('2-3', 'Operation not permitted',
                    'The CPU pool is used by enclave(s)')
        job.end_input()
        job.wait()
        self.assertEqual(self.online(), {0, 1})

    def test_single_cpus(self):
        """Where a core is one CPU an enclave may have any number of them."""
        for cpus in (1, 3):
            launch = self.boot(cpus=cpus)
            self.console(launch, '%d CPU' % cpus)
            self.assertEqual(self.stop(launch), 0)


class HugePages(NitroParentTest):
    """Sizes of huge pages that the kernel has."""

    directory = '/sys/kernel/mm/hugepages/hugepages-%dkB/nr_hugepages'

    def sizes(self):
        """In KiB."""
        names = self.parent.check(['ls', '/sys/kernel/mm/hugepages'])
        return set(map(int, re.findall(r'hugepages-(\d+)kB', names)))

    def backend(self, kib, image):
        """Command line of an enclave in pages of a size."""
        return ['-accel', 'nitro,debug-mode=on', '-M',
                'nitro,memory-backend=mine', '-nographic', '-smp', 2, '-m',
                '%dM' % DEMO_MIB, '-kernel', image, '-object',
                'memory-backend-memfd,id=mine,size=%dM,hugetlb=on,'
                'hugetlbsize=%dk' % (DEMO_MIB, kib)]

    def reserve(self, kib):
        """Have as many pages as the demo enclave needs."""
        wanted = (DEMO_MIB << 10) // kib
        path = self.directory % kib
        self.parent.check('echo %d > %s' % (wanted, path))
        self.assertEqual(int(self.parent.get(path)), wanted)

    def release(self, kib):
        """Give the pages back."""
        self.parent.check('echo 0 > %s' % self.directory % kib)

    def test_sizes(self):
        """The kernel's own list."""
        self.assertEqual(self.sizes(), PAGE_SIZES[GUEST.name])

    def test_32m(self):
        """Pages of 32 MiB, the machine's and those of a backend."""
        self.reserve(32768)
        try:
            for arguments in (self.arguments('-M', 'nitro,page-size=32M'),
                              self.backend(32768, DEMO)):
                launch = self.start(arguments)
                launch.wait_booted()
                info = launch.qmp.command('query-nitro-enclave')
                self.assertEqual(info['memory'][0]['page-size'], 32 << 20)
                self.assertEqual(self.stop(launch), 0)
        finally:
            self.release(32768)

    def test_contiguous(self):
        """Pages of 64 KiB, which are adjacent entries of a page table."""
        self.reserve(64)
        try:
            self.refused(self.backend(64, TINY), 'pages of 64K')
        finally:
            self.release(64)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
