# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""How long to wait, whatever else keeps the host busy.

What has to come gets PATIENCE: only a hang takes that long.  A machine that
boots is watched more closely, by what the host gave it and not by the clock.
"""

import os
import time
from pathlib import Path

PATIENCE = 600      # seconds
POLL_SECONDS = 0.2
TICKS = os.sysconf('SC_CLK_TCK')


def _threads(pid):
    """Fields of /proc/PID/task/*/stat, from the state on."""
    for path in Path('/proc/%d/task' % pid).glob('*/stat'):
        try:
            yield path.read_text().rpartition(')')[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue            # it has just ended


class Silence:
    """A process that has to get somewhere, and says so in a file.

    It is stuck when it has had a lot of CPU time since its last word, or when
    it had nothing to do for long: a process that waits for a CPU does neither.
    """

    BUSY_SECONDS, IDLE_SECONDS = 180, 90

    def __init__(self, pid, log):
        self.pid, self.log = pid, log
        self._heard()

    def _size(self):
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0

    def _heard(self):
        self.size, self.idle, self.busy = self._size(), 0.0, 0.0
        self.first, self.last = None, time.monotonic()

    def look(self):
        """To be called every POLL_SECONDS; true when it is stuck."""
        if self._size() != self.size:
            self._heard()
        threads = list(_threads(self.pid))
        cpu = sum(int(t[11]) + int(t[12]) for t in threads) / TICKS
        now = time.monotonic()
        self.first = cpu if self.first is None else self.first
        self.busy = cpu - self.first
        if all(t[0] == 'S' for t in threads):
            # However late this look is
            self.idle += min(now - self.last, 2 * POLL_SECONDS)
        self.last = now
        return (self.busy > self.BUSY_SECONDS
                or self.idle > self.IDLE_SECONDS)

    def __str__(self):
        return ('%d bytes, then nothing for %.0f s of CPU time and %.0f s'
                ' without anything to do' % (self.size, self.busy, self.idle))
