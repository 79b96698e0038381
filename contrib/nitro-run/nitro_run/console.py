# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Debug consoles: a unix socket of QEMU each."""

import select
import socket
import sys
import time


def connect_console(place):
    """The console's socket."""
    console = socket.socket(socket.AF_UNIX)
    console.connect(str(place / 'console'))
    return console


def copy_console(console, seconds=None):
    """Copy what comes to stdout until the end, or for so many seconds."""
    end = seconds and time.monotonic() + seconds
    while select.select([console], [], [],
                        max(0, end - time.monotonic()) if end else None)[0]:
        data = console.recv(65536)
        if not data:
            break
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
