# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Which kernel parents and demo enclaves have.

It is the distribution's cloud kernel, unless 'nitro-lab --kernel' or a test
chooses another one: a package, of any release, or a file.
"""

import collections
import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

from . import packages
from .config import LAB, LabError
from .kernel import Modules

DRIVER = 'nitro_enclaves'
SUITE = 'trixie'
# Where a package has modules, below a directory of the release
PLACES = ('usr/lib/modules', 'lib/modules')
# Packages of a kernel; newer ones are in parts
PARTS = r'linux-(base|binary|image|modules)-\d'


class Kernel(collections.namedtuple('Kernel', 'image directory')):
    """A file, and the directory that has its modules."""

    @property
    def release(self):
        """As uname -r prints it."""
        return self.directory.name

    def modules(self):
        """All of its modules."""
        return Modules(self.directory)

    def place(self):
        """Directory for what is made of it."""
        if self == _usual():
            return LAB
        place = LAB / ('kernel-' + self.release)
        place.mkdir(parents=True, exist_ok=True)
        return place


def _usual():
    release = packages.kernel_release()
    return Kernel(packages.kernel_image(),
                  packages.tree('kernel') / 'usr/lib/modules' / release)


class _Choice:
    kernel = None


def current():
    """That of demo enclaves."""
    return _Choice.kernel or _usual()


def of_parent():
    """That of parents, which has to have the driver."""
    kernel, usual = current(), _usual()
    return kernel if kernel == usual or kernel.modules().has(DRIVER) \
        else usual


def choose(text):
    """PACKAGE, PACKAGE/SUITE or FILE is the kernel from now on."""
    _Choice.kernel = find(text)
    if of_parent() != current():
        print('nitro-lab: Linux %s has no %s: the parent has %s'
              % (current().release, DRIVER, of_parent().release),
              file=sys.stderr)


@contextlib.contextmanager
def using(kernel):
    """Another kernel for what is built and booted meanwhile."""
    before, _Choice.kernel = _Choice.kernel, kernel
    try:
        yield kernel
    finally:
        _Choice.kernel = before


def find(text):
    """The kernel of this name."""
    if Path(text).is_file():
        return _of_file(Path(text).absolute())
    package, _, suite = text.partition('/')
    if not re.fullmatch(r'linux-image-[a-z0-9.+-]+', package) or \
            not re.fullmatch(r'([a-z][a-z0-9-]*)?', suite):
        raise LabError("--kernel: '%s' is neither a file nor a package of a"
                       ' kernel' % text, 'write a path, or'
                       ' linux-image-cloud-amd64/trixie-backports')
    return _of_trees(packages.fetch_suite(suite or SUITE, (package,), (),
                                          needed=PARTS))


def _of_file(image):
    if (image.parent / 'modules.builtin').exists():
        return Kernel(image, image.parent)
    release = image.name.partition('-')[2]
    for top in (image.parent.parent, Path('/')):
        for place in PLACES:
            if release and (top / place / release).is_dir():
                return Kernel(image, top / place / release)
    raise LabError('--kernel: no modules of %s' % image, 'call it'
                   ' DIR/boot/vmlinuz-RELEASE with modules in'
                   ' DIR/lib/modules/RELEASE, or put it beside them')


def _of_trees(trees):
    """The kernel in unpacked packages."""
    for tree in trees:
        for image in tree.glob('boot/vmlinuz-*'):
            return _of_file(image)
    # Newer kernels have file, modules and lists in packages of their own
    parts = [part for tree in trees for place in PLACES
             for part in (tree / place).glob('*')]
    if not any((part / 'vmlinuz').exists() for part in parts):
        raise LabError('no kernel in ' + ', '.join(t.name for t in trees))
    return _of_file(_merged(parts) / 'vmlinuz')


def _merged(parts):
    """One directory that has what all of them have."""
    target = packages.STORE / 'kernel' / parts[0].name
    if not target.exists():
        partial = target.with_name('partial-%d' % os.getpid())
        for part in parts:
            shutil.copytree(part, partial, copy_function=os.link,
                            dirs_exist_ok=True)
        with contextlib.suppress(OSError):      # another lab was first
            partial.rename(target)
        shutil.rmtree(partial, ignore_errors=True)
    return target
