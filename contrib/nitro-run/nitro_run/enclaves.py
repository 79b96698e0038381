# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Enclaves that run: one directory each, below a private one.

QEMU holds a lock on the log in there as long as it lives.
"""

import contextlib
import fcntl
import os
import select
import shutil
import tempfile
import time
from pathlib import Path

from .common import RunError
from .qmp import GONE, Monitor

BOARD = Path('/sys/devices/virtual/dmi/id/board_asset_tag')
NO_BOARD = 'i-0000000000000000'
MIB = 1 << 20
MEASURE_SECONDS, END_SECONDS, PAUSE = 120, 150, 0.1
SOCKET_NAME_MAX = 107


class Enclaves:
    """The runtime directory: one directory per enclave."""

    def __init__(self, path=None):
        self.path = Path(path or os.environ.get('NITRO_RUN_DIR')
                         or Path(os.environ.get('XDG_RUNTIME_DIR', '/run'),
                                 'nitro-run'))

    def private(self):
        """Make sure that nobody else can get at the sockets."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            info = self.path.lstat()
        except OSError as error:
            raise RunError(f'cannot make {self.path}: {error.strerror}',
                           'name another place with --runtime-dir or'
                           ' NITRO_RUN_DIR') from error
        if info.st_uid != os.getuid() or info.st_mode & 0o170077 != 0o040000:
            raise RunError(
                f'{self.path} (owner {info.st_uid}, mode '
                f'{info.st_mode & 0o7777:o}) is not private to user '
                f'{os.getuid()}',
                f'use chown and chmod 0700 {self.path}, or --runtime-dir')

    def new(self):
        """A directory for another enclave."""
        self.private()
        made = Path(tempfile.mkdtemp(prefix='', dir=self.path))
        if len(str(made / 'console')) > SOCKET_NAME_MAX:
            made.rmdir()
            raise RunError(f'the name {self.path} is too long for sockets',
                           'name a shorter one with --runtime-dir')
        return made

    def alive(self):
        """Those that run, oldest first; what dead ones left is removed."""
        if not self.path.exists():
            return
        self.private()
        for place in sorted(self.path.iterdir(),
                            key=lambda p: p.stat().st_ctime_ns):
            if (place / 'log').exists() and not in_use(place / 'log'):
                shutil.rmtree(place, ignore_errors=True)
            elif (place / 'qmp').exists():
                enclave = Enclave(place)
                if enclave.query():
                    yield enclave

    def find(self, args):
        """The one with this id or name."""
        wanted = args.enclave_id or args.enclave_name
        known = []
        for enclave in self.alive():
            if wanted == (enclave.id if args.enclave_id else enclave.name):
                return enclave
            known.append(f'{enclave.id} ({enclave.name})')
        raise RunError(f'no enclave {wanted} runs here',
                       'running are: ' + (', '.join(known) or 'none'))


def in_use(log):
    """Is there a QEMU with this log?"""
    with open(log, 'rb') as f:
        try:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Enclave:
    """One that runs: what QEMU says of it."""

    def __init__(self, place):
        self.place, self.qmp = Path(place), None
        self.name = self.info = self.pid = None

    def query(self):
        """Ask QEMU; False when it is just ending."""
        try:
            self.qmp = Monitor(str(self.place / 'qmp'))
            self.pid = int((self.place / 'pid').read_text())
            self.name = self.qmp.cmd('query-name').get('name')
            self.info = self.qmp.cmd('query-nitro-enclave')
        except GONE:
            return False
        return self.info['state'] not in ('created', 'prepared') \
            and 'cid' in self.info

    @property
    def id(self):
        """Instance and slot."""
        try:
            board = BOARD.read_text(encoding='utf-8').strip()
        except OSError:
            board = ''
        if not board.startswith('i-'):
            board = NO_BOARD
        return f'{board}-enc{self.info["slot-uid"]:x}'

    def run_info(self):
        """What run-enclave prints."""
        return {
            'EnclaveName': self.name,
            'EnclaveID': self.id,
            'ProcessID': self.pid,
            'EnclaveCID': self.info['cid'],
            'NumberOfCPUs': len(self.info['vcpus']),
            'CPUIDs': sorted(v['host-cpu'] for v in self.info['vcpus']),
            'MemoryMiB': sum(m['size'] for m in self.info['memory']) // MIB,
        }

    def describe_info(self):
        """What describe-enclaves prints of it."""
        end = time.monotonic() + MEASURE_SECONDS
        while self.info['image']['measurement'] == 'running':
            if time.monotonic() > end:
                break
            time.sleep(PAUSE)
            self.info = self.qmp.cmd('query-nitro-enclave')
        image, told = self.info['image'], self.run_info()
        told['State'] = 'RUNNING' if self.info['state'] in (
            'started', 'booted') else 'TERMINATING'
        told['Flags'] = 'DEBUG_MODE' if self.info['debug-mode'] else 'NONE'
        if 'pcrs' in image:
            told['Measurements'] = {'HashAlgorithm': 'Sha384 { ... }', **{
                name.upper(): value for name, value in image['pcrs'].items()}}
        for name, member in (('ImageName', 'name'),
                             ('ImageVersion', 'image-version')):
            if member in image:
                told[name] = image[member]
        return told

    def terminate(self):
        """End it; returns once its process has gone."""
        told = {'EnclaveName': self.name, 'EnclaveID': self.id,
                'Terminated': True}
        try:
            process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return told
        with contextlib.suppress(*GONE):
            self.qmp.cmd('quit')
        if not select.select([process], [], [], END_SECONDS)[0]:
            raise RunError(
                f'process {self.pid} of enclave {self.id} has not ended'
                f' after {END_SECONDS} s',
                'the driver frees its memory; see dmesg | grep'
                ' nitro_enclaves')
        shutil.rmtree(self.place, ignore_errors=True)
        return told
