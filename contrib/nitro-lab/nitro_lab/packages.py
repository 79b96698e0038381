# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The distribution's packages the lab is made of, unpacked below the cache.

Nothing is installed.  A filled cache is used without network;
'nitro-lab fetch --refresh' looks for newer versions.
"""

import contextlib
import fcntl
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


def _apt(*args, arch=GUEST, suite=None, cwd=None, capture=True):
    environment = dict(os.environ, CACHE=str(CACHE), ARCH=arch.debian)
    if suite:
        environment['SUITE'] = suite
    run = subprocess.run([str(private_apt()), *args], cwd=cwd,
                         env=environment, text=True, check=False,
                         stdout=subprocess.PIPE if capture else None,
                         stderr=subprocess.PIPE)
    if run.returncode:
        raise LabError('fetching packages failed: private-apt %s\n%s'
                       % (' '.join(args), run.stderr.strip()),
                       _hint(run.stderr, suite))
    return run.stdout


def _hint(said, suite):
    """What to do about an error of apt."""
    if 'does not have a Release file' in said and suite:
        return "the mirror has no release '%s': Debian's are bookworm," \
            ' trixie, trixie-backports, sid and others' % suite
    missing = re.search(r'Unable to locate package (\S+)', said)
    if missing:
        return 'look for its name with: apt-cache search ' + '-'.join(
            missing.group(1).split('-')[:2])
    return 'check that apt-get update works on this machine'


@contextlib.contextmanager
def _alone():
    """Nobody else fills the cache meanwhile."""
    STORE.mkdir(parents=True, exist_ok=True)
    with open(STORE / 'lock', 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _depends(meta, prefix):
    """The package that the newest of a meta package depends on."""
    found = re.search(r'^Depends: (?:.*, )?(%s\S+)' % prefix,
                      _apt('show', meta), re.M)
    if not found:
        raise LabError('%s names no package of the kernel' % meta)
    return found.group(1)


def kernel_source(name):
    """A file of the kernel's source package; only this file is kept."""
    target = STORE / ('source-' + name.replace('/', '-'))
    with _alone():
        if not target.exists():
            _keep_source(name, target)
    return target


def _keep_source(name, target):
    _apt('update')
    package = _depends('linux-source', 'linux-source-')
    tree = STORE / _download([package])[_key(package)]
    partial = target.with_suffix('.partial')
    with open(partial, 'wb') as out:
        subprocess.run(
            ['tar', '-xJOf', tree / ('usr/src/%s.tar.xz' % package),
             '--occurrence=1', '%s/%s' % (package, name)],
            stdout=out, check=True)
    partial.rename(target)
    shutil.rmtree(tree)


def _key(name, arch=GUEST):
    return '%s/%s' % (arch.debian, name)


def _unpack(archive, target):
    partial = target.with_suffix('.partial')
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(['dpkg', '-x', archive, partial], check=True)
    partial.rename(target)
    archive.unlink()


def _download(names, arch=GUEST, suite=None):
    """Download and unpack; returns key -> directory relative to STORE."""
    uris = _apt('uris', *names, arch=arch, suite=suite).splitlines()
    have = {line.split()[1].split('_')[0]:
            STORE / line.split()[1].removesuffix('.deb') for line in uris}
    missing = [name for name, target in have.items() if not target.exists()]
    if missing:
        _apt('download', *missing, arch=arch, suite=suite, cwd=STORE)
    for name in missing:
        _unpack(have[name].with_name(have[name].name + '.deb'), have[name])
    return {_key(name, arch): path.name for name, path in have.items()}


def fetch(refresh=False):
    """Fill the cache unless it is filled."""
    if not refresh and _complete():
        return
    with _alone():
        if refresh or not _complete():
            _fill()


def _fill():
    _apt('update')
    kernel = _depends(KERNEL_META, 'linux-image-')
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


LIBRARIES = 'z?lib'


def fetch_suite(suite, roots, more, arch=GUEST, needed=LIBRARIES):
    """Packages of a release: @more, @roots and their libraries.

    @needed: pattern for what else of the packages that @roots depend on.

    Returns the directories they are unpacked in.  Like the others they are
    fetched once, and taken from the cache from then on.
    """
    with _alone():
        return [STORE / name for name in _suite(suite, roots, more, arch,
                                               needed)]


def _suite(suite, roots, more, arch, needed):
    note = STORE / ('%s-%s-%s.json' % (suite, arch.debian, roots[0]))
    wanted = [*roots, *more]
    if note.exists():
        noted = json.loads(note.read_text())
        if noted['wanted'] == wanted and all(
                (STORE / name).exists() for name in noted['trees']):
            return noted['trees']
    _apt('update', arch=arch, suite=suite)
    closure = _apt('closure', *roots, arch=arch, suite=suite).split()
    names = sorted({*wanted, *(name for name in closure
                               if re.match(needed, name))})
    trees = sorted(_download(names, arch, suite).values())
    note.write_text(json.dumps({'wanted': wanted, 'trees': trees}, indent=1))
    return trees


def tree(name, arch=GUEST):
    """Directory of an unpacked package; 'kernel' is the cloud kernel."""
    if not _complete():
        fetch()
    return STORE / _manifest()[_key(name, arch)]


def extra(names):
    """Name -> directory of further packages for the parent."""
    with _alone():
        have = _manifest()
        if not all(_key(name) in have and (STORE / have[_key(name)]).exists()
                   for name in names):
            _apt('update')
            have.update(_download(names))
            MANIFEST.write_text(json.dumps(have, indent=1))
    return {name: STORE / have[_key(name)] for name in names}


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
