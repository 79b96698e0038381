# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Where things are, and how the lab speaks to its user."""

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path


class LabError(Exception):
    """Something the user can act on: what failed, then what to do."""

    def __init__(self, what, hint=None):
        super().__init__(what)
        self.hint = hint


def _directory(name, default):
    return Path(os.environ.get(name) or default).absolute()


def _foreign():
    return os.environ.get('ARCH', os.uname().machine) != os.uname().machine


HERE = Path(__file__).absolute().parent.parent      # contrib/nitro-lab
TREE = HERE.parent.parent                           # ours, or the composed one
BUILD = _directory('BUILD', 'build')
OUT = _directory('OUT', BUILD / 'out')
LAB = _directory('LAB', BUILD / ('lab-' + os.environ['ARCH'] if _foreign()
                                 else 'lab'))
CACHE = _directory('CACHE', BUILD / 'cache')
RUN = LAB / 'run'
PKI = LAB / 'pki'                                   # kept by nitro-hypervisor


def private_apt():
    """The script that fetches packages beside the system's apt."""
    return overlay('private-apt')


def overlay(name):
    """A tool of the repository that QEMU's tree does not have."""
    for tree in (TREE, BUILD.parent):
        script = tree / 'overlay' / name
        if script.exists():
            return script
    raise LabError('overlay/%s is neither in %s nor in %s'
                   % (name, TREE, BUILD.parent),
                   'run from the top of the repository, or set BUILD')


class Progress:
    """Numbered steps on stderr: what, n of m, seconds."""

    def __init__(self, total, quiet=False):
        self.total, self.quiet, self.number = total, quiet, 0
        self.begun = self.start = time.monotonic()

    def step(self, text):
        """Announce the next step."""
        self.number += 1
        self.start = time.monotonic()
        self._print('[%d/%d] %s ...' % (self.number, self.total, text), '')

    def done(self, remark=''):
        """The step announced last has succeeded."""
        took = time.monotonic() - self.start
        self._print(' %s(%.1f s)' % (remark + ' ' if remark else '', took))

    def _print(self, text, end='\n'):
        if not self.quiet:
            print(text, end=end, file=sys.stderr, flush=True)


@contextlib.contextmanager
def making(target, stamp):
    """Make @target unless it was made from exactly what @stamp describes.

    Yields the path to write it to, which becomes @target when all went well,
    or None when there is nothing to do.  Others that want it at the same time
    wait, and nobody ever sees half of it.
    """
    note, new = (target.with_name(target.name + end)
                 for end in ('.stamp', '.new'))
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_name(target.name + '.lock'), 'wb') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists() and note.exists() and note.read_text() == stamp:
            yield None
            return
        try:
            yield new
            os.replace(new, target)
        finally:
            new.unlink(missing_ok=True)
        note.write_text(stamp)


def describe_inputs(paths, *words):
    """A text that changes when a file or a word does."""
    lines = []
    for path in paths:
        info = os.stat(path)
        lines.append('%s %d %d' % (path, info.st_size, info.st_mtime_ns))
    return '\n'.join(lines + list(words)) + '\n'
