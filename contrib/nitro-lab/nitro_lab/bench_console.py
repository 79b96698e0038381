# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The console of a launcher: throughput, a stuck reader, an idle enclave.

We are the enclave: the model of the driver maps vsock to unix sockets.
"""

import contextlib
import os
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path

from . import bench_images as files
from .bench_host import MIB, huge_pages
from .bench_launch import memory_for
from .bench_process import Process, beside
from .bench_stats import add, median
from .config import LabError
from .qmp import Qmp, SocketStream

CONSOLE_PORT = 10000
HEARTBEAT_PORT = 9000
HEARTBEAT = b'\xb7'
CID = 16                    # the first one of the model
BLOCK = MIB
FILE_BYTES = 512 * MIB
QUESTIONS = 2000
IDLE_SECONDS = 10

MIB_PER_SECOND = 300
STALL_MS = 1
QUIET_WAKEUPS = 0


class Enclave:
    """The far end of console and heartbeat of one launch."""

    def __init__(self, binary, chardev, huge):
        self.dir = Path(tempfile.mkdtemp(prefix='nitro-bench-qmp-'))
        memory = memory_for(MIB)
        self.process = Process(binary, [
            '-accel', 'nitro,debug-mode=on', '-M', 'nitro', '-nodefaults',
            '-display', 'none', '-smp', 2, '-m', '%dM' % (memory // MIB),
            '-kernel', files.image(1), '-chardev', chardev,
            '-serial', 'chardev:con',
            '-qmp', 'unix:%s/qmp,server=on,wait=off' % self.dir], huge)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind('%s/0-%d' % (self.process.dir, CONSOLE_PORT + CID))
        self.listener.listen(1)
        self.listener.settimeout(10)
        self.console = self.qmp = None

    def __enter__(self):
        try:
            self.process.__enter__()
            self.console = self.listener.accept()[0]
            self._beat()
            self.qmp = Qmp(SocketStream(self.dir / 'qmp'))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.pid:
            self.process.__exit__()
        for sock in (self.console, self.listener):
            if sock:
                sock.close()
        shutil.rmtree(self.dir)

    def _beat(self):
        with socket.socket(socket.AF_UNIX) as heartbeat:
            heartbeat.connect('%s/%d' % (self.process.dir, HEARTBEAT_PORT))
            heartbeat.settimeout(10)
            heartbeat.sendall(HEARTBEAT)
            if heartbeat.recv(1) != HEARTBEAT:
                raise LabError('the heartbeat was not answered')

    def answer_ms(self, count):
        """How long the main loop takes to answer, sorted."""
        took = []
        for _ in range(count):
            begun = time.monotonic()
            self.qmp.command('query-status')
            took.append((time.monotonic() - begun) * 1000)
        return sorted(took)

    def wakeups(self):
        """How often a thread of it was switched to or from so far."""
        return sum(int(number) for status
                   in Path('/proc/%d/task' % self.process.pid).glob('*/status')
                   for number in re.findall(r'ctxt_switches:\s+(\d+)',
                                            status.read_text()))


def _send(sock, stopped):
    """As much as is taken; one that found no room is not the last."""
    data = bytes(BLOCK)
    while not stopped.is_set():
        with contextlib.suppress(OSError):
            sock.send(data)


def _flood(sock):
    """Send as much as is taken, from another thread."""
    sock.settimeout(0.1)
    return beside(_send, sock)


def percentile(values, percent):
    """Of sorted values."""
    return values[min(len(values) - 1, len(values) * percent // 100)]


def _throughput(result, binary, huge):
    target = files.BENCH / 'console.out'
    with Enclave(binary, 'file,id=con,path=%s' % target, huge) as enclave:
        data = os.urandom(BLOCK)
        begun = time.monotonic()
        for _ in range(FILE_BYTES // BLOCK):
            enclave.console.sendall(data)
        while target.stat().st_size < FILE_BYTES:
            if time.monotonic() > begun + 60:
                raise LabError('the console lost output: %d of %d bytes are '
                               'in the file' % (target.stat().st_size,
                                                FILE_BYTES))
            time.sleep(0.0002)
        took = time.monotonic() - begun
    target.unlink()
    add(result, 'console to a file', 'MiB/s', FILE_BYTES / MIB / took)


def _stall(result, binary, huge):
    """A client of the console that never reads."""
    with tempfile.TemporaryDirectory(prefix='nitro-bench-') as directory, \
            socket.socket(socket.AF_UNIX) as stuck:
        path = directory + '/con'
        chardev = 'socket,id=con,path=%s,server=on,wait=off' % path
        with Enclave(binary, chardev, huge) as enclave:
            for title, flooded in (('idle', False), ('stuck reader', True)):
                if flooded:
                    stuck.connect(path)
                with _flood(enclave.console) if flooded \
                        else contextlib.nullcontext():
                    took = enclave.answer_ms(QUESTIONS)
                add(result, 'QMP answer, %s: median' % title, 'ms',
                    percentile(took, 50))
                add(result, 'QMP answer, %s: p99' % title, 'ms',
                    percentile(took, 99))


def _idle(result, binary, huge):
    """Booted, connected, nothing to do."""
    with Enclave(binary, 'null,id=con', huge) as enclave:
        time.sleep(1)
        before = enclave.wakeups()
        time.sleep(IDLE_SECONDS)
        add(result, 'idle enclave: wakeups in %d s' % IDLE_SECONDS, 'times',
            enclave.wakeups() - before)


def measure(result, binary, rounds):
    """All of it."""
    with huge_pages(memory_for(MIB)) as huge:
        print('measuring the console of %s' % binary, flush=True)
        for _ in range(rounds):
            _throughput(result, binary, huge)
            _stall(result, binary, huge)
        _idle(result, binary, huge)


def check(result, targets):
    """What was wanted."""
    targets.limit('console to a file', 'MiB/s',
                  median(result, 'console to a file'), MIB_PER_SECOND)
    flooded = median(result, 'QMP answer, stuck reader: p99')
    idle = median(result, 'QMP answer, idle: median')
    targets.limit('main loop held up by a stuck reader: p99', 'ms',
                  None if flooded is None else max(flooded - idle, 0),
                  STALL_MS)
    name = 'idle enclave: wakeups in %d s' % IDLE_SECONDS
    targets.limit(name, 'times', median(result, name), QUIET_WAKEUPS)
