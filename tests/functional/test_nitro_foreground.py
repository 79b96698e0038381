#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run run without an enclave: what it makes of an init's frames."""

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted

PROGRAM = (Path(__file__).resolve().parents[2] / 'contrib' / 'nitro-run'
           / 'nitro-run')
sys.path.insert(0, str(PROGRAM.parent))

from nitro_run import cli, foreground, options      # noqa: E402
from nitro_run.agent import Agent, additions        # noqa: E402
from nitro_run.common import RunError               # noqa: E402

HELLO, STATE, OUTPUT, REFUSED = range(1, 5)
ENV, ARG, FILE, GO, STOP, SIGNAL, TAKEN, END = range(16, 24)


def packed(kind, payload=b'', zeros=b'\0\0\0', length=None):
    """A frame."""
    return struct.pack('>B3sI', kind, zeros, len(payload)
                       if length is None else length) + payload


def hello(flags=0):
    """The first frame of a connection."""
    return packed(HELLO, struct.pack('>HH', 1, flags))


def state(kind, value=0, text=b''):
    """How the program is."""
    return packed(STATE, struct.pack('>BI', kind, value) + text)


def output(position, stream, data):
    """What the program has written."""
    return packed(OUTPUT, struct.pack('>QB', position, stream) + data)


def taken(position):
    """The answer to that."""
    return packed(TAKEN, struct.pack('>Q', position))


class Frames(QemuBaseTest):
    """Frames of an init, and the answers."""

    def setUp(self):
        super().setUp()
        self.streams, self.remarks = {1: b'', 2: b''}, []
        self.agent = self.new()

    def new(self, added=()):
        """An agent that keeps what it gets."""
        def write(stream, data):
            self.streams[stream] += data

        return Agent(write, self.remarks.append, added)

    def test_output(self):
        """Both streams, in pieces of any size."""
        data = hello() + output(0, 1, b'one') + output(3, 2, b'two')
        for byte in data:
            self.agent.feed(bytes([byte]))
        self.assertEqual(self.streams, {1: b'one', 2: b'two'})
        self.assertEqual(self.agent.out, taken(3) + taken(6))
        self.assertEqual(self.remarks, [])

    def test_again(self):
        """After a reconnect nothing comes twice, and a gap is reported."""
        self.agent.feed(output(0, 1, b'abc') + output(3, 1, b'd')[:-1])
        self.agent.connected()
        self.assertEqual(self.agent.out, b'')
        self.agent.feed(output(0, 1, b'abc') + output(2, 1, b'cde'))
        self.assertEqual(self.streams[1], b'abcde')
        self.agent.feed(output(15, 1, b'f'))
        self.assertEqual(self.streams[1], b'abcdef')
        self.assertEqual(self.remarks, [
            '10 bytes of output were dropped in the enclave'])

    def test_status(self):
        """The status is what a shell would have."""
        for frame, status, text in (
                (state(2, 7), 7, ''), (state(2, 256 + 3), 3, ''),
                (state(3, 9), 137, ''), (state(4, 0, b'no \x1b[2J'), 125,
                                         'no ?[2J')):
            agent = self.new()
            agent.feed(state(1))
            self.assertFalse(agent.ended)
            agent.feed(frame)
            self.assertTrue(agent.ended)
            self.assertEqual((agent.status, agent.text), (status, text))
            self.assertEqual(agent.out, packed(END))

    def test_additions(self):
        """They come before GO, if the init waits for it."""
        added = additions(['A=1', 'B='], ['x y'])
        agent = self.new(added)
        agent.feed(hello(1))
        self.assertEqual(agent.out, packed(ENV, b'A=1') + packed(ENV, b'B=')
                         + packed(ARG, b'x y') + packed(GO))
        with self.assertRaisesRegex(RunError, 'refused an addition: .A.: no'):
            agent.feed(packed(REFUSED, b"'A': no"))
        with self.assertRaisesRegex(RunError, 'neither variables nor'):
            self.new(added).feed(hello())
        with self.assertRaisesRegex(RunError, 'has 65537 bytes'):
            additions([], ['x' * 65537])
        self.agent.feed(hello(1))
        self.assertEqual(self.agent.out, packed(GO))

    def test_hostile(self):
        """What is not of the protocol ends the conversation."""
        for data in (packed(0), packed(STOP), packed(255), packed(HELLO),
                     packed(STATE, b'\0'), state(5), output(0, 0, b'x'),
                     output(0, 3, b'x'), output((1 << 64) - 1, 1, b'x'),
                     packed(OUTPUT, b'short'), packed(1, zeros=b'\0\0\1'),
                     packed(OUTPUT, length=65537),
                     packed(OUTPUT, length=0xffffffff)):
            with self.assertRaisesRegex(RunError, 'not of the protocol'):
                self.new().feed(data)
        self.assertEqual(self.streams, {1: b'', 2: b''})


class Program(QemuBaseTest):
    """A process in the place of QEMU, and an init in the place of one."""

    def setUp(self):
        super().setUp()
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.place = Path(top.name)
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(str(self.place / 'agent'))
        self.listener.listen()
        self.process = subprocess.Popen(['sleep', 'infinity'])
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.streams = {1: b'', 2: b''}

    def run_with(self, init):
        """The status; @init plays the init on each of its connections."""
        failures = []

        def play():
            try:
                init()
            except BaseException as error:
                failures.append(error)
            finally:
                self.process.kill()

        self.program = foreground.Foreground(self.process, self.place)
        self.program.agent.write = self.write
        self.program.connect()
        thread = threading.Thread(target=play)
        thread.start()
        try:
            return self.program.run()
        finally:
            thread.join()
            self.assertEqual(failures, [])

    def write(self, stream, data):
        """Keep output."""
        self.streams[stream] += data

    def expect(self, sock, data):
        """Read just this."""
        self.assertEqual(sock.recv(len(data), socket.MSG_WAITALL), data)

    def test_end(self):
        """Output over two connections, then the end."""
        def init():
            with self.listener.accept()[0] as sock:
                sock.sendall(hello() + state(1) + output(0, 1, b'one'))
                self.expect(sock, taken(3))
            with self.listener.accept()[0] as sock:
                sock.sendall(hello() + state(1) + output(3, 2, b'two')
                             + state(2, 5))
                self.expect(sock, taken(6) + packed(END))

        self.assertEqual(self.run_with(init), 5)
        self.assertEqual(self.streams, {1: b'one', 2: b'two'})

    @contextlib.contextmanager
    def stopping(self):
        """The init of a program that runs, and that a signal stops."""
        with self.listener.accept()[0] as sock:
            sock.sendall(hello() + state(1) + output(0, 1, b'one'))
            self.expect(sock, taken(3))
            os.kill(os.getpid(), signal.SIGTERM)
            self.expect(sock, packed(STOP))
            yield sock

    def test_stop(self):
        """A signal stops the program, which may end as it likes."""
        def init():
            with self.stopping() as sock:
                sock.sendall(state(2, 4))
                self.expect(sock, packed(END))

        self.assertEqual(self.run_with(init), 4)

    def test_stop_twice(self):
        """The second signal ends QEMU."""
        def init():
            with self.stopping():
                os.kill(os.getpid(), signal.SIGINT)
                self.process.wait()

        self.assertEqual(self.run_with(init), 128 + signal.SIGTERM)

    def test_no_report(self):
        """An enclave that ends without a word."""
        def init():
            self.listener.accept()[0].close()

        with self.assertRaisesRegex(RunError, 'without reporting') as caught:
            self.run_with(init)
        self.assertEqual(caught.exception.status, 125)

    def test_unread_answers(self):
        """An init that does not read makes nothing grow."""
        frames = output(0, 1, b'') * 1000

        def init():
            sent = 0
            with self.listener.accept()[0] as sock:
                sock.setblocking(False)
                while select.select([], [sock], [], 2)[1]:
                    sent += sock.send(frames)
                    self.assertLess(sent, 16 << 20)

        with self.assertRaisesRegex(RunError, 'without reporting'):
            self.run_with(init)
        self.assertLess(len(self.program.agent.out), 2 * foreground.PIECE)


class Arguments(QemuBaseTest):
    """Options of run."""

    def parse(self, *words):
        """Complete options."""
        args = cli.parser().parse_args(['run', *map(str, words)])
        args.more, args.eif_path = [], args.source
        return options.complete_run(args)

    def test_memory(self):
        """What the image needs and its program may, or, where nobody knows
        that, four times the image; unless it is given."""
        image = Path(self.scratch_file('app.eif'))
        for size, mib in ((1, 128), (32 << 20, 128), ((32 << 20) + 1, 129)):
            with open(image, 'wb') as f:
                f.truncate(size)
            self.assertEqual(self.parse(image).memory_mib, mib)
        self.assertEqual(self.parse(image, '--memory', '1G').memory_mib, 1024)
        for minimum, words, mib in ((100, (), 228), (5, (), 133),
                                    (100, ('--memory', '100'), 100)):
            args = self.parse(image, *words)
            args.memory_mib = args.memory_mib if words else None
            options.complete_run(args, minimum)
            self.assertEqual(args.memory_mib, mib)
        args.memory_mib = 99
        with self.assertRaisesRegex(RunError, 'the image needs 100 MiB'):
            options.complete_run(args, 100)
        with self.assertRaisesRegex(RunError, 'cannot read /none'):
            self.parse('/none')

    def test_variables(self):
        """A variable has a value; there may be several."""
        args = self.parse(PROGRAM, '--env', 'A=1', '--env', 'B=2')
        self.assertEqual(foreground.added(args), additions(['A=1', 'B=2'],
                                                           []))
        with self.assertRaisesRegex(RunError, "--env 'A' has no value"):
            foreground.added(self.parse(PROGRAM, '--env', 'A'))


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
