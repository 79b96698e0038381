# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Enclave images that run has built, so that it builds each once.

A directory with KEY.eif and KEY.json for each; the key is a digest of all
that goes into the image.  Those that were used last stay, within a bound.
"""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from .common import RunError, locked, tell

MIB = 1 << 20
LIMIT_MIB = 4096
PAUSE = 0.1
PARTIAL = 'partial.eif'


def directory():
    """Where they are."""
    place = os.environ.get('NITRO_RUN_IMAGES')
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(place).absolute() if place else Path(cache, 'nitro-run')


def limit():
    """The most bytes of all of them."""
    text = os.environ.get('NITRO_RUN_IMAGES_MIB') or str(LIMIT_MIB)
    if not (text.isascii() and text.isdecimal()):
        raise RunError(f"NITRO_RUN_IMAGES_MIB='{text}' is not a number",
                       f'leave it out: the default is {LIMIT_MIB}')
    return int(text) * MIB


class Image:
    """One of them."""

    def __init__(self, path):
        self.path, self.file = path, None
        self.key = path.stem
        with contextlib.suppress(OSError):
            info = path.stat()
            self.size, self.used = info.st_size, info.st_mtime

    def note(self):
        """What is known of it; a damaged note says nothing."""
        try:
            note = json.loads(self.path.with_suffix('.json').read_text())
            return note if isinstance(note, dict) else {}
        except (OSError, ValueError):
            return {}

    def hold(self):
        """Keep it from being removed as long as this process lives, also
        as another program."""
        self.file = open(self.path, 'rb')
        os.set_inheritable(self.file.fileno(), True)
        fcntl.flock(self.file, fcntl.LOCK_SH)
        os.utime(self.path)

    def remove(self):
        """Remove it, unless somebody holds it; returns whether it is gone."""
        with open(self.path, 'rb') as file:
            if not locked(file, fcntl.LOCK_EX):
                return False
            self.path.with_suffix('.json').unlink(missing_ok=True)
            self.path.unlink()
        return True

    def info(self):
        """For programs."""
        return {'ID': self.key, 'File': str(self.path), 'Size': self.size,
                'LastUsed': int(self.used), **self.note()}


class Store:
    """All of them."""

    def __init__(self, path=None):
        self.path = path or directory()

    @contextlib.contextmanager
    def alone(self):
        """No other nitro-run builds or removes images meanwhile."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = open(self.path / 'lock', 'wb')
        except OSError as error:
            raise RunError(f'cannot keep images in {self.path}: '
                           f'{error.strerror}', 'name another directory with'
                           ' NITRO_RUN_IMAGES') from error
        with lock:
            if not locked(lock, fcntl.LOCK_EX):
                tell('nitro-run: waiting for another nitro-run, which builds'
                     ' an image')
                while not locked(lock, fcntl.LOCK_EX):
                    time.sleep(PAUSE)
            yield

    def images(self):
        """Those that are there, the last used first."""
        found = [Image(path) for path in self.path.glob('*.eif')
                 if path.name != PARTIAL and path.exists()]
        return sorted(found, key=lambda image: -image.used)

    def image(self, key, build, note):
        """The image of this key, held; it is built when it is not there.

        @build: called with a file name; it writes the image there, and
        returns what is added to @note, a dictionary.
        """
        path = self.path / (key + '.eif')
        with self.alone():
            if not path.exists():
                self._build(path, build, note)
            image = Image(path)
            image.hold()
            self._bound()
        return image

    def _build(self, path, build, note):
        partial = self.path / PARTIAL
        try:
            more = build(partial)
            path.with_suffix('.json').write_text(json.dumps(
                {**note, **more}, indent=1))
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)

    def _bound(self):
        """Remove what was not used for longest."""
        found, most = self.images(), limit()
        total = sum(image.size for image in found)
        for image in reversed(found):
            if total > most and image.remove():
                total -= image.size

    def prune(self):
        """Remove all that are not held; returns how many, and bytes."""
        with self.alone():
            gone = [image for image in self.images() if image.remove()]
        return len(gone), sum(image.size for image in gone)
