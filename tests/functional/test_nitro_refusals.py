#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: what cannot work is refused, with cause and remedy.

First what the launcher refuses by itself, then what the real driver refuses,
then what the device refuses (injected).
"""

import errno
import os
import re
import signal

from nitro_parent import (DEMO, INITRD, KERNEL, POOL, TINY, NitroParentTest,
                          ScopedTest, idle_kernel, only_wanted, tiny_image)

from nitro_lab import eif, images, packages
from nitro_lab.arch import ARCHES, GUEST, PROGRAM
from nitro_lab.qmp import QmpError

# The driver's own codes, in the order of their numbers from 256 on
CODES = ('VCPU_ALREADY_USED', 'VCPU_NOT_IN_CPU_POOL', 'VCPU_INVALID_CPU_CORE',
         'INVALID_MEM_REGION_SIZE', 'INVALID_MEM_REGION_ADDR',
         'UNALIGNED_MEM_REGION_ADDR', 'MEM_REGION_ALREADY_USED',
         'MEM_NOT_HUGE_PAGE', 'MEM_DIFFERENT_NUMA_NODE', 'MEM_MAX_REGIONS',
         'NO_MEM_REGIONS_ADDED', 'NO_VCPUS_ADDED', 'ENCLAVE_MEM_MIN_SIZE',
         'FULL_CORES_NOT_USED', 'NOT_IN_INIT_STATE', 'INVALID_VCPU',
         'NO_CPUS_AVAIL_IN_POOL', 'INVALID_PAGE_SIZE', 'INVALID_FLAG_VALUE',
         'INVALID_ENCLAVE_CID')
FIRST_CODE = 256

# What images call the architectures
IMAGE_ARCH = {'x86_64': 'x86_64', 'aarch64': 'arm64'}

PLAIN_CODES = (errno.EPERM, errno.EIO, errno.EAGAIN, errno.ENOMEM,
               errno.EACCES, errno.EBUSY, errno.EEXIST, errno.EINVAL,
               errno.ENOSPC, errno.ETIMEDOUT)


def assemble(sections, **options):
    """Bytes of an image for this architecture."""
    return eif.assemble(sections, arch=GUEST.image_flag, **options)


class Options(NitroParentTest):
    """Refused before the driver is asked."""

    def refuse(self, options, *expected):
        """Options after a complete command line, one case."""
        with self.case(' '.join(map(str, options))):
            self.refused(self.arguments(*options, mib=64, image=TINY),
                         *expected)

    def test_cids(self):
        """Reserved numbers and numbers above 32 bits."""
        for cid in (1, 2, 3, 0xffffffff, 1 << 32):
            with self.case(cid):
                self.refused(['-accel', 'nitro,enclave-cid=%d' % cid, '-M',
                              'nitro', '-nographic', '-m', '64M', '-kernel',
                              TINY], 'an enclave cannot have CID %d' % cid,
                             'Use a number from 4 to 4294967294, or 0')

    def test_fixed_after_start(self):
        """Properties of the accelerator cannot change under an enclave."""
        launch = self.boot()
        path = next('/machine/' + entry['name'] for entry in
                    launch.qmp.command('qom-list', path='/machine')
                    if entry['type'] == 'child<nitro-accel>')
        for name, value in (('enclave-cid', 99), ('debug-mode', False)):
            with self.case(name):
                with self.assertRaisesRegex(QmpError,
                                            name + ' cannot change any more'):
                    launch.qmp.set(path, name, value)

    def test_memory_sizes(self):
        """Too small, odd, or more than there are huge pages."""
        for size, words in (
                ('32M', ('-m 32M is too little', 'Use -m 64M')),
                ('65M', ('-m 65M is not a multiple of 2 MiB', 'Use -m 66M')),
                ('4G', ('-m 4G needs 2048 huge pages of 2M, %d are free'
                        % self.total_pages, 'nr_hugepages'))):
            with self.case(size):
                arguments = self.arguments(image=TINY)
                arguments[arguments.index('-m') + 1] = size
                self.refused(arguments, *words)

    def test_memory_backends(self):
        """Memory that is not in huge pages."""
        backend = 'memory-backend-%s,id=mine,size=64M%s'
        for kind, more in (('ram', ''), ('memfd', ''),
                           ('file', ',mem-path=/tmp/ram,share=on')):
            with self.case(kind):
                self.refused(
                    ['-accel', 'nitro', '-M', 'nitro,memory-backend=mine',
                     '-nographic', '-m', '64M', '-kernel', TINY, '-object',
                     backend % (kind, more)],
                    "memory backend 'mine' has pages of 4K",
                    'Transparent huge pages will not do')

    def test_private_backend(self):
        """Memory the kernel may move away from under an enclave."""
        self.refused(
            ['-accel', 'nitro', '-M', 'nitro,memory-backend=mine',
             '-nographic', '-m', '64M', '-kernel', TINY, '-object',
             'memory-backend-memfd,id=mine,size=64M,hugetlb=on,share=off'],
            "memory backend 'mine' is a private mapping", 'Use share=on')

    def test_page_size(self):
        """Pages of a size of which there are none, or which cannot be."""
        for size, mib, words in (
                ('1G', 1024, ('-m 1G needs 1 huge pages of 1G, 0 are free',
                              'echo 1 > /sys/kernel/mm/hugepages/'
                              'hugepages-1048576kB/nr_hugepages')),
                ('1G', 64, ('-m 64M is not a multiple of page-size=1G',)),
                ('4K', 64, ('page-size=4K is not a size of huge pages',
                            'Use page-size=2M'))):
            self.refuse(['-M', 'nitro,page-size=' + size, '-m',
                         '%dM' % mib], *words)

    def test_mem_path(self):
        """-mem-path has to be on hugetlbfs."""
        self.refuse(['-mem-path', '/tmp'], 'needs huge pages of 2M or more')

    def test_hugetlbfs(self):
        """Huge pages in a way of the user's own are taken."""
        launch = self.boot('-mem-path', '/dev/hugepages')
        self.stop(launch)
        launch = self.start([
            '-accel', 'nitro', '-M', 'nitro,memory-backend=mine',
            '-nographic', '-m', '128M', '-smp', 2, '-kernel', DEMO,
            '-object', 'memory-backend-memfd,id=mine,size=128M,hugetlb=on'])
        launch.wait_booted()

    def test_image_options(self):
        """-initrd and -append do not go with an image."""
        for option, value in (('-initrd', INITRD), ('-append', 'quiet')):
            self.refuse([option, value], option + ' cannot be used with an'
                        ' enclave image', 'Leave it out')

    def test_other_options(self):
        """What the machine cannot honour is not ignored."""
        self.parent.check('dd if=/dev/zero of=/tmp/disk bs=64k count=1')
        for options, name, reason in (
                (['-bios', '/tmp/disk'], '-bios', 'without firmware'),
                (['-dtb', '/tmp/disk'], '-dtb', 'describes the hardware'),
                (['-drive', 'file=/tmp/disk,format=raw'], '-drive',
                 'no disks'),
                (['-boot', 'order=c'], '-boot', 'its image and nothing'),
                (['-m', '64M,slots=2,maxmem=128M'], '-m with slots',
                 'memory of an enclave is fixed'),
                (['-smp', '2,maxcpus=4'], '-smp with maxcpus', 'is fixed'),
                (['-serial', 'null', '-serial', 'null'], 'a second -serial',
                 'one console'),
                (['-cpu', 'max'], '-cpu max', 'Leave out -cpu')):
            self.refuse(options, name + ' ', reason,
                        'cannot be used with machine nitro')
        self.refuse(['-incoming', 'defer'], 'a Nitro enclave cannot be'
                    ' migrated', '-incoming')

    def test_devices(self):
        """Devices of the bus that cannot be."""
        self.refuse(['-device', 'nitro-heartbeat', '-device',
                     'nitro-heartbeat'],
                    'the enclave has a nitro-heartbeat already')
        self.refuse(['-device', 'nitro-serial-vsock'],
                    'nitro-serial-vsock needs a character device',
                    'Use -chardev')
        with self.case('console without debug mode'):
            self.refused(self.arguments(
                '-chardev', 'null,id=con', '-device',
                'nitro-serial-vsock,chardev=con', debug='off', mib=64,
                image=TINY), 'only an enclave in debug mode has a console',
                'debug-mode=on')

    def test_accelerator_and_machine(self):
        """The two belong together."""
        self.refused(['-accel', 'kvm', '-M', 'nitro', '-nographic', '-m',
                      '64M', '-kernel', TINY],
                     "accelerator 'kvm' cannot run machine 'nitro'",
                     "Machine 'nitro' needs -accel nitro")
        other = GUEST.machine.split(',')[0]
        self.refused(['-accel', 'nitro', '-M', other, '-nographic'],
                     "accelerator 'nitro' cannot run machine",
                     'Use -M nitro with -accel nitro')
        self.refused(self.arguments(image=None),
                     'machine nitro needs an enclave image',
                     'Use -kernel FILE')

    def test_machine_alone(self):
        """-M nitro finds its accelerator by itself."""
        launch = self.start(['-M', 'nitro', '-nographic', '-m', '128M',
                             '-smp', 2, '-kernel', DEMO])
        launch.wait_booted()

    def test_snapshots(self):
        """An enclave can be neither saved nor migrated."""
        launch = self.boot()
        with self.assertRaisesRegex(QmpError, 'neither saved nor migrated'):
            launch.qmp.command('migrate', uri='file:/tmp/state')
        for command, arguments in (
                ('pmemsave', {'val': 0, 'size': 4096, 'filename': '/tmp/m'}),
                ('dump-guest-memory', {'paging': False,
                                       'protocol': 'file:/tmp/m'})):
            with self.assertRaisesRegex(QmpError, 'hides the memory'):
                launch.qmp.command(command, **arguments)
        for command in ('xp /4x 0', 'info registers'):
            self.assertIn('hides the memory', launch.qmp.human(command))
        launch.qmp.command('query-status')


class Images(NitroParentTest):
    """Files that are no image for this enclave."""

    def refuse_file(self, name, data, *expected):
        """One file as -kernel, one case."""
        with self.case(name):
            self.parent.put('/tmp/image', data)
            self.refused(self.arguments(mib=64, image='/tmp/image'),
                         '/tmp/image', *expected)

    def test_other_kinds(self):
        """Refused by what they are."""
        wanted = 'wanted is an enclave image'
        for name, data, words in (
                ('empty', b'', 'an empty file'),
                ('text', b'#!/bin/sh\necho no\n', 'a text file'),
                ('gzip', b'\x1f\x8b\x08' + bytes(64), 'a gzip file'),
                ('ELF', b'\x7fELF\x02\x01\x01' + bytes(64), 'an ELF file'),
                ('xz', b'\xfd7zXZ\0' + bytes(64), 'an xz file'),
                ('cpio', b'070701' + b'0' * 104, 'a cpio archive')):
            self.refuse_file(name, data, 'it is ' + words, wanted)
        self.refused(self.arguments(mib=64, image='/tmp'), 'a directory')
        self.refused(self.arguments(mib=64, image='/tmp/none'),
                     '/tmp/none', 'No such file')

    def test_broken(self):
        """Damage is found before anything is donated."""
        good = tiny_image()
        changed = bytearray(good)
        changed[700] ^= 1
        self.refuse_file('CRC', bytes(changed), 'the image is damaged: CRC')
        self.refuse_file('cut', good[:-100], 'section')
        self.refuse_file('header', good[:300], 'the image is cut short: it'
                         ' has 300 bytes')
        self.refuse_file('version', assemble(eif.sections(good), version=9),
                         'image version 9 is not supported')
        kernel, _cmdline, *others = eif.sections(good)
        self.refuse_file('no command line', assemble([kernel, *others]),
                         'the image (version 4, 3 sections) has no')

    def test_kernel_in_image(self):
        """What an enclave cannot boot, by what it is."""
        other, = ARCHES.keys() - {GUEST.name}
        demo = images.demo_kernel().read_bytes()
        for name, kernel, words in (
                ('text', b'hello\n' * 99, 'the kernel is a text file'),
                ('ELF', b'\x7fELF\x02\x01\x01' + bytes(64), 'is an ELF file'),
                ('gzip', b'\x1f\x8b\x08' + bytes(64), 'is a gzip file'),
                ('other', idle_kernel(ARCHES[other].image_flag), 'the kernel'
                 ' is an '),
                ('cut', demo[:1 << 16], 'the kernel is cut short: it has'
                 ' 65536 bytes')):
            self.refuse_file('kernel ' + name, eif.build(
                kernel, 'quiet', [], arch=GUEST.image_flag), words)

    def test_wrong_architecture(self):
        """An image for another architecture."""
        ours = IMAGE_ARCH[GUEST.name]
        for name in ARCHES.keys() - {GUEST.name}:
            self.refuse_file(name, tiny_image(ARCHES[name].image_flag),
                             'the image is for %s, the enclave runs on %s'
                             % (IMAGE_ARCH[name], ours),
                             'Rebuild the image for ' + ours)

    def test_too_large(self):
        """An image that does not fit names the -m that would do."""
        image = eif.build(idle_kernel(), 'quiet', [bytes(60 << 20)],
                          arch=GUEST.image_flag)
        self.parent.put('/tmp/image', image.rstrip(b'\0'))
        self.parent.check(['truncate', '-s', len(image), '/tmp/image'])
        self.refused(self.arguments(mib=64, image='/tmp/image'),
                     'image needs %d bytes at offset 8388608, RAM ends at'
                     ' 67108864' % len(image), 'Raise -m to at least 70M')

    def test_ramdisk(self):
        """A file that is not a ramdisk."""
        self.parent.put('/tmp/image', b'')
        self.refused(self.arguments('-kernel', KERNEL, '-initrd',
                                    '/tmp/image', image=None),
                     '-initrd /tmp/image is an empty file, not a ramdisk')


class Driver(NitroParentTest):
    """Refused by the real driver, for real reasons."""

    def tiny(self, *more, **options):
        """A launch that gets as far as the driver lets it."""
        return self.arguments(*more, **{'mib': 64, 'image': TINY, **options})

    def set_pool(self, cpus):
        """Write the CPU pool, as the allocator service does."""
        self.parent.run('echo "%s" > %s' % (cpus, POOL))

    def test_empty_pool(self):
        """No CPU pool."""
        self.set_pool('')
        try:
            self.refused(self.tiny(), '2 vCPUs requested, the enclave CPU pool'
                         ' is empty', 'Set cpu_count in')
        finally:
            self.set_pool('2-%d' % (self.parent_cpus + 1))

    def test_pool_in_use(self):
        """Another enclave has all CPUs."""
        self.boot(cpus=self.parent_cpus)
        self.refused(self.tiny(), 'NE_ERR_NO_CPUS_AVAIL_IN_POOL',
                     'cannot create an enclave (pool: CPUs 2-%d, all in use)'
                     % (self.parent_cpus + 1), 'end another enclave')

    def test_more_cpus_than_pool(self):
        """More vCPUs than the pool holds."""
        size = self.parent_cpus
        self.refused(self.tiny(cpus=size + 2),
                     '%d vCPUs requested, the enclave CPU pool holds %d (CPUs'
                     ' 2-%d)' % (size + 2, size, size + 1),
                     'Use -smp %d' % size)

    def test_cpus_of_another_enclave(self):
        """The pool is large enough, but not all of it is free."""
        self.boot()
        size = self.parent_cpus
        self.refused(self.tiny(cpus=size), 'cannot add vCPU %d of %d (pool: %d'
                     ' CPUs, 2 in use by other enclaves)'
                     % (size - 1, size, size), 'NE_ERR_NO_CPUS_AVAIL_IN_POOL',
                     'Lower -smp')
        arguments = self.tiny()
        arguments[1] += ',cpus=2-3'
        self.refused(arguments, 'cannot add CPU 2 as vCPU 1 of 2',
                     'NE_ERR_VCPU_NOT_IN_CPU_POOL')

    def test_named_cpus(self):
        """CPUs by their numbers; those the driver does not have."""
        arguments = self.arguments()
        arguments[1] += ',cpus=5:4'
        launch = self.start(arguments)
        launch.wait_booted()
        path = next('/machine/' + entry['name'] for entry in
                    launch.qmp.command('qom-list', path='/machine')
                    if entry['type'] == 'child<nitro-accel>')
        self.assertEqual(launch.qmp.command('qom-get', path=path,
                                            property='cpus'), '5:4')
        self.stop(launch)
        cases = [('0:1', 'names CPU 0'), ('2', 'names 1 CPUs'),
                 ('2:2', 'names CPU 2 twice'),
                 ('2:99', 'CPU 99 is not in the enclave CPU pool')]
        if GUEST.threads > 1:
            cases.append(('3:4', 'cpus= names CPU 3, but not CPU 2 of the same'
                          ' core (2 threads per core)'))
        for cpus, words in cases:
            with self.case(cpus):
                arguments = self.tiny()
                arguments[1] += ',cpus=' + cpus
                self.refused(arguments, words)

    def test_half_core(self):
        """An odd number of vCPUs where cores have two threads."""
        for cpus in (1, 3):
            with self.case(cpus):
                self.refused(self.tiny(cpus=cpus), '-smp %d is not a whole'
                             ' number of cores (2 threads per core)' % cpus,
                             'Use -smp 2')

    def test_cid_in_use(self):
        """A CID that another enclave has."""
        first = self.boot()
        arguments = ['-accel', 'nitro,enclave-cid=%d' % first.cid,
                     *self.tiny()[2:]]
        self.refused(arguments, 'NE_START_ENCLAVE', 'CID')

    def test_heartbeat_port_taken(self):
        """Somebody else listens on port 9000."""
        listener = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        listener.wait_for('listening')
        self.refused(self.tiny('-global', 'nitro-heartbeat.port-timeout=1'),
                     'vsock port 9000 is taken by another launch',
                     'cannot listen on vsock port 9000: Address already in',
                     'port-timeout=SECONDS')
        listener.signal(signal.SIGKILL)
        listener.wait()

    def test_no_permission(self):
        """A user who may not open the device."""
        self.parent.check('chmod 600 /dev/nitro_enclaves')
        arguments = ' '.join(str(word) for word in self.tiny())
        result = self.parent.run(['su', '-s', '/bin/sh', 'nobody', '-c',
                                  PROGRAM + ' ' + arguments])
        self.assertEqual(result.status, 3)
        self.assertIn('/dev/nitro_enclaves: Permission denied', result.errors)
        self.assertIn('group ne', result.errors)

    def node_missing(self, *words):
        """The device node is not there, for this reason."""
        self.wait_until(lambda: self.parent.run(
            ['test', '-e', '/dev/nitro_enclaves']).status, 'no node')
        self.refused(self.tiny(), 'cannot open /dev/nitro_enclaves: ', *words)

    def test_driver_not_loaded(self):
        """The PCI function is there, its driver is not."""
        module = self.parent.check('grep nitro_enclaves /lab/modules').strip()
        self.parent.check(['rmmod', 'nitro_enclaves'])
        try:
            self.node_missing('its driver is not loaded, PCI function'
                              ' 1d0f:e4c1 is there', 'modprobe nitro_enclaves')
        finally:
            self.parent.check(['insmod', module])
            self.set_pool('2-%d' % (self.parent_cpus + 1))

    def test_no_instance(self):
        """An instance that was launched without enclaves."""
        self.parent.check(
            'cd /sys/bus/pci/devices && for function in *; do'
            ' if grep -q 0xe4c1 $function/device; then'
            ' echo 1 > $function/remove; fi; done')
        try:
            self.node_missing('this is not an EC2 instance with enclaves enabled,'
                              ' PCI function 1d0f:e4c1 is missing',
                              'Enabled=true')
        finally:
            self.parent.check('echo 1 > /sys/bus/pci/rescan')
            self.set_pool('2-%d' % (self.parent_cpus + 1))

    def test_huge_pages_taken(self):
        """Huge pages reserved by somebody else are missing here."""
        whole = self.total_pages * 2
        job = self.parent.spawn(['lab', 'ne', 'create', 'memory', whole,
                                 'hold'])
        job.wait_for('holding')
        self.refused(self.tiny(), 'huge')
        job.end_input()
        job.wait()


class Device(NitroParentTest):
    """Refused by the hypervisor: injected at the PCI function."""

    calls = (('ALLOC', 'NE_CREATE_VM'),
             ('ADD_MEM', 'NE_SET_USER_MEMORY_REGION'),
             ('ADD_VCPU', 'NE_ADD_VCPU'),
             ('START', 'NE_START_ENCLAVE'))

    def refuse_code(self, point, request, code, words):
        """One code at one call: request, name, number, cause and hint."""
        with self.case('%s at %s' % (code, request)):
            self.fault('%s:1+:-%d' % (point, code))
            result = self.parent.run([PROGRAM, *self.arguments(
                mib=64, image=TINY)])
            self.assertEqual(result.status, 3, result.errors)
            for expected in (request, words, 'error %d' % code):
                self.assertIn(expected, result.errors)
            self.assertNotIn('Unknown error', result.errors)
            message, hint = result.errors.split('\n', 1)
            self.assertRegex(message, r'[a-z].* \(%s: ' % request)
            self.assertRegex(hint, r'[A-Z].*\.')

    def each_call(self):
        """(fault point, request), without what this kernel cannot stand."""
        if packages.slot_faults_are_safe():
            return self.calls
        return self.calls[1:]

    def test_driver_codes_at_alloc(self):
        """Each code at NE_CREATE_VM."""
        if not packages.slot_faults_are_safe():
            self.skipTest('this kernel frees memory twice when a slot is'
                          ' refused')
        self.every_code(*self.calls[0])

    def test_driver_codes_at_memory(self):
        """Each code at NE_SET_USER_MEMORY_REGION."""
        self.every_code(*self.calls[1])

    def test_driver_codes_at_vcpu(self):
        """Each code at NE_ADD_VCPU."""
        self.every_code(*self.calls[2])

    def test_driver_codes_at_start(self):
        """Each code at NE_START_ENCLAVE."""
        self.every_code(*self.calls[3])

    def every_code(self, point, request):
        """All of the driver's own codes at one call."""
        for number, name in enumerate(CODES, FIRST_CODE):
            self.refuse_code(point, request, number, 'NE_ERR_' + name)

    def test_ordinary_codes(self):
        """Ordinary error numbers at each call."""
        for point, request in self.each_call():
            for code in PLAIN_CODES:
                self.refuse_code(point, request, code, os.strerror(code))

    def test_second_vcpu(self):
        """A later vCPU is named by its number."""
        self.fault('ADD_VCPU:2:-5')
        self.refused(self.arguments(mib=64, image=TINY),
                     'cannot add vCPU 2 of 2')

    def test_region_limit(self):
        """No room for memory regions."""
        self.fault('ALLOC:1:regions=0')
        self.refused(self.arguments(mib=64, image=TINY),
                     'cannot donate 64 MiB of RAM in 32 pages of 2 MiB',
                     'NE_ERR_MEM_MAX_REGIONS', 'page-size=1G')

    def test_odd_cid(self):
        """A CID no enclave can have."""
        for cid in (0, 2, 3):
            with self.case(cid):
                self.fault('START:1:cid=%d' % cid)
                self.refused(self.arguments(), 'CID %d' % cid)

    def test_late_start(self):
        """A slow hypervisor is waited for."""
        self.fault('START:1:late=2000')
        self.boot()

    def test_refused_paused(self):
        """A refusal after -S and cont ends QEMU with status 3."""
        launch = self.start(self.arguments('-S'))
        self.fault('START:1:-12')
        launch.qmp.command('cont')
        self.end(launch, status=3)
        self.assertIn('NE_START_ENCLAVE', launch.job.text())

    def test_image_that_cannot_boot(self):
        """As on EC2: the start succeeds, then the enclave ends."""
        damaged = bytearray(tiny_image())
        damaged[-1] ^= 1
        self.parent.put('/tmp/damaged', bytes(damaged))
        for path, reason in (('/init', 'not an enclave image'),
                             ('/tmp/damaged', 'CRC')):
            with self.case(path):
                result = self.parent.run([
                    'lab', 'ne', 'create', 'map', 64, 'image', path, 'donate',
                    'vcpu', 0, 'vcpu', 0, 'start', 1, 0, 'wait', 60000])
                cid = re.search(r'start ok (\d+)\nwait ok 16\n',
                                result.output)
                self.assertTrue(cid, result.output)
                self.assertRegex(self.parent.complaints()[-1], 'enclave with'
                                 ' CID %s cannot boot its image: .*%s'
                                 % (cid.group(1), reason))


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
