# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""How long a launcher takes from exec to START, and how much memory.

The driver is a model that is preloaded, so nothing but the launcher is
measured and no hardware is needed.
"""

import shlex

from . import bench_images as files
from .bench_host import MIB, huge_pages, limits, meminfo, read_seconds
from .bench_process import LOAD_OFFSET, Process
from .bench_stats import add, median

GRANULE = 64 * MIB

# What a launch may take, from exec to START
OWN_MS = 30
FACTOR = 1.3
BESIDE_MIB = 48


class Launcher:
    """A QEMU with the accelerator."""

    def __init__(self, binary, extra, huge):
        self.binary, self.extra, self.huge = binary, shlex.split(extra), huge

    def process(self, image, memory, arguments=()):
        """Start it."""
        return Process(self.binary, [
            '-accel', 'nitro', '-M', 'nitro', '-nographic', '-smp', 2,
            '-m', '%dM' % (memory // MIB), '-kernel', image, *arguments,
            *self.extra], self.huge)


def memory_for(size):
    """-m for an image of @size bytes: little more than it needs."""
    return (size + LOAD_OFFSET + GRANULE) // GRANULE * GRANULE


def _name(size_mib, what):
    return '%d MiB %s' % (size_mib, what)


def _launch(result, launcher, size_mib, image, arguments=(), what='image'):
    memory = memory_for(size_mib * MIB)
    with launcher.process(image, memory, arguments) as process:
        add(result, _name(size_mib, what) + ': exec to START', 'ms',
            process.times.own_ms())
        add(result, _name(size_mib, what) + ': beside enclave RAM', 'MiB',
            process.times.beside_mib())
        return process.times


def _verify(launcher, size_mib, image):
    """Once, not measured: the right bytes are where they should be."""
    memory = memory_for(size_mib * MIB)
    with launcher.process(image, memory) as process:
        process.assert_loaded(image, memory)


def _add_steps(result, size_mib, times):
    for step, took in times.steps():
        add(result, '%d MiB image, step: %s' % (size_mib, step), 'ms', took)


def _round(result, launcher, only_times):
    for size in files.SIZES_MIB:
        image = files.image(size)
        if not only_times:
            add(result, 'limit: plain read of %d MiB' % size, 'ms',
                read_seconds(image, launcher.huge) * 1000)
        times = _launch(result, launcher, size, image)
        if size in (files.SIZES_MIB[0], files.SIZES_MIB[-1]):
            _add_steps(result, size, times)
    for size in files.SIZES_MIB[1:]:
        _launch(result, launcher, size, files.kernel(),
                ('-initrd', files.ramdisk(size)), 'kernel and initrd')


def _big(result, launcher, rounds):
    """An image above 4 GiB with holes."""
    image = files.sparse_image(files.BIG_MIB)
    _verify(launcher, files.BIG_MIB, image)
    for _ in range(rounds):
        _launch(result, launcher, files.BIG_MIB, image, what='sparse image')


def _all_sizes(result, launcher, rounds, is_peer):
    if not is_peer:
        limits(result, rounds)
    for size in files.SIZES_MIB:
        _verify(launcher, size, files.image(size))
    for _ in range(rounds):
        _round(result, launcher, is_peer)


def measure(result, binary, extra, rounds, is_peer=False):
    """All launches of one launcher."""
    print('measuring %s' % binary, flush=True)
    with huge_pages(memory_for(files.SIZES_MIB[-1] * MIB)) as huge:
        if not huge:
            print('no huge pages can be had: with ordinary ones', flush=True)
        _all_sizes(result, Launcher(binary, extra, huge), rounds, is_peer)
    needed = memory_for(files.BIG_MIB * MIB)
    with huge_pages(needed) as huge:
        if not huge:
            print('too few huge pages for an image above 4 GiB: with ordinary '
                  'ones', flush=True)
        if huge or meminfo('MemAvailable') > 2 * needed:
            _big(result, Launcher(binary, extra, huge), rounds)
        else:
            print('no memory for an image above 4 GiB', flush=True)


def check(result, targets):
    """What was wanted."""
    def own(size, what):
        return median(result, _name(size, what) + ': exec to START')

    smallest = own(files.SIZES_MIB[0], 'image')
    if smallest is None:
        return
    for what in 'image', 'kernel and initrd':
        for size in files.SIZES_MIB:
            read = median(result, 'limit: plain read of %d MiB' % size)
            name = _name(size, what)
            targets.limit(name + ': exec to START', 'ms', own(size, what),
                          OWN_MS if size == files.SIZES_MIB[0]
                          else FACTOR * (smallest + read))
            targets.limit(name + ': beside enclave RAM', 'MiB',
                          median(result, name + ': beside enclave RAM'),
                          BESIDE_MIB)
