# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""QEMU's manual with our pages, built by Sphinx in build/manual."""

import os
import shutil
import subprocess

import tree


def directory(build, kind):
    """Where pages of a kind are."""
    return os.path.join(build, 'manual', kind)


def make(build, kind, fresh=False, without=()):
    """Build pages as html or man; returns what Sphinx says.

    @fresh: build all pages again; else only those that changed.
    @without: patterns of pages to leave out, relative to docs.
    """
    if not shutil.which('sphinx-build'):
        raise tree.TreeError('there is no sphinx-build',
                             'install what building needs: overlay/deps')
    qemu = os.path.join(build, 'qemu')
    version = tree.read(os.path.join(qemu, 'VERSION')).decode().strip()
    run = subprocess.run(
        ['sphinx-build', '-q', '-j', 'auto', '-N', *(['-E'] if fresh else []),
         *(['-Dexclude_patterns=' + ','.join(without)] if without else []),
         '-b', kind, '-Dversion=' + tree.series_of(version), '-Drelease=',
         '-d', directory(build, 'doctrees'), 'docs', directory(build, kind)],
        cwd=qemu, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode != 0:
        raise tree.TreeError(f'the manual was not built: {run.stdout[-600:]}',
                             'see what Sphinx says')
    return run.stdout
