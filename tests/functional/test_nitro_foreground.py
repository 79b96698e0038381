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
from argparse import ArgumentTypeError
from pathlib import Path
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted

PROGRAM = (Path(__file__).resolve().parents[2] / 'contrib' / 'nitro-run'
           / 'nitro-run')
sys.path.insert(0, str(PROGRAM.parent))

from nitro_run import attached, cli, foreground, network    # noqa: E402
from nitro_run import options, relay                # noqa: E402
from nitro_run.agent import Agent, additions        # noqa: E402
from nitro_run.common import RunError               # noqa: E402
from nitro_run.enclaves import Enclaves             # noqa: E402

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


class Listener:
    """In the place of a relay: hands over who connects to it."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.fileno, self.close = self.listener.fileno, self.listener.close

    def take(self):
        """The next one."""
        return self.listener.accept()[0]


class Init(QemuBaseTest):
    """An init in the place of one."""

    def setUp(self):
        super().setUp()
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.path = Path(top.name, 'agent')
        self.line = Listener(self.path)
        self.addCleanup(self.line.close)
        self.streams, self.remarks = {1: b'', 2: b''}, []

    def served(self):
        """What serves it."""
        raise NotImplementedError

    def init_ended(self):
        """What follows its end."""

    def dial(self):
        """The init's next connection."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        return sock

    def run_with(self, init):
        """The status; @init plays the init on each of its connections."""
        failures = []

        def play():
            try:
                init()
            except BaseException as error:
                failures.append(error)
            finally:
                self.init_ended()

        self.program = self.served()
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

    @contextlib.contextmanager
    def stopping(self):
        """The init of a program that runs, and that a signal stops."""
        with self.dial() as sock:
            sock.sendall(hello() + state(1) + output(0, 1, b'one'))
            self.expect(sock, taken(3))
            os.kill(os.getpid(), signal.SIGTERM)
            self.expect(sock, packed(STOP))
            yield sock

    def check_stop(self):
        """A signal stops the program, whose status is the result."""
        def init():
            with self.stopping() as sock:
                sock.sendall(state(2, 4))
                self.expect(sock, packed(END))

        self.assertEqual(self.run_with(init), 4)


class Program(Init):
    """A process in the place of QEMU."""

    def setUp(self):
        super().setUp()
        self.start_process()

    def start_process(self):
        """The next one."""
        self.process = subprocess.Popen(['sleep', 'infinity'])
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)

    def served(self):
        return foreground.Foreground(
            self.process, self.line, Agent(self.write, self.remarks.append))

    def init_ended(self):
        self.process.kill()

    def test_end(self):
        """Output over two connections, then the end."""
        def init():
            with self.dial() as sock:
                sock.sendall(hello() + state(1) + output(0, 1, b'one'))
                self.expect(sock, taken(3))
            with self.dial() as sock:
                sock.sendall(hello() + state(1) + output(3, 2, b'two')
                             + state(2, 5))
                self.expect(sock, taken(6) + packed(END))

        self.assertEqual(self.run_with(init), 5)
        self.assertEqual(self.streams, {1: b'one', 2: b'two'})

    def test_stop(self):
        """A signal stops the program, which may end as it likes."""
        self.check_stop()

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
            self.dial().close()

        with self.assertRaisesRegex(RunError, 'without reporting') as caught:
            self.run_with(init)
        self.assertEqual(caught.exception.status, 125)
        self.assertIn("'agent' port", caught.exception.remedy)

    def test_died(self):
        """An enclave whose init was heard has the right init and port."""
        for frames in hello(), hello() + state(1), output(0, 1, b'one'):
            self.start_process()

            def init(said=frames):
                with self.dial() as sock:
                    sock.sendall(said)

            with self.assertRaisesRegex(
                    RunError, 'ended before its init reported how the program'
                    ' ended.*rebooted or powered off.*panicked') as caught:
                self.run_with(init)
            self.assertEqual(caught.exception.status, 125)
            self.assertNotIn('agent', caught.exception.remedy)
            self.assertIn('run --debug', caught.exception.remedy)

    def test_unread_answers(self):
        """An init that does not read makes nothing grow."""
        frames = output(0, 1, b'') * 1000

        def init():
            sent = 0
            with self.dial() as sock:
                sock.setblocking(False)
                while select.select([], [sock], [], 2)[1]:
                    sent += sock.send(frames)
                    self.assertLess(sent, 16 << 20)

        with self.assertRaisesRegex(RunError, 'ended before its init'):
            self.run_with(init)
        self.assertLess(len(self.program.agent.out), 2 * foreground.PIECE)


class Attached(Init):
    """An enclave of another launcher: its end is that of its connection."""

    def served(self):
        return attached.Attached(16, self.line, Agent(self.write,
                                                      self.remarks.append))

    def test_end(self):
        """Two connections; the end of the second one comes after the end."""
        def init():
            with self.dial() as sock:
                sock.sendall(hello() + state(1) + output(0, 1, b'one'))
                self.expect(sock, taken(3))
            with self.dial() as sock:
                sock.sendall(hello() + output(3, 2, b'two') + state(3, 9))
                self.expect(sock, taken(6) + packed(END))

        self.assertEqual(self.run_with(init), 128 + 9)
        self.assertEqual(self.streams, {1: b'one', 2: b'two'})

    def test_stop(self):
        """A signal stops the program."""
        self.check_stop()

    def test_stop_twice(self):
        """After a second signal the enclave is left to itself."""
        def init():
            with self.stopping() as sock:
                os.kill(os.getpid(), signal.SIGINT)
                self.assertEqual(sock.recv(1), b'')

        self.assertEqual(self.run_with(init), 128 + signal.SIGTERM)

    def test_lost(self):
        """Without a connection, and a report, it is given up."""
        def init():
            self.dial().close()

        with mock.patch.object(attached, 'LOST_SECONDS', 0), \
                self.assertRaisesRegex(RunError, 'without reporting') as found:
            self.run_with(init)
        self.assertEqual(found.exception.status, 125)
        self.assertIn("'agent' port", found.exception.remedy)

    def test_died(self):
        """One that was heard has the right init and port."""
        def init():
            with self.dial() as sock:
                sock.sendall(hello() + state(1))

        with mock.patch.object(attached, 'LOST_SECONDS', 0), \
                self.assertRaisesRegex(RunError, 'CID 16 has ended.*before its'
                                       ' init reported how the program ended'
                                       '.*rebooted') as found:
            self.run_with(init)
        self.assertEqual(found.exception.status, 125)
        self.assertNotIn("'agent' port", found.exception.remedy)
        self.assertIn('console', found.exception.remedy)

    def test_stays_open(self):
        """An enclave that does not end does not hold up the status."""
        def init():
            with self.dial() as sock:
                sock.sendall(hello() + state(2, 5))
                while sock.recv(100):
                    pass

        with mock.patch.object(attached, 'LOST_SECONDS', 0):
            self.assertEqual(self.run_with(init), 5)

    def test_ids(self):
        """An ID is looked up, also among those of nitro-cli."""
        with tempfile.TemporaryDirectory() as top:
            program = Path(top, 'nitro-cli')
            program.write_text('#!/bin/sh\necho "[{\\"EnclaveID\\": \\"i-1\\",'
                               ' \\"EnclaveCID\\": 19}]"\n')
            program.chmod(0o755)
            args = cli.parser().parse_args(
                ['--runtime-dir', top + '/run', 'relay', '--enclave-id',
                 'i-1'])
            with mock.patch.object(attached, 'NITRO_CLI', str(program)):
                self.assertEqual(attached._cid(args), 19)
                args.enclave_id = 'i-2'
                with self.assertRaisesRegex(RunError, 'no enclave i-2 runs'):
                    attached._cid(args)


class Shared(QemuBaseTest):
    """A relay, with a socket in the place of a port.

    Who connects says its CID by the name of its own socket.
    """

    def setUp(self):
        super().setUp()
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.top = Path(top.name)
        self.enclaves = Enclaves(self.top / 'run')
        self.port, self.relays = self.top / 'port', []
        for name, fake in (('listen', self.listen), ('PROGRAM', None)):
            patch = mock.patch.object(relay, name, fake)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.object(relay.subprocess, 'Popen', self.start)
        patch.start()
        self.addCleanup(patch.stop)
        self.addCleanup(self.join_all)

    def listen(self, _port):
        """As relay.listen()."""
        self.port.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.port))
        listener.listen()
        return listener

    def start(self, words, pass_fds, **_options):
        """A relay as a thread."""
        self.assertEqual(words[3:5], ['share-port', '9001'])
        self.relays.append(threading.Thread(target=relay.Relay(
            self.enclaves, 9001, [socket.socket(fileno=os.dup(number))
                                  for number in pass_fds],
            lambda address: int(Path(address).name)).run))
        self.relays[-1].start()

    def join_all(self):
        """Each has to end."""
        for thread in self.relays:
            thread.join()

    def line(self, cid=None):
        """A run."""
        line = relay.Line(self.enclaves, 9001)
        self.addCleanup(line.close)
        if cid:
            line.claim(cid)
        return line

    def dial(self, cid):
        """An enclave connects."""
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        (self.top / str(cid)).unlink(missing_ok=True)
        sock.bind(str(self.top / str(cid)))
        sock.connect(str(self.port))
        return sock

    def check_connected(self, line, sock):
        """What this enclave sends reaches this run."""
        sock.sendall(b'hello')
        select.select([line], [], [])
        with line.take() as taken:
            self.assertEqual(taken.recv(5), b'hello')

    def test_two(self):
        """Each gets its own enclave's, those from before, and the next."""
        one, two = self.line(16), self.line()
        self.check_connected(one, self.dial(16))
        early, stranger = self.dial(17), self.dial(18)
        two.claim(17)
        self.check_connected(two, early)
        self.check_connected(one, self.dial(16))
        self.assertEqual(len(self.relays), 1)
        one.close()
        self.check_connected(two, self.dial(17))
        two.close()
        self.assertEqual(stranger.recv(1), b'')
        self.assertFalse((self.enclaves.path / 'relay-9001').exists())
        self.check_connected(self.line(19), self.dial(19))
        self.assertEqual(len(self.relays), 2)

    def test_claimed(self):
        """An enclave that is served already: the second one is refused, and the
        first one does not notice."""
        one, two = self.line(16), self.line()
        two.claim(16)
        self.assertTrue(select.select([two], [], [], 10)[0], 'no answer')
        with self.assertRaisesRegex(
                RunError, 'CID 16 is served already, by another nitro-run at'
                ' vsock port 9001') as caught:
            two.take()
        self.assertEqual(caught.exception.status, 1)
        self.assertIn('end that', caught.exception.remedy)
        two.close()
        self.check_connected(one, self.dial(16))
        one.close()
        three = self.line(16)
        self.check_connected(three, self.dial(16))

    def test_strangers(self):
        """Connections that nobody wants are bounded."""
        line = self.line(1)
        socks = [self.dial(100 + number)
                 for number in range(relay.MOST_WAITING + 1)]
        self.assertEqual(socks[0].recv(1), b'')
        again = self.dial(101)
        self.assertEqual(socks[1].recv(1), b'')
        line.claim(101)
        self.check_connected(line, again)

    def test_killed(self):
        """A relay that dies is replaced."""
        line = self.line()
        with line.sock:
            line.sock = socket.socketpair()[0]      # whose peer is gone
            line.claim(16)
            self.assertIsNone(line.take())
        self.check_connected(line, self.dial(16))


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


def children():
    """Processes that this one has started and not seen ending."""
    return [pid for task in Path('/proc/self/task').iterdir()
            for pid in (task / 'children').read_text().split()]


def image_with(config):
    """What an image with nitro-init has: a file in a ramdisk, anywhere."""
    name, data = b'nitro/config\0', config.encode()
    head = b'070701' + b'00000000' * 6 + b'%08x' % len(data) + (
        b'00000000' * 4) + b'%08x' % len(name) + b'00000000' + name
    # Its name is in the init as well
    return b'.eif /nitro/config\0' + head.ljust(124, b'\0') + data + b'070701'


class Network(QemuBaseTest):
    """Options -p and --net."""

    def setUp(self):
        super().setUp()
        device = mock.patch.object(network, 'DEVICE', os.devnull)
        device.start()
        self.addCleanup(device.stop)
        self.image = Path(self.scratch_file('app.eif'))
        self.image.write_bytes(image_with('net dhcp\n'))

    @staticmethod
    def parse(*words):
        """Options of run."""
        return cli.parser().parse_args(['run', 'app.tar', *words])

    def checked(self, *words):
        """The same, complete; nobody listens."""
        args = self.parse(*words)
        with mock.patch.object(network.Port, 'check_free'):
            network.check(args)
        return args

    def options(self, *words):
        """QEMU's options for the card."""
        args = self.checked(*words)
        args.eif_path = self.image
        with network.card(args) as (found, descriptors):
            self.assertEqual(descriptors, [])
            return found

    def test_ports(self):
        """As docker writes them; what would be something else is refused."""
        for text, shown in (
                ('80', '127.0.0.1:80->80/tcp'),
                ('8080:80', '127.0.0.1:8080->80/tcp'),
                ('8080:80/tcp', '127.0.0.1:8080->80/tcp'),
                ('53:5353/udp', '127.0.0.1:53->5353/udp'),
                ('0.0.0.0:1:65535', '0.0.0.0:1->65535/tcp')):
            self.assertEqual(str(network.port(text)), shown)
            self.assertEqual(str(network.port(network.port(text).option())),
                             shown)
        for text in ('', '0', '65536:1', '1:0', '1:', ':1', '1.2.3.4::80',
                     '[::1]:80:80', '127.1:80:80', 'host:80:80', '1-2:1-2',
                     '80/sctp', '80,', '80,hostfwd=tcp::1-:1', '\u0668\u0660',
                     '1.2.3.4,x:80:80', '-80', '80 ', '300.0.0.1:1:1'):
            with self.assertRaises(ArgumentTypeError, msg=text):
                network.port(text)
        for text in ('', 'bridge', 'tap', 'tap=', 'tap=a/b', 'tap=' + 'x' * 16):
            with self.assertRaises(ArgumentTypeError, msg=text):
                network.network(text)

    def test_card(self):
        """What QEMU gets."""
        self.assertEqual(self.options(), [])
        self.assertEqual(
            self.options('-p', '8080:80', '-p', '0.0.0.0:53:53/udp'),
            ['-netdev', 'user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,'
             'hostfwd=udp:0.0.0.0:53-:53', '-device',
             'nitro-net,netdev=net0,port=9002'])
        self.assertEqual(
            self.options('-p8080:80', '--listen', '0.0.0.0')[1],
            'user,id=net0,hostfwd=tcp:0.0.0.0:8080-:80')
        self.image.write_bytes(image_with(
            'net static\nnet-address fd00::2/64\nnet-address 10.9.0.2/24\n'
            'net-address 10.0.2.16/24\n'))
        self.assertEqual(
            self.options('-p8080:80')[1],
            'user,id=net0,hostfwd=tcp:127.0.0.1:8080-10.0.2.16:80')
        with mock.patch.object(network, '_check_tap'):
            self.image.write_bytes(image_with('net dhcp\nnet-port 9003\n'))
            self.assertEqual(
                self.options('--net', 'tap=a,b'),
                ['-netdev', 'tap,id=net0,script=no,downscript=no,ifname=a,,b',
                 '-device', 'nitro-net,netdev=net0,port=9003'])

    def test_passt(self):
        """It has the other end of what QEMU gets, and ends with it."""
        passt = Path(self.scratch_file('passt'))
        passt.write_text(f'#!{sys.executable}\nimport os, signal, sys\n'
                         'os.write(int(sys.argv[4]), " ".join(sys.argv[1:])'
                         '.encode())\nsignal.pause()\n')
        passt.chmod(0o755)
        path = {'PATH': f'{passt.parent}:{os.environ["PATH"]}'}
        args = self.checked('--net', 'passt', '-p', '8080:80')
        args.eif_path = self.image
        with mock.patch.dict(os.environ, path), \
                network.card(args) as (words, (ours,)):
            self.assertEqual(words[1], 'stream,id=net0,server=off,'
                             f'addr.type=fd,addr.str={ours}')
            self.assertRegex(os.read(ours, 999).decode(),
                             '^--foreground --quiet --fd [0-9]+ '
                             '-t 127.0.0.1/8080:80 -u none$')
            there, = children()
        self.assertEqual(children(), [], there)
        with mock.patch.dict(os.environ, PATH='/none'), \
                self.assertRaisesRegex(RunError, 'cannot run passt'):
            with network.card(args):
                pass

    def test_refused(self):
        """Before anything is built or started."""
        for words, text in (
                (('-p80', '--net', 'none'), 'of its own, not --net none'),
                (('-p80', '--net', 'tap=x'), '-p needs a network'),
                (('-p80:1', '-p', '0.0.0.0:80:2'), 'another -p has that'),
                (('--net', 'tap=nobody'), 'nobody does not exist'),
                (('--net', 'tap=lo'), 'lo is not a TAP device')):
            with self.assertRaisesRegex(RunError, text):
                self.checked(*words)
        self.checked('-p80:1', '-p80:1/udp', '-p127.0.0.2:80:1')
        with mock.patch.object(network, 'DEVICE', '/none'), \
                self.assertRaisesRegex(RunError, 'lab has --net user only'):
            self.checked('--net', 'passt')

    def test_in_use(self):
        """A port at which somebody listens, and one that is free."""
        for kind, number in network.KINDS.items():
            with socket.socket(socket.AF_INET, number) as other:
                other.bind((network.LOOPBACK, 0))
                if kind == 'tcp':
                    other.listen()
                args = self.parse('-p%d:80/%s' % (other.getsockname()[1],
                                                  kind))
                with self.assertRaisesRegex(RunError, 'in use'):
                    network.check(args)

    def test_settings(self):
        """What an image has in addition, but for what its user gives."""
        settings, net = network.settings, 'net dhcp\n'
        self.assertEqual(settings(self.checked()), '')
        self.assertEqual(settings(self.checked('--net', 'user')), net)
        args = self.checked('-p80')
        self.assertEqual(settings(args, 'a b\nnet static\n'), '')
        self.assertEqual(settings(args, 'net-port 9\n'), net)

    def test_image(self):
        """One that has no network."""
        image = self.image
        for config, words, text in (
                ('exec a\n', (), None), ('exec a\n', ('-p80',), 'no network'),
                ('net off\n', ('-p80',), 'no network'),
                ('net static\nnet-address fd00::2/64\n', ('-p80',),
                 'only .*fd00::2/64, .*IPv4'),
                ('net static\nnet-address fd00::2/64\n', ('--net', 'user'),
                 None),
                ('net static\nnet-address 10.9.0.2/24\n', ('-p80',),
                 'only .*10.9.0.2/24, .* in 10.0.2.0/24, leads nowhere'),
                ('net static\nnet-address 10.9.0.2/24\n',
                 ('-p80', '--net', 'passt'), None),
                ('net static\nnet-address fd00::2/64\n'
                 'net-address 10.0.2.15/24\n', ('-p80',), None)):
            image.write_bytes(image_with(config))
            args = self.checked(*words)
            # As in the lab's parent
            args.source, args.origin = image, 'my.eif'
            with self.assertRaisesRegex(RunError, 'my.eif .*' + text) \
                    if text else contextlib.nullcontext():
                network.check_image(args)
        # Another init: nobody knows
        image.write_bytes(b'.eif' + b'nitro/config\0' * 9)
        args.publish = [network.port('80')]
        network.check_image(args)

    def test_given_settings(self):
        """Settings for an image that is built, before it is built."""
        path = Path(self.scratch_file('mine'))
        for text, words, cause, remedy in (
                ('net off\n', ('-p80',), "'net off', so -p"
                 ' 127.0.0.1:80:80/tcp leads nowhere', "'net dhcp'"),
                ('net off\n', ('--net', 'user'), "'net off', so --net user",
                 'leave --net out'),
                ('net static\nnet-address fd00::2/64\n', ('-p80',),
                 'only .*fd00::2/64, .*IPv4', "'net-address 10.0.2.15/24'"),
                ('net static\n', ('-p80',), None, ''),
                ('net off\n', (), None, ''),
                ('net dhcp\n', ('-p80',), None, ''),
                ('umask 7\n', ('-p80',), None, '')):
            path.write_text(text)
            args = self.checked('--settings', str(path), *words)
            if cause is None:
                network.check_settings(args, text)
                continue
            with self.assertRaisesRegex(RunError, 'app.tar with --settings'
                                        f' {path} .*{cause}') as caught:
                network.check_settings(args, text)
            self.assertIn(remedy, caught.exception.remedy)
            self.assertNotIn('container', caught.exception.remedy)


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
