# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Our Python programs with standard files that are closed, full or lost."""

import os
import subprocess
import sys
import threading
import unittest
from unittest import mock

import streams
from testing import OVERLAY

HELP = tuple([name, '--help'] for name in (
    'check-series', 'check-tree', 'compose', 'deb', 'job', 'refresh',
    'run-tests', 'series', '../tests/nitro/fuzz/fuzz'))
LAB = '../contrib/nitro-lab/nitro-lab'
RUN = '../contrib/nitro-run/nitro-run'
# Commands that print something, and need nothing but the tree
COMMANDS = (*HELP, [LAB, 'ps'], [LAB, 'status'], [LAB, 'run', '--help'],
            [RUN, 'doctor'], [RUN, 'doctor', '--json'], [RUN, '--help'],
            [RUN, 'selftest', '--compare', 'parent', 'parent'])
# A program whose thread alone writes
THREAD = '''
import signal, sys, threading
sys.path.insert(0, %r)
import streams
from testing import OVERLAY

def main():
    def stop(_number, _frame):
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=lambda: print('word', flush=True)).start()
    while True:
        signal.pause()

streams.run('thread', main)
'''


class Streams(unittest.TestCase):
    """Each program, each way in which its output is lost."""

    def outcome(self, words, redirection):
        """Status, and what is on stderr."""
        run = subprocess.run(
            ['sh', '-c', '"$0" "$@" ' + redirection,
             os.path.join(OVERLAY, words[0]), *words[1:]],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            stdout=subprocess.DEVNULL, check=False)
        return run.returncode, run.stderr

    def gone(self, words):
        """The same with a pipe that nobody reads."""
        read, write = os.pipe()
        os.close(read)
        with open(write, 'wb') as pipe:
            run = subprocess.run(words, stdin=subprocess.DEVNULL, text=True,
                                 stdout=pipe, stderr=subprocess.PIPE,
                                 check=False)
        return run.returncode, run.stderr

    def test_outputs(self):
        """One line says what is wrong; a reader that goes is no error."""
        for words in COMMANDS:
            name = os.path.basename(words[0])
            for redirection, expected in (
                    ('> /dev/full', ': cannot write the output: No space'
                     ' left on device\n'),
                    ('>&-', ': cannot write the output: Bad file'
                     ' descriptor\n'),
                    ('>&- 2>&-', None), ('2>&1 > /dev/full 2>&1', None)):
                with self.subTest(words=words, redirection=redirection):
                    status, text = self.outcome(words, redirection)
                    self.assertEqual((status, text),
                                     (1, name + expected if expected else ''))
            with self.subTest(words=words):
                self.assertEqual(self.gone([os.path.join(OVERLAY, words[0]),
                                            *words[1:]]),
                                 (streams.READER_GONE, ''))

    def test_no_input(self):
        """Closed, stdin is at its end, and no file gets its number."""
        for words in COMMANDS[-2:]:
            self.assertEqual(self.outcome(words, '<&-'), (0, ''))

    def test_thread(self):
        """A thread that cannot write ends the program."""
        words = [sys.executable, '-c', THREAD % OVERLAY]
        self.assertEqual(self.gone(words), (streams.READER_GONE, ''))

    def test_other_failures(self):
        """Of threads are shown as ever."""
        failure = mock.Mock(exc_type=KeyError)
        with mock.patch.object(threading, '__excepthook__') as shown:
            streams._thread_failed(failure)
        shown.assert_called_once_with(failure)
