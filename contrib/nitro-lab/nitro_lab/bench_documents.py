# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Attestation documents: how many per second, and who waits for them.

Signed and unsigned: by a module without a guest, one and several at once, and
by one in an enclave that several connections keep busy.
"""

import multiprocessing
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from . import images, nsm, packages
from .bench_host import ahead_of_others
from .bench_stats import add, median
from .config import LabError, PKI
from .launch import Launch
from .nsm_device import Device
from .parent import Parent
from .patience import PATIENCE

ALONE = 1000                # documents of one module
PROCESSES, EACH = 8, 200
HOLD_MS = 5                 # of the main loop, for one document
FACTOR = 3                  # in an enclave, signed against unsigned
DEMO, REQUESTS = '/lab/demo.eif', '/lab/requests'

REQUEST = nsm.encode({'Attestation': {
    'user_data': bytes(32), 'nonce': bytes(32), 'public_key': bytes(294)}})
# Begin of an answer: a document, whose header has another algorithm
UNSIGNED, SIGNED = b'\x84\x43\xa1\x01\x20', b'\x84\x44\xa1\x01\x38\x22'


def _identity(top):
    """A key, and as many certificates as a document has, in one file."""
    if not shutil.which('openssl'):
        raise LabError('openssl is missing', 'apt-get install openssl')
    key, certificate = top / 'key.pem', top / 'certificate.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:secp384r1', '-nodes', '-days', '1', '-subj',
         '/CN=bench.lab.nitro-enclaves', '-keyout', key, '-out', certificate],
        check=True, stderr=subprocess.DEVNULL)
    path = top / 'identity.pem'
    path.write_text(key.read_text() + 4 * certificate.read_text())
    return path


def _arguments(identity):
    return ['-object', 'nitro-nsm-signer,id=signer,file=%s' % identity] \
        if identity else []


def _documents(device, count, header):
    """Times of so many documents, each of them looked at."""
    times = []
    device.prepare(REQUEST)
    for _ in range(count):
        times.append(device.ask())
        if header not in device.read(64):
            raise LabError('the module made no document: %r' % device.read(64))
    return times


def _percentiles(result, name, seconds):
    cuts = statistics.quantiles(seconds, n=100)
    for percent in 50, 99:
        add(result, '%s, p%d' % (name, percent), 'ms',
            1000 * cuts[percent - 1])


def _alone(result, kind, arguments, header):
    with Device(arguments) as device:
        _documents(device, EACH, header)        # warm up
        times = _documents(device, ALONE, header)
    add(result, '%s: one module' % kind, 'documents/s',
        ALONE / sum(wall for wall, _ in times))
    _percentiles(result, '%s: main loop held' % kind,
                 [wall for wall, _ in times])
    _percentiles(result, '%s: CPU time' % kind, [cpu for _, cpu in times])


def _one_of_many(arguments, header, barrier, results):
    with Device(arguments) as device:
        _documents(device, 1, header)
        barrier.wait(PATIENCE)
        times = _documents(device, EACH, header)
    results.put(times)


def _many(result, kind, arguments, header):
    """Several at once; the driver's share of the time counts here."""
    fork = multiprocessing.get_context('fork')
    barrier, results = fork.Barrier(PROCESSES + 1), fork.Queue()
    workers = [fork.Process(target=_one_of_many, args=(
        arguments, header, barrier, results)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    barrier.wait(PATIENCE)
    begun = time.monotonic()
    times = [pair for _ in workers for pair in results.get(timeout=PATIENCE)]
    took = time.monotonic() - begun
    for worker in workers:
        worker.join()
    add(result, '%s: %d modules' % (kind, PROCESSES), 'documents/s',
        len(times) / took)
    _percentiles(result, '%s: CPU time, %d modules' % (kind, PROCESSES),
                 [cpu for _, cpu in times])


class Unsigned(Parent):
    """A parent whose enclaves have no signer."""

    def hypervisor_command(self):
        argv = super().hypervisor_command()
        at = argv.index('--pki-dir')
        if argv[at + 1] != PKI:
            raise LabError('the order of options has changed')
        return argv[:at] + argv[at + 2:]


# Runs in the parent: each connection has a process of the enclave
SCRIPT = '''for i in $(seq %d); do
    lab vsock connect %d %d < %s > /tmp/documents$i &
done
wait
cat /tmp/documents* | wc -c'''


def _enclave(result, kind, parent_class, memory, rounds):
    requests = EACH * (struct.pack('>H', len(REQUEST)) + REQUEST)
    parent = parent_class(2, memory, {DEMO: images.demo_image(),
                                      REQUESTS: requests})
    with parent:
        launch = Launch(parent, ['-accel', 'nitro', '-M', 'nitro', '-display',
                                 'none', '-smp', 2, '-m', '%dM' % memory,
                                 '-kernel', DEMO])
        launch.connect()
        launch.wait_booted()
        for _ in range(rounds):
            begun = time.monotonic()
            said = parent.check(['sh', '-c', SCRIPT % (
                PROCESSES, launch.cid, nsm.PORT, REQUESTS)])
            took = time.monotonic() - begun
            if int(said) < PROCESSES * EACH * 1000:
                raise LabError('documents are missing: %s bytes' % said)
            add(result, '%s: %d processes of an enclave' % (kind, PROCESSES),
                'documents/s', PROCESSES * EACH / took)
    parent.forget()


def measure(result, memory, rounds):
    """All of it."""
    packages.fetch()
    images.build_all()
    with tempfile.TemporaryDirectory(prefix='nitro-bench-') as name:
        kinds = (('unsigned', None, UNSIGNED, Unsigned),
                 ('signed', _identity(Path(name)), SIGNED, Parent))
        for kind, identity, header, parent_class in kinds:
            print('measuring documents, %s' % kind, flush=True)
            with ahead_of_others():
                for _ in range(rounds):
                    _alone(result, kind, _arguments(identity), header)
                    _many(result, kind, _arguments(identity), header)
            _enclave(result, kind, parent_class, memory, rounds)


def check(result, targets):
    """What was wanted."""
    name = '%%s: %d processes of an enclave' % PROCESSES
    before = median(result, name % 'unsigned')
    targets.limit(name % 'signed', 'documents/s', median(
        result, name % 'signed'), before / FACTOR if before else None)
    targets.limit('signed: main loop held, p99', 'ms', median(
        result, 'signed: main loop held, p99'), HOLD_MS)
