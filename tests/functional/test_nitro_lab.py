#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The lab's own tools, without a virtual machine."""

import contextlib
import importlib
import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import ScopedTest, only_wanted
from nitro_scope import NOT_ON

from nitro_lab import (accel, accounts, application, check, cli, config,
                       directories, eif, equipment, images, instance, kernels,
                       load, packages, parent, patience, postmortem, run, soak)
from nitro_lab.arch import ARCHES, FOREIGN, GUEST, HOST
from nitro_lab.cpio import Cpio
from nitro_lab.kernel import extract_vmlinux

ELF_NOTE_PVH = struct.pack('<III', 4, 8, 18) + b'Xen\0'


class Archive(QemuBaseTest):
    """newc archives."""

    def archive(self, name):
        """A small archive in the scratch directory."""
        archive = Cpio()
        archive.file('a/b/file', b'hello', 0o755)
        archive.link('a/link', 'b/file')
        archive.device('dev/console', 5, 1)
        archive.file('empty', b'')
        archive.write(self.scratch_file(name))
        return Path(self.scratch_file(name)).read_bytes()

    def test_read_by_busybox(self):
        """Another program reads what was written."""
        data = self.archive('one')
        listing = subprocess.run(
            [packages.busybox(HOST), 'cpio', '-itv'], input=data, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        modes = {line.split()[-1]: line.split()[0]
                 for line in listing.splitlines() if '->' not in line}
        self.assertEqual(modes, {
            'a': 'drwxr-xr-x', 'a/b': 'drwxr-xr-x', 'dev': 'drwxr-xr-x',
            'a/b/file': '-rwxr-xr-x', 'empty': '-rw-r--r--',
            'dev/console': 'crw-------'})
        self.assertIn('a/link -> b/file', listing)

    def test_reproducible(self):
        """The same input gives the same bytes."""
        self.assertEqual(self.archive('one'), self.archive('two'))


# Answers as QEMU does whose guest KVM cannot run, and stays
PAUSED = '''
import json, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("KVM internal error. Suberror: 1\\nEAX=0", flush=True)
with listener.accept()[0].makefile("rw") as stream:
    print("{}", file=stream, flush=True)
    for line in stream:
        asked = json.loads(line)["execute"] == "query-status"
        print(json.dumps({"return": {"status": "internal-error"} if asked
                          else {}}), file=stream, flush=True)
'''


class Accelerator(QemuBaseTest):
    """ACCEL=auto|kvm|tcg."""

    def setUp(self):
        super().setUp()
        accel.chosen.cache_clear()
        self.addCleanup(accel.chosen.cache_clear)

    def chosen(self, choice, refusal, forbidden=False, foreign=False):
        """What comes of ACCEL=@choice, and what is printed."""
        accel.chosen.cache_clear()
        said = io.StringIO()
        with mock.patch.dict(os.environ, ACCEL=choice), \
                mock.patch.object(accel, 'FOREIGN', foreign), \
                mock.patch.object(accel, 'refusal', return_value=refusal), \
                mock.patch.object(accel, '_forbidden',
                                  return_value=forbidden), \
                contextlib.redirect_stderr(said):
            return accel.chosen(), said.getvalue()

    def test_choice(self):
        """KVM only where it runs guests; nothing is said but what helps."""
        no = 'no permission for /dev/kvm', 'usermod -aG kvm me'
        for choice in 'auto', '':
            self.assertEqual(self.chosen(choice, None), ('kvm', ''))
            self.assertEqual(self.chosen(choice, no), ('tcg', ''))
        self.assertEqual(self.chosen('auto', no, forbidden=True), (
            'tcg', 'nitro-lab: guests are emulated: no permission for'
            ' /dev/kvm; usermod -aG kvm me\n'))
        self.assertEqual(self.chosen('kvm', None), ('kvm', ''))
        self.assertEqual(self.chosen('auto', None, foreign=True), ('tcg', ''))
        self.assertEqual(self.chosen('kvm', None, foreign=True), (
            'tcg', 'nitro-lab: guests are emulated: KVM runs guests of this'
            ' machine\'s architecture, not of %s\n' % GUEST.name))
        with mock.patch.object(accel, 'refusal') as tried:
            with mock.patch.dict(os.environ, ACCEL='tcg'):
                accel.chosen.cache_clear()
                self.assertEqual(accel.chosen(), 'tcg')
            tried.assert_not_called()

    def test_refused(self):
        """Who insists on KVM gets the reason and a remedy."""
        for words, what, hint in (
                (('kvm', ('no guests', 'do this')), 'ACCEL=kvm: no guests',
                 'do this'),
                (('kvm', ('no guests', '')), 'ACCEL=kvm: no guests',
                 'leave ACCEL out'),
                (('hvf', None), 'ACCEL=hvf is not known', 'auto, kvm, tcg')):
            with self.assertRaisesRegex(config.LabError, what) as raised:
                self.chosen(*words)
            self.assertIn(hint, raised.exception.hint)

    def test_tried(self):
        """The hypervisor's program tries it, with the parent's QEMU."""
        fake, calls = (Path(self.scratch_file(name))
                       for name in ('hypervisor', 'calls'))
        self.addCleanup(accel.refusal.cache_clear)
        with mock.patch.object(images, 'hypervisor', return_value=fake):
            for script, expected in (
                    ('echo kvm', None),
                    ('echo "nitro-hypervisor: $1 $2" >&2; exit 1',
                     ('--check-kvm ' + GUEST.hypervisor_option, '')),
                    ('echo nitro-hypervisor: no >&2; echo do >&2; exit 1',
                     ('no', 'do'))):
                fake.write_text(f'#!/bin/sh\necho >> {calls}\n{script}\n')
                fake.chmod(0o755)
                calls.unlink(missing_ok=True)
                accel.refusal.cache_clear()
                for _ in range(2):
                    self.assertEqual(accel.refusal(), expected)
                self.assertEqual(calls.read_text(), '\n')

    def words(self, accelerator):
        """Command lines of a parent and its hypervisor process."""
        vm = parent.Parent(directory=self.scratch_file(accelerator),
                           accelerator=accelerator)
        self.addCleanup(vm.forget)
        self.addCleanup(vm.stop)
        return tuple(' '.join(map(str, argv)) for argv in (
            vm._command_line(),     # pylint: disable=protected-access
            vm.hypervisor_command()))

    def test_arguments(self):
        """What KVM needs, and what only the emulation does."""
        vm, hypervisor = self.words('kvm')
        self.assertIn(' -accel kvm -M %s -cpu %s -smp ' % (
            GUEST.kvm_machine, GUEST.kvm_cpu), vm)
        self.assertIn(' --accel kvm ', hypervisor)
        self.assertNotRegex(vm, 'tsc|lpj|no_timer_check|early|irqchip')
        vm, hypervisor = self.words('tcg')
        self.assertIn(' -accel tcg,thread=multi -M %s -cpu %s -smp ' % (
            GUEST.machine, GUEST.cpu), vm)
        self.assertIn(' --accel tcg,thread=multi ', hypervisor)
        self.assertRegex(vm, GUEST.parent_words)

    def test_paused(self):
        """A parent that KVM cannot run is noticed, and not booted again."""
        vm = parent.Parent(devices=False, accelerator='kvm',
                           directory=self.scratch_file('vm'))
        self.addCleanup(vm.forget)
        self.addCleanup(vm.stop)
        with mock.patch.object(vm, '_command_line', return_value=[
                sys.executable, '-c', PAUSED, vm.sockets / 'qmp']):
            with self.assertRaisesRegex(
                    parent.CannotRun, 'KVM cannot run the parent: KVM internal'
                    ' error. Suberror: 1$') as raised:
                vm.start()
        self.assertEqual(raised.exception.hint, 'have it emulated: ACCEL=tcg')
        self.assertEqual(vm.retries, 0)


class FailedBoot(QemuBaseTest):
    """A parent VM that does not come to the point where it is of use."""

    def boots(self, *words, how='parent VM ended'):
        """How often a parent is started that is a program of the host."""
        log = Path(self.scratch_file('boots'))
        log.unlink(missing_ok=True)
        vm = parent.Parent(devices=False, directory=self.scratch_file('vm'))
        self.addCleanup(vm.forget)
        self.addCleanup(vm.stop)
        script = '; '.join(['echo >> "$0"', *words])
        with mock.patch.object(vm, '_command_line', return_value=[
                'sh', '-c', script, log, vm.console]):
            with self.assertRaisesRegex(config.LabError, how):
                vm.start()
        if not vm.vm.running():
            self.assertRegex(postmortem.describe(vm), r'\Aconsole, last of')
        vm.stop()
        self.assertEqual(vm.retries + 1, len(log.read_text()))
        return len(log.read_text())

    def test_again(self):
        """After a reset that nothing announces it is booted again."""
        self.assertEqual(self.boots('exit 0'), parent.Parent.attempts)
        self.assertEqual(self.boots('echo "Run /init" > "$1"'),
                         parent.Parent.attempts)

    def test_hang(self):
        """So it is when there was nothing to do for long."""
        words = 'echo word > "$1"', 'exec sleep 1000'
        with mock.patch.object(patience.Silence, 'IDLE_SECONDS', 1):
            self.assertEqual(self.boots(*words, how='the parent hung'),
                             parent.Parent.attempts)

    def test_busy(self):
        """And when it only made the CPU warm."""
        with mock.patch.object(patience.Silence, 'BUSY_SECONDS', 0.5):
            self.assertEqual(self.boots('while :; do :; done',
                                        how='the parent hung'),
                             parent.Parent.attempts)

    def test_reasons(self):
        """One that gives a reason is not."""
        self.assertEqual(self.boots('exit 1'), 1)
        self.assertEqual(self.boots('echo Kernel panic > "$1"'), 1)
        self.assertEqual(self.boots('echo lab: why > "$1"',
                                    how='the parent ended: why'), 1)
        with mock.patch.object(patience.Silence, 'IDLE_SECONDS', 1):
            self.assertEqual(self.boots('echo Oops > "$1"', 'exec sleep 1000',
                                        how='the parent hung'), 1)

    def test_words(self):
        """With each word the count begins anew."""
        log = Path(self.scratch_file('console'))
        with subprocess.Popen(['sleep', '1000']) as process:
            silence = patience.Silence(process.pid, log)
            while silence.idle < 0.5:
                self.assertFalse(silence.look())
                time.sleep(patience.POLL_SECONDS)
            log.write_text('word')
            self.assertFalse(silence.look())
            self.assertLess(silence.idle, 0.5)
            process.kill()


class Instance(QemuBaseTest):
    """The EC2 instance that a parent is."""

    def test_id(self):
        """It is made up once per lab directory."""
        names = []
        for lab in ('one', 'two', 'one'):
            with mock.patch.object(instance, 'LAB',
                                   Path(self.scratch_file(lab))):
                names.append(instance.instance_id())
                self.assertRegex(names[-1], '^i-[0-9a-f]{17}$')
                self.assertEqual(os.listdir(instance.LAB), ['instance-id'])
        self.assertEqual(names[0], names[2])
        self.assertNotEqual(names[0], names[1])

    def test_choice(self):
        """Another one, if it is one."""
        args = mock.Mock(instance_id='i-0123456789abcdef0', role='arn:x')
        self.assertEqual(instance.chosen(args), {
            'instance_id': 'i-0123456789abcdef0', 'role': 'arn:x'})
        for name in ('0123456789abcdef0', 'i-0123', 'i-0123456789ABCDEF0'):
            args.instance_id = name
            with self.assertRaisesRegex(config.LabError,
                                        'is not an instance id'):
                instance.chosen(args)


class Image(QemuBaseTest):
    """Images by the lab, read by the C library."""

    def tool(self, *words, check=True):
        """Output of qemu-eif."""
        program = config.OUT / 'tools' / 'eif' / 'qemu-eif'
        if not program.exists():
            self.skipTest('qemu-eif is not built')
        return subprocess.run([program, *words], check=check, text=True,
                              stdout=subprocess.PIPE).stdout

    def test_measurements(self):
        """Both come to the same registers and find the CRC good."""
        for ramdisks in ([b'one'], [b'one', b'two' * 999, b'3']):
            data = eif.build(b'K' * 4096, 'console=ttyS0', ramdisks)
            path = Path(self.scratch_file('image'))
            path.write_bytes(data)
            registers = [line.split()[1]
                         for line in self.tool('pcr', path).splitlines()]
            self.assertEqual(registers, eif.measure(data))
            # There is no kernel in it, so the exit status is not 0
            self.assertIn('crc: good', self.tool('verify', path, check=False))

    def test_not_loaded(self):
        """A machine that cannot load a kernel leaves no file behind."""
        emulator = config.OUT / 'qemu-system-x86_64'
        if not emulator.exists():
            self.skipTest('qemu-system-x86_64 is not built')
        image = Path(self.scratch_file('image'))
        image.write_bytes(eif.build(b'K' * 4096, 'console=ttyS0', [b'one']))
        directory = Path(self.scratch_file('temporary'))
        directory.mkdir()
        result = subprocess.run(
            [emulator, '-M', 'nitro-enclave,vsock=c', '-display', 'none',
             '-m', '64M', '-chardev', 'null,id=c', '-kernel', image],
            text=True, stderr=subprocess.PIPE, check=False,
            env=dict(os.environ, TMPDIR=directory))
        self.assertIn('too old to load a ram disk', result.stderr)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(list(directory.iterdir()), [])

    def test_sections(self):
        """What was put in comes out, in this order."""
        parts = [(eif.KERNEL, b'kernel'), (eif.CMDLINE, b'words'),
                 (eif.METADATA, eif.metadata()), (eif.RAMDISK, b'disk')]
        self.assertEqual(eif.sections(eif.assemble(parts)), parts)

    def test_for_hardware(self):
        """The demo enclave of an EC2 instance has AWS's kernel."""
        blobs = Path(self.scratch_file('blobs'))
        with mock.patch.object(images, 'AWS_BLOBS', blobs):
            with self.assertRaisesRegex(config.LabError, 'no kernel for a'):
                images.aws_demo_image()
            blobs.mkdir()
            (blobs / GUEST.aws_kernel).write_bytes(b'kernel of AWS')
            (blobs / 'nsm.ko').write_bytes(b'module')
            image = images.aws_demo_image('more').read_bytes()
        _magic, _version, flag, *_ = eif.HEADER.unpack_from(image)
        self.assertEqual(flag, GUEST.image_flag)
        parts = dict(eif.sections(image))
        self.assertEqual(parts[eif.KERNEL], b'kernel of AWS')
        self.assertTrue(parts[eif.CMDLINE].endswith(b' more'))


class Container(QemuBaseTest):
    """Images of containers; tests/functional/test_nitro_init.py boots one."""

    CONFIG = {'Entrypoint': ['/app'], 'Cmd': ['word']}

    def layers(self, content=b'program'):
        """Two layers; the upper one replaces a file."""
        entry = application.tar_entry
        return [[(entry('app', 0o755), b'old'), (entry('etc/a'), b'a')],
                [(entry('app', 0o755), content)]]

    def layout(self, name, **options):
        """An OCI layout in a directory of that name."""
        path = Path(self.scratch_file(name), 'app')
        application.write_layout(path, self.layers(**options), self.CONFIG)
        return path

    def image(self, source, *command, **settings):
        """Bytes of the image that is made."""
        return application.container_image(
            source, *command, name='test', **settings).read_bytes()

    def test_reproducible(self):
        """The same container in two directories gives the same bytes."""
        first = self.image(self.layout('one'))
        self.assertEqual(first, self.image(self.layout('two')))
        others = [self.image(self.layout('three', content=b'other')),
                  self.image(self.layout('four'), 'another word'),
                  self.image(self.layout('five'), stop_grace=3)]
        expected = eif.measure(first)
        for other in others:
            pcr0, pcr1, pcr2 = eif.measure(other)
            self.assertNotIn(pcr0, expected)
            self.assertEqual(pcr1, expected[1])
            self.assertNotEqual(pcr2, expected[2])

    def test_saved(self):
        """An archive of 'docker save' gives the registers of a layout."""
        saved = self.scratch_file('app.tar')
        application.write_saved(saved, self.layers(), self.CONFIG)
        wanted = eif.measure(self.image(self.layout('one')))
        for source in (saved, 'docker-archive:%s:app:latest' % saved):
            self.assertEqual(eif.measure(self.image(source)), wanted)
        with self.assertRaisesRegex(config.LabError, '0 images with tag b'):
            self.image(saved + ':b')

    def test_diff(self):
        """qemu-eif diff names the first file that differs, and how."""
        entry = application.tar_entry
        lower = [(entry('app', 0o755), b'same'), (entry('etc/a'), b'a'),
                 (entry('z', kind=tarfile.SYMTYPE, link='a'), None)]
        cases = [
            ((entry('app', 0o700), b'same'), 'app: mode 0100755 in the first'
             ' image, 0100700 in the second one'),
            ((entry('app', 0o755, uid=5), b'same'), 'app: owner 0 in'),
            ((entry('app', 0o755), b'samE'), 'app: the content differs from'
             ' byte 3 on'),
            ((entry('app', 0o755), b'longer'), 'app: size 4 in the first'),
            ((entry('etc/b'), b''), 'rootfs/z in the first image is where'
             ' rootfs/etc/b is in the second one'),
            ((entry('etc/.wh.a'), None), 'etc/a in the first image is where'),
            ((entry('zz'), b''), 'zz: in the second image only'),
            ((entry('z', kind=tarfile.SYMTYPE, link='b'), None),
             "z: leads to 'a' in the first image, to 'b' in the second one"),
        ]
        images_made = []
        for number, (other, _) in enumerate([(None, ''), *cases]):
            path = Path(self.scratch_file('diff-%d' % number), 'app')
            application.write_layout(path, [lower, [other] if other else []],
                                     self.CONFIG)
            images_made.append(path.with_suffix('.eif'))
            images_made[-1].write_bytes(self.image(path))
        for image, (_, words) in zip(images_made[1:], cases):
            run_it = subprocess.run(
                [images.image_tool(), 'diff', images_made[0], image],
                check=False, text=True, stdout=subprocess.PIPE)
            self.assertEqual(run_it.returncode, 4)
            self.assertIn(words, run_it.stdout)
            self.assertIn('\nPCR0: differs\nPCR1: equal\nPCR2: differs\n',
                          run_it.stdout)

    @unittest.skipIf(FOREIGN, 'the tools are of this machine')
    def test_init(self):
        """Without --init it is the one beside qemu-eif; not any program."""
        layout = self.layout('one')
        result = Path(self.scratch_file('result.eif'))
        words = [images.image_tool(), 'build', '--kernel',
                 images.demo_kernel(), '--container', layout, '--output',
                 result]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        init = (config.OUT / 'contrib/nitro-init/nitro-init').read_bytes()
        self.assertIn(init, result.read_bytes())
        made = subprocess.run([*words, '--init', __file__], check=False,
                              text=True, stderr=subprocess.PIPE)
        self.assertEqual(made.returncode, 1)
        self.assertRegex(made.stderr, 'is not a program for')

    def test_run(self):
        """IMAGE= boots a container's image."""
        arguments = mock.Mock(eif=None, kernel=None, initrd=None, append=None,
                              image=str(self.layout('one')), mem=None,
                              cpus='2', debug='on', launcher=None)
        image = Path(run.Order(arguments).for_host()[1]).read_bytes()
        self.assertIn(b'\nexec /app\narg word\nagent off\n', image)
        arguments.eif = 'other.eif'
        with self.assertRaisesRegex(config.LabError, 'more than one of EIF'):
            run.Order(arguments)


class Kernel(ScopedTest):
    """The distribution's kernel."""

    def test_vmlinux(self):
        """The ELF kernel can be entered the PVH way."""
        kernel = extract_vmlinux(packages.kernel_image().read_bytes())
        self.assertEqual(kernel[:4], b'\x7fELF')
        self.assertIn(ELF_NOTE_PVH, kernel)

    def test_no_kernel(self):
        """Anything else is refused."""
        with self.assertRaisesRegex(config.LabError, 'not a bzImage'):
            extract_vmlinux(bytes(4096))

    def test_modules_in_load_order(self):
        """A module comes after those it depends on."""
        names = [name for name, _ in images.kernel_modules().closure(
            ['vmw_vsock_virtio_transport', 'nitro_enclaves'])]
        self.assertEqual(names, ['vsock', 'vmw_vsock_virtio_transport_common',
                                 'vmw_vsock_virtio_transport',
                                 'nitro_enclaves'])


    def test_chosen(self):
        """A file with its modules, or a package; what is neither."""
        top = Path(self.scratch_file('kernel'))
        image = top / 'boot' / 'vmlinuz-1.2-x'
        modules = top / 'lib/modules/1.2-x'
        for directory in (image.parent, modules):
            directory.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b'kernel')
        (modules / 'modules.builtin').write_text('kernel/nitro_enclaves.ko')
        kernel = kernels.find(str(image))
        self.assertEqual(kernel, (image, modules))
        self.assertEqual(kernel.release, '1.2-x')
        with kernels.using(kernel):
            self.assertEqual(kernels.of_parent(), kernel)
            self.assertEqual(images.demo_kernel(), image)
            (modules / 'modules.builtin').write_text('')
            self.assertEqual(kernels.of_parent().image,
                             packages.kernel_image())
        self.assertEqual(images.demo_kernel(), packages.kernel_image())
        beside = modules / 'vmlinuz'
        beside.write_bytes(b'kernel')
        self.assertEqual(kernels.find(str(beside)), (beside, modules))
        for text in ('', 'bash', 'linux-image-;x', str(top), __file__,
                     'linux-image-x/../y'):
            with self.assertRaisesRegex(config.LabError, '--kernel: '):
                kernels.find(text)

    def test_command_line(self):
        """The choice stands before the command, whose options may be many."""
        for words in (['--kernel', 'a', 'run', '--', '-s'],
                      ['--kernel=a', 'parent', '--', '-s']):
            with mock.patch('sys.argv', ['nitro-lab', *words]), \
                    mock.patch.dict(os.environ, {'ARGS': '-m 9'}):
                self.assertEqual(cli._words(), (words[:-2], ['-s', '-m', '9']))


class Scope(QemuBaseTest):
    """The list of scenarios that do not apply somewhere."""

    def test_names(self):
        """It speaks of scenarios and classes that there are."""
        loader, found = unittest.TestLoader(), set()
        for script in Path(__file__).parent.glob('test_nitro_*.py'):
            module = importlib.import_module(script.stem)
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value,
                                                          QemuBaseTest):
                    found.add(value.__name__)
                    found.update('%s.%s' % (value.__name__, name) for name in
                                 loader.getTestCaseNames(value))
        self.assertEqual(NOT_ON.keys(), ARCHES.keys())
        for reasons in NOT_ON.values():
            self.assertLessEqual(reasons.keys(), found)


class Accounts(QemuBaseTest):
    """What the soak counts, with processes of this test."""

    def test_memory_may_grow_a_little(self):
        """Everything else has to be the same."""
        slack = accounts.MEMORY_SLACK_KIB
        for name, before, after, good in (
                (accounts.MEMORY, 5000, 5000 + slack, True),
                (accounts.MEMORY, 5000, 4000, True),
                (accounts.MEMORY, 5000, 5001 + slack, False),
                ('slots', 0, 0, True), ('slots', 0, 1, False),
                ('huge pages free', 64, 65, False)):
            self.assertEqual(accounts.same(name, before, after), good, name)
        self.assertTrue(accounts.same(accounts.MEMORY, 5000, 5002, 2))
        self.assertFalse(accounts.same(accounts.MEMORY, 5000, 5003, 2))

    def test_descriptors(self):
        """One more of a kind is seen."""
        before = accounts.descriptors(os.getpid())
        with open('/dev/zero', 'rb'):
            self.assertIn('/dev/zero x1', accounts.descriptors(os.getpid()))
        self.assertEqual(accounts.descriptors(os.getpid()), before)

    def test_children(self):
        """A child is seen, also a dead one that nobody has waited for."""
        before = accounts.children(os.getpid())
        child = subprocess.Popen(['sleep', '60'])
        self.assertNotEqual(accounts.children(os.getpid()), before)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.assertNotEqual(accounts.children(os.getpid()), before)
        child.wait()
        self.assertEqual(accounts.children(os.getpid()), before)

    def test_table(self):
        """What differs stands out, with its values."""
        book = accounts.Accounts(None)
        book.before = {'slots': 0, 'files': '/run /tmp /dev/shm', 'port': 1}
        book.after = {**book.before, 'slots': 3}
        self.assertEqual(book.differences(), ['slots'])
        lines = list(book.table())
        self.assertRegex(lines[0], r'^slots +0 +3  DIFFERS$')
        self.assertRegex(lines[1], r'^files +\(same\) +\(same\)  ok$')
        book.after['files'] += ' /tmp/left'
        self.assertIn('/dev/shm /tmp/left  DIFFERS', list(book.table())[1])


class Chosen(QemuBaseTest):
    """Which tests of a file run."""

    # pylint: disable=missing-class-docstring,missing-function-docstring
    def chosen(self, wanted, *cases):
        """Names of tests that are chosen, and of those that are skipped."""
        loader = unittest.TestLoader()
        tests = unittest.TestSuite(map(loader.loadTestsFromTestCase, cases))
        with mock.patch.dict(os.environ, NITRO_TESTS=wanted), \
                mock.patch.dict(NOT_ON[GUEST.name], Elsewhere='why'):
            found = only_wanted(loader, tests, None)
        return [(type(test).__name__, getattr(
            test, '__unittest_skip_why__', None)) for test in found]

    def test_classes(self):
        """Neither imported nor abstract ones; some are skipped as a whole."""
        class Base(unittest.TestCase):
            abstract = True

            def test_it(self):
                pass

        class Here(Base):
            pass

        class Elsewhere(Base):
            pass

        class Imported(Base):
            __module__ = 'other'

        cases = Base, Here, Elsewhere, Imported
        self.assertEqual(self.chosen('', *cases),
                         [('Here', None), ('Elsewhere', 'why')])
        self.assertEqual(self.chosen('Elsewhere.test', *cases),
                         [('Elsewhere', 'why')])
        self.assertEqual(self.chosen('nothing', *cases), [])

    def test_reasons(self):
        """What is skipped for one reason is one line."""
        self.assertEqual(dict(check._by_reason(
            [('A.a', 'x'), ('B.b', 'y'), ('A.c', 'x')])),
            {'x': ['A.a', 'A.c'], 'y': ['B.b']})


class Equipment(QemuBaseTest):
    """What a parent is given, as options and words."""

    def test_files(self):
        """Names in the parent, of files and directories."""
        top = Path(self.scratch_file('files'))
        (top / 'below').mkdir(parents=True, exist_ok=True)
        (top / 'below' / 'one').write_text('1')
        for word, expected in (
                ('%s/below/one', '/lab/one'),
                ('%s/below/one:/etc/two', '/etc/two'),
                ('%s/below/one:/etc/./x//../two', '/etc/two'),
                ('%s/below/one:/etc/', '/etc/one'),
                ('%s:/etc', '/etc/below/one'),
                ('%s:/', '/files/below/one')):
            found = equipment.files([word % top])
            self.assertEqual({place: copy.path for place, copy
                              in found.items() if not copy.is_dir()},
                             {expected: top / 'below' / 'one'})
        for words, expected in (
                (['/none:/x'], '/none cannot be read'),
                (['/dev/null'], 'neither a file nor'),
                ([':/x'], 'names nothing of this machine'),
                (['%s:x' % top], 'not an absolute path'),
                (['%s:/a b' % top], 'a space, quote or comma'),
                (['%s:/x' % top] * 2, 'two things would be /x/below/one'),
                (['%s/below/one:/x' % top, '%s:/./x' % top],
                 'two things would be /x '),
                (['%s/below/one:/lab/./app' % top],
                 'two things would be /lab/app '),
                (['%s:/x' % top, '%s/below/one:/x/below/one/y' % top],
                 '/x/below/one would be a file')):
            with self.assertRaisesRegex(config.LabError, expected):
                equipment.files(words, {'/lab/app': top})

    def test_copies(self):
        """A directory comes with links, modes and what is empty."""
        top = Path(self.scratch_file('copies'))
        (top / 'empty').mkdir(parents=True)
        (top / 'empty').chmod(0o1777)
        (top / 'program').write_text('#!/bin/sh')
        (top / 'program').chmod(0o4750)
        (top / 'link').symlink_to('/none')
        (top / 'up').symlink_to('..')
        archive = Cpio()
        for place, copy in equipment.files(['%s:/x' % top]).items():
            copy.add(archive, place)
        self.assertEqual(
            {name: (oct(mode), data) for name, (mode, data, _)
             in archive.entries.items()},
            {'x': ('0o40755', b''), 'x/empty': ('0o41777', b''),
             'x/link': ('0o120777', b'/none'), 'x/up': ('0o120777', b'..'),
             'x/program': ('0o104750', b'#!/bin/sh')})
        os.mkfifo(top / 'fifo')
        with self.assertRaisesRegex(config.LabError, 'fifo is neither'):
            equipment.files(['%s:/x' % top])

    def test_hidden(self):
        """A shared directory does not lie above files."""
        files = {'/lab/app': Path('/etc'), '/srv/x/y': Path('/etc')}
        for place, hidden in (('/lab', '/lab/app'), ('/srv', '/srv/x/y'),
                              ('/srv/x/y', '/srv/x/y')):
            with self.assertRaisesRegex(config.LabError,
                                        'would hide ' + hidden):
                equipment.Equipment(['/usr:' + place]).check_hidden(files)
        equipment.Equipment(['/usr:/srv/z']).check_hidden(files)

    def test_words(self):
        """Tags, places and kinds reach the first program."""
        disk, fifo = (Path(self.scratch_file(name))
                      for name in ('disk', 'fifo'))
        disk.write_bytes(equipment.QCOW2_MAGIC)
        os.mkfifo(fifo)
        one = equipment.Equipment(['/usr', '/etc:/x'], [disk], disk, nodes=2)
        one.gigantic = 3
        self.assertEqual(one.words(), [
            'lab.share=share0,/mnt/usr,rw', 'lab.share=share1,/x,rw',
            'lab.root=root,disk', 'lab.node=1', 'hugepagesz=1G',
            'hugepages=1:3'])
        line = ' '.join(one.arguments(Path('/s')))
        for words in ('path=/s/share1', 'format=qcow2,read-only=off',
                      'serial=disk0', 'read-only=on'):
            self.assertIn(words, line)
        for options, expected in (
                ({'shares': ['/none']}, '--share: /none cannot be read'),
                ({'shares': [__file__]}, 'is not a directory'),
                ({'shares': ['/etc', '/usr:/mnt/etc']}, 'two things'),
                ({'disks': ['/none']}, '--disk: /none cannot be read'),
                ({'disks': ['/etc']}, '--disk: /etc is a directory'),
                ({'disks': [fifo]}, 'fifo is neither a file nor a disk'),
                ({'root': fifo}, '--root: .*fifo is neither'),
                ({'shares': ['/etc:/x', '/usr:/x/.']}, 'would be /x '),
                ({'root': '/none'}, '--root: /none cannot be read'),
                ({'root': '/etc'}, '--root: /etc has no bin/sh')):
            with self.assertRaisesRegex(config.LabError, expected):
                equipment.Equipment(**options)

    def test_nodes(self):
        """The second node has the CPUs and memory of enclaves."""
        words = ' '.join(equipment.cpus_and_memory(
            equipment.Equipment(threads=1, nodes=2), 4, 1000, 256))
        for part in ('4,sockets=1,cores=4,threads=1', 'id=ram0,size=744M',
                     'nodeid=1,cpus=2-3,memdev=ram1'):
            self.assertIn(part, words)
        self.assertIn('id=ram1,size=%dM' % (256 + 2048 + 192), ' '.join(
            equipment.cpus_and_memory(equipment.Equipment(
                threads=1, nodes=2, gigantic=1), 4, 1000, 256)))


class Words(QemuBaseTest):
    """What the command line and its environment variables can be."""

    def refused(self, expected, *words, **environment):
        """The lab ends with 2 and says why."""
        lab = subprocess.run(
            [config.TREE / 'contrib/nitro-lab/nitro-lab', *words], text=True,
            env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, check=False)
        self.assertEqual(lab.returncode, 2, words)
        self.assertIn(expected, lab.stderr)

    def test_refused(self):
        """Numbers that cannot be, words that are empty, also of variables."""
        for command in ('run', 'parent'):
            for words, expected in (
                    (['--cpus', '-3'], '-3 is less than 1'),
                    (['--cpus', '0'], '0 is less than 1'),
                    (['--cpus', 'x'], "'x' is not a whole number"),
                    (['--mem', '1X'], "'1X' is not a size of memory"),
                    (['--mem', '-1'], "'-1' is not a size of memory"),
                    (['--gigantic', '-1'], '-1 is less than 0'),
                    (['--disk', ''], 'an empty word'),
                    (['--root', ''], 'an empty word'),
                    (['--name', ''], 'an empty word')):
                self.refused(expected, command, *words)
            self.refused("'two' is not a whole number", command, CPUS='two')
            self.refused("'much' is not a size of memory", command,
                         MEM='much')
        self.refused("'yes' is neither on nor off", 'run', DEBUG='yes')
        self.refused("'1' is neither on nor off", 'run', '--debug', '1')
        for option in ('--eif', '--image', '--kernel', '--launcher'):
            self.refused('an empty word', 'run', option, '')
        for words in (['soak', '--launches'], ['load', '--every'],
                      ['bench', '--runs'], ['boots', '--boots']):
            self.refused('0 is less than 1', *words, '0')
        self.refused('an empty word', 'exec', '--name', '', 'true')

    def test_sizes(self):
        """As QEMU's users write them; variables may be empty."""
        with mock.patch.dict(os.environ, {'MEM': '', 'CPUS': '', 'DEBUG': '',
                                          'EIF': '', 'APPEND': ''}):
            for text, mib in (('1G', 1024), ('300', 300), ('64M', 64)):
                for command in ('run', 'parent'):
                    args = cli._parser().parse_args([command, '--mem', text])
                    self.assertEqual(args.mem, mib)
            args = cli._parser().parse_args(['run'])
            self.assertEqual((args.mem, args.cpus, args.debug, args.eif,
                              args.append), (None, 2, 'on', None, None))
            self.assertEqual(cli._parser().parse_args(['parent']).mem, 512)

    def order(self, *words):
        """What run is to boot."""
        return run.Order(cli._parser().parse_args(['run', *map(str, words)]))

    def test_same_names(self):
        """Files of one name in different directories stay two files."""
        files = []
        for name in ('one', 'two'):
            files.append(Path(self.scratch_file(name), 'img'))
            files[-1].parent.mkdir()
            files[-1].write_text(name)
        order = self.order('--kernel', files[0], '--initrd', files[1])
        self.assertEqual(sorted(order.files.values()), files)
        self.assertEqual(order.for_host()[:4], [
            '-kernel', str(files[0]), '-initrd', str(files[1])])
        with self.assertRaisesRegex(config.LabError, 'two things would be'
                                    ' /lab/img'):
            equipment.files([str(files[1])],
                            self.order('--eif', files[0]).files)

    def test_launcher(self):
        """Words of its command are whole, and those that there are."""
        image = Path(self.scratch_file("it's {mem}"))
        image.write_text('')
        order = self.order('--eif', image, '--mem', '1G', '--launcher',
                           'x {eif} {mem} {cpus} ${y} {z}')
        _, _, command = order.launcher_command()
        self.assertEqual(command, "x '/lab/it'\"'\"'s {mem}' 1024 2 ${y} {z}")
        kernel = ['--kernel', image, '--append', 'a b', '--launcher']
        _, _, command = self.order(
            *kernel, 'x {append} {kernel}').launcher_command()
        self.assertEqual(command, "x 'a b' '/lab/it'\"'\"'s {mem}'")
        for words, expected in (
                ([*kernel, 'x {eif}'], 'has no {eif}'),
                ([*kernel, 'x {initrd}'], 'has no {initrd}'),
                (['--eif', image, '--launcher', '{kernel}'], 'no {kernel}')):
            with self.assertRaisesRegex(config.LabError, expected):
                self.order(*words)

    def test_no_such_package(self):
        """apt's failures have a hint that fits."""
        for said, suite, hint in (
                ("E: The repository 'x' does not have a Release file.",
                 'nosuch', "no release 'nosuch'"),
                ('E: Unable to locate package linux-image-x-y', 'trixie',
                 'apt-cache search linux-image'),
                ('E: no network', None, 'apt-get update works')):
            self.assertIn(hint, packages._hint(said, suite))


class Directories(QemuBaseTest):
    """Directories of parents."""

    def test_lives(self):
        """One is in use as long as its owner lives; then it is removed."""
        top = Path(self.scratch_file('run'))
        with mock.patch.object(directories, 'RUN', top):
            one = directories.named('one')
            one.mkdir(parents=True, exist_ok=True)
            with directories.occupy(one):
                directories.announce(one, top)
                self.assertEqual(directories.running(), {'one': top})
                with self.assertRaisesRegex(config.LabError, 'runs already'):
                    directories.occupy(one)
                directories.clear()
                self.assertTrue(one.exists())
            self.assertEqual(directories.running(), {})
            directories.clear()
            self.assertFalse(one.exists())
            with self.assertRaisesRegex(config.LabError, 'cannot be the name'):
                directories.named('../one')


class Load(QemuBaseTest):
    """What counts as accounted for."""

    def account(self, status, text, killed):
        """One stream that ended so; returns the load."""
        laps = load.Load(mock.Mock(), 1, 1, 0)
        place = laps.places[0]
        place.launch, place.killed = mock.Mock(cid=16), killed
        place._account(mock.Mock(**{
            'wait.return_value': status, 'text.return_value': text}))
        return laps

    def test_accounted(self):
        """All came back, or was on its way when the enclave was killed."""
        laps = self.account(0, 'connected\nsent 7 received 7\n', False)
        self.assertEqual(laps.streams, [load.Stream(0, False, 7, 7)])
        laps = self.account(3, 'sent 9 received 2\n', True)
        self.assertEqual(laps.streams, [load.Stream(0, True, 9, 2)])
        self.assertEqual(list(laps.table())[-1].split(),
                         ['all', '1', '1', '9', '2', '7'])
        self.assertTrue(laps.balanced())

    def test_missing(self):
        """Bytes that nothing explains are reported."""
        for status, text, killed in (
                (0, 'sent 9 received 2\n', False),
                (3, 'sent 9 received 2\n', False),
                (1, 'sent 9 received 2\n', True),
                (3, 'sent 99000000 received 2\n', True),
                (3, 'lab: connect: reset\n', True)):
            with self.assertRaisesRegex(config.LabError, 'CID 16: '):
                self.account(status, text, killed)


class Soak(QemuBaseTest):
    """Which launches a soak makes, and in which company."""

    def test_seed(self):
        """The same seed gives the same; all ways come up."""
        def ways(seed):
            return [soak.draw(seed, number)[0] for number in range(1, 201)]
        self.assertEqual(ways(7), ways(7))
        self.assertNotEqual(ways(7), ways(8))
        self.assertEqual(set(ways(7)), set(soak.WAYS))
        for way in soak.WAYS:
            self.assertTrue(callable(getattr(soak.Lap, way)))

    def test_fault_is_alone(self):
        """A launch with a fault waits for the others, and they for it."""
        gate, entered = soak.Gate(), threading.Event()

        def other():
            with gate.starting():
                entered.set()

        thread = threading.Thread(target=other)
        with gate.alone():
            thread.start()
            self.assertFalse(entered.wait(0.2))
        self.assertTrue(entered.wait(patience.PATIENCE))
        thread.join()


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
