#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run run -d without an enclave: keepers, output, names, and ends."""

import contextlib
import fcntl
import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted

PROGRAM = (Path(__file__).resolve().parents[2] / 'contrib' / 'nitro-run'
           / 'nitro-run')
sys.path.insert(0, str(PROGRAM.parent))

from nitro_run import cli, detached, journal, keeper, network   # noqa: E402
from nitro_run import programs as module                    # noqa: E402
from nitro_run.common import RunError                       # noqa: E402
from nitro_run.enclaves import Enclaves                     # noqa: E402
from nitro_run.programs import Programs                     # noqa: E402


class Case(QemuBaseTest):
    """A runtime directory."""

    def setUp(self):
        super().setUp()
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.top = Path(top.name)
        self.enclaves = Enclaves(self.top / 'run')
        self.programs = Programs(self.enclaves)


class Output(Case):
    """What is kept of a program's output."""

    def read(self, goes_on=lambda: False):
        """Both streams and remarks."""
        streams, remarks = {1: b'', 2: b''}, []

        def write(stream, data):
            streams[stream] += data

        journal.Reader(self.top, write, remarks.append).read(goes_on)
        return streams[1], streams[2], remarks

    def test_apart(self):
        """Streams, and remarks, which come on stderr."""
        self.assertEqual(self.read(), (b'', b'', []))
        kept = journal.Journal(self.top)
        kept.write(1, b'one')
        kept.write(2, b'two')
        kept.remark('three')
        self.assertEqual(self.read(),
                         (b'one', b'twonitro-run: three\n', []))

    def test_bound(self):
        """The last output is kept, and no more than the limit."""
        kept = journal.Journal(self.top, 1000)
        for number in range(1000):
            kept.write(1, b'%04d' % number)
        size = sum(path.stat().st_size for path in self.top.glob('output*'))
        self.assertLessEqual(size, 1000)
        out, _, remarks = self.read()
        self.assertGreater(len(out), 100)
        self.assertEqual(out, b''.join(b'%04d' % number for number in range(
            1000 - len(out) // 4, 1000)))
        self.assertEqual(remarks, [f'{4000 - len(out)} bytes of output are'
                                   ' not kept any more'])

    def test_follow(self):
        """A reader sees all that comes, over any number of files."""
        kept = journal.Journal(self.top, 1000)
        numbers = iter(range(200))

        def goes_on():
            number = next(numbers, None)
            if number is not None:
                kept.write(1, b'%04d' % number)
            return number is not None

        with mock.patch.object(journal.time, 'sleep'):
            out, _, remarks = self.read(goes_on)
        self.assertEqual(out, b''.join(b'%04d' % n for n in range(200)))
        self.assertEqual(remarks, [])

    def test_full(self):
        """Without room nothing fails, and what is lost is reported."""
        kept = journal.Journal(self.top)
        kept.write(1, b'one')
        real = kept.file

        class Short:
            """A file on a disk without room."""

            def __getattr__(self, name):
                return getattr(real, name)

            def write(self, data):
                """Some of it."""
                return real.write(data[:5])

        kept.file = Short()
        kept.write(1, b'lost')
        kept.file = real
        kept.write(1, b'two')
        self.assertEqual(self.read(), (
            b'onetwo', b'', ['4 bytes of output are not kept any more']))


class Kept(Case):
    """Programs whose enclave is a function."""

    def setUp(self):
        super().setUp()
        for name, fake in (('DEVICE', str(self.top)),):
            patch = mock.patch.object(detached, name, fake)
            patch.start()
            self.addCleanup(patch.stop)
        # Keepers are children here
        self.addCleanup(self.reap)

    def reap(self):
        """The end of those that a failed test left, too."""
        for one in self.programs.all():
            if one.lives():
                os.kill(one.note()['Keeper'], signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()

    def start(self, attend, name='app', named=False):
        """run -d; what is printed."""
        args = SimpleNamespace(enclave_name=name, is_named=named, more=['x'],
                               origin='app.tar', agent_port=9001,
                               publish=[network.port('8080:80')])
        with contextlib.redirect_stdout(io.StringIO()) as out:
            keeper.detach(args, self.enclaves, attend, [])
        return out.getvalue().strip()

    def command(self, *words):
        """Status, output and messages of a command."""
        out, errors = io.BytesIO(), io.BytesIO()
        with contextlib.redirect_stdout(io.TextIOWrapper(out)), \
                contextlib.redirect_stderr(io.TextIOWrapper(errors)):
            status = cli.main(['--runtime-dir', str(self.enclaves.path),
                               *words])
            sys.stdout.flush()
            sys.stderr.flush()
            return status, *(kept.getvalue().decode()
                             for kept in (out, errors))

    def listed(self):
        """State and status of each."""
        return [(info['Name'], info['State'], info.get('Status')) for info in
                json.loads(self.command('ps', '--json')[1])]

    @staticmethod
    def until_stopped(status=0, signals=1):
        """A program that waits for so many signals."""
        enclave = SimpleNamespace(run_info=lambda: {'EnclaveCID': 16})

        def attend(agent, booted):
            # None comes too early, and both are seen
            signal.pthread_sigmask(signal.SIG_BLOCK, keeper.SIGNALS)
            agent.write(1, b'out\n')
            agent.write(2, b'err\n')
            booted(enclave)
            for _ in range(signals):
                signal.sigwait(keeper.SIGNALS)
            return status

        return attend

    def test_life(self):
        """From the start until it is forgotten."""
        self.assertEqual(self.command('ps', '--json')[1], '[]\n')
        self.assertEqual(self.start(self.until_stopped(7)), 'app')
        self.assertEqual(self.start(self.until_stopped()), 'app_1')
        info, = json.loads(self.command('inspect', 'app')[1])
        self.assertEqual((info['State'], info['Source'], info['Arguments'],
                          info['EnclaveCID'], info['Ports']),
                         ('running', 'app.tar', ['x'], 16,
                          ['127.0.0.1:8080->80/tcp']))
        self.assertRegex(self.command('ps')[1],
                         r'NAME .*\napp  .* running .* 127.0.0.1:8080->80/tcp  '
                         r' *app.tar x\napp_1 ')
        self.assertEqual(self.command('logs', 'app'), (0, 'out\n', 'err\n'))
        status, _, errors = self.command('rm', 'app', 'app_1')
        self.assertEqual(status, 1)
        self.assertIn('program app runs', errors)
        self.assertEqual(self.command('stop', 'app', 'nobody')[:2],
                         (1, 'app\n'))
        self.assertEqual(self.command('wait', 'app'), (7, '', ''))
        self.assertEqual(self.listed(), [('app', 'exited', 7),
                                         ('app_1', 'running', None)])
        self.assertEqual(self.command('stop', 'app', 'app_1')[0], 0)
        self.assertEqual(self.command('rm', 'app', 'app_1')[1],
                         'app\napp_1\n')
        self.assertEqual(list(self.enclaves.path.iterdir()), [])

    def test_names(self):
        """One that was asked for is not changed, and none leads astray."""
        self.start(self.until_stopped(), named=True)
        with self.assertRaisesRegex(RunError, 'enclave app already'):
            self.start(self.until_stopped(), named=True)
        for name in ('../x', '.', '', 'a b', 'x' * 64, '-f'):
            with self.assertRaisesRegex(RunError, 'cannot be the name'):
                self.start(self.until_stopped(), name)
        with self.assertRaisesRegex(RunError, 'there is no program ../app'):
            self.programs.find('../app')

    def test_patience(self):
        """One that does not end gets a second signal."""
        self.start(self.until_stopped(3, signals=2))
        self.assertEqual(self.command('stop', '--time', '0', 'app')[0], 0)
        self.assertEqual(self.command('wait', 'app')[0], 3)

    def test_failed(self):
        """A start that fails is reported, and leaves nothing."""
        def fail(_agent, _booted):
            raise RunError('no memory', 'buy some', status=3)

        def crash(_agent, _booted):
            raise ValueError('oops')

        def die(_agent, _booted):
            os.kill(os.getpid(), signal.SIGKILL)

        for attend, text, status in (
                (fail, 'no memory', 3), (crash, 'keeper failed: .*oops', 125),
                (die, 'keeper was killed', 125)):
            with self.assertRaisesRegex(RunError, text) as caught:
                self.start(attend)
            self.assertEqual(caught.exception.status, status)
            self.assertEqual(list(self.enclaves.path.iterdir()), [])

    def test_interrupted(self):
        """A signal before the boot ends the keeper."""
        def attend(_agent, _booted):
            os.kill(os.getppid(), signal.SIGINT)
            while True:
                time.sleep(0.01)

        with self.assertRaisesRegex(RunError, 'before its enclave') as caught:
            self.start(attend)
        self.assertEqual(caught.exception.status, 130)

    def test_failed_later(self):
        """A failure after the boot is the end of the program."""
        def attend(_agent, booted):
            booted(SimpleNamespace(run_info=dict))
            raise RunError('no report', status=125)

        self.start(attend)
        self.assertEqual(self.command('wait', 'app'),
                         (125, '', 'nitro-run: no report\n'))

    def test_killed(self):
        """A keeper that was killed did not see the end of its program."""
        self.start(self.until_stopped())
        program, = self.programs.all()
        waits = threading.Thread(target=program.wait)
        waits.start()
        os.kill(program.note()['Keeper'], signal.SIGKILL)
        waits.join()
        self.assertEqual(self.listed(), [('app', 'lost', 125)])
        status, _, errors = self.command('wait', 'app')
        self.assertEqual(status, 125)
        self.assertRegex(errors, 'its keeper, process [0-9]+, was killed')
        self.assertEqual(self.command('rm', 'app')[0], 0)

    def test_many(self):
        """Those that have ended do not pile up."""
        def end(_agent, booted):
            booted(SimpleNamespace(run_info=dict))
            return 0

        with mock.patch.object(module, 'MOST_ENDED', 2):
            for _ in range(4):
                self.start(end)
                for one in self.programs.all():
                    one.wait()
        self.assertEqual(len(self.programs.all()), 2)

    def test_damaged(self):
        """A state that somebody has changed is no reason to fail."""
        program, lock = self.programs.new('app', False)
        with lock:
            for text in ('', '[]', '{"Keeper": "x", "State": 7}'):
                (program.place / module.STATE).write_text(text)
                self.assertEqual(len(self.listed()), 1)
                self.assertEqual(self.command('ps')[0], 0)
                detached._signal(program, signal.SIGTERM)
            fcntl.flock(lock, fcntl.LOCK_UN)
            self.assertEqual(self.command('rm', 'app')[0], 0)


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
