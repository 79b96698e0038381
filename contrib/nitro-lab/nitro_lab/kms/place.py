# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Where the key service is, for those who start it and those who use it."""

import os
from pathlib import Path

from ..config import LAB
from .sockets import connect_unix

DIRECTORY = Path(os.environ.get('KMS_DIRECTORY') or LAB / 'kms').absolute()
SOCKET = DIRECTORY / 'kms.sock'
VSOCK_PORT = 8000           # of AWS's vsock-proxy
PORT = 8443
REGION, ACCOUNT = 'us-east-1', '000000000000'
SYMMETRIC = 'SYMMETRIC_DEFAULT'


def connect():
    """A connection to the key service of this lab."""
    try:
        return connect_unix(SOCKET)
    except OSError as error:
        raise OSError('%s: no key service: %s; start one: nitro-lab kms serve'
                      % (SOCKET, error.strerror)) from error
