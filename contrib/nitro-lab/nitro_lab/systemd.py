# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""systemd and udev of a Debian release, which run the parent.

parent/init hands over to systemd, as process 1.  It starts the agent as a
service.
"""

import os
import re

from . import images, release
from .arch import PROGRAM
from .cpio import Link

ROOTS = ('systemd', 'udev')
SUITES = ('bookworm', 'trixie')
# Directories of no use here: texts, settings, what serves users, kernels and
# networks, the database of hardware
UNWANTED = {'etc', 'share', 'catalog', 'kernel', 'boot', 'hwdb.d', 'user',
            'user-generators', 'system-generators', 'network', 'portable',
            'initramfs-tools', 'modprobe.d'}
# It loads these when it needs them
LOADED = ('libkmod.so.2', 'libzstd.so.1')
# Of no use in a parent of the lab; a rule of ours tells udev of the one device
MASKED = ('getty.target', 'systemd-logind.service',
          'systemd-user-sessions.service', 'systemd-update-utmp.service',
          'systemd-update-utmp-runlevel.service', 'kmod-static-nodes.service',
          'modprobe@.service', 'systemd-udev-trigger.service',
          'systemd-random-seed.service', 'systemd-pstore.service',
          'systemd-ask-password-console.path',
          'systemd-ask-password-wall.path', 'systemd-hwdb-update.service',
          'systemd-sysctl.service', 'systemd-journal-flush.service',
          'dev-mqueue.mount', 'sys-kernel-debug.mount',
          'sys-kernel-tracing.mount', 'sys-fs-fuse-connections.mount')
AGENT = '''[Service]
ExecStart=/bin/lab agent
WorkingDirectory=/lab
Environment=PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/lab
KillMode=process
'''


def _is_program(path):
    with open(path, 'rb') as f:
        return f.read(4) == b'\x7fELF'


def _settings(names):
    """What makes these files run a parent."""
    def there(name):
        return Link('/' + next(n for n in names if n.endswith(name)))
    system = 'etc/systemd/system/'
    files = {system + name: Link('/dev/null') for name in MASKED}
    return {**files, 'lab/init': there('lib/systemd/systemd'),
            'etc/machine-id': b'6e' * 16 + b'\n',
            # Group ne is made by what is tested
            'etc/group': re.sub(rb'(?m)^ne:.*\n', b'', images.GROUP),
            # Services look into /usr only
            'usr/bin/env': Link('/bin/busybox'),
            'usr/bin/' + PROGRAM: Link('/bin/' + PROGRAM),
            system + 'default.target': there('system/multi-user.target'),
            system + 'lab-agent.service': AGENT.encode(),
            system + 'multi-user.target.wants/lab-agent.service':
            Link('../lab-agent.service')}


class Release(release.Release):
    """systemd of one Debian release."""

    directories = (release.LIBRARIES, release.LIBRARIES + '/systemd')

    def __init__(self, suite):
        super().__init__(suite, ROOTS, ())

    def _package(self, tree):
        """Guest path -> path or link of what a package has."""
        for path in sorted(tree.rglob('*')):
            name = path.relative_to(tree)
            if UNWANTED & set(name.parts):
                continue
            if path.is_symlink():
                yield str(name), Link(os.readlink(path))
            elif path.is_file():
                yield str(name), path

    def files(self):
        """Guest path -> path, link or text, for class Parent."""
        files = {}
        for tree in self.trees:
            if tree.name.split('_')[0] in ROOTS:
                files.update(self._package(tree))
        programs = [path for path in files.values()
                    if not isinstance(path, Link) and _is_program(path)]
        programs += [self.library(name) for name in LOADED]
        files.update(self.libraries(programs))
        for name in LOADED:
            files['%s/%s' % (release.LIBRARIES, name)] = self.library(name)
        return {**files, **_settings(sorted(files))}
