# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""One QEMU on a driver that is a model, and what it reports of the launch."""

import contextlib
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

from .config import LabError, OUT

FAKE = OUT / 'tests' / 'qtest' / 'nitro' / 'fake-ne.so'
LOAD_OFFSET = 8 << 20
PATIENCE = 60


@contextlib.contextmanager
def beside(function, *args):
    """Run function(*args, stopped) in another thread until the end, at which
    the event @stopped is set."""
    stopped = threading.Event()
    thread = threading.Thread(target=function, args=(*args, stopped))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


# Moments of a launch, in order: what ends there, request that begins then
STEPS = (('exec to main', 'load'), ('main to enclave', 'CREATE_VM'),
         ('machine', 'GET_IMAGE_LOAD_INFO'),
         ('load', 'SET_USER_MEMORY_REGION'), ('donate, vCPUs',
                                              'START_ENCLAVE'))


class Times:
    """What the model wrote at START."""

    def __init__(self, text, begun_ns):
        self.begun_ns = begun_ns
        self.requests = [(name, int(begin), int(end)) for name, begin, end
                         in re.findall(r'^([A-Z_]+) (\d+) (\d+)$', text, re.M)]
        self.loaded_ns = int(re.search(r'^load (\d+)$', text, re.M).group(1))
        self.text = text

    def own_ms(self):
        """From exec to START, without the time the driver took."""
        driver = sum(end - begin for _, begin, end in self.requests[:-1])
        return (self.requests[-1][1] - self.begun_ns - driver) / 1e6

    def kib(self, name):
        """A line of the process's status, 0 without it."""
        found = re.search(r'^%s:\s+(\d+) kB' % name, self.text, re.M)
        return int(found.group(1)) if found else 0

    def beside_mib(self):
        """Peak memory beside that of the enclave.

        Huge pages do not count as resident, memory files of ordinary pages
        do so as shared ones.
        """
        return (self.kib('VmHWM') - self.kib('RssShmem')) / 1024

    def steps(self):
        """(step, ms) in order; the time of a request is the driver's."""
        at, found = self.begun_ns, []
        for name, until in STEPS:
            moments = ([(self.loaded_ns, self.loaded_ns)] if until == 'load'
                       else [(begin, end) for request, begin, end
                             in self.requests if request == until])
            if moments:
                found.append((name, max(moments[0][0] - at, 0) / 1e6))
                at = moments[0][1]
        return found


class Process:
    """QEMU with the model preloaded; use as a context manager."""

    def __init__(self, binary, arguments, huge):
        if not FAKE.exists():
            raise LabError('%s is missing' % FAKE, 'make bench builds it')
        self.dir = Path(tempfile.mkdtemp(prefix='nitro-bench-'))
        self.argv = [str(word) for word in (binary, *arguments)]
        (self.dir / 'sys').mkdir()
        self.env = dict(os.environ, LD_PRELOAD=str(FAKE),
                        NE_FAKE_VSOCK=str(self.dir),
                        NE_FAKE_TIMES=str(self.dir / 'times'))
        # Without huge pages, the real machine's must not be counted
        self.env.update({'NE_FAKE_HUGE': '1'} if huge else
                        {'NE_FAKE_SYS': str(self.dir / 'sys')})
        self.pid = self.times = None

    def __enter__(self):
        try:
            self._spawn()
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        shutil.rmtree(self.dir)

    def _spawn(self):
        log = os.open(self.dir / 'log', os.O_WRONLY | os.O_CREAT)
        null = os.open('/dev/null', os.O_RDONLY)
        begun = time.monotonic_ns()
        self.pid = os.posix_spawnp(
            self.argv[0], self.argv, self.env, file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2)])
        self.begun_ns = begun
        os.close(log)
        os.close(null)

    def _wait(self):
        """Until START; the model renames a complete file into place."""
        path, end = self.dir / 'times', time.monotonic() + PATIENCE
        while not path.exists():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = None
                raise LabError('%s ended (status %#x): %s' % (
                    self.argv[0], status, self.log()), ' '.join(self.argv))
            if time.monotonic() > end:
                raise LabError('%s started no enclave within %d s: %s'
                               % (self.argv[0], PATIENCE, self.log()))
            time.sleep(0.001)
        self.times = Times(path.read_text(), self.begun_ns)

    def log(self):
        """What it printed."""
        return (self.dir / 'log').read_text(errors='replace').strip()

    def memory(self, size):
        """Address of the enclave's memory, the shared mapping of that size.

        The model has taken it away: the launcher itself cannot read it.
        """
        maps = Path('/proc/%d/maps' % self.pid).read_text()
        for begin, end in re.findall(r'^(\w+)-(\w+) ...s', maps, re.M):
            if int(end, 16) - int(begin, 16) == size:
                return int(begin, 16)
        raise LabError('the enclave has no memory of %d bytes' % size)

    def assert_loaded(self, image, memory_size):
        """What lies in the enclave's memory is the image, all of it."""
        base = self.memory(memory_size) + LOAD_OFFSET
        with open('/proc/%d/mem' % self.pid, 'rb', buffering=0) as memory, \
                open(image, 'rb', buffering=0) as file:
            for begin, end in data_ranges(file.fileno()):
                _compare(memory, base, file, begin, end)


def _compare(memory, base, file, begin, end):
    while begin < end:
        size = min(1 << 22, end - begin)
        if os.pread(file.fileno(), size, begin) != \
                os.pread(memory.fileno(), size, base + begin):
            raise LabError('the image was loaded wrongly between byte %d and '
                           '%d' % (begin, begin + size))
        begin += size


def data_ranges(fd):
    """Parts of a file that are no holes."""
    at, size = 0, os.fstat(fd).st_size
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, at
