# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Images of all sizes to launch, which nobody boots."""

import os
import zlib

from . import eif
from .arch import HOST
from .bench_host import MIB
from .config import BUILD, making

BENCH = BUILD / 'bench'
SIZES_MIB = (1, 64, 512, 2048)
BIG_MIB = 4608                  # more than 32 bits can count
KERNEL_BYTES = 8192
BLOCK = 16 * MIB
ARCHES = {'x86_64': eif.X86_64, 'aarch64': eif.AARCH64}


def _kernel(arch):
    """What every launcher takes for a kernel of this architecture."""
    kernel = bytearray(KERNEL_BYTES)
    if arch.name == 'aarch64':
        kernel[56:60] = b'ARM\x64'
    else:
        kernel[0x1fe:0x200] = b'\x55\xaa'
        kernel[0x202:0x206] = b'HdrS'
    return bytes(kernel)


def _head(ramdisk_bytes):
    """All of an image but the data of its ramdisk, and the CRC field."""
    image = bytearray(eif.build(_kernel(HOST), 'console=ttyS0', [b''],
                                ARCHES[HOST.name]))
    struct = list(eif.HEADER.unpack(image[:eif.HEADER.size]))
    first_size = 7 + eif.MAX_SECTIONS
    struct[first_size + 3] = ramdisk_bytes
    image[:eif.HEADER.size] = eif.HEADER.pack(*struct)
    image[-eif.SECTION.size:] = eif.SECTION.pack(eif.RAMDISK, 0,
                                                 ramdisk_bytes)
    return image


def _start_crc(head):
    body = zlib.crc32(head[:eif.HEADER.size - 4])
    return zlib.crc32(head[eif.HEADER.size:], body)


def _write(path, ramdisk_bytes, pieces):
    """@pieces: (data or number of bytes that become a hole)."""
    head = _head(ramdisk_bytes)
    crc = _start_crc(head)
    with open(path, 'wb') as image:
        image.write(head)
        for piece in pieces:
            if isinstance(piece, int):
                image.seek(piece, os.SEEK_CUR)
                piece = bytes(piece)
            else:
                image.write(piece)
            crc = zlib.crc32(piece, crc)
        image.truncate()
        image.seek(eif.HEADER.size - 4)
        image.write(crc.to_bytes(4, 'big'))


def _blocks(size):
    block = os.urandom(BLOCK)
    while size:
        piece = block[:min(size, BLOCK)]
        size -= len(piece)
        yield piece


def _holes(size):
    """Data at both ends and in the middle, above 4 GiB, too."""
    for number, piece in enumerate(_blocks(size)):
        data = number % 100 == 0 or len(piece) < BLOCK
        yield piece if data else len(piece)


def _make(path, size, pieces):
    ramdisk = size - len(_head(0))
    with making(path, str(size)) as new:
        if new:
            _write(new, ramdisk, pieces(ramdisk))
    return path


def image(size_mib):
    """An enclave image without a hole."""
    return _make(BENCH / ('%d.eif' % size_mib), size_mib * MIB, _blocks)


def sparse_image(size_mib):
    """One that is mostly holes."""
    return _make(BENCH / ('%d-sparse.eif' % size_mib), size_mib * MIB, _holes)


def ramdisk(size_mib):
    """Something that fits where a ramdisk belongs."""
    path, size = BENCH / ('%d.ramdisk' % size_mib), size_mib * MIB
    with making(path, str(size)) as new:
        if new:
            with open(new, 'wb') as out:
                out.writelines(_blocks(size))
    return path


def kernel(arch=HOST):
    """A kernel to launch directly."""
    path = BENCH / ('kernel-' + arch.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_kernel(arch))
    return path
