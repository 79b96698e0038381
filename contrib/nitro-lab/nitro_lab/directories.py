# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Directories of parents: their logs, and where their sockets are.

The process that runs a parent holds a lock on its directory.  The logs of a
parent stay until the next one is started by 'nitro-lab parent' or 'run'.
"""

import fcntl
import re
import shutil
from pathlib import Path

from .config import LabError, RUN

PREFIX = 'parent-'


def _lock(directory):
    """The locked file, or None when another process has the lock."""
    file = open(directory / 'lock', 'wb')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def occupy(directory):
    """Take a directory for a parent; returns the lock to be kept."""
    lock = _lock(directory)
    if lock is None:
        raise LabError('a parent %s runs already'
                       % directory.name.removeprefix(PREFIX),
                       'see nitro-lab ps, or choose another --name')
    return lock


def announce(directory, sockets):
    """Note where the sockets of a parent are."""
    link = directory / 'sockets'
    link.unlink(missing_ok=True)
    link.symlink_to(sockets)


def named(name):
    """The directory of a parent with this name; it may be in use."""
    if not re.fullmatch(r'[\w.-]+', name):
        raise LabError("'%s' cannot be the name of a parent" % name,
                       'use letters, digits, dots and dashes')
    return RUN / (PREFIX + name)


def clear():
    """Remove what parents that have ended left."""
    for file in RUN.glob(PREFIX + '*/lock'):
        lock = _lock(file.parent)
        if lock is not None:
            shutil.rmtree(file.parent, ignore_errors=True)
            lock.close()


def running():
    """Name -> directory of sockets of the parents that run."""
    found = {}
    for link in sorted(RUN.glob(PREFIX + '*/sockets')):
        lock = _lock(link.parent)
        if lock is None:
            found[link.parent.name.removeprefix(PREFIX)] = Path(
                link.resolve())
        else:
            lock.close()
    return found
