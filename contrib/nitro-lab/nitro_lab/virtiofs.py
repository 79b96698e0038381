# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""virtiofsd of the distribution, which serves a directory to the parent."""

from pathlib import Path

from .arch import HOST
from .release import Release

INSTALLED = Path('/usr/libexec/virtiofsd')
SUITE, PACKAGE = 'trixie', 'virtiofsd'


def _program():
    if INSTALLED.exists():
        return [INSTALLED]
    return Release(SUITE, (PACKAGE,), (), HOST).here('usr/libexec/virtiofsd')


def command(share, socket):
    """Command line that serves a share; it ends with its one client.

    Without a sandbox it needs no privileges: the parent can do in the
    directory what the user of the lab can.
    """
    words = [*_program(), '--socket-path', socket, '--shared-dir',
             share.directory, '--sandbox', 'none', '--rlimit-nofile', '0',
             '--log-level', 'warn']
    return words + (['--readonly'] if share.options == 'ro' else [])
