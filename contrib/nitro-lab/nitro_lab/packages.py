# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The distribution's packages the lab is made of, unpacked below the cache.

Nothing is installed.  A filled cache is used as it is, without network;
'nitro-lab fetch --refresh' looks for newer versions.
"""

import json
import os
import re
import shutil
import subprocess

from .arch import GUEST, HOST
from .config import CACHE, LabError, private_apt

KERNEL_META = 'linux-image-cloud-' + GUEST.debian
GUEST_PACKAGES = ('busybox-static', *(name for name, _ in GUEST.firmware))
HOST_PACKAGES = ('busybox-static',)     # run to learn what it offers

# Older drivers use freed memory when the device refuses to allocate a slot
SAFE_KERNEL = (6, 12, 113)

STORE = CACHE / 'lab-packages'
MANIFEST = STORE / 'manifest.json'


def _apt(*args, arch=GUEST, cwd=None, capture=True):
    environment = dict(os.environ, CACHE=str(CACHE), ARCH=arch.debian)
    run = subprocess.run([str(private_apt()), *args], cwd=cwd,
                         env=environment, text=True, check=False,
                         stdout=subprocess.PIPE if capture else None,
                         stderr=subprocess.PIPE)
    if run.returncode:
        raise LabError('fetching packages failed: private-apt %s\n%s'
                       % (' '.join(args), run.stderr.strip()),
                       'check that apt-get update works on this machine')
    return run.stdout


def _kernel_package():
    """What the meta package of the newest cloud kernel depends on."""
    found = re.search(r'^Depends: (linux-image-\S+)',
                      _apt('show', KERNEL_META), re.M)
    if not found:
        raise LabError('%s names no kernel package' % KERNEL_META)
    return found.group(1)


def _key(name, arch=GUEST):
    return '%s/%s' % (arch.debian, name)


def _download(names, arch=GUEST):
    """Download and unpack; returns key -> directory relative to STORE."""
    have = {}
    for line in _apt('uris', *names, arch=arch).splitlines():
        archive = line.split()[1]
        name = archive.split('_')[0]
        target = STORE / archive.removesuffix('.deb')
        if not target.exists():
            _apt('download', name, arch=arch, cwd=STORE)
            partial = target.with_suffix('.partial')
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run(['dpkg', '-x', STORE / archive, partial],
                           check=True)
            partial.rename(target)
            (STORE / archive).unlink()
        have[_key(name, arch)] = target.name
    return have


def fetch(refresh=False):
    """Fill the cache unless it is filled."""
    if not refresh and _complete():
        return
    STORE.mkdir(parents=True, exist_ok=True)
    _apt('update')
    kernel = _kernel_package()
    have = _download([kernel, *GUEST_PACKAGES])
    have[_key('kernel')] = have.pop(_key(kernel))
    if HOST not in (GUEST, None):
        _apt('update', arch=HOST)
        have.update(_download(HOST_PACKAGES, HOST))
    MANIFEST.write_text(json.dumps({**_manifest(), **have}, indent=1))


def _manifest():
    return json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}


def _complete():
    have = _manifest()
    wanted = [_key(name) for name in ('kernel', *GUEST_PACKAGES)]
    if HOST:
        wanted += [_key(name, HOST) for name in HOST_PACKAGES]
    return all(key in have and (STORE / have[key]).exists() for key in wanted)


def tree(name, arch=GUEST):
    """Directory of an unpacked package; 'kernel' is the cloud kernel."""
    if not _complete():
        fetch()
    return STORE / _manifest()[_key(name, arch)]


def kernel_release():
    """Release of the kernel, as uname -r prints it."""
    return next((tree('kernel') / 'usr/lib/modules').iterdir()).name


def slot_faults_are_safe():
    """May the device refuse SLOT_ALLOC without upsetting this kernel?"""
    numbers = re.match(r'(\d+)\.(\d+)\.(\d+)', kernel_release())
    return tuple(int(n) for n in numbers.groups()) >= SAFE_KERNEL


def kernel_image():
    """The kernel as its package ships it (bzImage, or arm64 Image)."""
    return tree('kernel') / 'boot' / ('vmlinuz-' + kernel_release())


def firmware_directories():
    """Directories for QEMU's -L, in search order."""
    return [tree(name) / directory for name, directory in GUEST.firmware]


def busybox(arch=GUEST):
    """The static busybox."""
    for place in ('usr/bin/busybox', 'bin/busybox'):
        path = tree('busybox-static', arch) / place
        if path.exists():
            return path
    raise LabError('busybox-static holds no busybox')
