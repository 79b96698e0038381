# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""How long QMP takes to answer while an enclave is launched again.

The image is read and checked once more for that, beside the main loop.
"""

import tempfile
import time

from . import bench_images as files
from .bench_host import MIB, huge_pages
from .bench_launch import Launcher, memory_for
from .bench_stats import add, median
from .qmp import Qmp, SocketStream

SIZE_MIB = files.SIZES_MIB[-1]
RESET = 'reset of %d MiB: ' % SIZE_MIB
SLOWEST = RESET + 'slowest answer of QMP'

# What an answer may take
ANSWER_MS = 100


def _started(qmp):
    return any(event['event'] == 'NITRO_ENCLAVE_STARTED'
               for event in qmp.events)


def _reset(result, qmp):
    """Ask without a pause until the next enclave runs."""
    slowest, begun = 0, time.monotonic()
    qmp.events.clear()
    qmp.command('system_reset')
    while not _started(qmp):
        asked = time.monotonic()
        qmp.command('query-status')
        slowest = max(slowest, time.monotonic() - asked)
    add(result, RESET + 'until the next START', 'ms',
        (time.monotonic() - begun) * 1000)
    add(result, SLOWEST, 'ms', slowest * 1000)


def _resets(result, launcher, rounds):
    image, memory = files.image(SIZE_MIB), memory_for(SIZE_MIB * MIB)
    with tempfile.TemporaryDirectory() as place:
        path = place + '/qmp'
        with launcher.process(image, memory, (
                '-qmp', 'unix:%s,server=on,wait=off' % path)):
            qmp = Qmp(SocketStream(path))
            for _ in range(rounds):
                _reset(result, qmp)


def measure(result, binary, rounds):
    """Resets of the largest image."""
    with huge_pages(memory_for(SIZE_MIB * MIB)) as huge:
        _resets(result, Launcher(binary, '', huge), rounds)


def check(result, targets):
    """What was wanted."""
    targets.limit(SLOWEST, 'ms', median(result, SLOWEST), ANSWER_MS)
