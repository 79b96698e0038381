#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: launchers of others and ours, all through the same list.

The table FAULTS has what a launcher itself does not do, and why.  A scenario
fails when its launcher does not pass and is not listed, or passes and is
listed.
"""

import contextlib
import re
import shlex
import signal
import time

from nitro_parent import (AWS_CMDLINE, DEMO, DEMO_MIB, HELLO_PORT, INITRD,
                          KERNEL, PATIENCE, PROBE, NitroParentTest,
                          ScopedTest, config, eif, images, only_named)

from nitro_lab import foreign, python
from nitro_lab.arch import GUEST, PROGRAM
from nitro_lab.server import enclaves

PAGE = 'docs/system/nitro-launchers.rst'
SCENARIOS = ('launch', 'console', 'kill -9', 'restart at once', 'chosen CID',
             'two at once', 'production', 'end noticed', 'no ACPI',
             'half core', 'too much memory', 'bad image')

LAUNCHERS = DEBIAN, SAMPLE, OURS, NITRO_RUN = (
    'QEMU of Debian', 'ne_ioctl_sample', 'our QEMU', 'nitro-run')

# Launcher -> scenario -> (what is its own fault, pattern of the failure)
FAULTS = {
    DEBIAN: {
        'end noticed': ('stays when its enclave has ended', 'still runs'),
        'bad image': ('stays when its enclave has ended', 'still runs'),
    },
    SAMPLE: {
        'console': ('reads no console', 'Lacks'),
        'chosen CID': ('lets the hypervisor choose the CID', 'Lacks'),
        'no ACPI': ('reads no console', 'Lacks'),
        'half core': ('always asks for two vCPUs', 'Lacks'),
    },
    NITRO_RUN: {
        'no ACPI': ('reads the console after the heartbeat only, as nitro-cli'
                    ' does', 'Lacks'),
    },
}

# Words of the manual of Debian's QEMU -> what the parent has
MANUAL_WORDS = {'enclave.eif': DEMO, 'vmlinuz': KERNEL, 'initrd.cpio': INITRD,
                '512M': '%dM' % DEMO_MIB}

# As AWS's tools build it: two ramdisks, their words, an end by reboot().
# The distribution's kernel finds its devices by ACPI, which pci=off rules out.
AWS = '/lab/aws.eif'
BAD = '/lab/bad.eif'
AWS_WORDS = AWS_CMDLINE.replace(' pci=off', '').replace('ttyS0',
                                                        GUEST.console)
# At a launcher that is known to stay
LOOKS = 20
TOOL_TOP = '/lab/tree'


def table():
    """FAULTS as the manual has it."""
    lines = ['.. list-table::', '   :header-rows: 1', '',
             *_row(['', *LAUNCHERS])]
    for name in SCENARIOS:
        faults = [FAULTS.get(launcher, {}).get(name)
                  for launcher in LAUNCHERS]
        lines += _row([name, *(fault[0] if fault else 'passes'
                               for fault in faults)])
    return ''.join(line.rstrip() + '\n' for line in lines)


def _row(cells):
    return ['   %s - %s' % (' ' if at else '*', cell)
            for at, cell in enumerate(cells)]


class Lacks(AssertionError):
    """The launcher has no way to do this."""

    def __str__(self):
        return 'Lacks ' + super().__str__()


def aws_image():
    """An image in the shape of AWS's."""
    return eif.build(images.demo_kernel().read_bytes(),
                     AWS_WORDS + ' demo.mode=reboot demo.seconds=1',
                     [images.demo_initramfs().read_bytes(), b''],
                     arch=GUEST.image_flag, name='aws')


def bad_image():
    """An image that was cut off."""
    data = (config.LAB / 'demo.eif').read_bytes()
    return data[:len(data) // 2]


class Launcher(NitroParentTest):
    """Launches with one launcher, and compares with the table."""

    launcher = None             # its name in FAULTS
    mib = DEMO_MIB
    terminal = False            # whether it wants one
    booted = None               # pattern of what it says then

    # What launchers differ in

    def command(self, image=DEMO, mib=None, cpus=2, debug=True, cid=0):
        """Command line; raises Lacks for what cannot be asked for."""
        raise NotImplementedError

    def kill(self, job):
        """Kill what holds the enclave."""
        job.signal(signal.SIGKILL)
        job.wait()

    def has_console(self, job):
        """The console's lines are in the launcher's output."""
        job.wait_for('demo: serving')

    def noticed(self, job):
        """The launcher ends as well."""
        self.ends(job, 'end noticed')

    def no_acpi(self):
        """A kernel as AWS's finds its devices."""
        job = self.parent.spawn(self.command(image=PROBE))
        job.wait_for('probe: done')
        self.assertIn('probe: no ACPI', job.text())
        job.signal(signal.SIGKILL)
        job.wait()

    # What is the same for all

    @contextlib.contextmanager
    def scenario(self, name):
        """Compare with the table; a listed fault has to show."""
        fault = FAULTS.get(self.launcher, {}).get(name)
        try:
            yield
        except (AssertionError, config.LabError) as error:
            if not fault or not re.search(fault[1], str(error)):
                raise AssertionError('%s, %s: %s' % (
                    self.launcher, name, error)) from error
        else:
            self.assertIsNone(fault, '%s, %s: passes, but is listed'
                              % (self.launcher, name))

    def ends(self, job, name):
        """The launcher ends by itself; returns its status."""
        if name not in FAULTS.get(self.launcher, {}):
            return job.wait()
        for _ in range(LOOKS):
            self.parent.check(['sleep', '0.5'])
        if job.status is None:
            self.kill(job)
            self.fail('still runs')
        return job.status

    def refuses(self, name, **options):
        """The launcher ends by itself, with an error."""
        with self.scenario(name):
            job = self.parent.spawn(self.command(**options),
                                    terminal=self.terminal)
            self.assertNotEqual(self.ends(job, name), 0, job.text())

    def launched(self, **options):
        """Launch; returns the program and the CID of its enclave."""
        before = self.cids()
        job = self.parent.spawn(self.command(**options),
                                terminal=self.terminal)
        found = []

        def there():
            found[:] = self.cids() - before
            return found or job.status is not None

        self.wait_until(there, 'a launched enclave')
        self.assertNotEqual(found, [], job.text())
        return job, found[0]

    def cids(self):
        """CIDs of all enclaves, as the hypervisor knows them."""
        return {e['cid'] for e in enclaves(self.parent.hypervisor.popen.pid)}

    def greeting(self, job, cid):
        """What the demo enclave says, once it serves."""
        end = time.monotonic() + PATIENCE
        while True:
            result = self.parent.run(
                ['sh', '-c', 'lab vsock connect %d %d < /dev/null'
                 % (cid, HELLO_PORT)])
            if 'hello from enclave CID %d,' % cid in result.output:
                return result.output
            # nitro-run leaves its enclave alone, if nothing is to be shown
            self.assertIn(job.status, (None, 0), 'ended: ' + job.text())
            self.assertLess(time.monotonic(), end, job.text())
            time.sleep(0.2)

    def booted_launch(self, **options):
        """Launch, see the enclave serve and the launcher know that."""
        job, cid = self.launched(**options)
        text = self.greeting(job, cid)
        if self.booted:
            job.wait_for(self.booted)
        return job, cid, text

    def gone(self, cid):
        """The enclave ends."""
        self.wait_until(lambda: cid not in self.cids(), 'end of CID %d' % cid)

    def watch_end(self):
        """Launch an enclave that ends by itself."""
        job, cid = self.launched(image=AWS)
        self.gone(cid)
        self.noticed(job)

    def check_launch(self):
        """Launch, look at it, kill."""
        with self.scenario('launch'):
            job, cid, text = self.booted_launch()
            self.assertRegex(text, r', 2 CPUs,')
        with self.scenario('console'):
            self.has_console(job)
        with self.scenario('kill -9'):
            self.kill(job)
            self.gone(cid)


class Scenarios(Launcher):
    """The list that all launchers go through."""

    abstract = True
    parent_cpus, parent_mib = 4, 1056

    @classmethod
    def parent_files(cls):
        return {**super().parent_files(), **python.files(),
                **python.nitro_run_files(TOOL_TOP), **foreign.files(),
                AWS: aws_image(), BAD: bad_image()}

    def test_life(self):
        """Launch, kill, launch again at once, and another one."""
        self.check_launch()
        # Lacking that, it is launched as it can be
        chosen = {'cid': 77} if 'chosen CID' not in FAULTS.get(
            self.launcher, {}) else {}
        with self.scenario('restart at once'):
            first, one, _ = self.booted_launch()
            self.kill(first)
            first, one, _ = self.booted_launch(**chosen)
        with self.scenario('chosen CID'):
            self.command(cid=77)
            self.assertEqual(one, 77)
        with self.scenario('two at once'):
            second, two, _ = self.booted_launch()
            self.greeting(first, one)
            self.kill(second)
            self.gone(two)
            self.greeting(first, one)
        self.kill(first)

    def test_production(self):
        """Without debug mode it proves what its image is."""
        with self.scenario('production'):
            job, _, text = self.booted_launch(debug=False)
            expected = eif.measure((config.LAB / 'demo.eif').read_bytes())
            self.assertEqual(self.registers(text), list(expected))
            self.kill(job)

    def test_end(self):
        """An image of AWS's shape ends; its launcher notices."""
        with self.scenario('end noticed'):
            self.watch_end()
        if GUEST.name == 'x86_64':
            with self.scenario('no ACPI'):
                self.no_acpi()

    def test_refusals(self):
        """What cannot be: the launcher ends with an error, nothing stays."""
        self.refuses('half core', cpus=1)
        self.refuses('bad image', image=BAD)
        taker = self.parent.spawn(['lab', 'ne', 'create', 'map',
                                   self.parent_mib - 64, 'hold'])
        taker.wait_for('holding')
        self.refuses('too much memory')
        taker.signal(signal.SIGKILL)
        taker.wait()


class Qemu(Launcher):
    """A QEMU with this accelerator."""

    program = None

    def command(self, image=DEMO, mib=None, cpus=2, debug=True, cid=0):
        accel = 'nitro,debug-mode=' + ('on' if debug else 'off')
        if cid:
            accel += ',enclave-cid=%d' % cid
        return [self.program, '-accel', accel, '-M', 'nitro', '-nographic',
                '-smp', cpus, '-m', '%dM' % (mib or self.mib), '-kernel',
                image]


class OurQemu(Qemu, Scenarios):
    """Ours, with the words of QEMU 11's manual."""

    launcher, program = OURS, PROGRAM

    def test_manual(self):
        """What the manual of Debian's QEMU types works with ours."""
        text = foreign.manual()
        commands = re.findall(r'\$ %s (.*)' % PROGRAM, text)
        self.assertGreaterEqual(len(commands), 2)
        asked = re.findall(r'\(qemu\) (.*)', text)
        self.assertIn('enclave-cid', ' '.join(asked))
        for command in commands:
            launch = self.start([MANUAL_WORDS.get(word, word)
                                 for word in shlex.split(command)])
            launch.wait_booted()
            for line in asked:
                self.assertEqual(int(launch.qmp.human(line)), launch.cid)
            self.assertEqual(self.stop(launch), 0)


class DebianQemu(Qemu, Scenarios):
    """The distribution's, as its package has it."""

    launcher, program = DEBIAN, foreign.QEMU


class Sample(Scenarios):
    """The program in the kernel's source that shows the driver's use."""

    launcher = SAMPLE
    mib, terminal = 512, True
    booted = 'Entering sleep'

    def command(self, image=DEMO, mib=None, cpus=2, debug=False, cid=0):
        if cpus != 2:
            raise Lacks('vCPUs')
        if cid:
            raise Lacks('CID')
        return [foreign.SAMPLE, image]

    def again(self, launch, **options):
        """It waits a minute for the enclave, too short on a busy host."""
        while True:
            try:
                return launch(**options)
            except (AssertionError, config.LabError) as error:
                if 'Poll timeout' not in str(error):
                    raise

    def booted_launch(self, **options):
        return self.again(super().booted_launch, **options)

    def watch_end(self):
        self.again(super().watch_end)

    def has_console(self, job):
        raise Lacks('console')

    def no_acpi(self):
        raise Lacks('console')

    def noticed(self, job):
        """It says so, and sleeps for some minutes."""
        job.wait_for('Received POLLHUP')
        self.kill(job)


class NitroRun(Scenarios):
    """nitro-run, with the options of nitro-cli."""

    launcher = NITRO_RUN
    booted = r'"ProcessID": (\d+)'
    tool = TOOL_TOP + '/contrib/nitro-run/nitro-run'

    def command(self, image=DEMO, mib=None, cpus=2, debug=True, cid=0):
        words = [self.tool, 'run-enclave', '--eif-path', image, '--memory',
                 str(mib or self.mib), '--cpu-count', str(cpus)]
        if cid:
            words += ['--enclave-cid', str(cid)]
        return words + (['--attach-console'] if debug else [])

    @classmethod
    def start_parent(cls):
        parent = super().start_parent()
        parent.check(['python3', '-c', python.WARM_UP])
        return parent

    def tearDown(self):
        # Enclaves outlive the program that has launched them
        self.parent.check([self.tool, 'terminate-enclave', '--all'])
        super().tearDown()

    def kill(self, job):
        """The process that holds the enclave is another one."""
        self.parent.check(['kill', '-9', job.wait_for(self.booted)[1]])
        job.wait()

    def no_acpi(self):
        raise Lacks('early console')


load_tests = only_named

if __name__ == '__main__':
    ScopedTest.main()
