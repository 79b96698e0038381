# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The driver of enclaves, one request at a time.

Numbers and layouts: include/standard-headers/linux/nitro_enclaves.h
"""

import ctypes
import errno
import fcntl
import mmap
import os
import select
import struct
from pathlib import Path

DEVICE = '/dev/nitro_enclaves'
CREATE_VM, ADD_VCPU, GET_IMAGE_LOAD_INFO = 0x8008ae20, 0xc004ae21, 0xc010ae22
SET_USER_MEMORY_REGION, START_ENCLAVE = 0x4018ae23, 0xc010ae24
EIF_IMAGE, DEBUG = 1, 1
HUGE = 2 << 20
NO_CPUS_AVAIL_IN_POOL = 272

# The driver's own error numbers, from FIRST_CODE on
FIRST_CODE = 256
CODES = ('VCPU_ALREADY_USED', 'VCPU_NOT_IN_CPU_POOL', 'VCPU_INVALID_CPU_CORE',
         'INVALID_MEM_REGION_SIZE', 'INVALID_MEM_REGION_ADDR',
         'UNALIGNED_MEM_REGION_ADDR', 'MEM_REGION_ALREADY_USED',
         'MEM_NOT_HUGE_PAGE', 'MEM_DIFFERENT_NUMA_NODE', 'MEM_MAX_REGIONS',
         'NO_MEM_REGIONS_ADDED', 'NO_VCPUS_ADDED', 'ENCLAVE_MEM_MIN_SIZE',
         'FULL_CORES_NOT_USED', 'NOT_IN_INIT_STATE', 'INVALID_VCPU',
         'NO_CPUS_AVAIL_IN_POOL', 'INVALID_PAGE_SIZE', 'INVALID_FLAG_VALUE',
         'INVALID_ENCLAVE_CID')


def error_name(number):
    """Name of an error number, also of the driver's own."""
    if 0 <= number - FIRST_CODE < len(CODES):
        return 'NE_ERR_' + CODES[number - FIRST_CODE]
    return errno.errorcode.get(number, str(number)) if number else 'none'


class Memory:
    """Memory that can be donated; of huge pages, or ordinary."""

    def __init__(self, size, huge=True):
        """@size: bytes; an ordinary one has room for its alignment."""
        flags = os.MFD_CLOEXEC
        flags |= os.MFD_HUGETLB | os.MFD_HUGE_2MB if huge else 0
        fd = os.memfd_create('nitro-run', flags)
        try:
            room = size if huge else size + HUGE
            os.ftruncate(fd, room)
            self.map = mmap.mmap(fd, room, mmap.MAP_SHARED)
        finally:
            os.close(fd)
        if not huge:
            # The driver keeps a page that it refuses; a small one then
            self.map.madvise(mmap.MADV_NOHUGEPAGE)
        self.size, view = size, ctypes.c_char.from_buffer(self.map)
        self.address = -(-ctypes.addressof(view) // HUGE) * HUGE
        self.offset = self.address - ctypes.addressof(view)

    def write(self, offset, data):
        """Fill in a part."""
        self.map[self.offset + offset:self.offset + offset + len(data)] = data


class Slot:
    """An enclave before and after its start; use as a context manager.

    Requests raise OSError with the driver's error number.
    """

    def __init__(self, device=DEVICE):
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.fd = fcntl.ioctl(fd, CREATE_VM, bytearray(8), True)
        finally:
            os.close(fd)
        self.donated = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def request(self, number, layout, *values):
        """Make one request; returns the fields that the driver filled in."""
        data = bytearray(struct.pack(layout, *values))
        fcntl.ioctl(self.fd, number, data, True)
        return struct.unpack(layout, data)

    def add_cpu(self, number=0):
        """@number: 0 lets the driver choose.  Returns the CPU."""
        return self.request(ADD_VCPU, '<I', number)[0]

    def add_core(self, threads):
        """All CPUs of a core of the driver's choice."""
        return [self.add_cpu() for _ in range(threads)]

    def image_offset(self, flags=EIF_IMAGE):
        """Where in memory the image has to be."""
        return self.request(GET_IMAGE_LOAD_INFO, '<QQ', flags, 0)[1]

    def add_memory(self, address, size, flags=0):
        """Donate what is there."""
        self.request(SET_USER_MEMORY_REGION, '<QQQ', flags, size, address)

    def donate(self, mib):
        """Donate new huge pages; returns the memory."""
        memory = Memory(mib << 20)
        self.add_memory(memory.address, memory.size)
        self.donated.append(memory)
        return memory

    def donate_image(self, path, mib):
        """Donate memory with an image in it."""
        memory, data = Memory(mib << 20), Path(path).read_bytes()
        memory.write(self.image_offset(), data)
        self.add_memory(memory.address, memory.size)
        self.donated.append(memory)
        return memory

    def start(self, flags=DEBUG, cid=0):
        """Returns the CID that it has."""
        return self.request(START_ENCLAVE, '<QQ', flags, cid)[1]

    def has_ended(self, seconds):
        """Wait so long for the end of a started enclave."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return bool(poll.poll(seconds * 1000))


def free_cpus(wanted):
    """How many CPUs the pool has for another enclave, up to @wanted.

    They are taken and given back, as nothing else shows it.
    """
    taken = 0
    try:
        with Slot() as slot:
            while taken < wanted:
                slot.add_cpu()
                taken += 1
    except OSError as error:
        if error.errno != NO_CPUS_AVAIL_IN_POOL:
            raise
    return taken
