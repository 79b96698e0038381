# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Enclaves that run: one directory each, below a private one.

QEMU holds a lock on the log in there as long as it lives; its launcher takes
that lock before the directory can be seen by anybody.  Names are chosen under
a lock on the private directory.  A monitor of their own ('control') serves
these commands; the other one ('qmp') is the user's.
"""

import asyncio
import contextlib
import enum
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

from . import qmp
from .common import RunError, locked
from .options import STOP_SECONDS

BOARD = Path('/sys/devices/virtual/dmi/id/board_asset_tag')
NO_BOARD = 'i-0000000000000000'
MIB = 1 << 20
MEASURE_SECONDS, END_SECONDS, TERM_SECONDS, PAUSE = 120, 150, 15, 0.1
LOCK_SECONDS = 30
SOCKET_NAME_MAX = 107
NOTED = {'name': str, 'begun': int, 'pid': int, 'id': str,
         'attended': bool}


class State(enum.Enum):
    """What is known of an enclave whose QEMU lives."""

    STARTING = 'is being launched'
    UP = 'answers'
    SILENT = 'does not answer'
    ENDING = 'is just ending'


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

    @contextlib.contextmanager
    def alone(self):
        """No other nitro-run makes or removes what is in there meanwhile."""
        self.private()
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        end = time.monotonic() + LOCK_SECONDS
        try:
            while not locked(directory, fcntl.LOCK_EX):
                if time.monotonic() > end:
                    raise RunError(f'another nitro-run keeps {self.path}'
                                   f' locked for {LOCK_SECONDS} s',
                                   f'find it with: fuser -v {self.path}')
                time.sleep(PAUSE)
            yield
        finally:
            os.close(directory)

    def new(self, wanted):
        """A directory for another enclave, with a name like @wanted.

        Returns the enclave and its log, which is open and locked.
        """
        with self.alone():
            taken = self.names()
            enclave = Enclave(tempfile.mkdtemp(prefix='', dir=self.path))
            if len(str(enclave.place / 'control')) > SOCKET_NAME_MAX:
                enclave.place.rmdir()
                raise RunError(f'the name {self.path} is too long for sockets',
                               'name a shorter one with --runtime-dir')
            log = open(enclave.place / 'log', 'w+b')
            fcntl.flock(log, fcntl.LOCK_EX)
            enclave.name = unique_name(wanted, taken)
            enclave.note()
        return enclave, log

    def _places(self):
        """Directories whose QEMU lives; what dead ones left is removed."""
        for place in self.path.iterdir():
            if '.' in place.name or not place.is_dir():
                continue        # programs.d, the socket of a relay
            if in_use(place / 'log'):
                yield place
            else:
                shutil.rmtree(place, ignore_errors=True)

    def names(self):
        """Of those whose QEMU lives; only within alone()."""
        return {Enclave(place).name for place in self._places()}

    def known(self):
        """Enclaves whose QEMU lives, oldest first, asked all at once."""
        if not self.path.exists():
            return []
        with self.alone():
            found = [Enclave(place) for place in self._places()]

        async def query():
            await asyncio.gather(*(enclave.query() for enclave in found))

        asyncio.run(query())
        return sorted(found, key=lambda enclave: enclave.begun)

    def find(self, args):
        """The one with this id or name."""
        by_name = args.enclave_id is None
        wanted = args.enclave_name if by_name else args.enclave_id
        running = [enclave for enclave in self.known()
                   if enclave.state in (State.UP, State.SILENT)]
        found = [enclave for enclave in running if wanted == (
            enclave.name if by_name else enclave.id)]
        if len(found) > 1:
            raise RunError(f'{len(found)} enclaves have the name {wanted}',
                           'use --enclave-id with one of '
                           + ', '.join(map(str, found)))
        if not found:
            raise RunError(f'no enclave {wanted} runs here', 'running are: '
                           + (', '.join(map(str, running)) or 'none'))
        return found[0]


def unique_name(wanted, taken):
    """@wanted, with a number when it is taken."""
    number, result = 0, wanted
    while result in taken:
        number += 1
        result = f'{wanted}_{number}'
    return result


def in_use(log):
    """Is there a QEMU with this log, or somebody who starts it?"""
    try:
        with open(log, 'rb') as f:
            return not locked(f, fcntl.LOCK_SH)
    except (FileNotFoundError, NotADirectoryError):
        return False


class Enclave:
    """One that runs: what its directory and QEMU say of it.

    name, pid, id and begun are noted in the directory, for when QEMU does not
    answer; id is None until the enclave has started.  An attended one
    belongs to run, which has QEMU as a child and speaks to the program.
    """

    def __init__(self, place):
        self.place, self.state, self.info = Path(place), State.STARTING, None
        self.name, self.begun = self.place.name, time.time_ns()
        self.pid, self.id, self.attended = None, None, False
        vars(self).update(self._noted())
        with contextlib.suppress(OSError, ValueError):
            self.pid = int((self.place / 'pid').read_text())

    def __str__(self):
        return f'{self.id or f"process {self.pid}"} ({self.name})'

    def _noted(self):
        """What note() wrote; a note of somebody else may have anything."""
        try:
            note = json.loads((self.place / 'note').read_text())
        except (OSError, ValueError):
            return {}
        return {name: note[name] for name, kind in NOTED.items()
                if isinstance(note, dict) and type(note.get(name)) is kind}

    def note(self):
        """Write down what others need when QEMU does not answer."""
        partial = self.place / 'note.partial'
        partial.write_text(json.dumps({
            name: getattr(self, name) for name in NOTED}))
        partial.rename(self.place / 'note')

    def ask(self, *commands):
        """Have QEMU run commands; a coroutine."""
        return qmp.ask(self.place / 'control', *commands,
                       hopeless=lambda: self.stat() in 'Tt')

    async def query(self):
        """Learn the state from QEMU."""
        try:
            name, info = await self.ask('query-name', 'query-nitro-enclave')
        except FileNotFoundError:
            # Its monitor is there before it has an ID
            self.state = State.SILENT if self.id else State.STARTING
        except qmp.GONE:
            self.state = State.ENDING
        except (asyncio.TimeoutError, OSError):
            self.state = State.SILENT
        else:
            self.learn(name.get('name', self.name), info)

    def chardevs(self):
        """QEMU's character devices."""
        try:
            return asyncio.run(self.ask('query-chardev'))[0]
        except (asyncio.TimeoutError, *qmp.GONE) as error:
            raise self.silence() from error

    def learn(self, name, info):
        """Take over what QEMU says."""
        self.name, self.info = name, info
        if info['state'] in ('created', 'prepared') or 'cid' not in info:
            self.state = State.STARTING
        else:
            self.state = State.UP
            self.id = f'{board()}-enc{info["slot-uid"]:016x}'

    def stat(self):
        """State of the process as ps shows it; '-' if it has ended."""
        try:
            text = Path(f'/proc/{self.pid}/stat').read_text()
        except OSError:
            return '-'
        return text.rpartition(')')[2].split()[0]

    def silence(self):
        """Cause and remedy of an enclave that does not answer."""
        if self.stat() in 'Tt':
            return RunError(f'enclave {self} does not answer: process '
                            f'{self.pid} is stopped',
                            f'continue it with: kill -CONT {self.pid}')
        if not (self.place / 'control').is_socket():
            return RunError(f'enclave {self} cannot be asked: its monitor'
                            f' {self.place}/control has been removed',
                            'end it with: nitro-run terminate-enclave')
        return RunError(f'enclave {self} does not answer within'
                        f' {qmp.SECONDS} s', 'end the program that is'
                        f' connected to {self.place}/control, or the enclave'
                        ' with: nitro-run terminate-enclave')

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
        while self.state == State.UP and time.monotonic() < end and \
                self.info['image']['measurement'] == 'running':
            time.sleep(PAUSE)
            asyncio.run(self.query())
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

    def _process(self):
        """A descriptor of the process, or None when it is gone."""
        try:
            process = os.pidfd_open(self.pid)
        except (ProcessLookupError, TypeError):
            return None
        # Another program may have the number by now
        with contextlib.suppress(OSError):
            words = Path(f'/proc/{self.pid}/cmdline').read_bytes()
            if os.fsencode(self.place / 'pid') in words.split(b'\0'):
                return process
        os.close(process)
        return None

    def _parent(self):
        """Number of the process that has started QEMU."""
        text = Path(f'/proc/{self.pid}/stat').read_text()
        return int(text.rpartition(')')[2].split()[1])

    def _ask_attendant(self):
        """Have run stop its program; was there somebody to ask?"""
        with contextlib.suppress(OSError):
            number = self._parent()
            attendant = os.pidfd_open(number)
            try:
                # QEMU does not outlive it, so it is still the same
                if self._parent() == number > 1:
                    signal.pidfd_send_signal(attendant, signal.SIGTERM)
                    return True
            finally:
                os.close(attendant)
        return False

    def _ask_agent(self):
        """Have nitro-agent stop the program; was there one to stop?"""
        program = (self.info or {}).get('application', {})
        if not program.get('connected') or \
                program['state'] not in ('booting', 'running'):
            return False
        try:
            asyncio.run(self.ask('system_powerdown'))
        except (asyncio.TimeoutError, OSError, *qmp.GONE):
            return False
        return True

    def _stop(self, process):
        """Have the program end by its stop signal; did it?"""
        if self.state == State.SILENT:
            return False
        asked = self._ask_attendant() if self.attended else self._ask_agent()
        return asked and ended(process, STOP_SECONDS)

    def _quit(self):
        """Have QEMU end itself; did it hear that?"""
        try:
            asyncio.run(self.ask('quit'))
        except qmp.GONE:
            return True
        except (asyncio.TimeoutError, OSError):
            return False
        return True

    def terminate(self):
        """End it; returns once its process has gone."""
        process = self._process()
        if process is not None:
            try:
                self._end(process)
            finally:
                os.close(process)
        end = time.monotonic() + TERM_SECONDS
        while in_use(self.place / 'log'):
            if time.monotonic() > end:
                raise RunError(f'enclave {self} {State.STARTING.value} and has'
                               ' not ended', 'try again')
            time.sleep(PAUSE)
        shutil.rmtree(self.place, ignore_errors=True)
        return {'EnclaveName': self.name, 'EnclaveID': self.id,
                'Terminated': True}

    def _end(self, process):
        """By its program, by the monitor, then by signals."""
        if self._stop(process):
            return
        heard = self.state == State.ENDING or \
            self.state != State.SILENT and self._quit()
        if heard and ended(process, END_SECONDS):
            return
        # One that is stopped cannot see SIGTERM before it goes on
        for number, seconds in ((signal.SIGTERM, 0),
                                (signal.SIGCONT, TERM_SECONDS),
                                (signal.SIGKILL, END_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if ended(process, seconds):
                return
        raise RunError(
            f'process {self.pid} of enclave {self} has not ended'
            f' {END_SECONDS} s after SIGKILL', 'the driver frees its memory;'
            ' see dmesg | grep nitro_enclaves')


def board():
    """The instance's id; without DMI the environment may have it."""
    try:
        tag = BOARD.read_text(encoding='utf-8').strip()
    except OSError:
        tag = ''
    known = (tag, os.environ.get('NITRO_INSTANCE_ID', ''), NO_BOARD)
    return next(name for name in known if name.startswith('i-'))


def ended(process, seconds):
    """Wait for the end of a process."""
    return bool(select.select([process], [], [], seconds)[0])
