# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The network card without guests: frames through it, each way.

We are both ends: the enclave, on the connection that its init would make, and
the program behind -netdev stream.  Both have the same framing.  That back end
writes each frame by itself, so the card is also measured without it: behind a
hub that throws frames away.
"""

import contextlib
import socket
import struct
import tempfile
import time
from pathlib import Path

from . import bench_images as files
from .bench_console import HEARTBEAT, HEARTBEAT_PORT
from .bench_host import MIB, huge_pages
from .bench_launch import memory_for
from .bench_process import Process, beside
from .bench_stats import add, median
from .config import LabError
from .qmp import Qmp, SocketStream

CID = 16
# The port that is the enclave's own
NET_PORT = (9002 << 16) + CID
SIZES = (1500, 65520)       # of packets
ETHERNET = 14               # bytes of a frame before its packet
BLOCK = 256 * 1024
WARM_UP_SECONDS, SECONDS = 0.3, 2
PATIENCE = 10

GBIT_PER_SECOND = 5
ALONE = 'card alone, %d bytes from enclave: per core'
WAYS = ('from', 'to')       # the enclave


def _name(way, size, what):
    return 'card, %d bytes %s enclave: %s' % (size, way, what)


class Card:
    """A launcher whose card is connected at both ends."""

    def __init__(self, process, network, control):
        self.process, self.network = process, network
        self._heartbeat()
        self.enclave = self._dial(NET_PORT)
        self.qmp = Qmp(SocketStream(control))
        while not self.query()['connected']:
            time.sleep(0.001)

    def _dial(self, port):
        """As the enclave connects to a port of the parent."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect('%s/%d' % (self.process.dir, port))
        return sock

    def _heartbeat(self):
        with self._dial(HEARTBEAT_PORT) as sock:
            sock.sendall(HEARTBEAT)
            if sock.recv(1) != HEARTBEAT:
                raise LabError('the heartbeat was not answered')

    def query(self):
        """What QEMU counts."""
        return self.qmp.command('query-nitro-enclave')['network']

    def cpu_seconds(self):
        """Of the thread that has QEMU's main loop, in user and kernel mode."""
        path = Path('/proc/%d/task/%d/schedstat' % (self.process.pid,
                                                    self.process.pid))
        return int(path.read_text().split()[0]) / 1e9

    def close(self):
        """Both ends."""
        for sock in (self.enclave, self.network):
            if sock:
                sock.close()


def _launcher(binary, huge, control, *network):
    memory = memory_for(MIB)
    return Process(binary, [
        '-accel', 'nitro,enclave-cid=%d' % CID, '-M', 'nitro', '-nodefaults',
        '-display', 'none', '-smp', 2, '-m', '%dM' % (memory // MIB),
        '-kernel', files.image(1),
        *network, '-device', 'nitro-net,netdev=net0',
        '-qmp', 'unix:%s,server=on,wait=off' % control], huge)


@contextlib.contextmanager
def _card(binary, huge):
    with tempfile.TemporaryDirectory(prefix='nitro-bench-') as place, \
            socket.socket(socket.AF_UNIX) as listener:
        path, control = place + '/net', place + '/qmp'
        listener.bind(path)
        listener.listen(1)
        with _launcher(binary, huge, control, '-netdev',
                       'stream,id=net0,addr.type=unix,addr.path=' + path
                       ) as process:
            listener.settimeout(PATIENCE)
            card = Card(process, listener.accept()[0], control)
            try:
                yield card
            finally:
                card.close()


@contextlib.contextmanager
def _card_alone(binary, huge):
    with tempfile.TemporaryDirectory(prefix='nitro-bench-') as place, \
            _launcher(binary, huge, place + '/qmp',
                      '-netdev', 'hubport,hubid=0,id=net0',
                      '-netdev', 'hubport,hubid=0,id=net1') as process:
        card = Card(process, None, place + '/qmp')
        try:
            yield card
        finally:
            card.close()


def _frames(size):
    """As many whole frames as a block has room for."""
    frame = struct.pack('>I', size + ETHERNET) + bytes(size + ETHERNET)
    return frame * (BLOCK // len(frame))


def _send(sock, data, stopped):
    view = memoryview(data)
    while not stopped.is_set():
        done = 0
        while done < len(data):
            try:
                done += sock.send(view[done:])
            except TimeoutError:
                if stopped.is_set():
                    return


def _traffic(sock, size):
    """Frames without end, from another thread; the last one is whole."""
    sock.settimeout(0.5)
    return beside(_send, sock, _frames(size))


def _receive(sock, seconds, buffer):
    """Bytes that come in that time, and how long that was indeed."""
    begun, got = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        got += sock.recv_into(buffer)
    return got, time.monotonic() - begun


def _one_way(result, card, way, size):
    ends = [card.enclave, card.network]
    sender, receiver = ends if way == 'from' else reversed(ends)
    receiver.settimeout(PATIENCE)
    buffer = bytearray(BLOCK)
    with _traffic(sender, size):
        _receive(receiver, WARM_UP_SECONDS, buffer)
        used = card.cpu_seconds()
        got, took = _receive(receiver, SECONDS, buffer)
        used = card.cpu_seconds() - used
    gbit = 8 * got / 1e9
    add(result, _name(way, size, 'on the wire'), 'Gbit/s', gbit / took)
    add(result, _name(way, size, 'per core'), 'Gbit/s', gbit / used)


def _alone(result, card, size):
    with _traffic(card.enclave, size):
        time.sleep(WARM_UP_SECONDS)
        used, sent = card.cpu_seconds(), card.query()['sent']
        time.sleep(SECONDS)
        used = card.cpu_seconds() - used
        sent = card.query()['sent'] - sent
    add(result, ALONE % size, 'Gbit/s',
        8 * sent * (size + ETHERNET) / 1e9 / used)


def _round(result, binary, huge):
    """Each in a launch of its own: what one leaves half sent ends with it."""
    for size in SIZES:
        with _card_alone(binary, huge) as card:
            _alone(result, card, size)
        for way in WAYS:
            with _card(binary, huge) as card:
                _one_way(result, card, way, size)
                if card.query()['faults']:
                    raise LabError('the card has seen a bad frame')


def measure(result, binary, rounds):
    """All of it."""
    print('measuring the network card of %s' % binary, flush=True)
    with huge_pages(memory_for(MIB)) as huge:
        for _ in range(rounds):
            _round(result, binary, huge)


def check(result, targets):
    """What was wanted."""
    for name in ALONE % SIZES[0], _name('to', SIZES[0], 'per core'):
        targets.limit(name, 'Gbit/s', median(result, name), GBIT_PER_SECOND)
