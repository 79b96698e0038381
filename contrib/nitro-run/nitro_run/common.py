# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""How the program speaks to its user, ends, and keeps others out."""

import contextlib
import ctypes
import fcntl
import json
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1


class RunError(Exception):
    """Something failed: the cause, then what to do; an exit status."""

    def __init__(self, cause, remedy=None, status=1):
        super().__init__(cause)
        self.remedy, self.status = remedy, status


def print_json(value):
    """A result, on stdout."""
    print(json.dumps(value, indent=2), flush=True)


def tell(text):
    """A remark, on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(text):
    """Say what takes so long, if it takes longer than a second."""
    timer = threading.Timer(1, tell, [f'nitro-run: {text}'])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def complain(error):
    """A RunError, on stderr."""
    tell(f'nitro-run: {error}')
    if error.remedy:
        tell(f'nitro-run: {error.remedy}')


def _exit(number, _frame):
    sys.exit(128 + number)


@contextlib.contextmanager
def stopping(handler=_exit):
    """Signals that stop a program call @handler, or end this one.

    What nohup and shells have had ignored stays so.
    """
    old = {number: signal.getsignal(number) for number in
           (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number in old if old[number] != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, old[number])


def locked(file, kind):
    """Get a lock, if nobody else has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def escaped(value):
    """A value in an option of QEMU."""
    return str(value).replace(',', ',,')


def die_with_parent():
    """In a child before it is a program: nobody else would attend to it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
