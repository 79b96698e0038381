# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Programs of a Debian release, as files for the parent or to be run here.

In the parent they lie where their packages have them; of libraries there are
only those that they are linked with, beside the parent's own.
"""

import re
import subprocess
from pathlib import Path

from . import images, packages
from .arch import GUEST
from .config import LabError

TRIPLET = GUEST.name + '-linux-gnu'
LIBRARIES = 'lib/' + TRIPLET
LOADERS = {'x86_64': 'lib64/ld-linux-x86-64.so.2',
           'aarch64': 'lib/ld-linux-aarch64.so.1'}

GLIBC = re.compile(rb'GNU C Library [^\n]* version (\d+)\.(\d+)')


class Release:
    """Packages of one Debian release."""

    directories = (LIBRARIES,)

    def __init__(self, suite, roots, more, arch=GUEST):
        """@more: packages, @roots: those whose libraries are wanted, too."""
        self.suite, self.loader = suite, LOADERS[arch.name]
        if arch is not GUEST:
            self.directories = ('lib/%s-linux-gnu' % arch.name,)
        self.trees = packages.fetch_suite(suite, roots, more, arch)

    def path(self, name):
        """A file of one of its packages."""
        for tree in self.trees:
            # /lib may or may not be /usr/lib there
            for place in (tree / name, tree / 'usr' / name):
                if place.exists():
                    return place
        raise LabError('no package of %s has %s' % (self.suite, name))

    def library(self, soname):
        """A library by the name that programs know it by."""
        if soname == Path(self.loader).name:
            return self.path(self.loader)
        for directory in self.directories:
            try:
                return self.path('%s/%s' % (directory, soname))
            except LabError:
                pass
        raise LabError('no package of %s has %s' % (self.suite, soname))

    def fits(self):
        """Does the QEMU under test run with the C library of the release?"""
        used = images.shared_libraries(images.launcher())
        ours = next(path for name, path in used.items()
                    if name.endswith('/libc.so.6'))
        return _glibc(self.library('libc.so.6')) >= _glibc(ours)

    def here(self, name):
        """Words that run one of its programs on this machine."""
        places = [str(tree / directory) for tree in self.trees
                  for directory in (*self.directories, *(
                      'usr/' + d for d in self.directories))
                  if (tree / directory).exists()]
        return [self.path(self.loader), '--library-path', ':'.join(places),
                self.path(name)]

    def libraries(self, programs):
        """Guest path -> path of what the programs are linked with."""
        found, todo = {}, list(programs)
        while todo:
            for soname in _needed(todo.pop()):
                if soname not in found:
                    found[soname] = self.library(soname)
                    todo.append(found[soname])
        files = {'%s/%s' % (LIBRARIES, soname): path
                 for soname, path in found.items()}
        return {**files, self.loader: self.library(Path(self.loader).name)}


def _needed(path):
    run = subprocess.run(['readelf', '-d', path], text=True, check=True,
                         stdout=subprocess.PIPE)
    return re.findall(r'\(NEEDED\).*\[(.*)\]', run.stdout)


def _glibc(path):
    major, minor = GLIBC.search(Path(path).read_bytes()).groups()
    return int(major), int(minor)
