#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The selftest of nitro-run without an enclave: reports, images, refusals of
a driver that is a model, and what an interruption leaves."""

import argparse
import contextlib
import copy
import io
import json
import lzma
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import config, only_wanted, tiny_image

from nitro_lab import eif, images
from nitro_lab.arch import FOREIGN, GUEST
from nitro_lab.patience import PATIENCE

PROGRAM = (Path(__file__).resolve().parents[2] / 'contrib' / 'nitro-run'
           / 'nitro-run')
sys.path.insert(0, str(PROGRAM.parent))

from nitro_run import (driver, doctor, scenario, selftest,  # noqa: E402
                       selftest_compare, selftest_image, selftest_launches)
from nitro_run.common import RunError                       # noqa: E402

FAKE = config.OUT / 'tests' / 'qtest' / 'nitro' / 'fake-ne.so'
ENVIRONMENT = {**os.environ,
               'PYTHONPATH': str(config.BUILD / 'qemu' / 'python'),
               'PATH': '%s:%s' % (config.OUT / 'tools/eif',
                                  os.environ['PATH'])}
REPORT = {
    'Report': 1, 'Machine': {'Kernel': '6.12', 'PoolCPUs': 4}, 'Launches': 2,
    'Scenarios': [
        {'Name': 'CPU twice', 'Outcome': 'passed', 'Errno': 256,
         'Seconds': 0.1},
        {'Name': 'panic', 'Outcome': 'passed', 'Status': 0, 'Seconds': 4.0},
        {'Name': 'two', 'Outcome': 'skipped', 'Seconds': 0.0,
         'Reason': 'needs 4 CPUs of the pool, 2 are free'}]}

# Run with the model preloaded: what each refusal of the driver came to
REFUSALS = '''
import json, sys
sys.path.insert(0, sys.argv[1])
from nitro_run import driver, selftest_refusals

class Memory(driver.Memory):
    def __init__(self, size, huge=True):
        # Ordinary pages are aligned by hand
        super().__init__(size, False)

driver.Memory = selftest_refusals.Memory = Memory

class Bench:
    threads, pool = 2, [2, 3, 4, 5, 6, 7, 8, 9]

    def require(self, cpus, mib):
        pass

    def total_pages(self):
        return 1

found = [scenario.outcome(Bench())
         for scenario in selftest_refusals.scenarios(2)
         if scenario.name.partition(': ')[2] not in sys.argv[2:]]
print(json.dumps(found))
'''
# The model does not know the kernel's memory
NOT_MODELLED = {'memory of ordinary pages', 'memory of the kernel',
                'memory that is not there', 'more memory than there is',
                'request without structure', 'device of another name'}

# A selftest on a driver that is a model, whose enclaves never say a word
INTERRUPTED = '''
import signal, sys
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)
from nitro_run import cli, selftest, selftest_image, selftest_launches

class Images:
    origin = 'none'

    def __init__(self, place, args):
        pass

    def image(self, *words):
        return sys.argv[3]

    def registers(self):
        return []

selftest.Images = Images
selftest.require_device = lambda instance: None
selftest.Instance.threads = lambda self: 2      # as the model has them
selftest.selftest_refusals.scenarios = lambda threads: []
selftest_launches.Bench.require = lambda self, cpus, mib: None
if sys.argv[4] == 'running':
    # Taken for booted, it says nothing on its console either
    selftest_launches.Launch.ready = lambda self: self.qmp.cmd(
        'query-nitro-enclave')['state'] == 'started'
sys.exit(cli.main(['selftest', '--qemu', sys.argv[2]]))
'''
QEMU = '''#!/bin/sh
echo $$ > %(top)s/pid
export LD_PRELOAD=%(fake)s NE_FAKE_VSOCK=%(top)s NE_FAKE_SYS=%(top)s
exec %(qemu)s "$@"
'''


def changed(number, **values):
    """The report with changes in one scenario."""
    report = copy.deepcopy(REPORT)
    report['Scenarios'][number].update(values)
    return report


class Reports(QemuBaseTest):
    """Read and compared."""

    def compare(self, first, second):
        """Exit status, and what is printed."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = selftest_compare.compare(first, second)
        return status, out.getvalue()

    def test_times(self):
        """Times may differ, and numbers in reasons."""
        other = changed(0, Seconds=99.0)
        other['Scenarios'][1]['Boot'] = 7.5
        other['Scenarios'][2]['Reason'] = ('needs 4 CPUs of the pool, 0 are'
                                           ' free')
        status, text = self.compare(REPORT, other)
        self.assertEqual((status, text.count('\n')), (0, 1))

    def test_causes(self):
        """The gravest one is the exit status."""
        fewer = copy.deepcopy(REPORT)
        del fewer['Scenarios'][1]
        machine = copy.deepcopy(REPORT)
        machine['Machine']['Kernel'] = '7.2'
        both = copy.deepcopy(machine)
        both['Scenarios'][0]['Errno'] = 22
        for other, status, words in (
                (changed(0, Errno=257), 4, ('another result: CPU twice',
                                            'errno 256', 'errno 257')),
                (changed(1, Status=4), 4, ('status 0', 'status 4')),
                (changed(1, Outcome='failed', Reason='no heartbeat'), 4,
                 ('failed: ', 'no heartbeat')),
                (changed(2, Outcome='passed'), 5,
                 ('ran in one of them only: two', '2 are free')),
                (changed(2, Reason='needs 4 MiB, 2 are free'), 6,
                 ('another machine: two', '4 CPUs', '4 MiB')),
                (fewer, 5, ('not in the report',)),
                (machine, 6, ('another machine: Kernel', '6.12', '7.2')),
                (both, 4, ('another result', 'another machine'))):
            with self.subTest(words):
                for pair in ((REPORT, other), (other, REPORT)):
                    found, text = self.compare(*pair)
                    self.assertEqual(found, status, text)
                    for word in words:
                        self.assertIn(word, text)

    def test_reasons(self):
        """Failures of different causes are different results."""
        one = changed(1, Outcome='failed', Reason='QEMU ended with status 3')
        for reason, status in (('QEMU ended with status 4', 0),
                               ('EIO (error 5)', 4), ('0x7f: no end', 4)):
            other = changed(1, Outcome='failed', Reason=reason)
            self.assertEqual(self.compare(one, other)[0], status, reason)

    def test_unreadable(self):
        """What is no report is refused, and why."""
        path = Path(self.scratch_file('report.json'))
        for text, expected in (
                ('', 'cannot read the report'), ('{', 'cannot read'),
                ('[]', 'not a report'), ('{"a": 1}', 'not a report'),
                ('{"Report": 2}', 'version 2'), ('{"Report": 1}', 'damaged'),
                ('{"Report": 1, "Machine": {}, "Scenarios": [{}]}',
                 'damaged')):
            path.write_text(text)
            with self.subTest(text), self.assertRaisesRegex(RunError,
                                                            expected):
                selftest_compare.read(path)
        for text in '[' * 100000, json.dumps({**REPORT, 'Scenarios': [
                {'Name': 'a', 'Outcome': 'failed'},
                {'Name': 'a', 'Outcome': 'passed'}]}):
            path.write_text(text)
            with self.assertRaises(RunError):
                selftest_compare.read(path)
        with self.assertRaisesRegex(RunError, 'No such file'):
            selftest_compare.read('/none')
        fifo = Path(self.scratch_file('fifo'))
        os.mkfifo(fifo)
        with self.assertRaisesRegex(RunError, 'cannot read the report'):
            selftest_compare.read(fifo)

    def test_strangers(self):
        """What a report holds does not control the terminal."""
        odd = '\x1b[31m\n\ud800'
        report = {'Report': 1, 'Machine': {odd: odd}, 'Scenarios': [
            {'Name': odd, 'Outcome': odd, 'Reason': odd}]}
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            selftest_compare.compare(REPORT, report)
        self.assertIn(r'\x1b[31m\n\ud800', out.getvalue())
        self.assertTrue(all(line.isprintable() for line
                            in out.getvalue().splitlines()))

    def test_reference(self):
        """The report of the emulated parent is one, and nothing failed."""
        report = selftest_compare.read('parent')
        outcomes = [row['Outcome'] for row in report['Scenarios']]
        self.assertNotIn('failed', outcomes)
        self.assertGreater(outcomes.count('passed'), 40)

    def test_reference_is_current(self):
        """It has the scenarios that there are."""
        report = selftest_compare.read('parent')
        bench = mock.Mock(threads=2)
        args = argparse.Namespace(quick=False)
        self.assertEqual([row['Name'] for row in report['Scenarios']],
                         [one.name for one in selftest.plan(args, bench)])

    def test_command(self):
        """Two files are compared anywhere; three are not."""
        paths = []
        for number, report in enumerate((REPORT, changed(0, Errno=1))):
            paths.append(self.scratch_file('report-%d.json' % number))
            Path(paths[-1]).write_text(json.dumps(report))
        for words, status in ((paths, 4), (paths[:1] * 2, 0),
                              (paths + paths[:1], 2)):
            run = subprocess.run([PROGRAM, 'selftest', '--compare', *words],
                                 env=ENVIRONMENT, capture_output=True,
                                 text=True, check=False)
            self.assertEqual(run.returncode, status, run.stderr)

    def test_run_and_compare(self):
        """What was run is written, then compared; a failure counts more."""
        written = Path(self.scratch_file('own.json'))
        known = Path(self.scratch_file('known.json'))
        known.write_text(json.dumps(REPORT))
        args = argparse.Namespace(compare=[known],
                                  **dict.fromkeys(selftest.OF_A_RUN))
        args.report = written
        for report, status in ((REPORT, 0), (changed(0, Errno=257), 4),
                               (changed(2, Outcome='passed'), 5),
                               (changed(1, Outcome='failed'), 3),
                               ({**REPORT, 'Launches': 0}, 1)):
            with mock.patch.object(selftest, 'run_all', return_value=report), \
                    contextlib.redirect_stdout(io.StringIO()), \
                    contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(selftest.selftest(args), status)
            self.assertEqual(selftest_compare.read(written), report)

    def test_write(self):
        """A report is written as a whole, or refused."""
        path = Path(self.scratch_file('written.json'))
        link = Path(self.scratch_file('link'))
        link.symlink_to(path)
        for name in path, link:
            path.unlink(missing_ok=True)
            with selftest.report_file(name) as write:
                write(REPORT)
            self.assertEqual(selftest_compare.read(path), REPORT)
        self.assertTrue(link.is_symlink())
        with self.assertRaises(KeyError), selftest.report_file(path):
            raise KeyError      # interrupted: the old one stays
        self.assertEqual(selftest_compare.read(path), REPORT)
        self.assertEqual(list(path.parent.glob('*.partial')), [])
        reached = []
        with self.assertRaisesRegex(RunError, 'cannot write /none/'), \
                selftest.report_file('/none/report'):
            reached.append(1)
        self.assertEqual(reached, [])

    def test_write_to_device(self):
        """What is no file is written, and stays what it is."""
        read, write = os.pipe()
        with open(read, encoding='utf-8') as pipe:
            with open(write, 'w', encoding='utf-8') as end:
                name = '/proc/self/fd/%d' % end.fileno()
                with selftest.report_file(name) as report:
                    report(REPORT)
            self.assertEqual(json.load(pipe), REPORT)
        with self.assertRaisesRegex(RunError, 'No space left'), \
                selftest.report_file('/dev/full') as report:
            report(REPORT)
        with selftest.report_file(None) as report:
            report(REPORT)
        for name in '/dev/full', '/dev/null':
            self.assertTrue(Path(name).is_char_device())


class Machine(QemuBaseTest):
    """Where it runs, and where it does not."""

    def test_no_device(self):
        """A clear refusal, with the way to find out."""
        with tempfile.TemporaryDirectory() as top, \
                mock.patch.object(selftest, 'DEVICE', top + '/device'):
            instance = doctor.Instance(top)
            with self.assertRaisesRegex(RunError, 'there is no') as raised:
                selftest.require_device(instance)
            self.assertIn('nitro-run doctor', raised.exception.remedy)
            Path(top, 'device').touch()
            with self.assertRaisesRegex(RunError, 'no CPUs are reserved'):
                selftest.require_device(instance)
            with mock.patch.object(selftest.os, 'access',
                                   return_value=False), \
                    self.assertRaisesRegex(RunError, 'may not'):
                selftest.require_device(instance)

    def test_outcomes(self):
        """Each way a scenario can go is a row with its reason."""
        bench = mock.Mock()

        def going(error=None, found=None):
            def run(_bench):
                if error:
                    raise error
                return found
            return scenario.Scenario('name', run).outcome(bench)

        for row, outcome, reason in (
                (going(found={'Errno': 5}), 'passed', None),
                (going(scenario.Skip('needs 4')), 'skipped', 'needs 4'),
                (going(scenario.Failure('no', Errno=22)), 'failed', 'no'),
                (going(OSError(264, '')), 'failed',
                 'NE_ERR_MEM_DIFFERENT_NUMA_NODE (error 264)'),
                (going(RunError('two\nlines')), 'failed',
                 'RunError: two lines'),
                (going(KeyError('cid')), 'failed', "KeyError: 'cid'"),
                (going(subprocess.TimeoutExpired('qemu', 1)), 'failed',
                 "TimeoutExpired: Command 'qemu' timed out after 1"
                 ' seconds')):
            self.assertEqual((row['Outcome'], row.get('Reason')),
                             (outcome, reason))
        self.assertEqual(going(found={'Errno': 5})['Errno'], 5)
        with self.assertRaises(KeyboardInterrupt):
            going(KeyboardInterrupt())

    def test_needs(self):
        """What is not free is skipped, with numbers."""
        instance = mock.Mock()
        instance.pages.return_value = 20
        bench = selftest_launches.Bench(None, None, instance, None)
        with mock.patch.object(driver, 'free_cpus', return_value=2):
            bench.require(2, 40)
            for needs, reason in (
                    ((4, 0), 'needs 4 CPUs of the pool, 2 are free'),
                    ((0, 42), 'needs 42 MiB in huge pages of 2 MiB, 40 are')):
                with self.assertRaisesRegex(scenario.Skip, reason):
                    bench.require(*needs)
        with self.assertRaisesRegex(scenario.Skip, 'needs the enclave of'):
            bench.enclave('debug')

    def test_quick(self):
        """The quick part is one, and has launches and refusals."""
        bench = mock.Mock(threads=2)
        whole, quick = ([one.name for one in selftest.plan(
            argparse.Namespace(quick=quick), bench)]
            for quick in (False, True))
        self.assertLess(set(quick), set(whole))
        self.assertEqual(len(set(whole)), len(whole))
        self.assertLess({'launch in debug mode', 'driver: CPU twice'},
                        set(quick))

    def test_show(self):
        """A line has the number of a refusal and its name."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            selftest.show(REPORT['Scenarios'][0])
            self.assertEqual(selftest.conclude(REPORT), 0)
            self.assertEqual(selftest.conclude(
                changed(0, Outcome='failed')), 3)
        self.assertIn('errno 256 NE_ERR_VCPU_ALREADY_USED', out.getvalue())
        self.assertIn('2 passed, 0 failed, 1 skipped', out.getvalue())


class Image(QemuBaseTest):
    """Built of what is there."""

    def directory(self):
        """An empty one."""
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        return Path(top.name)

    def modules(self, text, builtin=''):
        """Modules by their list of dependencies."""
        top = self.directory()
        (top / 'modules.dep').write_text(text)
        (top / 'modules.builtin').write_text(builtin)
        return top

    def test_modules(self):
        """What is needed comes first, and once."""
        top = self.modules(
            'k/virtio_mmio.ko.xz: k/virtio_ring.ko.xz k/virtio.ko.xz\n'
            'k/vmw_vsock_virtio_transport.ko.xz: k/vsock.ko.xz'
            ' k/virtio_ring.ko.xz k/virtio.ko.xz\n',
            'kernel/drivers/misc/nsm.ko\n')
        self.assertEqual(
            [path.name.partition('.')[0]
             for path in selftest_image.module_files(top)],
            ['virtio', 'virtio_ring', 'virtio_mmio', 'vsock',
             'vmw_vsock_virtio_transport'])
        with self.assertRaisesRegex(RunError, 'has no module virtio_mmio'):
            selftest_image.module_files(self.modules(''))

    def test_unpacked(self):
        """Modules as distributions pack them."""
        top = self.directory()
        for name, data in (('a.ko', b'module'),
                           ('a.ko.xz', lzma.compress(b'module')),
                           ('a.ko.gz', selftest_image.gzip.compress(
                               b'module'))):
            (top / name).write_bytes(data)
            self.assertEqual(selftest_image.unpacked(top / name), b'module')

    def test_cpio(self):
        """Fields and padding, as the format has them."""
        data = selftest_image.cpio([('init', b'12345')],
                                   [('dev/console', os.makedev(5, 1))])
        found, at = [], 0
        while at < len(data):
            head = data[at:at + 110]
            self.assertEqual(head[:6], b'070701')
            fields = [int(head[6 + 8 * n:14 + 8 * n], 16) for n in range(13)]
            name = data[at + 110:at + 109 + fields[11]].decode()
            begin = -(-(at + 110 + fields[11]) // 4) * 4
            found.append((name, fields[1], fields[9:11],
                          data[begin:begin + fields[6]]))
            at = -(-(begin + fields[6]) // 4) * 4
        self.assertEqual(found, [
            ('dev', 0o40755, [0, 0], b''),
            ('dev/console', 0o20600, [5, 1], b''),
            ('init', 0o100755, [0, 0], b'12345'),
            ('TRAILER!!!', 0, [0, 0], b'')])

    def test_given(self):
        """An image that is given is itself, and others are made of it."""
        top = self.directory()
        (top / 'own.eif').write_bytes(tiny_image())
        args = argparse.Namespace(eif=str(top / 'own.eif'))
        with mock.patch.dict(os.environ, ENVIRONMENT):
            made = selftest_image.Images(top, args)
            self.assertEqual(made.image(), top / 'own.eif')
            self.assertEqual(made.registers(), eif.measure(tiny_image()))
            other = eif.sections(made.image('demo.mode=mute').read_bytes())
            self.assertEqual(made.image('demo.mode=mute'),
                             made.image('demo.mode=mute'))
            damaged, text = made.broken()
        self.assertIn((eif.CMDLINE, b'console=ttyS0 demo.mode=mute'), other)
        self.assertEqual(damaged.stat().st_size, len(tiny_image()))
        self.assertNotEqual(damaged.read_bytes(), tiny_image())
        self.assertTrue(text.read_text().startswith('#!'))

    def test_gathered(self):
        """Kernel, demo enclave and modules of a machine."""
        top = self.directory()
        modules = self.modules('', ''.join(
            'kernel/%s.ko\n' % name for name in selftest_image.MODULES))
        (top / 'init').write_bytes(b'I' * 99)
        (top / 'kernel').write_bytes(dict(eif.sections(tiny_image()))[
            eif.KERNEL])
        args = argparse.Namespace(eif=None, kernel=str(top / 'kernel'),
                                  modules=str(modules))
        with mock.patch.dict(os.environ, ENVIRONMENT), mock.patch.object(
                selftest_image, 'INITS', [top / 'none', top / 'init']):
            made = selftest_image.Images(top, args).image()
        self.assertIn(b'I' * 99, dict(eif.sections(made.read_bytes()))[
            eif.RAMDISK])

    def test_missing(self):
        """What is not there is named, with the remedy."""
        top = self.directory()
        for changes, expected in (
                ({'eif': '/none'}, 'qemu-eif extract .*/none'),
                ({'kernel': '/none'}, 'cannot read a kernel for enclaves')):
            args = argparse.Namespace(**{'eif': None, 'kernel': None,
                                         'modules': None, **changes})
            with mock.patch.dict(os.environ, ENVIRONMENT), \
                    self.assertRaisesRegex(RunError, expected):
                selftest_image.Images(top, args)
        with self.assertRaisesRegex(RunError, 'cannot run /none/tool'):
            selftest_image.tool('/none/tool')


class Launches(QemuBaseTest):
    """What goes wrong with an enclave is noticed, and said."""

    INFO = {'state': 'booted', 'debug-mode': False, 'cid': 20,
            'memory': [{'size': 128 << 20}], 'vcpus': [{'host-cpu': 2}],
            'boot-ms': 1500}

    def bench(self, **running):
        """A bench with enclaves that are mere words."""
        bench = selftest_launches.Bench(argparse.Namespace(qemu='/none'),
                                        mock.Mock(), mock.Mock(), None)
        bench.threads, bench.pool = 2, [2, 3]
        bench.running.update(running)
        return bench

    def running(self, **info):
        """An enclave that tells this of itself."""
        return mock.Mock(info={**self.INFO, **info})

    def fails(self, expected, run, *arguments):
        """It has to end with this reason; what was found."""
        with self.assertRaisesRegex(scenario.Failure, expected) as raised:
            run(*arguments)
        return raised.exception.found

    def test_info(self):
        """State, mode, CID and memory are as wanted."""
        check = selftest_launches.check_info
        check(self.INFO, False)
        check(self.INFO, False, 20)
        for changes, cid, reason in (
                ({'state': 'exited'}, None, 'state is exited'),
                ({'debug-mode': True}, None, 'mode is another'),
                ({}, 21, 'CID is 20, wanted is 21'),
                ({'cid': 3}, None, 'CID is 3, wanted is a free one'),
                ({'memory': []}, None, 'it has 0 MiB')):
            self.fails(reason, check, {**self.INFO, **changes}, False, cid)

    def stream(self, answer):
        """An enclave at whose echo port @answer(socket) serves."""
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=answer, args=(theirs,), daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        return mock.Mock(connect=lambda port: ours)

    def test_echo(self):
        """Each byte has to come back."""
        def serve(change, left):
            def run(sock, left=left):
                # The other end may have seen enough
                with sock, contextlib.suppress(OSError):
                    while left and (data := sock.recv(left)):
                        sock.sendall(data.replace(*change))
                        left -= len(data)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass
            return run

        same, data = (b'', b''), bytes(range(251)) * 200
        with mock.patch.object(selftest_launches, 'STREAM', data):
            size = len(data)
            self.assertEqual(selftest_launches.echo(self.stream(
                serve(same, size))), {'Bytes': size})
            self.fails('ended after 1000 of', selftest_launches.echo,
                       self.stream(serve(same, 1000)))
            self.fails('differs behind byte', selftest_launches.echo,
                       self.stream(serve((b'\x05', b'\x06'), size)))

    def test_console(self):
        """Wait for words; not beyond the console's end."""
        ours, theirs = socket.socketpair()
        running = selftest_launches.Running(mock.Mock(console=ours))
        with ours, theirs:
            theirs.sendall(b'demo: ser')
            theirs.sendall(b'ving')
            self.assertIn('serving', running.console('demo: serving'))
            theirs.shutdown(socket.SHUT_WR)
            self.fails('ended without PCR9: demo: serving', running.console,
                       'PCR9')

    def test_registers(self):
        """Zero in debug mode, those of the image in production."""
        def greeting(digits):
            text = ''.join('demo: PCR%d %s\n' % (n, digits * 96)
                           for n in range(3))

            def run(sock):
                with sock:
                    sock.sendall(text.encode())
            return text, run

        text, run = greeting('a')
        bench = self.bench(debug=mock.Mock(console=lambda _: text),
                           production=self.stream(run))
        self.fails('are not zero', selftest_launches.debug_console, bench)
        bench.images.registers.return_value = ['b' * 96] * 3
        self.fails("not the image's",
                   selftest_launches.production_registers, bench)
        bench.running['production'] = self.stream(lambda sock: sock.close())
        with self.assertRaisesRegex(scenario.Skip, 'needs a security module'):
            selftest_launches.production_registers(bench)

    def test_two(self):
        """Two enclaves have neither CID nor CPU in common."""
        for second, reason in (({}, 'both have one CID'),
                               ({'cid': 21}, 'both have one CPU')):
            bench = self.bench(debug=self.running())
            with mock.patch.object(bench, 'launch', return_value=self.running(
                    **second)):
                self.fails(reason, selftest_launches.two_at_once, bench)

    def test_ends(self):
        """QEMU has to end with status 0."""
        bench = self.bench(production=mock.Mock())
        bench.running['production'].wait_end.return_value = 1
        self.assertEqual(self.fails('status 1', selftest_launches
                                    .end_production, bench), {'Status': 1})
        self.assertEqual(bench.running, {})
        ended = mock.Mock()
        ended.wait_end.return_value = 4
        with mock.patch.object(bench, 'launch', return_value=ended):
            self.assertEqual(self.fails(
                'status 4', selftest_launches.own_end('crash'), bench),
                {'Status': 4})

    def test_answers(self):
        """What only the hypervisor decides: refused or not."""
        slot = mock.MagicMock()
        slot.__enter__.return_value = slot
        bench = self.bench(debug=self.running())
        with mock.patch.object(selftest_launches, 'Slot',
                               return_value=slot):
            slot.start.return_value = 20
            self.assertEqual(self.fails('given to two', selftest_launches
                                        .taken_cid, bench), {'Errno': 0})
            self.fails('CID is 20, wanted', selftest_launches.after_start,
                       bench)
            slot.start.side_effect = [selftest_launches.OTHER_CID, 7]
            self.fails('answered none', selftest_launches.after_start, bench)
            slot.start.side_effect = None
            self.assertEqual(selftest_launches.no_image(bench), {'Errno': 0})
            slot.has_ended.return_value = False
            self.fails('it runs', selftest_launches.no_image, bench)
            slot.start.side_effect = OSError(17, '')
            for run in (selftest_launches.taken_cid,
                        selftest_launches.no_image):
                self.assertEqual(run(bench), {'Errno': 17})

    def test_refusals(self):
        """QEMU has to refuse, with its status; the reason is kept."""
        bench, program = self.bench(), Path(self.scratch_file('qemu'))
        program.write_text('#!/bin/sh\necho no way >&2\nexit 3\n')
        program.chmod(0o755)
        bench.args.qemu = str(program)
        self.assertEqual(selftest_launches.refusal(bench, 3, 'image'),
                         {'Status': 3, 'Said': 'no way'})
        self.assertEqual(self.fails(
            'status 3, expected is 1: no way', selftest_launches
            .refuse_cpu_twice, bench), {'Status': 3})
        bench.threads = 1
        with self.assertRaisesRegex(scenario.Skip, 'cores of 2 threads'):
            selftest_launches.refuse_half_core(bench)


class Driver(QemuBaseTest):
    """On a driver that is a model."""

    def setUp(self):
        super().setUp()
        if FOREIGN or not FAKE.exists():
            self.skipTest('there is no fake-ne.so for %s here' % GUEST.name)

    def test_names(self):
        """Names of error numbers."""
        for number, name in ((256, 'NE_ERR_VCPU_ALREADY_USED'),
                             (275, 'NE_ERR_INVALID_ENCLAVE_CID'),
                             (276, '276'), (22, 'EINVAL'), (0, 'none')):
            self.assertEqual(driver.error_name(number), name)

    def refusals(self, **environment):
        """Name -> row of what the model refuses."""
        run = subprocess.run(
            [sys.executable, '-c', REFUSALS, PROGRAM.parent, *NOT_MODELLED],
            check=True, stdout=subprocess.PIPE, text=True,
            env={**ENVIRONMENT, 'LD_PRELOAD': str(FAKE), **environment})
        return {row['Name'].removeprefix('driver: '): row
                for row in json.loads(run.stdout)}

    def test_refusals(self):
        """Each request reaches the driver as it should: its number."""
        rows = self.refusals()
        self.assertGreater(len(rows), 18)
        for name, row in rows.items():
            self.assertEqual(row['Outcome'], 'passed' if name !=
                             'CPU of the parent' or 'Errno' in row
                             else 'skipped', row)

    def test_other_answers(self):
        """A driver that answers otherwise is noticed, with its number."""
        rows = self.refusals(NE_FAKE_FAIL='0x24:1:5')
        row = rows['CID 3']
        self.assertEqual((row['Outcome'], row['Errno']), ('failed', 5))
        self.assertIn('answered EIO (5), expected is'
                      ' NE_ERR_INVALID_ENCLAVE_CID (275)', row['Reason'])
        row = self.refusals(NE_FAKE_FAIL='0x20:1:12')['CPU twice']
        self.assertEqual((row['Outcome'], row['Reason']),
                         ('failed', 'ENOMEM (error 12)'))

    def test_interrupted(self):
        """SIGINT and SIGTERM end what is being launched, and what runs."""
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            for moment in 'booting', 'running':
                with self.subTest(number=number, moment=moment), \
                        tempfile.TemporaryDirectory() as top:
                    self.interrupt(Path(top), moment, number, status)

    def interrupt(self, top, moment, number, status):
        """Interrupt at this moment of an enclave's life."""
        (top / 'image').write_bytes(tiny_image())
        (top / 'tmp').mkdir()
        qemu = top / 'qemu'
        qemu.write_text(QEMU % {'top': top, 'fake': FAKE,
                                'qemu': images.emulator()})
        qemu.chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, '-c', INTERRUPTED, PROGRAM.parent, qemu,
             top / 'image', moment], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={**ENVIRONMENT, 'TMPDIR': str(top / 'tmp')})
        end = time.monotonic() + PATIENCE
        while not list(top.glob('tmp/*/run/*/pid')):
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        qemu_pid = int(next(top.glob('tmp/*/run/*/pid')).read_text() or
                       (top / 'pid').read_text())
        if moment == 'running':
            self.assertIn('launch in debug mode', process.stdout.readline())
        process.send_signal(number)
        errors = process.communicate()[1]
        self.assertEqual(process.returncode, status, errors)
        self.assertFalse(Path('/proc/%d' % qemu_pid).exists())
        self.assertEqual(list((top / 'tmp').iterdir()), [])


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
