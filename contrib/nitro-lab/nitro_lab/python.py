# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Python for the parent: the distribution's, with libraries of its own.

It lives below /py with its own C library, because the launcher has this
machine's.
"""

from . import packages
from .arch import GUEST
from .config import BUILD, TREE

VERSION = 'python3.13'
PACKAGES = ('libc6', 'libexpat1', 'libffi8', 'liblzma5', 'libssl3t64',
            'libzstd1', 'zlib1g',
            VERSION + '-minimal', 'lib%s-minimal' % VERSION,
            'lib%s-stdlib' % VERSION)
LIBRARIES = {
    'libc6': ('libc.so.6', 'libm.so.6', {
        'x86_64': 'ld-linux-x86-64.so.2',
        'aarch64': 'ld-linux-aarch64.so.1'}[GUEST.name]),
    'libexpat1': ('libexpat.so.1',), 'zlib1g': ('libz.so.1',),
    'libffi8': ('libffi.so.8',), 'liblzma5': ('liblzma.so.5',),
    'libssl3t64': ('libssl.so.3', 'libcrypto.so.3'),
    'libzstd1': ('libzstd.so.1',)}
UNWANTED = {'test', 'idlelib', 'tkinter', 'pydoc_data', 'ensurepip',
            '__pycache__'}
WRAPPER = '''#!/bin/sh
export PYTHONHOME=/py
exec /py/lib/%s --library-path /py/lib /py/bin/%s "$@"
''' % (LIBRARIES['libc6'][-1], VERSION)

# Written once, as interpreting an emulated CPU's own compilation takes long
WARM_UP = 'import argparse, asyncio, contextlib, ctypes, dataclasses, ' \
    'fcntl, gzip, json, logging, lzma, mmap, select, shutil, signal, ' \
    'socket, ssl, subprocess, tempfile'


def _tree(directory, target, wanted='*'):
    return {'%s/%s' % (target, path.relative_to(directory)): path
            for path in sorted(directory.rglob(wanted)) if path.is_file()
            and not UNWANTED & set(path.relative_to(directory).parts)}


def files():
    """Guest path -> what makes /usr/bin/python3 work in the parent."""
    trees = packages.extra(PACKAGES)
    found = {'/usr/bin/python3': WRAPPER.encode(),
             '/py/bin/' + VERSION:
             trees[VERSION + '-minimal'] / 'usr/bin' / VERSION}
    for package, names in LIBRARIES.items():
        for name in names:
            found['/py/lib/' + name] = trees[package] / 'usr/lib' / (
                GUEST.name + '-linux-gnu') / name
    for kind in ('minimal', 'stdlib'):
        found.update(_tree(trees['lib%s-%s' % (VERSION, kind)] / 'usr/lib'
                           / VERSION, '/py/lib/' + VERSION))
    return found


def nitro_run_files(target):
    """The same for nitro-run and QEMU's QMP client."""
    qmp = next(tree / 'python/qemu/qmp' for tree in (TREE, BUILD / 'qemu')
               if (tree / 'python/qemu/qmp').exists())
    return {**_tree(TREE / 'contrib/nitro-run', target
                    + '/contrib/nitro-run'),
            **_tree(qmp, target + '/python/qemu/qmp', '*.py')}
