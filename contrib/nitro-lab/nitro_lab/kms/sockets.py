# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Sockets of the key service: loopback, and a unix socket in its directory."""

import errno
import os
import socket
import stat

from ..config import LabError
from .files import locked

CONNECTIONS_MAX = 256


def listen_tcp(port):
    """A listening socket on loopback; 0 is any port that is free."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(('127.0.0.1', port))
    listener.listen(CONNECTIONS_MAX)
    return listener


class Near:
    """A unix socket by a name that may be long.

    The kernel takes 107 bytes; through the directory it is always short.
    """

    def __init__(self, path):
        self.fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY
                          | os.O_CLOEXEC)
        self.name = '/proc/self/fd/%d/%s' % (self.fd, path.name)

    def __enter__(self):
        return self.name

    def __exit__(self, *_):
        os.close(self.fd)


def _is_socket(path):
    """A socket of this user, not a link to one?"""
    info = path.lstat()
    return stat.S_ISSOCK(info.st_mode) and info.st_uid == os.geteuid()


def connect_unix(path):
    """A connection to a unix socket."""
    if not _is_socket(path):
        raise OSError(errno.ENOTSOCK, 'not a socket of this user', str(path))
    client = socket.socket(socket.AF_UNIX)
    try:
        with Near(path) as name:
            client.connect(name)
    except BaseException:
        client.close()
        raise
    return client


def _make_room(path):
    """Remove a socket that nobody serves, and nothing else."""
    if not os.path.lexists(path):
        return
    if not _is_socket(path):
        raise LabError('%s is not a socket of this user' % path,
                       'move it to another place')
    try:
        connect_unix(path).close()
    except ConnectionRefusedError:
        path.unlink()
    else:
        raise FileExistsError('%s: a key service runs already' % path)


def listen_unix(path):
    """A listening unix socket, in place of one that nobody serves."""
    with locked(path.parent):
        _make_room(path)
        listener = socket.socket(socket.AF_UNIX)
        with Near(path) as name:
            listener.bind(name)
        path.chmod(0o600)
        listener.listen(CONNECTIONS_MAX)
    return listener
