# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The machine a benchmark runs on: huge pages, priority, its own limits."""

import contextlib
import ctypes
import ctypes.util
import mmap
import os
import platform
import re
import time
import zlib
from pathlib import Path

from .bench_stats import add

MIB = 1 << 20
HUGE_PAGE = 2 * MIB
MAP_HUGETLB = 0x40000
PRIORITY = 10
NR_HUGEPAGES = Path('/proc/sys/vm/nr_hugepages')
COMPACT = Path('/proc/sys/vm/compact_memory')
ATTEMPTS = 3


def meminfo(name):
    """A value of /proc/meminfo, in bytes where the kernel gives kB."""
    found = re.search(r'^%s:\s+(\d+)( kB)?' % name,
                      Path('/proc/meminfo').read_text(), re.M)
    return int(found.group(1)) * (1024 if found.group(2) else 1)


def describe():
    """What the figures depend on."""
    found = re.search(r'^model name\s*:\s*(.*)',
                      Path('/proc/cpuinfo').read_text(), re.M)
    return {'cpu': found.group(1) if found else platform.processor(),
            'cpus': len(os.sched_getaffinity(0)),
            'memory_mib': meminfo('MemTotal') // MIB,
            'kernel': platform.release(),
            'load': os.getloadavg()[0],
            'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}


@contextlib.contextmanager
def ahead_of_others():
    """Run before all ordinary processes, where that is allowed.

    So that what else the machine has to do spoils figures less.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        pass
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def _reserve(before, size):
    """Memory is in pieces when much was going on: have it put together."""
    for _ in range(ATTEMPTS):
        lacking = size // HUGE_PAGE - meminfo('HugePages_Free')
        if lacking <= 0:
            return
        NR_HUGEPAGES.write_text(str(meminfo('HugePages_Total') + lacking))
        if meminfo('HugePages_Total') < before + lacking:
            COMPACT.write_text('1')


@contextlib.contextmanager
def huge_pages(size):
    """Have free huge pages for @size bytes; whether there are that many."""
    before = int(NR_HUGEPAGES.read_text())
    try:
        with contextlib.suppress(OSError):
            _reserve(before, size)
        yield meminfo('HugePages_Free') * HUGE_PAGE >= size
    finally:
        if int(NR_HUGEPAGES.read_text()) != before:
            NR_HUGEPAGES.write_text(str(before))


def _round_up(size):
    return (size + HUGE_PAGE - 1) // HUGE_PAGE * HUGE_PAGE


def fresh_memory(size, huge):
    """Anonymous shared memory that nobody has touched."""
    return mmap.mmap(-1, _round_up(size), flags=mmap.MAP_SHARED
                     | mmap.MAP_ANONYMOUS | (MAP_HUGETLB if huge else 0))


def read_seconds(path, huge):
    """One plain read of a whole file into fresh memory, as is."""
    size = path.stat().st_size
    fd = os.open(path, os.O_RDONLY)
    with fresh_memory(size, huge) as memory, memoryview(memory) as view:
        begun, done = time.monotonic(), 0
        while done < size:
            done += os.preadv(fd, [view[done:size]], done)
        took = time.monotonic() - begun
    os.close(fd)
    return took


def _fast_crc():
    """CRC of libdeflate, or None where there is no such library."""
    name = ctypes.util.find_library('deflate')
    if not name:
        return None
    function = ctypes.CDLL(name).libdeflate_crc32
    function.argtypes = ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t
    function.restype = ctypes.c_uint32
    return lambda data: function(0, data, len(data))


def _rate(result, name, function, size):
    begun = time.monotonic()
    function()
    add(result, name, 'GiB/s', size / (time.monotonic() - begun) / (1 << 30))


def limits(result, rounds):
    """How fast this machine copies and sums at all, in one thread."""
    data = os.urandom(MIB) * 256
    target = bytearray(len(data))
    crcs = {'limit: CRC of zlib': zlib.crc32,
            'limit: CRC of libdeflate': _fast_crc()}
    for _ in range(rounds):
        with memoryview(target) as view:
            _rate(result, 'limit: memcpy',
                  lambda: view.__setitem__(slice(None), data), len(data))
        for name, function in crcs.items():
            if function:
                _rate(result, name, lambda: function(data), len(data))
