# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""passt of Debian, as files for the parent and a command that runs there.

It makes a user namespace and changes its root, and Linux allows neither in an
initramfs.  So it gets a root of its own, which also keeps its C library apart.
"""

from . import images, release
from .arch import GUEST

SUITE = 'trixie'
PROGRAMS = {'x86_64': ('usr/bin/passt', 'usr/bin/passt.avx2'),
            'aarch64': ('usr/bin/passt',)}[GUEST.name]
ROOT = '/passt'
# Others see what it makes in /tmp
SCRIPT = '''set -e
mount --bind {0} {0}
for d in proc dev tmp; do
    mkdir -p {0}/$d
    mount --bind /$d {0}/$d
done
cd {0}
mount --move . /
exec chroot . passt "$@"
'''.format(ROOT)


def files():
    """Guest path -> content, for class Parent."""
    passt = release.Release(SUITE, ('passt',), ())
    found = {name: passt.path(name) for name in PROGRAMS}
    found.update(passt.libraries(list(found.values())))
    found['etc/passwd'] = images.PASSWD
    return {'%s/%s' % (ROOT, name): data for name, data in found.items()}


def command(*words):
    """Words that start it; its socket belongs below /tmp."""
    return ['unshare', '-m', 'sh', '-c', SCRIPT, 'passt', '--foreground',
            *words]
