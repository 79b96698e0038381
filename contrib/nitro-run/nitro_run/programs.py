# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Programs that run detached: a directory each, until they are removed.

Beside the directories of enclaves there is one for programs.  A program's
directory has its state, its output, and a lock that its keeper holds as long as
it lives: a keeper that was killed leaves a state that is not an end.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time

from .common import RunError, locked
from .enclaves import in_use, unique_name

# Not a name that a directory of an enclave can have
PLACE = 'programs.d'
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,62}')
# So many that have ended are kept; the others are removed by the next one
MOST_ENDED = 32
LOCK, STATE = 'lock', 'state.json'
STARTING, RUNNING, EXITED, LOST = 'starting', 'running', 'exited', 'lost'
NO_STATUS = 125


class Program:
    """One of them."""

    def __init__(self, place):
        self.place, self.name = place, place.name

    def note(self):
        """What its keeper has written."""
        with contextlib.suppress(OSError, ValueError):
            note = json.loads((self.place / STATE).read_text())
            if isinstance(note, dict):
                return note
        return {}

    def save(self, **changes):
        """Change what is known; only the keeper does, and who makes it."""
        partial = self.place / (STATE + '.partial')
        partial.write_text(json.dumps({**self.note(), **changes}))
        partial.rename(self.place / STATE)

    def lives(self):
        """Does its keeper?"""
        return in_use(self.place / LOCK)

    def info(self):
        """All that is known of it."""
        lives = self.lives()        # first, as the end is saved before it
        found = {'Name': self.name, 'State': STARTING, **self.note()}
        if not lives and found['State'] != EXITED:
            found.update(State=LOST, Status=NO_STATUS, Reason='its keeper,'
                         f' process {found.get("Keeper")}, was killed')
        return found

    def wait(self):
        """Until its keeper has ended."""
        with contextlib.suppress(FileNotFoundError), \
                open(self.place / LOCK, 'rb') as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)

    def ends_within(self, seconds, pause=0.1):
        """The same, for a time; returns whether it has."""
        end = time.monotonic() + seconds
        while self.lives():
            if time.monotonic() > end:
                return False
            time.sleep(pause)
        return True


class Programs:
    """All of them."""

    def __init__(self, enclaves):
        """@enclaves: the runtime directory."""
        self.enclaves, self.path = enclaves, enclaves.path / PLACE

    def all(self):
        """Those that are known, the oldest first."""
        if not self.path.exists():
            return []
        found = [Program(place) for place in self.path.iterdir()]
        return sorted(found, key=lambda one: one.note().get('Begun', 0))

    def find(self, name):
        """The one of this name."""
        for one in self.all():
            if one.name == name:
                return one
        raise RunError(f'there is no program {name}', 'nitro-run ps lists'
                       ' those that run or ran detached')

    def new(self, wanted, given, **known):
        """A directory for another one, named @wanted.

        @given: the name was asked for: do not add a number to it
        @known: what is known of it

        Returns the program, and its lock, an open file.
        """
        if not NAME.fullmatch(wanted):
            raise RunError(f"'{wanted}' cannot be the name of a program",
                           'use up to 63 letters, digits, and . - _ with'
                           ' --name')
        with self.enclaves.alone():
            self._bound()
            taken = self.enclaves.names() | {one.name for one in self.all()}
            if given and wanted in taken:
                raise RunError(f'there is a program or enclave {wanted}'
                               ' already', 'choose another --name, or remove'
                               f' a program with: nitro-run rm {wanted}')
            place = self.path / unique_name(wanted, taken)
            place.mkdir(mode=0o700, parents=True)
            lock = open(place / LOCK, 'wb')
            locked(lock, fcntl.LOCK_EX)
            program = Program(place)
            program.save(State=STARTING, Begun=time.time_ns(), **known)
        return program, lock

    def _bound(self):
        """Remove those that have ended first."""
        ended = [one for one in self.all() if not one.lives()]
        ended.sort(key=lambda one: one.note().get('Ended', 0))
        for one in ended[:max(0, len(ended) + 1 - MOST_ENDED)]:
            self._forget(one)

    def _forget(self, program):
        shutil.rmtree(program.place, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(self.path)

    def remove(self, program):
        """Remove one that has ended."""
        with self.enclaves.alone():
            if program.lives():
                raise RunError(f'program {program.name} runs', 'end it with:'
                               f' nitro-run stop {program.name}')
            self._forget(program)

    def abandon(self, program):
        """Remove one that could not be started."""
        with self.enclaves.alone():
            self._forget(program)
