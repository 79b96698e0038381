#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run without an enclave: options, files, and what it refuses."""

import argparse
import contextlib
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import config, only_wanted

sys.path.insert(0, str(Path(__file__).resolve().parents[2]
                       / 'contrib' / 'nitro-run'))

from nitro_run import cli, enclaves, launch, options    # noqa: E402
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
                ('{', 'cannot read'), ([], 'no JSON object'),
                ({'memory': 1}, "unknown member 'memory'"),
                ({'memory_mib': '1'}, "'memory_mib' is \"1\", expected"),
                ({'cpu_count': True}, "'cpu_count' is true"),
                ({'cpu_ids': ['1']}, 'no list of numbers'),
                ({'cpu_count': 2}, 'an image and its memory')):
            self.refused(expected, 'run-enclave', '--config',
                         self.config(content))
        self.refused('cannot read', 'run-enclave', '--config', '/none')

    def test_words_for_qemu(self):
        """What follows -- reaches QEMU, the status its caller."""
        seen = []

        def record(args):
            seen.append(args.more)
            raise RunError('no', 'but', status=3)

        errors = io.StringIO()
        with mock.patch.object(cli, 'run_enclave', record), \
                contextlib.redirect_stderr(errors):
            status = cli.main([*GOOD, '--', '-M', 'nitro,heartbeat=off'])
        self.assertEqual((status, seen), (3, [['-M', 'nitro,heartbeat=off']]))
        self.assertEqual(errors.getvalue(), 'nitro-run: no\nnitro-run: but\n')


class CommandLine(QemuBaseTest):
    """What QEMU is called with."""

    def line(self, *words, pages=(None, 256)):
        """The command line, as text."""
        return ' '.join(launch.command_line(parse(*GOOD, *words), 'a,b',
                                            Path('/r,d/x'), 7, pages))

    def test_production(self):
        """No console, and commas are safe."""
        line = self.line()
        for words in ('-accel nitro,debug-mode=off ', '-M nitro ', '-m 256M ',
                      '-smp 2 ', 'guest=a,,b', 'fd=7',
                      'unix:/r,,d/x/qmp,server=on'):
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
        args = parse(*GOOD)
        self.assertEqual(launch.unique_name(args, set()), 'app')
        self.assertEqual(launch.unique_name(args, {'app', 'app_1'}), 'app_2')

    def test_no_qemu(self):
        """A program that is not there, and nothing is left of it."""
        top = runtime_directory(self)
        with self.assertRaisesRegex(RunError, 'cannot run /none: No such'):
            cli.run_enclave(cli.parser().parse_args(
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
            self.enclaves.new()
        self.path.rmdir()
        self.path.symlink_to('/tmp')
        with self.assertRaisesRegex(RunError, 'is not private'):
            self.enclaves.new()

    def test_owner(self):
        """Somebody else's directory is refused."""
        self.enclaves.private()
        with mock.patch.object(os, 'getuid', lambda: os.geteuid() + 1):
            with self.assertRaisesRegex(RunError, 'is not private to user'):
                self.enclaves.new()

    def test_no_place(self):
        """Neither a missing parent directory nor a long name will do."""
        with self.assertRaisesRegex(RunError, 'cannot make .*No such'):
            enclaves.Enclaves('/none/here').new()
        long = self.path.parent / ('x' * 120)
        with self.assertRaisesRegex(RunError, 'too long for sockets'):
            enclaves.Enclaves(long).new()
        self.assertEqual(list(long.iterdir()), [])

    def test_leftovers(self):
        """What a dead QEMU left is removed, a starting one is let be."""
        dead, starting = self.enclaves.new(), self.enclaves.new()
        for place in (dead, starting):
            (place / 'log').touch()
        with open(starting / 'log', 'rb') as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            self.assertEqual(list(self.enclaves.alive()), [])
        self.assertEqual(list(self.path.iterdir()), [starting])

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
        enclave = enclaves.Enclave(self.path)
        enclave.info = {'slot-uid': 0xabc}
        board = Path(self.scratch_file('board'))
        with mock.patch.object(enclaves, 'BOARD', board):
            self.assertEqual(enclave.id, 'i-0000000000000000-encabc')
            board.write_text('i-05f6ed443a\n')
            self.assertEqual(enclave.id, 'i-05f6ed443a-encabc')


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


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
