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

from .config import CACHE, LabError, private_apt

KERNEL_META = 'linux-image-cloud-amd64'
PACKAGES = ('busybox-static', 'seabios', 'qemu-system-data')

# Older drivers use freed memory when the device refuses to allocate a slot
SAFE_KERNEL = (6, 12, 113)

STORE = CACHE / 'lab-packages'
MANIFEST = STORE / 'manifest.json'


def _apt(*args, cwd=None, capture=True):
    environment = dict(os.environ, CACHE=str(CACHE))
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


def _download(names):
    """Download and unpack; returns name -> directory relative to STORE."""
    have = {}
    for line in _apt('uris', *names).splitlines():
        archive = line.split()[1]
        name = archive.split('_')[0]
        target = STORE / archive.removesuffix('.deb')
        if not target.exists():
            _apt('download', name, cwd=STORE)
            partial = target.with_suffix('.partial')
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run(['dpkg', '-x', STORE / archive, partial],
                           check=True)
            partial.rename(target)
            (STORE / archive).unlink()
        have[name] = target.name
    return have


def fetch(refresh=False):
    """Fill the cache unless it is filled."""
    if not refresh and _complete():
        return
    STORE.mkdir(parents=True, exist_ok=True)
    _apt('update')
    kernel = _kernel_package()
    have = _download([kernel, *PACKAGES])
    have['kernel'] = have.pop(kernel)
    MANIFEST.write_text(json.dumps(have, indent=1))


def _complete():
    if not MANIFEST.exists():
        return False
    have = json.loads(MANIFEST.read_text())
    return (set(have) >= {'kernel', *PACKAGES}
            and all((STORE / path).exists() for path in have.values()))


def tree(name):
    """Directory of an unpacked package; 'kernel' is the cloud kernel."""
    if not _complete():
        fetch()
    return STORE / json.loads(MANIFEST.read_text())[name]


def kernel_release():
    """Release of the kernel, as uname -r prints it."""
    return next((tree('kernel') / 'usr/lib/modules').iterdir()).name


def slot_faults_are_safe():
    """May the device refuse SLOT_ALLOC without upsetting this kernel?"""
    numbers = re.match(r'(\d+)\.(\d+)\.(\d+)', kernel_release())
    return tuple(int(n) for n in numbers.groups()) >= SAFE_KERNEL


def kernel_image():
    """The kernel as its package ships it (bzImage)."""
    return tree('kernel') / 'boot' / ('vmlinuz-' + kernel_release())


def firmware_directories():
    """Directories for QEMU's -L, in search order."""
    return [tree('qemu-system-data') / 'usr/share/qemu',
            tree('seabios') / 'usr/share/seabios']


def busybox():
    """The static busybox."""
    for place in ('usr/bin/busybox', 'bin/busybox'):
        if (tree('busybox-static') / place).exists():
            return tree('busybox-static') / place
    raise LabError('busybox-static holds no busybox')
