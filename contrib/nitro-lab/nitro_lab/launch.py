# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""One enclave from launch to end, watched over QMP.

The place is the emulated parent, or this machine when it has the device
itself: both start programs and connect to QMP sockets.
"""

import subprocess
import threading
import time
from pathlib import Path

from .arch import PROGRAM
from .agent import STDERR, STDOUT, Job
from .config import LabError
from .patience import PATIENCE
from .qmp import Qmp, SocketStream

BRIDGE = '/machine/nitro-vsock'
HEARTBEAT = 'nitro-heartbeat'
POLL_SECONDS = 0.2


def find_device(qmp, kind, path='/machine', depth=3):
    """QOM path of the first device of a type, or None."""
    children = [(entry['type'], '%s/%s' % (path, entry['name']))
                for entry in qmp.command('qom-list', path=path)
                if entry['type'].startswith('child<')]
    for child_type, child in children:
        if child_type == 'child<%s>' % kind:
            return child
    for child_type, child in children:
        if depth and 'memory-region' not in child_type:
            found = find_device(qmp, kind, child, depth - 1)
            if found:
                return found
    return None


class HostJob(Job):
    """A program on this machine, with the face of one in the guest."""

    def __init__(self, argv, follow=None):
        super().__init__(None, 0, [str(word) for word in argv])
        self.follow = follow
        self.popen = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True)
        self.readers = [threading.Thread(target=self._read, args=pair,
                                         daemon=True)
                        for pair in ((self.popen.stdout, STDOUT),
                                     (self.popen.stderr, STDERR))]
        for reader in self.readers:
            reader.start()
        threading.Thread(target=self._reap, daemon=True).start()

    def _read(self, stream, kind):
        while True:
            data = stream.read1(65536)
            if not data:
                return
            self.frame(kind, data)

    def _reap(self):
        for reader in self.readers:
            reader.join()
        status = self.popen.wait()
        with self.changed:
            self.status, self.ended = status, time.monotonic()
            self.changed.notify_all()

    def signal(self, number):
        self.popen.send_signal(number)


class Host:
    """This machine as the parent."""

    @staticmethod
    def spawn(argv, follow=None):
        """Start a program."""
        return HostJob(argv, follow)

    @staticmethod
    def get(path):
        """Read a text file."""
        return Path(path).read_text(errors='replace')

    @staticmethod
    def guest_qmp(path, job):
        """QMP of a QEMU that was started here as @job."""
        return Qmp(SocketStream(path, lambda: job.status is None))


class Launch:
    """QEMU with -accel nitro, from its start on."""

    def __init__(self, place, arguments, socket='/run/enclave-qmp',
                 emulator=PROGRAM, follow=None):
        self.begun = time.monotonic()
        self.cid = 0
        self.started = self.booted = None       # seconds after the launch
        self.job = place.spawn(
            [emulator, *arguments, '-qmp',
             'unix:%s,server=on,wait=off' % socket], follow=follow)
        self.place, self.socket, self.qmp = place, socket, None
        self.heartbeat_path = None

    def connect(self):
        """QMP, or None when QEMU has ended before."""
        try:
            self.qmp = self.place.guest_qmp(self.socket, self.job)
        except (EOFError, OSError):
            self.qmp = None
        return self.qmp

    def _since(self):
        return time.monotonic() - self.begun

    def poll(self):
        """Look once; False when QEMU or its QMP socket is gone."""
        try:
            if not self.cid:
                self.cid = self.qmp.get(BRIDGE, 'enclave-cid')
                if self.cid:
                    self.started = self._since()
            if self.booted is None and self._heartbeat() == 'done':
                self.booted = self._since()
        except (EOFError, OSError, TimeoutError, ValueError):
            return False
        return self.job.status is None

    def _heartbeat(self):
        """State of the heartbeat device; None without such a device."""
        if self.heartbeat_path is None:
            self.heartbeat_path = find_device(self.qmp, HEARTBEAT) or ''
        return (self.qmp.get(self.heartbeat_path, 'state')
                if self.heartbeat_path else None)

    def wait_booted(self, timeout=PATIENCE):
        """Wait for the heartbeat."""
        while self.booted is None:
            if not self.poll():
                raise LabError('QEMU ended before the enclave had booted\n'
                               + self.job.text()[-2000:])
            if self._since() > timeout:
                raise LabError('no heartbeat within %g s\n%s'
                               % (timeout, self.job.text()[-2000:]))
            self._pause()

    def watch(self, deadline):
        """Poll until QEMU ends or time.monotonic() passes @deadline."""
        while self.job.status is None and time.monotonic() < deadline:
            if not self.poll():
                break
            self._pause()

    def _pause(self):
        """Until the next look, or the end."""
        with self.job.changed:
            self.job.changed.wait_for(lambda: self.job.status is not None,
                                      POLL_SECONDS)
