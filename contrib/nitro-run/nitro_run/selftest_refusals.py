# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios of the selftest: what the driver refuses, and by which number.

None of them takes more than a core and 64 MiB, and for an instant only.
"""

import errno
import fcntl
import os
from pathlib import Path

from .doctor import numbers
from .driver import (ADD_VCPU, CREATE_VM, DEVICE, HUGE, Memory, Slot,
                     error_name)
from .scenario import Failure, Scenario, Skip

LEAST_MIB = 64
ONLINE = Path('/sys/devices/system/cpu/online')
NO_CPU = 1 << 20
KERNEL_HALF = 0xffff800000000000 & -HUGE
ANY_CID, NO_REQUEST = 0, 0xae7f
# Numbers that no enclave can have: the hypervisor, local, the parent, any
RESERVED_CIDS = (1, 2, 3, 0xffffffff, 1 << 32)


def refused(request, *arguments):
    """The error number of a request, 0 when it is not refused."""
    try:
        request(*arguments)
    except OSError as error:
        return error.errno
    return 0


def no_memory(bench):
    """Start with CPUs only."""
    with Slot() as slot:
        slot.add_core(bench.threads)
        return refused(slot.start)


def no_cpus(_bench):
    """Start with memory only."""
    with Slot() as slot:
        slot.donate(LEAST_MIB)
        return refused(slot.start)


def little_memory(bench):
    """Start with less than the driver takes."""
    with Slot() as slot:
        slot.add_core(bench.threads)
        slot.donate(2)
        return refused(slot.start)


def half_core(bench):
    """Start with one of two threads."""
    if bench.threads < 2:
        raise Skip('needs cores of 2 threads, they have 1')
    with Slot() as slot:
        slot.add_cpu()
        slot.donate(LEAST_MIB)
        return refused(slot.start)


def cpu_twice(_bench):
    """Add the same CPU again."""
    with Slot() as slot:
        return refused(slot.add_cpu, slot.add_cpu())


def parents_cpu(bench):
    """Add a CPU that the parent has; 0 would mean any."""
    ours = [cpu for cpu in numbers(ONLINE.read_text().strip())
            if cpu and cpu not in bench.pool]
    if not ours:
        raise Skip('needs a CPU of the parent beside CPU 0, it has no other')
    with Slot() as slot:
        return refused(slot.add_cpu, ours[0])


def unknown_cpu(_bench):
    """Add a CPU that no machine has."""
    with Slot() as slot:
        return refused(slot.add_cpu, NO_CPU)


def memory_case(size, huge=True, shift=0, flags=0):
    """Donate @size bytes of a mapping, @shift bytes behind its start."""
    def run(_bench):
        with Slot() as slot:
            memory = Memory(2 * HUGE, huge)
            return refused(slot.add_memory, memory.address + shift, size,
                           flags)
    return run


def memory_twice(_bench):
    """Donate the same again."""
    with Slot() as slot:
        memory = slot.donate(2)
        return refused(slot.add_memory, memory.address, memory.size)


def kernel_memory(_bench):
    """Donate what is not the process's."""
    with Slot() as slot:
        return refused(slot.add_memory, KERNEL_HALF, HUGE)


def missing_memory(_bench):
    """Donate addresses at which nothing is."""
    with Slot() as slot:
        return refused(slot.add_memory, HUGE, HUGE)


def much_memory(bench):
    """Map more huge pages than there are; the kernel refuses it."""
    return refused(Memory, (bench.total_pages() + 1) * HUGE)


def image_flags(_bench):
    """Ask where an image of no kind goes."""
    with Slot() as slot:
        return refused(slot.image_offset, 0)


def start_case(flags, cid):
    """Start with these; nothing else is looked at before."""
    def run(_bench):
        with Slot() as slot:
            return refused(slot.start, flags, cid)
    return run


def no_structure(_bench):
    """A request without its structure."""
    with Slot() as slot:
        return refused(fcntl.ioctl, slot.fd, ADD_VCPU, 0)


def no_request(_bench):
    """A request that there is not."""
    with Slot() as slot:
        return refused(fcntl.ioctl, slot.fd, NO_REQUEST, bytearray(8))


def other_descriptor(_bench):
    """A request of the device to an enclave."""
    with Slot() as slot:
        return refused(fcntl.ioctl, slot.fd, CREATE_VM, bytearray(8))


def other_process(_bench):
    """A child donates memory; only who has created the enclave may."""
    with Slot() as slot:
        memory = Memory(HUGE)
        child = os.fork()
        if not child:
            code = refused(slot.add_memory, memory.address, HUGE)
            os._exit(code if code < 255 else 255)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def no_device(_bench):
    """A device under another name."""
    return refused(Slot, DEVICE + '.none')


def expecting(run, expected):
    """The scenario has to end with this error number."""
    def check(bench):
        number = run(bench)
        if number != expected:
            raise Failure(f'the driver answered {error_name(number)}'
                          f' ({number}), expected is {error_name(expected)}'
                          f' ({expected})', Errno=number)
        return {'Errno': number}
    return check


CASES = (
    ('device of another name', no_device, errno.ENOENT, {}),
    ('start without memory', no_memory, 266, {'core': True}),
    ('start without CPUs', no_cpus, 267, {'mib': LEAST_MIB}),
    ('start with 2 MiB', little_memory, 268, {'core': True, 'mib': 2}),
    ('start with half a core', half_core, 269, {'mib': LEAST_MIB}),
    ('CPU twice', cpu_twice, 256, {}),
    ('CPU of the parent', parents_cpu, 257, {}),
    ('CPU that does not exist', unknown_cpu, 271, {}),
    ('memory of ordinary pages', memory_case(HUGE, huge=False), 263, {}),
    ('memory that is not aligned', memory_case(HUGE, shift=4096), 261,
     {'mib': 4}),
    ('memory of an odd size', memory_case(HUGE + 4096), 259, {'mib': 4}),
    ('memory of no size', memory_case(0), errno.ENOMEM, {'mib': 4}),
    ('memory twice', memory_twice, 262, {'mib': 2}),
    ('memory of the kernel', kernel_memory, 260, {}),
    ('memory that is not there', missing_memory, errno.EFAULT, {}),
    ('more memory than there is', much_memory, errno.ENOMEM, {}),
    ('memory of another process', other_process, errno.EIO, {'mib': 2}),
    ('flags of memory', memory_case(HUGE, flags=1), 274, {'mib': 4}),
    ('flags of an image', image_flags, 274, {}),
    ('flags of the start', start_case(2, ANY_CID), 274, {}),
    *((f'CID {cid}', start_case(1, cid), 275, {}) for cid in RESERVED_CIDS),
    ('request without structure', no_structure, errno.EFAULT, {}),
    ('request that does not exist', no_request, errno.ENOTTY, {}),
    ('request to the other file', other_descriptor, errno.ENOTTY, {}),
)


def scenarios(threads):
    """All of them; @threads: of a core."""
    for name, run, expected, needs in CASES:
        cpus = 0 if run is much_memory or run is no_device else \
            threads if 'core' in needs else 1
        yield Scenario('driver: ' + name, expecting(run, expected), cpus,
                       needs.get('mib', 0))
