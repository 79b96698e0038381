# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""libvirt as Debian releases have it, as files for the parent.

The programs and data lie where their packages have them; of libraries there
are only those that the programs are linked with, beside the parent's own.
"""

import re
import subprocess
from pathlib import Path

from . import images, packages
from .arch import GUEST
from .config import LabError

TRIPLET = GUEST.name + '-linux-gnu'
LIBRARIES = 'lib/' + TRIPLET
LOADER = {'x86_64': 'lib64/ld-linux-x86-64.so.2',
          'aarch64': 'lib/ld-linux-aarch64.so.1'}[GUEST.name]

ROOTS = ('libvirt0', 'libvirt-clients')
DAEMON = ('libvirt-daemon', 'libvirt-daemon-driver-qemu', 'libxml2-utils')
# Release -> packages
SUITES = {
    'bookworm': DAEMON,
    'trixie': (*DAEMON, 'libvirt-common', 'libvirt-daemon-common',
               'libvirt-daemon-log'),
}

PROGRAMS = ('usr/sbin/libvirtd', 'usr/sbin/virtlogd', 'usr/bin/virsh',
            'usr/lib/libvirt/libvirt_iohelper',
            'usr/lib/%s/libvirt/connection-driver/libvirt_driver_qemu.so'
            % TRIPLET)
DATA = 'usr/share/libvirt'

GLIBC = re.compile(rb'GNU C Library [^\n]* version (\d+)\.(\d+)')


class Release:
    """libvirt of one Debian release."""

    def __init__(self, suite):
        self.suite = suite
        self.trees = packages.fetch_suite(suite, ROOTS, SUITES[suite])

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
        if soname == Path(LOADER).name:
            return self.path(LOADER)
        for directory in (LIBRARIES, 'usr/' + LIBRARIES):
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

    def _libraries(self):
        """Libraries of the programs: soname -> path."""
        found, todo = {}, [self.path(name) for name in PROGRAMS]
        while todo:
            for soname in _needed(todo.pop()):
                if soname not in found:
                    found[soname] = self.library(soname)
                    todo.append(found[soname])
        return found

    def files(self):
        """Guest path -> path, for class Parent."""
        files = {name: self.path(name) for name in PROGRAMS}
        for soname, path in self._libraries().items():
            files['%s/%s' % (LIBRARIES, soname)] = path
        files[LOADER] = self.library(Path(LOADER).name)
        for tree in self.trees:
            for path in sorted((tree / DATA).rglob('*')):
                if path.is_file():
                    files[str(path.relative_to(tree))] = path
        return files

    def validator(self):
        """Its virt-xml-validate, as a text, with its own schemas."""
        text = self.path('usr/bin/virt-xml-validate').read_text()
        schemas = self.path(DATA + '/schemas/domain.rng').parent
        return re.sub('/usr/share/libvirt/schemas', str(schemas), text)


def _needed(path):
    run = subprocess.run(['readelf', '-d', path], text=True, check=True,
                         stdout=subprocess.PIPE)
    return re.findall(r'\(NEEDED\).*\[(.*)\]', run.stdout)


def _glibc(path):
    major, minor = GLIBC.search(Path(path).read_bytes()).groups()
    return int(major), int(minor)
