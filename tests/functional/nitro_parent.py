# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Base of tests that launch enclaves in the emulated parent.

One parent is booted per test file and serves all its scenarios.  Each
scenario leaves it as it found it: tearDown ends what is still running and
checks that huge pages, CPUs and the heartbeat's port are free again.  A parent
that a scenario has spoilt is described and replaced, so that those after it
fail only for reasons of their own.
"""

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
import time
import unittest
from pathlib import Path

from qemu_test import QemuBaseTest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]
                       / 'contrib' / 'nitro-lab'))

from nitro_scope import NOT_ON                          # noqa: E402
from nitro_lab import (config, eif, images, packages,   # noqa: E402
                       postmortem)
from nitro_lab.arch import GUEST, PROGRAM               # noqa: E402
from nitro_lab.launch import Launch                     # noqa: E402
from nitro_lab.parent import Parent                     # noqa: E402
from nitro_lab.patience import PATIENCE                 # noqa: E402

FAULT_DEVICE = '/machine/peripheral/ne'
ECHO_PORT, HELLO_PORT = 5005, 5006
DEMO_MIB = 128

DEMO = '/lab/demo.eif'
KERNEL, INITRD = '/lab/kernel', '/lab/initrd'
TINY = '/lab/tiny.eif'
PROBE = '/lab/probe.eif'

# Of the parent, as on EC2
ROLE = 'arn:aws:iam::123456789012:role/demo'

POOL = '/sys/module/nitro_enclaves/parameters/ne_cpus'

# As on the images that AWS's tools build
AWS_CMDLINE = ('reboot=k panic=30 pci=off nomodules console=ttyS0'
               ' i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd'
               ' random.trust_cpu=on')


# Real mode, at 0x10268: the firmware enters a kernel at 0x10200
ENTER_PROTECTED_MODE = bytes.fromhex(
    'fa'                        # cli
    '0f0116a002'                # lgdt 0x2a0
    '66be00000100'              # mov $0x10000,%esi, where the header is
    '0f20c0 0c01 0f22c0'        # set PE in %cr0
    'b81800 8ed8 8ec0 8ed0'     # data segment
    '66ea000010001000')         # ljmp $0x10,$0x100000
# Limit and address of the table at 0x2a8: two unused, code, data
DESCRIPTORS = struct.pack('<HI2x16xQQ', 31, 0x102a8, 0xcf9a000000ffff,
                          0xcf92000000ffff)


def bzimage(code):
    """An x86 kernel of code that is entered in protected mode, at 1 MiB."""
    code += bytes(-len(code) % 16)
    setup = bytearray(1024)
    setup[0x200:0x202] = b'\xeb\x66'        # jmp to 0x268
    setup[0x268:0x268 + len(ENTER_PROTECTED_MODE)] = ENTER_PROTECTED_MODE
    setup[0x2a0:0x2a0 + len(DESCRIPTORS)] = DESCRIPTORS
    for at, form, value in ((0x1f1, 'B', 1), (0x1f4, 'I', len(code) // 16),
                            (0x1fe, 'H', 0xaa55), (0x202, '4s', b'HdrS'),
                            (0x206, 'H', 0x20f), (0x211, 'B', 1),
                            (0x214, 'I', 1 << 20), (0x22c, 'I', 0x7fffffff),
                            (0x238, 'I', 2047), (0x260, 'I', 1 << 20)):
        struct.pack_into('<' + form, setup, at, value)
    return bytes(setup) + code


def idle_kernel(arch=GUEST.image_flag):
    """A kernel that does nothing, for ever."""
    if arch == eif.X86_64:
        return bzimage(b'\xeb\xfe')                     # jmp .
    return struct.pack('<I12xQ32x4s4x', 0x14000000, 4096, b'ARM\x64')  # b .


def tiny_image(arch=GUEST.image_flag, **options):
    """A well-formed image that boots, and that is all."""
    return eif.build(idle_kernel(arch), 'console=ttyS0', [b'R' * 4096],
                     arch=arch, **options)


def probe_image():
    """An x86 kernel that knows no ACPI and reports the devices it finds."""
    source = (config.TREE / 'contrib' / 'nitro-hypervisor' / 'tests'
              / 'boot-probe.c')
    # Other files of tests may compile it at this moment
    target = config.LAB / ('boot-probe-%d' % os.getpid())
    subprocess.run(
        [os.environ.get('CC', 'gcc'), '-m32', '-march=i686', '-O2', '-Wall',
         '-Wextra', '-Werror', '-ffreestanding', '-fno-pie',
         '-fno-stack-protector', '-nostdlib', '-static', '-no-pie',
         '-Wl,-Ttext=0x100000,--build-id=none', '-Wl,--oformat=binary',
         '-o', target, source], check=True)
    kernel = bzimage(target.read_bytes())
    target.unlink()
    return eif.build(kernel, AWS_CMDLINE, [b'R' * 4096])


def cpu_list(text):
    """Numbers in a list as in sysfs: "1,3-5"."""
    found = set()
    for part in text.strip().split(','):
        first, _, last = part.partition('-')
        found.update(range(int(first), int(last or first) + 1))
    return found


def refusal_status(text):
    """Exit status that goes with a refusal: 3 for the driver's, 1 for ours."""
    driver = r'\(NE_[A-Z_]+: |cannot open /dev/|the hypervisor reported CID'
    return 3 if re.search(driver, text) else 1


class ScopedTest(QemuBaseTest):
    """A test that may not apply to every architecture."""

    def setUp(self):
        reason = NOT_ON[GUEST.name].get(scenario(self))
        if reason:
            self.skipTest(reason)
        super().setUp()


class NitroParentTest(ScopedTest):
    """Scenarios in one emulated parent."""

    parent_cpus, parent_mib = 4, 448
    machine = accelerator = None
    parent = None
    total_pages = 0

    @classmethod
    def parent_files(cls):
        """Guest path -> content; more may be added by subclasses."""
        files = {DEMO: images.demo_image(), TINY: tiny_image(),
                 KERNEL: images.demo_kernel(),
                 INITRD: images.demo_initramfs()}
        if GUEST.name == 'x86_64':
            files[PROBE] = probe_image()
        return files

    @classmethod
    def setUpClass(cls):
        if NitroParentTest.parent is None:
            unittest.addModuleCleanup(stop_parent)
            NitroParentTest.parent = cls.start_parent()

    @classmethod
    def start_parent(cls):
        """Boot the parent all classes of the file share."""
        return cls.parent_of_kind(Parent)

    @classmethod
    def parent_of_kind(cls, kind):
        """Boot a Parent, or a subclass of it."""
        packages.fetch()
        images.build_all()
        directory = Path(config.OUT, 'tests', 'functional', GUEST.name,
                         'nitro-parent', cls.__module__)
        parent = kind(cls.parent_cpus, cls.parent_mib, cls.parent_files(),
                      machine=cls.machine, directory=directory, role=ROLE,
                      accelerator=cls.accelerator)
        try:
            parent.__enter__()
        except config.LabError:
            report_text(postmortem.describe(parent))
            raise
        NitroParentTest.total_pages = parent.free_huge_pages()
        report('parent up', parent.boot_seconds)
        return parent

    def setUp(self):
        super().setUp()
        self.launches, self.problems = [], []
        self.began = time.monotonic()
        if NitroParentTest.parent is None:
            NitroParentTest.parent = self.start_parent()
        for process in (self.parent.vm, self.parent.hypervisor):
            process.check()
        self.others = self.parent.agent.running()

    def tearDown(self):
        try:
            self._leave_as_found()
            self.assertEqual(self.problems, [])
        finally:
            self._keep_output()
            report(self.id().rpartition('.')[2],
                   time.monotonic() - self.began)
            super().tearDown()

    def _leave_as_found(self):
        try:
            self._end_launches()
            self._end_jobs()
            self.assert_free()
        except (AssertionError, EOFError, OSError, config.LabError) as error:
            self._replace_parent(error)
            raise

    def _end_launches(self):
        self.parent.qmp.set(FAULT_DEVICE, 'x-fault', '')
        for launch in self.launches:
            if launch.job.status is None:
                launch.job.signal(signal.SIGKILL)
                launch.job.wait()

    def _end_jobs(self):
        """What the scenario has started and not ended."""
        left = [job for job in self.parent.agent.running()
                if job not in self.others]
        for job in left:
            job.signal(signal.SIGKILL)
        for job in left:
            job.wait()

    def _replace_parent(self, error):
        """The parent is not as before: tell all about it, let it go."""
        text = '%s: %s\n%s' % (self.id(), error,
                               postmortem.describe(self.parent))
        Path(self.log_file('postmortem.log')).write_text(text)
        print(re.sub('(?m)^', '# ', text), file=sys.__stderr__, flush=True)
        stop_parent()

    def _keep_output(self):
        for number, launch in enumerate(self.launches, 1):
            Path(self.log_file('launch-%d.log' % number)).write_text(
                ' '.join(launch.job.argv) + '\n' + launch.job.text())

    @contextlib.contextmanager
    def case(self, name):
        """One of several cases of a scenario: its failure names it."""
        try:
            yield
        except AssertionError as error:
            self.problems.append('%s: %s' % (name, error))

    def assert_free(self):
        """Huge pages, CPUs and port 9000 of the parent are nobody's."""
        self.wait_until(lambda: self.parent.free_huge_pages()
                        == self.total_pages, 'all huge pages free')
        cpus = ['vcpu', '0'] * self.parent_cpus
        result = self.parent.run(['lab', 'ne', 'create', *cpus])
        self.assertEqual(result.status, 0, result.output)
        listener = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        listener.wait_for('listening')
        listener.signal(signal.SIGKILL)
        listener.wait()

    # Launching

    def arguments(self, *more, debug='on', cpus=2, mib=DEMO_MIB, image=DEMO):
        """Command line of a launcher."""
        words = ['-accel', 'nitro,debug-mode=' + debug, '-M', 'nitro',
                 '-nographic', '-smp', cpus, '-m', '%dM' % mib]
        if image:
            words += ['-kernel', image]
        return words + list(more)

    def direct(self, *words):
        """Options that boot the demo enclave's kernel directly."""
        return ['-kernel', KERNEL, '-initrd', INITRD,
                '-append', images.demo_cmdline(*words)]

    def start(self, arguments):
        """Launch and connect QMP."""
        socket = '/run/qmp-%d' % (len(self.launches) + 1)
        self.parent.run(['rm', '-f', socket])
        launch = Launch(self.parent, arguments, socket=socket)
        self.launches.append(launch)
        if not launch.connect():
            self.fail('QEMU ended at once: ' + launch.job.text())
        return launch

    def boot(self, *more, **options):
        """Launch and wait for the heartbeat."""
        launch = self.start(self.arguments(*more, **options))
        launch.wait_booted()
        return launch

    def refused(self, arguments, *expected):
        """The launcher has to refuse and say all of @expected."""
        result = self.parent.run([PROGRAM, *arguments])
        text = re.sub(r'\s+', ' ', result.output + result.errors)
        self.assertEqual(result.status, refusal_status(text), text)
        for words in expected:
            self.assertIn(words, text)
        return text

    def fault(self, rules):
        """Inject faults at the parent's PCI function."""
        self.parent.qmp.set(FAULT_DEVICE, 'x-fault', rules)

    # Watching

    def wait_until(self, condition, what):
        """Poll a condition in the guest."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                self.fail('not within %d s: %s' % (PATIENCE, what))
            time.sleep(0.1)

    def end(self, launch, status=0):
        """The launcher has to end by itself with this status."""
        self.assertEqual(launch.job.wait(), status, launch.job.text())

    def stop(self, launch, number=signal.SIGTERM):
        """End a launcher with a signal; returns its status."""
        launch.job.signal(number)
        return launch.job.wait()

    def console(self, launch, pattern):
        """Wait for a line of the enclave's console."""
        return launch.job.wait_for(pattern)

    def enclave_processes(self):
        """Host processes that are enclaves."""
        hypervisor = self.parent.hypervisor.popen.pid
        path = '/proc/%d/task/%d/children' % (hypervisor, hypervisor)
        pids = [int(pid) for pid in Path(path).read_text().split()]
        self.assertNotEqual(pids, [])
        return pids

    def hello(self, launch):
        """The enclave's greeting, fetched over vsock."""
        return self.parent.check(['sh', '-c', 'lab vsock connect %d %d'
                                  ' < /dev/null' % (launch.cid, HELLO_PORT)])

    @staticmethod
    def registers(text):
        """PCR0, PCR1, PCR2 in a greeting."""
        return re.findall(r'PCR[012] ([0-9a-f]{96})', text)


def stop_parent():
    """Take down the parent of a file, or of a class that had its own."""
    if NitroParentTest.parent:
        NitroParentTest.parent.stop()
        NitroParentTest.parent = None


def report(name, seconds):
    """One line per scenario, beside the test protocol."""
    print('# %-34s %5.1f s' % (name, seconds), file=sys.__stderr__,
          flush=True)


def report_text(text):
    """Figures of a scenario, beside the test protocol."""
    print('# ' + text, file=sys.__stderr__, flush=True)


def scenario(test):
    """Class.method of a test."""
    return '.'.join(test.id().split('.')[-2:])


def _flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def _is_ours(test):
    """Classes that are imported, or are there to be derived from, are not."""
    return (type(test).__module__ in (Path(sys.argv[0]).stem, '__main__')
            and 'abstract' not in vars(type(test)))


def only_wanted(_loader, tests, _pattern):
    """load_tests: NITRO_TESTS names the scenarios to run, all by default.

    Classes that do not apply to this architecture are skipped as a whole.
    """
    wanted = os.environ.get('NITRO_TESTS', '').split()
    found = [test for test in _flat(tests) if _is_ours(test) and (
        not wanted or any(word in test.id() for word in wanted))]
    for case in {type(test) for test in found}:
        reason = NOT_ON[GUEST.name].get(case.__name__)
        if reason:
            unittest.skip(reason)(case)
    return unittest.TestSuite(found)


def only_named(loader, tests, pattern):
    """load_tests of what make check leaves out, as it names nothing."""
    if not os.environ.get('NITRO_TESTS', '').split():
        return unittest.TestSuite()
    return only_wanted(loader, tests, pattern)
