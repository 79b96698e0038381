# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab bench: speed and memory of launches, as a table and JSON."""

import json
import re
import signal
import statistics
import time
from pathlib import Path

from . import images, packages
from .arch import PROGRAM
from .config import LAB
from .launch import Launch
from .parent import Parent

ECHO_PORT = 5005
BULK_BYTES = 50 * 1000 * 1000
DEMO = '/lab/demo.eif'


def _status_kib(text, field):
    found = re.search(r'^%s:\s+(\d+)' % field, text, re.M)
    return int(found.group(1)) if found else 0


def _launcher_mib(parent):
    """Memory of the launcher beside the enclave's huge pages."""
    pid = parent.check(['pidof', PROGRAM]).split()[0]
    text = parent.get('/proc/%s/status' % pid)
    return sum(_status_kib(text, field) for field in
               ('RssAnon', 'RssFile', 'RssShmem')) / 1024


def _launch(parent, memory):
    launch = Launch(parent, ['-accel', 'nitro,debug-mode=on', '-M', 'nitro',
                             '-nographic', '-smp', 2, '-m', '%dM' % memory,
                             '-kernel', DEMO])
    launch.connect()
    launch.wait_booted()
    return launch


def _stop(launch):
    begun = time.monotonic()
    launch.job.signal(signal.SIGTERM)
    launch.job.wait()
    return time.monotonic() - begun


def _measure(parent, memory, runs):
    values = {'launch to CID, s': [], 'launch to heartbeat, s': [],
              'stop, s': [], 'launcher beside enclave RAM, MiB': [],
              'vsock echo, MB/s each way': []}
    started, booted, stopped, mib, echo = values.values()
    for _ in range(runs):
        launch = _launch(parent, memory)
        started.append(launch.started)
        booted.append(launch.booted)
        mib.append(_launcher_mib(parent))
        text = parent.check(['lab', 'vsock', 'bulk', launch.cid, ECHO_PORT,
                             BULK_BYTES], timeout=120)
        echo.append(float(re.search(r'([\d.]+) MB/s', text).group(1)))
        stopped.append(_stop(launch))
    return values


def bench(args):
    """Measure, print, and write LAB/bench.json."""
    packages.fetch()
    images.build_all()
    with Parent(2, args.mem, {DEMO: images.demo_image()}) as parent:
        values = {'parent boot, s': [parent.boot_seconds],
                  **_measure(parent, args.mem, args.runs)}
        text = Path('/proc/%d/status'
                    % parent.hypervisor.popen.pid).read_text()
        values['nitro-hypervisor, MiB'] = [_status_kib(text, 'VmRSS') / 1024]
    parent.forget()
    print('%-34s %8s %8s %8s' % ('', 'median', 'min', 'max'))
    for name, found in values.items():
        print('%-34s %8.2f %8.2f %8.2f' % (
            name, statistics.median(found), min(found), max(found)))
    target = LAB / 'bench.json'
    target.write_text(json.dumps(values, indent=1))
    print('written to %s' % target)
    return 0
