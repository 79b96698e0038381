# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""QEMU's own QMP client: installed, in this tree, or in the composed one."""

import asyncio
import logging
import socket
import sys
from asyncio import sleep
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
sys.path += [str(TREE / 'python'), str(TREE / 'build' / 'qemu' / 'python')]
try:
    from qemu.qmp import QMPClient, QMPError
    from qemu.qmp.legacy import QEMUMonitorProtocol
except ImportError as error:
    sys.exit(f'nitro-run: cannot import the Python module qemu.qmp: {error}\n'
             "nitro-run: set PYTHONPATH to 'python' in QEMU's source")

SECONDS, PAUSE = 30, 0.1
# What happens when a QEMU ends meanwhile
GONE = (QMPError, EOFError, ConnectionError)

logging.getLogger('qemu.qmp').setLevel(logging.CRITICAL)


class Monitor(QEMUMonitorProtocol):
    """The monitor of a launch: a connected socket.

    Waits without limit, as loading an image or starting an enclave may take
    long; the end of QEMU ends the wait.
    """

    def __init__(self, connected):
        super().__init__(connected)
        self.connect()


async def _connect(path):
    """Connect to a socket; waits while its queue is full."""
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    while True:
        try:
            client.connect(str(path))
            return client
        except BlockingIOError:
            await sleep(PAUSE)
        except OSError:
            client.close()
            raise


async def _converse(path, commands):
    client = QMPClient()
    await client.connect(await _connect(path))
    try:
        return [await client.execute(command) for command in commands]
    finally:
        await client.disconnect()


async def ask(path, *commands, hopeless=lambda: False):
    """Run commands in the monitor @path, then let the next client have it.

    @hopeless: whether it is known that no answer will come.

    Returns the answers.  Raises asyncio.TimeoutError without an answer
    within SECONDS, FileNotFoundError without a monitor, or one of GONE.
    """
    talk = asyncio.ensure_future(_converse(path, commands))
    end = asyncio.get_running_loop().time() + SECONDS
    try:
        while not (await asyncio.wait([talk], timeout=PAUSE))[0]:
            if hopeless() or asyncio.get_running_loop().time() > end:
                raise asyncio.TimeoutError
        return talk.result()
    finally:
        talk.cancel()
        await asyncio.gather(talk, return_exceptions=True)
