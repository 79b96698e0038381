# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What the steps before a job were made from: if all of it is the same, they
have nothing to do.

Each of them sees that for itself, too, but all together take two seconds.
"""

import hashlib
import json
import os

import output
import tree

PACKAGES = '/var/lib/dpkg/status'
# Of the repository
NOT_SOURCE = ('.git', 'build')
# Differ from call to call, and say nothing of a build
NO_MATTER = ('_', 'OLDPWD', 'SHLVL')


def _signs(paths):
    """Signs that a file has changed, of each of them."""
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError:
            yield path, None
        else:
            yield path, (status.st_size, status.st_mtime_ns, status.st_ino)


def _files(top, but):
    """Paths below a directory, in any order that stays the same."""
    waiting = [top]
    while waiting:
        here = waiting.pop()
        if not os.path.isdir(here):
            continue
        with os.scandir(here) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.path in but or entry.name in tree.IGNORED_DIRS:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.path


def _digest(*parts):
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()


class Preparation:
    """The steps of one job that come before the job itself.

    @path: file for what was seen after the last time
    @commands: theirs
    @composed: composed tree that they make
    @programs: paths of what they build
    """

    def __init__(self, path, commands, composed, programs):
        self.path, self.composed, self.programs = path, composed, programs
        repo = tree.repository()
        words = {name: value for name, value in os.environ.items()
                 if name not in NO_MATTER}
        self._sources = _digest(commands, words, list(_signs(
            [PACKAGES, *_files(repo, {output.directory(), *(
                os.path.join(repo, name) for name in NOT_SOURCE)})])))

    def _results(self):
        return _digest(list(_signs([*self.programs,
                                    *_files(self.composed, set())])))

    def is_done(self):
        """Whether sources and results are those of the last time."""
        try:
            with open(self.path, encoding='utf-8') as f:
                return f.read().split() == [self._sources, self._results()]
        except OSError:
            return False

    def done(self):
        """All steps have succeeded, with the sources of the beginning."""
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(f'{self._sources}\n{self._results()}\n')
