# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A vsock port of the parent that leads to a unix socket of this machine, as
AWS's vsock-proxy leads to a host of the network.

guest/vsock-proxy.c accepts the enclaves.  For each of their connections a
relay runs in the parent, whose input and output are the connection; one relay
always waits for the next one.
"""

import collections
import contextlib
import itertools
import logging
import signal
import socket
import threading

from .agent import EXIT, STDOUT, Job, exec_request
from .patience import PATIENCE

LOG = logging.getLogger('nitro-lab')
CONNECTIONS_MAX = 16
QUEUED_MAX = 4 << 20        # bytes of an enclave that the server does not take
RELAY = '/run/lab-proxy-%d'
_numbers = itertools.count(1)


class Channel(Job):
    """A relay: bytes of an enclave, none of which is kept."""

    def __init__(self, agent, argv):
        super().__init__(agent, 0, argv)
        self.blocks, self.queued = collections.deque(), 0
        self.excess = False
        agent.start(self, exec_request(argv, False))

    def frame(self, kind, data):
        """Reader thread: something from the guest."""
        if kind == STDOUT:
            self._take(data)
        elif kind == EXIT:
            super().frame(kind, data)
            self.agent.jobs.pop(self.number, None)

    def _take(self, data):
        with self.changed:
            self.queued += len(data)
            self.excess = self.excess or self.queued > QUEUED_MAX
            if not self.excess:
                self.blocks.append(data)
            self.changed.notify_all()
        if self.excess:
            self.signal(signal.SIGKILL)

    def receive(self):
        """The next bytes; none at the end."""
        with self.changed:
            self.changed.wait_for(lambda: self.blocks
                                  or self.status is not None)
            if not self.blocks or self.excess:
                return b''
            data = self.blocks.popleft()
            self.queued -= len(data)
            return data

    def line(self):
        """The first line, and what came behind it; none at the end."""
        data = b''
        while b'\n' not in data:
            block = self.receive()
            if not block:
                return None, b''
            data += block
        line, _, rest = data.partition(b'\n')
        return line.decode(), rest


class Proxy:
    """Serves a port of a parent until that ends."""

    def __init__(self, parent, port, connect):
        """@connect: returns a connected socket, or raises OSError."""
        self.parent, self.port, self.connect = parent, port, connect
        self.relay = RELAY % next(_numbers)
        self.free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self.listener = parent.spawn(['lab', 'vsock', 'proxy', port,
                                      self.relay])
        self.listener.wait_for('listening')
        self._wait_for_next()

    def close(self):
        """Listen no longer; connections go on."""
        self.listener.signal(signal.SIGKILL)
        self.listener.wait(PATIENCE)

    def _wait_for_next(self):
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        """One connection, from before it is there to its end."""
        with self.free:
            if self.listener.status is not None:
                return
            channel = Channel(self.parent.agent, ['lab', 'relay', self.relay])
            self.listener.call_at_end(lambda: channel.signal(signal.SIGKILL))
            cid, rest = channel.line()
            if cid is None:
                return
            self._wait_for_next()
            try:
                self._relay(channel, rest)
            except OSError as error:
                LOG.warning('vsock port %d, enclave CID %s: %s', self.port,
                            cid, error)
            channel.signal(signal.SIGKILL)

    def _relay(self, channel, data):
        with contextlib.closing(self.connect()) as server:
            threading.Thread(target=self._answers, args=(server, channel),
                             daemon=True).start()
            with contextlib.suppress(ConnectionError):
                while data or (data := channel.receive()):
                    server.sendall(data)
                    data = b''
                server.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _answers(server, channel):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                channel.send(data)
        channel.end_input()
