# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""QEMU's own QMP client: installed, in this tree, or in the composed one."""

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

from .common import RunError

TREE = Path(__file__).resolve().parents[3]
sys.path += [str(TREE / 'python'), str(TREE / 'build' / 'qemu' / 'python')]
try:
    from qemu.qmp import QMPError
    from qemu.qmp.legacy import QEMUMonitorProtocol
except ImportError as error:
    sys.exit(f'nitro-run: cannot import the Python module qemu.qmp: {error}\n'
             "nitro-run: set PYTHONPATH to 'python' in QEMU's source")

SECONDS = 30
# What happens when a QEMU ends meanwhile
GONE = (QMPError, EOFError, ConnectionError, FileNotFoundError)

monitors = contextlib.ExitStack()
logging.getLogger('qemu.qmp').setLevel(logging.CRITICAL)


class Monitor(QEMUMonitorProtocol):
    """A monitor, which is left by monitors.close()."""

    def __init__(self, address):
        super().__init__(address)
        monitors.callback(self.leave)
        try:
            self._sync(self._qmp.connect(address), SECONDS)
        except asyncio.TimeoutError:
            raise RunError(f'the monitor {address} does not answer within'
                           f' {SECONDS} s', 'end the program that is'
                           ' connected to it') from None
        self.settimeout(SECONDS)

    def leave(self):
        """Let the next client have it."""
        with contextlib.suppress(*GONE, asyncio.TimeoutError):
            self.close()
