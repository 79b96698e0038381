# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""libvirt as Debian releases have it, as files for the parent."""

import re

from . import release
from .release import TRIPLET

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


class Release(release.Release):
    """libvirt of one Debian release."""

    def __init__(self, suite):
        super().__init__(suite, ROOTS, SUITES[suite])

    def files(self):
        """Guest path -> path, for class Parent."""
        files = {name: self.path(name) for name in PROGRAMS}
        files.update(self.libraries(list(files.values())))
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
