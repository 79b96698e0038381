# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The ELF kernel inside a bzImage, and modules with what they depend on."""

import lzma
import re
import struct
import subprocess
import zlib

from .config import LabError

SETUP_SECTORS = 0x1f1
HEADER_MAGIC = 0x202
PAYLOAD_OFFSET = 0x248
PAYLOAD_LENGTH = 0x24c
SIZE_TRAILER = 4        # length of the unpacked kernel, after the payload


def _unzstd(data):
    try:
        run = subprocess.run(['zstd', '-dcq'], input=data, check=False,
                             capture_output=True)
    except FileNotFoundError:
        raise LabError('the kernel is packed with zstd, which is missing',
                       'install the package zstd') from None
    if run.returncode:
        raise LabError('zstd: ' + run.stderr.decode(errors='replace'))
    return run.stdout


# Suffix of module files -> how to unpack them
UNPACK = {'.xz': lzma.decompress, '.zst': _unzstd}


def _payload(image):
    if image[HEADER_MAGIC:HEADER_MAGIC + 4] != b'HdrS':
        raise LabError('not a bzImage')
    sectors = image[SETUP_SECTORS] or 4
    offset, = struct.unpack_from('<I', image, PAYLOAD_OFFSET)
    length, = struct.unpack_from('<I', image, PAYLOAD_LENGTH)
    start = (sectors + 1) * 512 + offset
    return image[start:start + length]


def extract_vmlinux(image):
    """Bytes of the ELF kernel in the bytes of a bzImage."""
    data = _payload(image)
    if data.startswith(b'\x28\xb5\x2f\xfd'):
        kernel = _unzstd(data[:-SIZE_TRAILER])
    elif data.startswith(b'\xfd7zXZ'):
        kernel = lzma.decompress(data[:-SIZE_TRAILER])
    elif data.startswith(b'\x1f\x8b'):
        kernel = zlib.decompress(data, 31)
    elif data.startswith(b'\x7fELF'):
        kernel = data
    else:
        raise LabError('kernel payload of unknown kind: ' + data[:8].hex())
    if not kernel.startswith(b'\x7fELF'):
        raise LabError('the payload of the kernel is not an ELF file')
    return kernel


class Modules:
    """Kernel modules below a directory, by name."""

    def __init__(self, directory):
        self.files = {}
        for path in directory.rglob('*.ko*'):
            name = path.name.split('.ko')[0].replace('-', '_')
            self.files[name] = path
        builtin = (directory / 'modules.builtin').read_text()
        self.builtin = {re.sub(r'.*/|\.ko$', '', line).replace('-', '_')
                        for line in builtin.splitlines()}

    def has(self, name):
        """Is it there, as a module or in the kernel itself?"""
        return name in self.files or name in self.builtin

    def read(self, name):
        """Bytes of one module, unpacked."""
        path = self.files.get(name.replace('-', '_'))
        if path is None:
            raise LabError('the kernel has no module %s' % name,
                           'use a kernel of Debian 13 or newer')
        data = path.read_bytes()
        unpack = UNPACK.get(path.suffix)
        return unpack(data) if unpack else data

    def _depends(self, name):
        """Names of modules that one needs itself."""
        wants = re.search(rb'\0depends=([^\0]*)\0', self.read(name))
        return [other.replace('-', '_') for other in
                (wants.group(1).decode() if wants else '').split(',')
                if other and other.replace('-', '_') not in self.builtin]

    def needed(self, name):
        """All that one needs, those to be loaded last first."""
        found = []
        for other in self._depends(name):
            found += [other, *self.needed(other)]
        return list(dict.fromkeys(found))

    def closure(self, names):
        """(name, bytes) in load order, dependencies first."""
        done = {}

        def visit(name):
            if name in done or name in self.builtin:
                return
            for other in self._depends(name):
                visit(other)
            done[name] = self.read(name)

        for name in names:
            visit(name.replace('-', '_'))
        return list(done.items())
