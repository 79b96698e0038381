# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""One vsock port of the parent for all enclaves that run.

The port that an init connects to is part of its image, and so of the
registers: enclaves of one image have the same.  A relay listens on it and
hands each connection to the run whose enclave has made it.  The first run
starts the relay as a process, which ends with the last one.
"""

import contextlib
import errno
import os
import select
import socket
import struct
import subprocess
from pathlib import Path

from .common import RunError
from .enclaves import Enclaves

PROGRAM = Path(__file__).resolve().parents[1] / 'nitro-run'
BACKLOG = 16
# Connections of enclaves that no run has asked for yet; one for each of them
MOST_WAITING = 16
CID = struct.Struct('=I')
# From the relay to a run: with a connection, and when its claim is refused
CONNECTION, REFUSED = b'+', b'!'
REMEDIES = {
    errno.EADDRINUSE: 'the programs of one user share it, this is somebody'
                      ' else (ss --vsock -lp): use --agent-port PORT',
    errno.EAFNOSUPPORT: 'load the driver of vsock: modprobe'
                        ' vmw_vsock_virtio_transport',
    errno.EPERM: 'allow AF_VSOCK in the security profile or container'}


def listen(port):
    """A socket that accepts connections of enclaves."""
    try:
        listener = socket.socket(socket.AF_VSOCK)
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen(BACKLOG)
    except OSError as error:
        raise RunError(f'cannot listen on vsock port {port}: '
                       f'{error.strerror}', REMEDIES.get(error.errno)) \
            from error
    return listener


def peer_cid(address):
    """CID of an enclave that connected."""
    return address[0]


class Line:
    """A run's connection to the relay of a port."""

    def __init__(self, enclaves, port):
        """@enclaves: the runtime directory, in which the relay's socket is."""
        self.enclaves, self.port, self.cid = enclaves, port, None
        self._join()

    def _join(self):
        """Connect to the relay; start it if it does not run."""
        door = self.enclaves.path / f'relay-{self.port}'
        with self.enclaves.alone():
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(str(door))
            except (FileNotFoundError, ConnectionRefusedError):
                self.sock.close()
                self.sock = self._start(door)
        if self.cid is not None:
            self.claim(self.cid)

    def _start(self, door):
        with listen(self.port) as listener, \
                socket.socket(socket.AF_UNIX) as accepts:
            door.unlink(missing_ok=True)
            accepts.bind(str(door))
            accepts.listen()
            ours, first = socket.socketpair()
            with first:
                numbers = [file.fileno() for file in (listener, accepts,
                                                      first)]
                subprocess.Popen(
                    [PROGRAM, '--runtime-dir', self.enclaves.path, 'share-port',
                     str(self.port), *map(str, numbers)], pass_fds=numbers,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, start_new_session=True)
        return ours

    def fileno(self):
        """Readable when take() has something to do."""
        return self.sock.fileno()

    def claim(self, cid):
        """Have the connections of this enclave."""
        self.cid = cid
        # Without a relay take() comes next
        with contextlib.suppress(OSError):
            self.sock.sendall(CID.pack(cid))

    def take(self):
        """A connection of the enclave, or None.

        A relay that was killed is replaced; connections do not suffer.  A
        claim that the relay has refused is an error here.
        """
        data, descriptors = b'', []
        with contextlib.suppress(OSError):
            data, descriptors, _, _ = socket.recv_fds(self.sock, 1, 1)
        if descriptors:
            return socket.socket(fileno=descriptors[0])
        if data == REFUSED:
            raise RunError(f'the enclave with CID {self.cid} is served'
                           ' already, by another nitro-run at vsock port'
                           f' {self.port}',
                           'use the output of that one, or end that one first'
                           ' (pgrep -af nitro-run)')
        if not data:
            self.sock.close()
            self._join()
        return None

    def close(self):
        """Leave; when this was the last run, the port is free afterwards."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            while descriptors := self._rest():
                os.close(descriptors[0])
        self.sock.close()

    def _rest(self):
        return socket.recv_fds(self.sock, 1, 1)[1]


class Relay:
    """The process that has the port."""

    def __init__(self, enclaves, port, sockets, cid_of=peer_cid):
        """@sockets: for enclaves, for runs, and the first run.

        @cid_of: of the address of a peer.
        """
        self.enclaves, self.cid_of = enclaves, cid_of
        self.door = enclaves.path / f'relay-{port}'
        self.listener, self.accepts, first = sockets
        self.runs = {first: None}       # and the CIDs that they claim
        self.waiting = {}               # CID: connection
        first.setblocking(False)
        self.listener.setblocking(False)
        self.accepts.setblocking(False)

    def run(self):
        """Until the last run has left."""
        while self.runs or not self._ended():
            self._step()

    def _step(self):
        readable, _, _ = select.select(
            [self.listener, self.accepts, *self.runs], [], [])
        # An enclave that gives up must not keep us
        with contextlib.suppress(OSError):
            if self.listener in readable:
                self._enclave(*self.listener.accept())
        if self.accepts in readable:
            self._accept()
        for run in readable:
            if run in self.runs:
                self._hear(run)
        self._hand_over()

    def _enclave(self, connection, address):
        """What waits longest makes room."""
        cid = self.cid_of(address)
        old = self.waiting.pop(cid, None)
        if old is None and len(self.waiting) == MOST_WAITING:
            old = self.waiting.pop(next(iter(self.waiting)))
        if old is not None:
            old.close()
        self.waiting[cid] = connection

    def _accept(self):
        with contextlib.suppress(OSError):
            run = self.accepts.accept()[0]
            run.setblocking(False)
            self.runs[run] = None

    def _hear(self, run):
        data = b''
        with contextlib.suppress(OSError):
            data = run.recv(CID.size)
        if len(data) == CID.size:
            self._claim(run, *CID.unpack(data))
            return
        del self.runs[run]
        if self.runs:
            run.close()
        else:
            self.last = run             # closed when the port is free

    def _claim(self, run, cid):
        """An enclave has one connection, so it is for the first who asks."""
        if cid not in self.runs.values():
            self.runs[run] = cid
        elif self.runs[run] != cid:
            with contextlib.suppress(OSError):
                run.send(REFUSED)

    def _hand_over(self):
        for run, cid in self.runs.items():
            if cid in self.waiting:
                with self.waiting.pop(cid) as connection, \
                        contextlib.suppress(OSError):
                    socket.send_fds(run, [CONNECTION], [connection.fileno()])

    def _ended(self):
        """End, unless another run has just come."""
        with contextlib.suppress(RunError), self.enclaves.alone():
            self._accept()
            if not self.runs:
                self.door.unlink(missing_ok=True)
                self.accepts.close()
                self.listener.close()
            self.last.close()
            return not self.runs
        return False


def share_port(args):
    """The command, for Line alone."""
    sockets = [socket.socket(fileno=number) for number in args.sockets]
    Relay(Enclaves(args.runtime_dir), args.port, sockets).run()
    return 0
