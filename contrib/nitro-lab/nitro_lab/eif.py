# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Enclave images in Python: a writer and the measurements.

Deliberately apart from the C library in hw/core/eif-image.c, so that the
functional tests compare two independent readings of the format.  All numbers
are big-endian, sections follow each other, without gaps unless one asks.
"""

import hashlib
import json
import struct
import zlib

KERNEL, CMDLINE, RAMDISK, SIGNATURE, METADATA = range(1, 6)
X86_64, AARCH64 = 0, 1

VERSION = 4
MAX_SECTIONS = 32
HEADER = struct.Struct('>4sHHQQHH32Q32QII')
SECTION = struct.Struct('>HHQ')
DEFAULT_MEMORY = 1 << 30
DEFAULT_CPUS = 2


def metadata(name='demo', version='1.0'):
    """The metadata section: all keys the official reader insists on."""
    build = {'BuildTime': '1970-01-01T00:00:00+00:00',
             'BuildTool': 'nitro-lab', 'BuildToolVersion': '1',
             'OperatingSystem': 'Linux', 'KernelVersion': 'unknown'}
    return json.dumps({'ImageName': name, 'ImageVersion': version,
                       'BuildMetadata': build, 'DockerInfo': None,
                       'CustomMetadata': None},
                      separators=(',', ':')).encode()


def build(kernel, cmdline, ramdisks, arch=X86_64, name='demo'):
    """Bytes of an image."""
    sections = [(KERNEL, kernel), (CMDLINE, cmdline.encode()),
                (METADATA, metadata(name))]
    sections += [(RAMDISK, data) for data in ramdisks]
    return assemble(sections, arch)


def assemble(sections, arch=X86_64, version=VERSION, gap=0, flags=0):
    """Bytes of an image of (type, data) sections in this order.

    There are `gap` bytes before each section, and `flags` in the file header
    beside the architecture's and in the section headers.
    """
    offsets, sizes, body = [], [], bytearray()
    for kind, data in sections:
        body += b'\xa5' * gap
        offsets.append(HEADER.size + len(body))
        sizes.append(len(data))
        body += SECTION.pack(kind, flags, len(data)) + data
    unused = [0] * (MAX_SECTIONS - len(sections))
    head = HEADER.pack(b'.eif', version, arch | flags, DEFAULT_MEMORY,
                       DEFAULT_CPUS, 0, len(sections), *offsets, *unused,
                       *sizes, *unused, 0, 0)[:-4]
    crc = zlib.crc32(body, zlib.crc32(head))
    return head + struct.pack('>I', crc) + bytes(body)


def sections(image):
    """List of (type, data) of an image."""
    count, = struct.unpack_from('>H', image, 26)
    found, at = [], HEADER.size
    for _ in range(count):
        kind, _flags, size = SECTION.unpack_from(image, at)
        at += SECTION.size
        found.append((kind, image[at:at + size]))
        at += size
    return found


def _register(parts):
    content = hashlib.sha384(b''.join(parts)).digest()
    return hashlib.sha384(bytes(48) + content).hexdigest()


def measure(image):
    """[PCR0, PCR1, PCR2] of an image, in hexadecimal."""
    code = [(kind, data) for kind, data in sections(image)
            if kind in (KERNEL, CMDLINE, RAMDISK)]
    disks = [data for kind, data in code if kind == RAMDISK]
    boot = [data for kind, data in code if kind != RAMDISK] + disks[:1]
    return [_register(data for _, data in code), _register(boot),
            _register(disks[1:])]
