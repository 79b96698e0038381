# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Private files of the key service: regular ones, of its user alone."""

import contextlib
import errno
import fcntl
import os
import stat
import uuid

from ..config import LabError

FILE_MAX = 64 * 1024


def private_directory(path):
    """Make a directory that is nobody else's, or see that it is one."""
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    if path.is_symlink():
        raise LabError('%s is a link' % path, 'put a directory there')
    if info.st_uid != os.geteuid():
        raise LabError('%s belongs to user %d' % (path, info.st_uid),
                       'choose another LAB')
    if info.st_mode & 0o077:
        raise LabError('%s is open to others' % path, 'chmod 700 %s' % path)


@contextlib.contextmanager
def locked(directory):
    """Nobody else makes files in a directory meanwhile; waits for them."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def write_private(path, data):
    """A file of mode 0600, as a whole or not at all."""
    partial = path.with_name('.%s.%s' % (path.name, uuid.uuid4().hex))
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(fd, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _refusal(info):
    """Why a file is not read."""
    if not stat.S_ISREG(info.st_mode):
        return 'is not a regular file'
    if info.st_uid != os.geteuid():
        return 'belongs to user %d' % info.st_uid
    if info.st_size > FILE_MAX:
        return 'has more than %d bytes' % FILE_MAX
    return None


def _open(path):
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                       | os.O_CLOEXEC)
    except OSError as error:
        what = {errno.ELOOP: 'is a link',
                errno.ENXIO: 'is not a regular file'}.get(error.errno)
        if not what:
            raise
        raise LabError('%s %s' % (path, what), 'put the file itself there'
                       ) from error


def read_private(path):
    """Bytes of a file of ours; FileNotFoundError when it is not there."""
    fd = _open(path)
    try:
        refusal = _refusal(os.fstat(fd))
        if refusal:
            raise LabError('%s %s' % (path, refusal),
                           'restore the file from a copy')
        return os.read(fd, FILE_MAX)
    finally:
        os.close(fd)
