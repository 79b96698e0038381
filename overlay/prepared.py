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
NOT_SOURCE = {'.git', 'build'}
# Differ from call to call, and say nothing of a build
NO_MATTER = ('_', 'OLDPWD', 'SHLVL')


def _signs(top, names):
    """Signs that a file has changed, of each of them below a directory."""
    for path in names:
        try:
            status = os.lstat(os.path.join(top, path))
        except OSError:
            yield path, None
        else:
            yield path, (status.st_size, status.st_mtime_ns, status.st_ino)


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
        # BUILD= may be anywhere in it
        made = os.path.relpath(output.directory(), repo) + os.sep
        names = [name for name in tree.walk(repo, NOT_SOURCE)
                 if not name.startswith(made)]
        self._sources = _digest(commands, words,
                                list(_signs(repo, [PACKAGES, *names])))

    def _results(self):
        return _digest(list(_signs(self.composed, [
            *self.programs, *tree.walk(self.composed)])))

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
