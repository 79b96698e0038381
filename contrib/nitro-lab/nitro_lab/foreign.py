# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Launchers that others have written, as files for the parent.

They are the distribution's own: its newest QEMU, as the package has it, and
the sample program of its kernel's source.
"""

import html
import re
import shutil
import subprocess
from pathlib import Path

from . import images, packages, release
from .arch import GUEST, PROGRAM
from .config import LAB, LabError, describe_inputs, making

# The first release of QEMU with this accelerator is in backports only
SUITE = 'trixie-backports'
PACKAGE = {'x86_64': 'qemu-system-x86', 'aarch64': 'qemu-system-arm'}
# It has libraries of its own: the parent's are this machine's
PLACE = '/foreign'
QEMU = PLACE + '/' + PROGRAM

SAMPLE = PLACE + '/ne_ioctl_sample'
SOURCE = 'samples/nitro_enclaves/ne_ioctl_sample.c'


class Qemu(release.Release):
    """QEMU of the distribution."""

    def __init__(self, suite=SUITE):
        super().__init__(suite, (PACKAGE[GUEST.name],),
                         ('qemu-system-common', 'qemu-system-data'))

    def files(self):
        """Guest path -> path or text, for class Parent."""
        program = self.path('usr/bin/' + PROGRAM)
        files = {'%s/root/%s' % (PLACE, name): path for name, path in
                 self.libraries([program]).items()}
        return {**files, PLACE + '/root/usr/bin/' + PROGRAM: program,
                QEMU: self._script().encode()}

    def _script(self):
        root = PLACE + '/root/'
        return ('#!/bin/sh\nexec %s --library-path %s %susr/bin/%s "$@"\n'
                % (root + self.loader, root + release.LIBRARIES, root,
                   PROGRAM))


def manual():
    """Its page about this accelerator, as text; continued lines joined."""
    page = Qemu().path('share/doc/qemu-system-common/system/nitro.html')
    text = html.unescape(re.sub('<[^>]*>', '', page.read_text()))
    return re.sub(r'\\\n\s*', '', text)


def sample():
    """The kernel's sample program, built static."""
    source = packages.kernel_source(SOURCE)
    target = LAB / 'ne_ioctl_sample'
    stamp = describe_inputs([source])
    with making(target, stamp) as new:
        run = new and subprocess.run(
            [images.TOOLS + 'gcc', '-O2', '-static', '-pthread', '-o', new,
             source], text=True, stderr=subprocess.PIPE, check=False)
        if run and run.returncode:
            raise LabError('compiling %s failed:\n%s' % (source, run.stderr),
                           'a static C library is needed (libc6-dev)')
    return target


def files():
    """Guest path -> path or text of all of them."""
    return {**Qemu().files(), SAMPLE: sample()}


def write(directory):
    """All of them in a directory, for --file DIRECTORY:PLACE."""
    for name, data in files().items():
        target = directory / Path(name).relative_to(PLACE)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, bytes):
            target.write_bytes(data)
            target.chmod(0o755)
        else:
            shutil.copy(data, target)
