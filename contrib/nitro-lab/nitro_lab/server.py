# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A running parent, reached from other terminals.

The process that runs a parent listens on a unix socket.  Who connects speaks
with it as with the guest's agent (nitro_lab/agent.py has the frames): the
numbers of jobs are exchanged, everything else goes through.  This socket adds
two frames.  STATUS is answered with JSON.  FORWARD opens a port by a rule of
forward.py; without a rule it closes this connection's ports.  The answer is
JSON: what failed.
"""

import json
import os
import queue
import re
import signal
import socket
import struct
import threading
import time
from pathlib import Path

from .agent import (EXEC, EXIT, FRAME, HELLO, SIGNAL, STDIN, Job, read_frame)
from .arch import GUEST
from .forward import RULE, Forwards

STATUS, FORWARD = 32, 33
SOCKET = 'terminals'
# Output that a terminal may leave waiting; more ends it
BACKLOG_BLOCKS = 4096


class Visitor:
    """One program that is connected."""

    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.jobs, self.blocks = {}, queue.Queue(BACKLOG_BLOCKS)
        for work in (self._write, self._read):
            threading.Thread(target=work, daemon=True).start()
        self.send(0, HELLO, b'')

    def send(self, number, kind, data):
        """A frame for it; never waits."""
        try:
            self.blocks.put_nowait(FRAME.pack(len(data), number, kind) + data)
        except queue.Full:
            self.close()

    def close(self):
        """Let it go."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _write(self):
        while True:
            block = self.blocks.get()
            if block is None:
                return
            try:
                self.sock.sendall(block)
            except OSError:
                self.close()

    def _read(self):
        try:
            while True:
                self._frame(*read_frame(self.sock))
        except (EOFError, OSError):
            pass
        for job in list(self.jobs.values()):
            job.signal(signal.SIGHUP)
        self.server.forwards.remove(self)
        self.blocks.put(None)
        self.sock.close()

    def _frame(self, number, kind, data):
        job = self.jobs.get(number)
        if kind == EXEC and not job:
            self.jobs[number] = Relayed(self, number, data)
            self.server.agent.start(self.jobs[number], data)
        elif kind in (STDIN, SIGNAL) and job:
            self.server.agent.send(job.number, kind, data)
        elif kind == STATUS:
            self.send(number, STATUS, json.dumps(self.server.status())
                      .encode())
        elif kind == FORWARD:
            self.send(number, FORWARD, json.dumps(self._forward(
                data.decode(errors='replace'))).encode())

    def _forward(self, rule):
        if not rule:
            return self.server.forwards.remove(self)
        if not RULE.fullmatch(rule):
            return 'not a rule'
        return self.server.forwards.add(rule, self)


class Relayed(Job):
    """A program that another terminal has started."""

    def __init__(self, visitor, theirs, request):
        words = request[4:].decode(errors='replace').split('\0')[:-1]
        super().__init__(visitor.server.agent, 0, words)
        self.visitor, self.theirs = visitor, theirs

    def frame(self, kind, data):
        if kind == EXIT:
            super().frame(kind, data)
            self.visitor.jobs.pop(self.theirs, None)
        self.visitor.send(self.theirs, kind, data)

    def lost(self):
        super().lost()
        self.visitor.send(self.theirs, EXIT,
                          struct.pack('<I', signal.SIGKILL))


def _read(path):
    """What is in a file of /proc; nothing when its process has ended."""
    try:
        return path.read_bytes().decode(errors='replace')
    except (FileNotFoundError, ProcessLookupError):
        return ''


def _enclave(pid):
    """An enclave's process by its options, or None."""
    words = _read(Path('/proc', pid, 'cmdline')).split('\0')
    options = dict(zip(words, words[1:]))
    name = re.fullmatch(r'enclave-(\d+)', options.get('-name', ''))
    return name and {
        'cid': int(name.group(1)), 'process': int(pid),
        'memory_mib': int(options['-m'].rstrip('M')),
        'vcpus': int(options['-smp'].split(',')[0])}


def enclaves(hypervisor_pid):
    """What runs below a hypervisor process."""
    tasks = Path('/proc/%d/task' % hypervisor_pid)
    found = [_enclave(pid) for children in tasks.glob('*/children')
             for pid in _read(children).split()]
    return sorted(filter(None, found), key=lambda enclave: enclave['cid'])


class Server:
    """Listens for other terminals as long as the parent lives."""

    def __init__(self, parent):
        self.parent, self.agent = parent, parent.agent
        self.begun, self.made_of = time.time(), parent.made_of
        self.forwards = Forwards(parent)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(parent.sockets / SOCKET))
        os.chmod(parent.sockets / SOCKET, 0o600)
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                Visitor(self, self.listener.accept()[0])
            except OSError:
                return

    def status(self):
        """What is known without asking the guest."""
        parent = self.parent
        return {
            'name': parent.name, 'arch': GUEST.name,
            'accelerator': parent.accelerator, 'process': os.getpid(),
            'seconds': round(time.time() - self.begun),
            'cpus': parent.cpus, 'memory_mib': parent.memory_mib,
            'logs': str(parent.dir), 'made_of': self.made_of,
            'programs': [job.argv for job in self.agent.running()],
            'enclaves': enclaves(parent.hypervisor.popen.pid)
            if parent.hypervisor else []}

    def close(self):
        """No more visitors."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
