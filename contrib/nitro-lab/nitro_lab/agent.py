# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Host's end of the command port; guest/agent.c draws the frames."""

import collections
import itertools
import os
import re
import signal
import struct
import threading
import time

from .config import LabError
from .patience import PATIENCE

FRAME = struct.Struct('<III')
EXEC, STDIN, SIGNAL = 1, 2, 3
HELLO, STDOUT, STDERR, EXIT = 16, 17, 18, 19
TERMINAL = 1
CHUNK = 1 << 16

Result = collections.namedtuple('Result', 'status output errors')


class Job:
    """A program running in the guest."""

    def __init__(self, agent, number, argv):
        self.agent, self.number, self.argv = agent, number, argv
        self.changed = threading.Condition()
        self.output, self.errors = bytearray(), bytearray()
        self.status = None          # exit code, or minus the signal
        self.ended = None           # time.monotonic() of the end
        self.follow = None          # called with each block of output
        self.failure = None         # why output is not taken any more
        self.at_end = []            # called at the end

    def frame(self, kind, data):
        """Reader thread: something from the guest."""
        with self.changed:
            if kind == STDOUT:
                self.output += data
            elif kind == STDERR:
                self.errors += data
            elif kind == EXIT:
                wait_status, = struct.unpack('<I', data)
                self.status = os.waitstatus_to_exitcode(wait_status)
                self.ended = time.monotonic()
            self.changed.notify_all()
        if self.follow and kind in (STDOUT, STDERR):
            self.follow(data)
        if kind == EXIT:
            self.call_at_end()

    def call_at_end(self, function=None):
        """Have a function called once the program has ended, or call all."""
        with self.changed:
            if function:
                self.at_end.append(function)
            if self.status is None:
                return
            functions, self.at_end = self.at_end, []
        for function in functions:
            function()

    def lost(self):
        """Reader thread: the guest is gone."""
        with self.changed:
            if self.status is None:
                self.status = -signal.SIGKILL
                self.ended = time.monotonic()
            self.changed.notify_all()

    def wait_until(self, condition, timeout, what):
        """Wait for something that frames of the guest bring about."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise LabError('%s: no %s within %g s\n%s'
                               % (' '.join(self.argv), what, timeout,
                                  self.text()[-2000:]))

    def text(self):
        """All output so far, errors last."""
        return (self.output + self.errors).decode(errors='replace')

    def wait(self, timeout=PATIENCE):
        """Wait for the end; returns the exit status."""
        self.wait_until(lambda: self.status is not None, timeout, 'end')
        return self.status

    def wait_for(self, pattern, timeout=PATIENCE, errors=False):
        """Wait until the output matches; returns the match."""
        found = []

        def seen():
            stream = self.errors if errors else self.output
            found[:] = [re.search(pattern, stream.decode(errors='replace'))]
            return found[0] or self.status is not None

        self.wait_until(seen, timeout, "'%s'" % pattern)
        if not found[0]:
            raise LabError("%s ended (status %s) without '%s'\n%s"
                           % (' '.join(self.argv), self.status, pattern,
                              self.text()[-2000:]))
        return found[0]

    def send(self, data):
        """Input for the program."""
        for at in range(0, len(data), CHUNK):
            self.agent.send(self.number, STDIN, data[at:at + CHUNK])

    def end_input(self):
        """Close the program's stdin."""
        self.agent.send(self.number, STDIN, b'')

    def signal(self, number):
        """Signal the program's process group."""
        self.agent.send(self.number, SIGNAL, struct.pack('<I', number))


def _receive(sock, size):
    data = bytearray()
    while len(data) < size:
        block = sock.recv(size - len(data))
        if not block:
            raise EOFError
        data += block
    return bytes(data)


def read_frame(sock):
    """The next frame: job, type, payload; EOFError when the peer is gone."""
    size, number, kind = FRAME.unpack(_receive(sock, FRAME.size))
    return number, kind, _receive(sock, size)


def exec_request(argv, terminal):
    """Payload of an EXEC frame."""
    flags = struct.pack('<I', TERMINAL if terminal else 0)
    return flags + b''.join(os.fsencode(word) + b'\0' for word in argv)


class Agent:
    """Runs programs in the guest over a connected socket."""

    def __init__(self, sock):
        self.sock = sock
        self.jobs = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.hello = threading.Event()
        self.gone = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while True:
                number, kind, data = read_frame(self.sock)
                job = self.jobs.get(number)
                if kind == HELLO:
                    self._lose_jobs()       # the guest has booted again
                    self.hello.set()
                elif job:
                    job.frame(kind, data)
        except (EOFError, OSError):
            self.gone.set()
            self.hello.set()
            self._lose_jobs()

    def _lose_jobs(self):
        jobs, self.jobs = self.jobs, {}
        for job in jobs.values():
            job.lost()

    def send(self, number, kind, data):
        """One frame to the guest."""
        with self.lock:
            try:
                self.sock.sendall(FRAME.pack(len(data), number, kind) + data)
            except OSError:
                self.gone.set()

    def spawn(self, argv, terminal=False, follow=None):
        """Start a program; a string is a shell command."""
        if isinstance(argv, str):
            argv = ['sh', '-c', argv]
        argv = [str(word) for word in argv]
        job = Job(self, 0, argv)
        job.follow = follow
        return self.start(job, exec_request(argv, terminal))

    def start(self, job, request, kind=EXEC):
        """Start what a frame asks for; returns the job."""
        job.number = next(self.numbers)
        self.jobs[job.number] = job
        self.send(job.number, kind, request)
        if self.gone.is_set():
            job.lost()
        return job

    def running(self):
        """Programs that have not ended."""
        return [job for job in list(self.jobs.values()) if job.status is None]

    def run(self, argv, timeout=PATIENCE, data=b''):
        """Run a program to its end."""
        job = self.spawn(argv)
        job.send(data)
        job.end_input()
        try:
            status = job.wait(timeout)
        except LabError:
            job.signal(signal.SIGKILL)
            raise
        self.jobs.pop(job.number, None)
        return Result(status, job.output.decode(errors='replace'),
                      job.errors.decode(errors='replace'))
