# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The emulated parent: boot, launches in it, vsock, several enclaves."""

import contextlib
import re
import signal
import time
from pathlib import Path

from . import images, packages
from .bench_stats import add
from .config import LabError
from .launch import Launch
from .parent import Parent

ECHO_PORT = 5005
BULK_BYTES = 50 * 1000 * 1000
PINGS = 1000
DEMO = '/lab/demo.eif'
CROWDS = (1, 2, 4, 8)       # enclaves at once
CPUS = 2                    # of each enclave

# What is not begun any more when so much time has passed; a busy machine
ALONE_SECONDS = 75
TOGETHER_SECONDS = 90
CROWD_SECONDS = 60


class Timed(Launch):
    """A launch that notes when its console said something first."""

    def __init__(self, parent, memory, number=0):
        self.spoke = None
        super().__init__(
            parent, ['-accel', 'nitro,debug-mode=on', '-M', 'nitro',
                     '-nographic', '-smp', CPUS, '-m', '%dM' % memory,
                     '-kernel', DEMO],
            socket='/run/enclave-qmp%d' % number, follow=self._follow)
        self.connect()

    def _follow(self, _data):
        # What comes first is ours: nothing else prints to stdout
        job = getattr(self, 'job', None)
        if self.spoke is None and job and job.output:
            self.spoke = time.monotonic() - self.begun

    def stop(self):
        """Seconds until it is gone."""
        begun = time.monotonic()
        self.job.signal(signal.SIGTERM)
        self.job.wait()
        return time.monotonic() - begun


def _status_mib(text, *names):
    return sum(int(number) for name in names for number
               in re.findall(r'^%s:\s+(\d+)' % name, text, re.M)) / 1024


def _launcher_mib(parent, launch):
    """Memory of the launcher beside the enclave's huge pages."""
    pids = parent.check(['pidof', launch.job.argv[0]]).split()
    return _status_mib(parent.get('/proc/%s/status' % pids[0]), 'RssAnon',
                       'RssFile', 'RssShmem')


def _number(pattern, text):
    return float(re.search(pattern, text).group(1))


def _vsock(result, parent, cid):
    text = parent.check(['lab', 'vsock', 'ping', cid, ECHO_PORT, PINGS],
                        timeout=120)
    add(result, 'vsock round trip', 'us', _number(r'trip ([\d.]+) us', text))
    text = parent.check(['lab', 'vsock', 'bulk', cid, ECHO_PORT, BULK_BYTES],
                        timeout=120)
    add(result, 'vsock echo, each way', 'MB/s',
        _number(r'([\d.]+) MB/s', text))


def _one(result, parent, memory):
    launch = Timed(parent, memory)
    launch.wait_booted()
    add(result, 'launch to CID', 's', launch.started)
    if launch.spoke:
        add(result, 'launch to first console byte', 's', launch.spoke)
        add(result, 'make run to first console byte', 's',
            parent.boot_seconds + launch.spoke)
    add(result, 'launch to heartbeat', 's', launch.booted)
    add(result, 'launcher beside enclave RAM', 'MiB',
        _launcher_mib(parent, launch))
    _vsock(result, parent, launch.cid)
    add(result, 'stop', 's', launch.stop())


def _crowd(result, parent, memory, count):
    """So many at once, until the last one has booted.

    Returns False when it makes no sense to try it with twice as many.
    """
    begun = time.monotonic()
    crowd = [Timed(parent, memory, number) for number in range(count)]
    while any(launch.booted is None for launch in crowd):
        for launch in crowd:
            if launch.booted is None and not launch.poll():
                raise LabError('one of %d enclaves ended early' % count,
                               launch.job.text()[-1000:])
        if time.monotonic() > begun + CROWD_SECONDS:
            return False
        time.sleep(0.1)
    took = time.monotonic() - begun
    add(result, '%d at once: all have booted' % count, 's', took)
    begun = time.monotonic()
    for launch in crowd:
        launch.job.signal(signal.SIGTERM)
    for launch in crowd:
        launch.job.wait()
    add(result, '%d at once: all have stopped' % count, 's',
        time.monotonic() - begun)
    return 2 * took < CROWD_SECONDS


def _hypervisor_mib(parent):
    return _status_mib(Path('/proc/%d/status' % parent.hypervisor.popen.pid)
                       .read_text(), 'VmRSS')


def _in_time(what, items, seconds):
    """Items until the time is up, the first one in any case."""
    begun = time.monotonic()
    for number, item in enumerate(items):
        if number and time.monotonic() > begun + seconds:
            print('no time for %s: %s' % (what, item), flush=True)
            return
        yield item


def _booted(cpus, memory):
    """A parent; once more when it did not boot.

    TCG of QEMU 10.0 now and then fails an assertion (iotlb_to_section) when
    a guest with many CPUs changes its memory map while it boots.
    """
    for last in False, True:
        parent = Parent(cpus, memory, {DEMO: images.demo_image()})
        try:
            parent.start()
            return parent
        except BaseException as error:
            parent.stop()
            if last or not isinstance(error, LabError):
                raise
            print('the parent did not boot, once more: %s' % error,
                  flush=True)


def _alone(result, memory, rounds):
    parent = _booted(CPUS, memory)
    with contextlib.ExitStack() as stack:
        stack.callback(parent.stop)
        add(result, 'parent boot', 's', parent.boot_seconds)
        for _ in _in_time('another launch', range(rounds), ALONE_SECONDS):
            _one(result, parent, memory)
        add(result, 'nitro-hypervisor', 'MiB', _hypervisor_mib(parent))
    parent.forget()


def _together(result, memory):
    most = max(CROWDS)
    parent = _booted(CPUS * most, memory * most)
    with contextlib.ExitStack() as stack:
        stack.callback(parent.stop)
        add(result, 'parent boot, for %d enclaves' % most, 's',
            parent.boot_seconds)
        for count in _in_time('enclaves at once', CROWDS, TOGETHER_SECONDS):
            if not _crowd(result, parent, memory, count):
                print('too slow for more than %d enclaves at once' % count,
                      flush=True)
                break
        add(result, 'nitro-hypervisor after many enclaves', 'MiB',
            _hypervisor_mib(parent))
    parent.forget()


def measure(result, memory, rounds):
    """All of it."""
    packages.fetch()
    images.build_all()
    print('measuring the emulated parent', flush=True)
    _alone(result, memory, rounds)
    _together(result, memory)
