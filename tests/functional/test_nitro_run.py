#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run without an enclave: options, files, and what it refuses."""

import argparse
import asyncio
import contextlib
import fcntl
import io
import itertools
import json
import os
import re
import shutil
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
from nitro_parent import config, only_wanted

from nitro_lab import images
from nitro_lab.arch import FOREIGN, GUEST

PROGRAM = (Path(__file__).resolve().parents[2] / 'contrib' / 'nitro-run'
           / 'nitro-run')
sys.path.insert(0, str(PROGRAM.parent))

from nitro_run import (cli, commands, doctor, enclaves,     # noqa: E402
                       launch, options, qmp)
from nitro_run.common import RunError                   # noqa: E402

GOOD = ['run-enclave', '--eif-path', 'app.eif', '--memory', '256',
        '--cpu-count', '2']


def parse(*words):
    """Complete options of run-enclave."""
    args = cli.parser().parse_args(words)
    args.more = []
    return options.complete(args)


def runtime_directory(test):
    """A name that is short enough for sockets, of nothing."""
    top = tempfile.TemporaryDirectory()
    test.addCleanup(top.cleanup)
    return Path(top.name, 'run')


class Options(QemuBaseTest):
    """Command line and file."""

    def config(self, content):
        """A --config file."""
        path = Path(self.scratch_file('enclave.json'))
        path.write_text(content if isinstance(content, str)
                        else json.dumps(content))
        return path

    def refused(self, expected, *words):
        """These options have to be refused."""
        with self.assertRaisesRegex(RunError, expected):
            parse(*map(str, words))

    def test_memory(self):
        """MiB by default, and the suffixes of nitro-cli."""
        for text, mib in (('512', 512), ('512M', 512), ('2g', 2048),
                          ('1T', 1 << 20)):
            self.assertEqual(options.memory_mib(text), mib)
        for text in ('', 'G', '1.5G', '512MB', '-1', '0x10'):
            with self.assertRaises(argparse.ArgumentTypeError):
                options.memory_mib(text)

    def test_cpus(self):
        """Words, or a list with commas."""
        for words in (['2,6'], ['2', '6']):
            self.assertEqual(parse(*GOOD[:5], '--cpu-ids', *words).cpu_ids,
                             [2, 6])
        self.refused('either a number', *GOOD[:5])

    def test_once(self):
        """An option that is given twice is refused, not taken silently."""
        for words in (['run-enclave', '--cpu-count', '2'],
                      ['run-enclave', '--cpu-ids', '2'],
                      ['run-enclave', '--debug-mode'],
                      ['terminate-enclave', '--all'],
                      ['console', '--enclave-id', 'a'],
                      ['--runtime-dir', 'a']):
            option = next(word for word in words if word.startswith('--'))
            errors = io.StringIO()
            twice = words + words[words.index(option):]
            with self.subTest(option=option), self.assertRaises(SystemExit), \
                    contextlib.redirect_stderr(errors):
                cli.parser().parse_args(twice)
            self.assertIn(f'{option}: given more than once',
                          errors.getvalue())

    def test_numbers(self):
        """A number out of range is refused, with its range."""
        cids, ports = 'use 4 to 4294967294', 'use 1 to 4294967294'
        for words, bad, good, expected in (
                (['relay', '--enclave-cid'], (
                    '-5', '0', '3', '4294967295', '99999999999', '4_0', '+4',
                    ' 4', '\u0664', ''), ('4', '4294967294'), cids),
                (['run-enclave', '--enclave-cid'], (
                    '-5', '1', '3', '4294967295'), ('0', '4'), cids),
                (['relay', '--enclave-cid', '40', '--agent-port'], (
                    '0', '-1', '4294967295'), ('1', '4294967294'), ports),
                (['run', 'app.tar', '--agent-port'], ('0', '4294967295'),
                 ('9001',), ports),
                (['run-enclave', '--cpu-count'], ('0', '-2', '2.5'), ('2',),
                 'use 1 or more'),
                (['run-enclave', '--memory'], ('0', '0G'), ('1',),
                 'use 1 or more'),
                (['console', '--enclave-id', 'a', '--disconnect-timeout'],
                 ('-1', 'nan', 'inf', '1e99'), ('0', '0.5', '60'),
                 'use for instance 10')):
            for text in bad:
                errors = io.StringIO()
                with contextlib.redirect_stderr(errors), \
                        self.assertRaises(SystemExit, msg=words + [text]):
                    cli.parser().parse_args([*words[:-1],
                                             f'{words[-1]}={text}'])
                self.assertIn(expected, errors.getvalue())
            for text in good:
                cli.parser().parse_args(words + [text])

    def test_console_means_debug(self):
        """--attach-console implies --debug-mode."""
        self.assertFalse(parse(*GOOD).debug_mode)
        self.assertTrue(parse(*GOOD, '--attach-console').debug_mode)

    def test_config(self):
        """The file has the members of nitro-cli's."""
        path = self.config({'eif_path': 'app.eif', 'memory_mib': 256,
                            'cpu_ids': [1, 3], 'enclave_cid': None,
                            'debug_mode': True})
        args = parse('run-enclave', '--config', str(path))
        self.assertEqual((args.eif_path, args.memory_mib, args.cpu_ids,
                          args.enclave_cid, args.debug_mode),
                         ('app.eif', 256, [1, 3], None, True))
        self.refused('--config cannot be used with --memory',
                     'run-enclave', '--memory', '64', '--config', path)

    def test_bad_config(self):
        """What is wrong with a file."""
        for content, expected in (
                ('{', 'cannot read'), ([], 'not a JSON object'),
                ({'memory': 1}, "unknown member 'memory'"),
                ({'memory_mib': '1'}, "'memory_mib' is \"1\", expected"),
                ({'cpu_count': True}, "'cpu_count' is true"),
                ({'cpu_ids': ['1']}, 'not a list of numbers'),
                ('{"cpu_count": 2, "cpu_count": 4}',
                 "more than one 'cpu_count'"),
                ({'eif_path': 'a', 'memory_mib': 64, 'cpu_ids': []},
                 'cannot have 0 CPUs'),
                ({'eif_path': 'a', 'memory_mib': -64, 'cpu_count': 2},
                 "memory_mib': '-64' is not a size"),
                ({'eif_path': 'a', 'memory_mib': 64, 'cpu_ids': [-1]},
                 "cpu_ids': '-1' is not"),
                ({'eif_path': 'a', 'memory_mib': 64, 'cpu_count': 2,
                  'enclave_cid': 3}, "enclave_cid': '3' is not a CID"),
                ({'cpu_count': 2}, 'an image and its memory')):
            self.refused(expected, 'run-enclave', '--config',
                         self.config(content))
        for path in '/none', '':
            self.refused('cannot read', 'run-enclave', '--config', path)

    def test_lost_to_qemu(self):
        """Options of QEMU that nitro-run cannot do without."""
        for words in ['-daemonize'], ['--daemonize'], ['-pidfile', '/x']:
            with self.assertRaisesRegex(RunError, words[0] + ' cannot be'):
                options.qemu_options(words)
        words = ['-name', 'x', '-M', 'heartbeat=off']
        self.assertEqual(options.qemu_options(words), words)

    def test_words_for_qemu(self):
        """What follows -- reaches QEMU, the status its caller."""
        seen = []

        def record(args):
            seen.append(args.more)
            raise RunError('no', 'but', status=3)

        errors = io.StringIO()
        with mock.patch.object(commands, 'run_enclave', record), \
                contextlib.redirect_stderr(errors):
            status = cli.main([*GOOD, '--', '-M', 'nitro,heartbeat=off'])
        self.assertEqual((status, seen), (3, [['-M', 'nitro,heartbeat=off']]))
        self.assertEqual(errors.getvalue(), 'nitro-run: no\nnitro-run: but\n')


class Bare(QemuBaseTest):
    """A tree in which nothing has been built, where Python has nothing but
    its library."""

    def tool(self, *words, **options):
        """Status and messages of nitro-run in it."""
        top = Path(self.scratch_file('bare', 'contrib', 'nitro-run'))
        if not top.exists():
            shutil.copytree(PROGRAM.parent, top)
        run = subprocess.run(['python3', '-I', top / 'nitro-run', *words],
                             stdin=subprocess.DEVNULL, text=True, check=False,
                             stderr=subprocess.PIPE, **options)
        return run.returncode, run.stderr

    def test_without_qemu(self):
        """What needs no monitor works; what needs one says so."""
        out = {'stdout': subprocess.DEVNULL}
        for words, status in ((['doctor'], 1), (['doctor', '--json'], 1),
                              (['selftest', '--compare'] + 2 * ['parent'], 0),
                              (['--help'], 0)):
            self.assertEqual(self.tool(*words, **out), (status, ''), words)
        status, text = self.tool('describe-enclaves', **out)
        self.assertEqual(status, 1)
        self.assertIn('cannot import the Python module qemu.qmp', text)

    def test_words_behind(self):
        """Words behind -- are refused where nobody would get them."""
        for words in (['doctor'], ['selftest'], ['describe-enclaves'],
                      ['terminate-enclave', '--all'],
                      ['console', '--enclave-id', 'i']):
            status, text = self.tool(*words, '--', '--quick')
            self.assertEqual(status, 2)
            self.assertIn(words[0] + ' takes nothing behind --', text)

    def test_compared(self):
        """So are options of a run when two reports are compared."""
        two = ['selftest', '--compare', 'parent', 'parent']
        for words in (['--quick'], ['--report', 'a'], ['--eif', 'a'],
                      ['--kernel', 'a'], ['--modules', 'a'], ['--qemu', 'a']):
            status, text = self.tool(*two, *words)
            self.assertEqual(status, 2)
            self.assertIn(words[0] + ' is for a run', text)
        status, text = self.tool('selftest', '--eif', 'a', '--modules', 'b')
        self.assertEqual(status, 2)
        self.assertIn('--modules goes into an image that is built', text)


class CommandLine(QemuBaseTest):
    """What QEMU is called with."""

    def line(self, *words, pages=(None, 256)):
        """The command line, as text."""
        return ' '.join(launch.command_line(parse(*GOOD, *words), 'a,b',
                                            Path('/r,d/x'), 7, pages))

    def test_production(self):
        """No console, and commas are safe."""
        line = self.line()
        for words in ('-accel nitro,debug-mode=off ', '-M nitro,measure=on ',
                      '-m 256M ', '-smp 2 ', 'guest=a,,b', 'fd=7',
                      'unix:/r,,d/x/qmp,server=on',
                      'unix:/r,,d/x/control,server=on'):
            self.assertIn(words, line)
        self.assertNotIn('console', line)

    def test_debug(self):
        """Console, CID, page size."""
        line = self.line('--debug-mode', '--enclave-cid', '20',
                         pages=(1024, 1024))
        for words in ('debug-mode=on,enclave-cid=20 ', 'page-size=1024M',
                      'path=/r,,d/x/console', 'nitro-serial-vsock'):
            self.assertIn(words, line)

    def test_pages(self):
        """The smallest size that there is enough of, rounded up."""
        for wanted, free, expected in (
                (256, {2: 128, 1024: 1}, (2, 256)),
                (255, {2: 128}, (2, 256)),
                (256, {2: 127, 1024: 1}, (1024, 1024)),
                (1500, {2: 4, 1024: 2}, (1024, 2048)),
                (257, {2: 4, 1024: 0}, (None, 258)),
                (256, {}, (None, 256))):
            self.assertEqual(launch.choose_pages(wanted, free), expected)

    def test_free_pages(self):
        """As sysfs has them; pages below 2 MiB are of no use."""
        top = Path(self.scratch_file('hugepages'))
        for kib, free in ((64, 9), (2048, 5), (1048576, 1)):
            directory = top / f'hugepages-{kib}kB'
            directory.mkdir(parents=True)
            (directory / 'free_hugepages').write_text(f'{free}\n')
        with mock.patch.object(launch, 'HUGE_PAGES', top):
            self.assertEqual(launch.free_pages(), {2: 5, 1024: 1})

    def test_names(self):
        """A name is there once."""
        self.assertEqual(enclaves.unique_name('app', set()), 'app')
        self.assertEqual(enclaves.unique_name('app', {'app', 'app_1'}),
                         'app_2')

    def test_no_qemu(self):
        """A program that is not there, and nothing is left of it."""
        top = runtime_directory(self)
        with self.assertRaisesRegex(RunError, 'cannot run /none: No such'):
            commands.run_enclave(cli.parser().parse_args(
                ['--runtime-dir', str(top), *GOOD, '--qemu', '/none'],
                argparse.Namespace(more=[])))
        self.assertEqual(list(top.iterdir()), [])


class Directory(QemuBaseTest):
    """The runtime directory."""

    def setUp(self):
        super().setUp()
        self.path = runtime_directory(self)
        self.enclaves = enclaves.Enclaves(self.path)

    def test_private(self):
        """Made for its owner alone; anything else is refused."""
        self.enclaves.private()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)
        self.path.chmod(0o750)
        with self.assertRaisesRegex(RunError, 'mode 750.*is not private'):
            self.enclaves.new('app')
        self.path.rmdir()
        self.path.symlink_to('/tmp')
        with self.assertRaisesRegex(RunError, 'is not private'):
            self.enclaves.new('app')

    def test_owner(self):
        """Somebody else's directory is refused."""
        self.enclaves.private()
        with mock.patch.object(os, 'getuid', lambda: os.geteuid() + 1):
            with self.assertRaisesRegex(RunError, 'is not private to user'):
                self.enclaves.new('app')

    def test_no_place(self):
        """Neither a missing parent directory nor a long name will do."""
        with self.assertRaisesRegex(RunError, 'cannot make .*No such'):
            enclaves.Enclaves('/none/here').new('app')
        long = self.path.parent / ('x' * 120)
        with self.assertRaisesRegex(RunError, 'too long for sockets'):
            enclaves.Enclaves(long).new('app')
        self.assertEqual(list(long.iterdir()), [])

    def test_leftovers(self):
        """What a dead QEMU left is removed, a starting one is let be."""
        dead, log = self.enclaves.new('app')
        log.close()
        starting, log = self.enclaves.new('app')
        with log:
            self.assertEqual([(e.name, e.state) for e in
                              self.enclaves.known()],
                             [('app', enclaves.State.STARTING)])
            self.assertFalse(dead.place.exists())
            self.assertEqual(list(self.path.iterdir()), [starting.place])

    def test_notes(self):
        """A note hides nothing, and nobody, whatever it holds."""
        place = self.path / 'x'
        place.mkdir(parents=True)
        for text in ('', 'x', '{}', '[]', 'null', '{"name": 1, "begun": "a"}',
                     '{"name": "y", "pid": null, "id": []}'):
            (place / 'note').write_text(text)
            enclave = enclaves.Enclave(place)
            self.assertEqual(enclave.name, 'y' if '"y"' in text else 'x')
            self.assertIsInstance(enclave.begun, int)
            self.assertEqual((enclave.pid, enclave.id), (None, None))

    def test_locked(self):
        """Somebody who keeps the directory locked is named."""
        self.enclaves.private()
        directory = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, directory)
        fcntl.flock(directory, fcntl.LOCK_EX)
        with mock.patch.object(enclaves, 'LOCK_SECONDS', 0):
            with self.assertRaisesRegex(RunError, 'another nitro-run keeps'):
                self.enclaves.new('app')

    def test_nobody(self):
        """Nothing runs: an empty list, and no directory is made."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(cli.main(['--runtime-dir', str(self.path),
                                       'describe-enclaves']), 0)
        self.assertEqual(json.loads(out.getvalue()), [])
        self.assertFalse(self.path.exists())
        with self.assertRaisesRegex(RunError, 'no enclave i-0 runs here'):
            self.enclaves.find(mock.Mock(enclave_id='i-0'))

    def test_identity(self):
        """Instance and slot make the id."""
        file = Path(self.scratch_file('board'))
        with mock.patch.object(enclaves, 'BOARD', file), \
                mock.patch.dict(os.environ):
            for text, other, tag in (
                    (None, '', 'i-0000000000000000'), (None, 'i-12', 'i-12'),
                    ('Not Specified\n', 'i-12', 'i-12'),
                    ('i-05f6ed443a\n', 'i-12', 'i-05f6ed443a')):
                if text:
                    file.write_text(text)
                os.environ['NITRO_INSTANCE_ID'] = other
                enclave = enclaves.Enclave(self.path)
                enclave.learn('app', {'state': 'booted', 'cid': 16,
                                      'slot-uid': 0xabc})
                self.assertEqual(enclave.id, tag + '-enc0000000000000abc')


# Plays QEMU's part until QEMU itself: a driver that is a model, then the
# commands of a test
WRAPPER = '''#!/bin/sh
export LD_PRELOAD=%(fake)s NE_FAKE_VSOCK=%(top)s NE_FAKE_SYS=%(top)s
%(before)s
exec %(qemu)s "$@"
'''
BARRIER = '''echo >> %(top)s/here
while [ $(wc -l < %(top)s/here) -lt 2 ]; do sleep 0.05; done'''


# In the place of run, which stops the program of its QEMU at SIGTERM
ATTENDANT = '''
import signal, subprocess, sys
qemu = subprocess.Popen(['sh', '-c', 'read -r _', 'sh', sys.argv[1]],
                        stdin=subprocess.PIPE)
signal.signal(signal.SIGTERM, lambda *_: qemu.stdin.close())
print(qemu.pid, flush=True)
sys.exit(qemu.wait())
'''


class Processes(QemuBaseTest):
    """Several at once, some of which do not answer: real QEMUs."""

    def setUp(self):
        super().setUp()
        fake = config.OUT / 'tests' / 'qtest' / 'nitro' / 'fake-ne.so'
        if FOREIGN or not fake.exists():
            self.skipTest(f'there is no {fake.name} for {GUEST.name} here')
        self.path = runtime_directory(self)
        self.words = {'fake': fake, 'top': self.path.parent,
                      'qemu': images.emulator(), 'before': ''}
        self.qemu = self.path.parent / 'qemu'
        self.before('')
        self.addCleanup(self.kill_all)

    def before(self, commands):
        """What the next QEMUs do first."""
        self.words['before'] = commands % self.words
        self.qemu.write_text(WRAPPER % self.words)
        self.qemu.chmod(0o755)

    def kill_all(self):
        """Whatever a failed test left."""
        for place in self.path.iterdir() if self.path.exists() else ():
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(enclaves.Enclave(place).pid, signal.SIGKILL)

    def spawn(self, *words):
        """Start a command."""
        return subprocess.Popen(
            [PROGRAM, '--runtime-dir', self.path, *words], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': str(config.BUILD / 'qemu'
                                                 / 'python')})

    def result(self, process, status=0):
        """Its JSON, or None, and its messages."""
        output, errors = process.communicate()
        self.assertEqual(process.returncode, status, errors)
        return json.loads(output) if output else None, errors

    def tool(self, *words, status=0):
        """Run a command to its end."""
        return self.result(self.spawn(*words), status)

    def launching(self, *more, name=()):
        """Start run-enclave."""
        return self.spawn(
            'run-enclave', '--eif-path', images.demo_image(), '--memory',
            '128', '--cpu-count', '2', '--qemu', self.qemu, *name, '--',
            '-M', 'heartbeat=off', *more)

    def run_enclave(self, name):
        """Launch; what it printed."""
        return self.result(self.launching(name=('--enclave-name', name)))[0]

    def place(self, name):
        """The directory of one."""
        return next(place for place in self.path.iterdir()
                    if enclaves.Enclave(place).name == name)

    def hold(self, name, monitor='control'):
        """Be the client of a monitor."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.place(name) / monitor))
        self.addCleanup(client.close)
        return client

    def here(self, *words):
        """Run a command in this process; its status, JSON and messages."""
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(errors):
            status = cli.main(['--runtime-dir', str(self.path), *words])
        return (status, json.loads(out.getvalue() or 'null'),
                errors.getvalue())

    def names(self):
        """What is listed."""
        return [one['EnclaveName']
                for one in self.tool('describe-enclaves')[0]]

    def assert_gone(self, *pids):
        """Neither processes nor files are left."""
        for pid in pids:
            enclave = enclaves.Enclave(self.path)
            enclave.pid = pid
            self.assertIn(enclave.stat(), '-Z')
        self.assertEqual(list(self.path.iterdir()), [])

    def test_stopped(self):
        """One that is stopped hides nobody, and can be ended."""
        first, second = self.run_enclave('one'), self.run_enclave('two')
        os.kill(first['ProcessID'], signal.SIGSTOP)
        told, errors = self.tool('describe-enclaves', status=1)
        self.assertEqual([one['ProcessID'] for one in told],
                         [second['ProcessID']])
        for words in (first['EnclaveID'] + ' (one) does not answer',
                      'process %d is stopped' % first['ProcessID'],
                      'kill -CONT %d' % first['ProcessID']):
            self.assertIn(words, errors)
        _, errors = self.tool('console', '--enclave-name', 'one', status=1)
        self.assertIn('(one) does not answer', errors)
        ended, _ = self.tool('terminate-enclave', '--enclave-name', 'one')
        self.assertEqual((ended['EnclaveID'], ended['Terminated']),
                         (first['EnclaveID'], True))
        self.assertEqual(self.names(), ['two'])
        os.kill(second['ProcessID'], signal.SIGSTOP)
        self.tool('terminate-enclave', '--all')
        self.assert_gone(first['ProcessID'], second['ProcessID'])

    def test_monitor_of_others(self):
        """The user's monitor is the user's: nobody waits for it."""
        told = self.run_enclave('one')
        self.hold('one', 'qmp')
        self.assertEqual(self.names(), ['one'])
        self.tool('terminate-enclave', '--enclave-name', 'one')
        self.assert_gone(told['ProcessID'])

    def test_monitor_is_held(self):
        """Somebody keeps nitro-run's own monitor."""
        told = self.run_enclave('one')
        self.hold('one')
        with mock.patch.object(qmp, 'SECONDS', 1):
            status, listed, errors = self.here('describe-enclaves')
            self.assertEqual((status, listed), (1, []))
            self.assertRegex(errors, r'\(one\) does not answer within 1 s\n'
                             '.*end the program that is connected to '
                             + str(self.place('one') / 'control'))
            other = self.run_enclave('two')
            status, ended, _ = self.here('terminate-enclave', '--all')
        self.assertEqual(status, 0)
        self.assertEqual({one['EnclaveName'] for one in ended},
                         {'one', 'two'})
        self.assert_gone(told['ProcessID'], other['ProcessID'])

    def test_busy(self):
        """A monitor whose queue is full is waited for."""
        self.run_enclave('one')
        clients = [self.hold('one')]
        clients[0].recv(1)      # QEMU has taken it out of the queue
        with self.assertRaises(BlockingIOError):
            while True:
                clients.append(socket.socket(socket.AF_UNIX))
                clients[-1].setblocking(False)
                clients[-1].connect(str(self.place('one') / 'control'))
        slept = []

        async def sleep(_seconds, pause=asyncio.sleep):
            slept.append(len(clients))
            while clients:
                clients.pop().close()
            await pause(0.1)

        with mock.patch.object(qmp, 'sleep', sleep):
            status, listed, errors = self.here('describe-enclaves')
        self.assertGreater(slept[0], 1)
        self.assertEqual((status, errors), (0, ''))
        self.assertEqual([one['EnclaveName'] for one in listed], ['one'])
        self.tool('terminate-enclave', '--all')

    def test_two_at_once(self):
        """Two launches at the same moment get two names."""
        self.before(BARRIER)
        both = [self.launching(), self.launching()]
        told = [self.result(process)[0] for process in both]
        self.assertEqual({one['EnclaveName'] for one in told},
                         {'demo', 'demo_1'})
        self.assertEqual(sorted(self.names()), ['demo', 'demo_1'])
        self.tool('terminate-enclave', '--all')
        self.assert_gone(*(one['ProcessID'] for one in told))

    def test_ambiguous(self):
        """A name that two have is refused."""
        for _ in range(2):
            self.result(self.launching('-name', 'guest=same'))
        for command in ('terminate-enclave', 'console'):
            _, errors = self.tool(command, '--enclave-name', 'same',
                                  status=1)
            self.assertIn('2 enclaves have the name same', errors)
            self.assertEqual(len(re.findall(r'i-\w+-enc\w+ \(same\)',
                                            errors)), 2, errors)
        self.assertEqual(self.names(), ['same', 'same'])
        self.tool('terminate-enclave', '--all')

    def test_orphan(self):
        """--all ends what a launch that was killed left."""
        self.before('echo $$ > %(top)s/here; kill -STOP $$')
        launch = self.launching()
        here = self.path.parent / 'here'
        while not here.exists() or not here.read_text():
            self.assertIsNone(launch.poll())
            time.sleep(0.05)
        launch.kill()
        launch.communicate()
        self.assertEqual(self.names(), [])
        self.tool('terminate-enclave', '--all')
        self.assert_gone(int(here.read_text()))

    def test_without_monitor(self):
        """One whose monitor was removed is neither hidden nor lost."""
        told = self.run_enclave('one')
        (self.place('one') / 'control').unlink()
        listed, errors = self.tool('describe-enclaves', status=1)
        self.assertEqual(listed, [])
        self.assertIn(told['EnclaveID'] + ' (one) cannot be asked: its'
                      ' monitor', errors)
        ended, _ = self.tool('terminate-enclave', '--enclave-name', 'one')
        self.assertEqual(ended['EnclaveID'], told['EnclaveID'])
        self.assert_gone(told['ProcessID'])

    def test_signals(self):
        """A launch that is stopped leaves nothing, and says nothing."""
        for number, before in itertools.product(
                (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
                ('', 'mkfifo %(top)s/fifo 2>&-; : > %(top)s/here;'
                 ' read x < %(top)s/fifo')):
            with self.subTest(number=number, before=before):
                here = self.path.parent / 'here'
                for left in here, self.path.parent / '9000':
                    left.unlink(missing_ok=True)    # of the one before
                self.before(before)
                launch = self.launching('-M', 'heartbeat=on')
                if before:
                    while not here.exists():
                        time.sleep(0.05)
                else:
                    self.wait_started(launch)
                launch.send_signal(number)
                output, errors = launch.communicate()
                self.assertEqual((launch.returncode, output, errors), (
                    128 + number, '', 'Start allocating memory...\n'))
                self.assert_gone()

    def wait_started(self, launched):
        """Until the only enclave waits for its heartbeat."""
        while not any(enclave.state == enclaves.State.UP for enclave in
                      enclaves.Enclaves(self.path).known()):
            self.assertIsNone(launched.poll())
            time.sleep(0.05)        # known() keeps launches waiting

    def test_attended(self):
        """That of run is ended by its run, not by a signal."""
        enclave, log = enclaves.Enclaves(self.path).new('attended')
        with log:
            attendant = subprocess.Popen(
                [sys.executable, '-c', ATTENDANT, enclave.place / 'pid'],
                stdout=subprocess.PIPE, stderr=log, text=True)
        with attendant:
            enclave.pid = int(attendant.stdout.readline())
            enclave.attended = True
            enclave.note()
            status, ended, _ = self.here('terminate-enclave', '--all')
            self.assertEqual((status, [one['EnclaveName'] for one in ended]),
                             (0, ['attended']))
            # The end of its input, for the shell
            self.assertEqual(attendant.wait(), 1)

    def test_deaf(self):
        """One that ignores SIGTERM is killed."""
        enclave, log = enclaves.Enclaves(self.path).new('deaf')
        with log:
            process = subprocess.Popen(
                ['sh', '-c', 'trap "" TERM; echo; read -r _', 'sh',
                 enclave.place / 'pid'], stdin=subprocess.PIPE, stdout=log,
                start_new_session=True)
        self.addCleanup(process.stdin.close)
        threading.Thread(target=process.wait).start()
        enclave.pid = process.pid
        enclave.note()
        while not (enclave.place / 'log').read_text():
            time.sleep(0.05)
        with mock.patch.object(enclaves, 'TERM_SECONDS', 0.5):
            status, ended, _ = self.here('terminate-enclave', '--all')
        self.assertEqual((status, [one['EnclaveName'] for one in ended]),
                         (0, ['deaf']))
        self.assertEqual(process.wait(), -signal.SIGKILL)


class Installed(QemuBaseTest):
    """What is installed works by itself."""

    def install(self, top):
        """Do with the files of nitro-run what the installation does."""
        run = subprocess.run(
            [config.OUT / 'pyvenv/bin/meson', 'introspect', '--installed',
             config.OUT], check=True, stdout=subprocess.PIPE)
        for source, target in json.loads(run.stdout).items():
            source, place = Path(source), Path(top + target)
            if '/contrib/nitro-run/' in str(source) or \
                    source.parts[-2:] == ('qemu', 'qmp'):
                copy = shutil.copytree if source.is_dir() else shutil.copy
                place.parent.mkdir(parents=True, exist_ok=True)
                copy(source, place)
        return next(Path(top).rglob('nitro-run/nitro-run'))

    def test_installed(self):
        """The program finds its modules, and bash its completion."""
        with tempfile.TemporaryDirectory() as top:
            program = self.install(top)
            environment = {'PATH': os.environ['PATH'],
                           'PYTHONDONTWRITEBYTECODE': '1'}
            run = subprocess.run(
                [sys.executable, program, '--runtime-dir', top + '/none',
                 'describe-enclaves'], env=environment, text=True,
                check=True, stdout=subprocess.PIPE)
            self.assertEqual(json.loads(run.stdout), [])
            place = 'share/bash-completion/completions/nitro-run'
            self.assertEqual(len(list(Path(top).rglob(place))), 1)


class Doctor(QemuBaseTest):
    """What an instance lacks, by the files of one that is made up."""

    PCI = 'sys/bus/pci/devices/0000:00:04.0/'
    POOL = 'sys/module/nitro_enclaves/parameters/ne_cpus'
    NODE = 'sys/devices/system/node/node%d/'
    PAGES = NODE + 'hugepages/hugepages-%dkB/'
    CORE = 'sys/devices/system/cpu/cpu%d/topology/thread_siblings_list'
    SOUND = {
        PCI + 'vendor': '0x1d0f', PCI + 'device': '0xe4c1',
        'proc/sys/kernel/osrelease': '6.12.0',
        'dev/nitro_enclaves': '', 'dev/vsock': '', POOL: '2-3',
        CORE % 0: '0-1', CORE % 1: '0-1', CORE % 4: '4-5', CORE % 5: '4-5',
        NODE % 0 + 'cpu0': '', NODE % 1 + 'cpu2': '',
        PAGES % (0, 2048) + 'nr_hugepages': '8',
        PAGES % (0, 2048) + 'free_hugepages': '8',
        PAGES % (1, 2048) + 'nr_hugepages': '32',
        PAGES % (1, 2048) + 'free_hugepages': '32',
        PAGES % (1, 1048576) + 'nr_hugepages': '2',
        PAGES % (1, 1048576) + 'free_hugepages': '1',
        'sys/module/vmw_vsock_virtio_transport/refcnt': '0',
        'proc/buddyinfo': 'Node 0, zone Normal' + ' 9' * 10 + ' 99',
        'proc/71/comm': 'other', 'proc/71/fd/none': ''}

    def findings(self, changes=()):
        """(check, grade) -> (text, command) of what is not sound."""
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        for name, text in {**self.SOUND, **dict(changes)}.items():
            if text is not None:
                path = Path(top.name, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + '\n')
        Path(top.name, 'proc/71/fd/3').symlink_to('anon_inode:ne-vm')
        program = Path(top.name, 'qemu')
        program.write_text('#!/bin/sh\necho QEMU emulator with nitro\n')
        program.chmod(0o755)
        return list(doctor.examine(doctor.Instance(top.name), program))

    def test_sound(self):
        """Nothing to mend; each thing is there with its numbers."""
        found = self.findings()
        self.assertEqual({(f.grade, f.command) for f in found},
                         {(doctor.OK, None)})
        text = '\n'.join(f.text for f in found)
        for part in ('0000:00:04.0', 'Linux 6.12.0', '2 CPUs for enclaves:'
                     ' 2,3', 'node 0: 8 of 8 of 2048 KiB are free',
                     'node 1: 1 of 2 of 1048576 KiB are free',
                     '414 MiB could become', 'other (71)', 'QEMU emulator'):
            self.assertIn(part, text)

    def test_lacks(self):
        """What is missing, one thing at a time: grade and command."""
        gigantic = self.PAGES % (1, 1048576)
        usual = self.PAGES % (1, 2048)
        none = {usual + 'nr_hugepages': '0', usual + 'free_hugepages': '0'}
        tiny = self.PAGES % (1, 64)
        more = 'echo %d > /' + usual + 'nr_hugepages'
        for changes, check, grade, command in (
                ({self.PCI + 'device': '0x0001'}, 'instance', 'fail',
                 'aws ec2 run-instances --enclave-options Enabled=true'),
                ({self.POOL: None}, 'driver', 'fail',
                 'modprobe nitro_enclaves'),
                ({'dev/nitro_enclaves': None}, 'rights', 'fail',
                 'modprobe nitro_enclaves'),
                ({self.POOL: ''}, 'CPU pool', 'fail',
                 'echo 4,5 > /' + self.POOL),
                ({self.POOL: '', self.CORE % 4: None, self.CORE % 5: None},
                 'CPU pool', 'fail', None),
                # Some are in use, or only enclaves of 1 GiB and more fit
                ({usual + 'free_hugepages': '31'}, 'huge pages', 'warn',
                 more % (32 + 256)),
                (none, 'huge pages', 'warn', more % 256),
                ({**none, gigantic + 'nr_hugepages': '0'}, 'huge pages',
                 'fail', more % 256),
                # Those of arm64 that the driver does not take
                ({**none, gigantic + 'nr_hugepages': '0',
                  tiny + 'nr_hugepages': '2048',
                  tiny + 'free_hugepages': '2048'}, 'huge pages', 'fail',
                 more % 256),
                ({'proc/buddyinfo': ''}, 'free memory', 'warn',
                 'echo 1 > /proc/sys/vm/compact_memory'),
                ({'dev/vsock': None}, 'vsock', 'fail',
                 'modprobe vmw_vsock_virtio_transport')):
            with self.subTest(changes=changes):
                self.assertIn((check, grade, command), [
                    (f.check, f.grade, f.command)
                    for f in self.findings(changes)])

    def test_qemu(self):
        """A QEMU without the accelerator, and none."""
        for program, text in (('/bin/echo', 'lacks the accelerator'),
                              ('/none', 'cannot be run')):
            (found,) = doctor.check_qemu(program)
            self.assertEqual(found.grade, doctor.FAIL)
            self.assertIn(text, found.text)
            # Here by building; elsewhere the package, which no archive has
            self.assertRegex(found.command, r'^make -C \S+ install$')
            with mock.patch.object(doctor.Path, 'exists', return_value=False):
                (found,) = doctor.check_qemu(program)
            self.assertEqual(found.command,
                             'apt-get install ./qemu-nitro_*.deb')


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
