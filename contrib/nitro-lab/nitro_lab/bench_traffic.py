# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The network of an enclave in the emulated parent, beside plain vsock.

iperf3 of the distribution is the program in the enclave, and the one in the
parent.  Both runs of a back end have the same enclave: over the network card,
and over a vsock stream with writes of 64 KiB.
"""

import hashlib
import json
import random
import time

from . import application, images, packages
from .arch import PROGRAM
from .bench_stats import add, median
from .config import LabError
from .launch import Launch
from .parent import Parent
from .patience import PATIENCE
from .release import LIBRARIES, Release

SUITE = 'trixie'
MIB_OF_ENCLAVE, MIB_OF_PARENT = 384, 448
SECONDS = 5                     # of one run of iperf3
STREAM_BYTES = 48 << 20         # over vsock, one way
STREAM_BLOCK = 64 << 10
BLOCK_BYTES, BLOCKS = 4 << 20, 50
IPERF, TAKER, GIVER = 5201, 9, 10
SINK, SOURCE = 5101, 5102       # of vsock
LOG, ZEROS, NEVER = '/tmp/app.log', '/tmp/zeros', '/tmp/never'
IPERF_ROOT = '/iperf'
OURS, THEIRS = '10.9.0.1', '10.9.0.2'

# Back end -> MTU of its packets, percentage of vsock's speed that is wanted
GOALS = {'user': (1500, 60), 'tap': (65520, 80)}
WAYS = ('to', 'from')           # the enclave

PRODUCE = b'''#!/bin/sh
i=0
while [ $i -lt %d ]; do
    echo "block $i"
    cat ${1:-/srv/block}
    i=$((i + 1))
done
''' % BLOCKS
SERVE = r'''
truncate -s %d /tmp/zeros
mkfifo /tmp/never
while :; do lab vsock listen %d <> /tmp/never > /dev/null; done &
while :; do lab vsock listen %d < /tmp/zeros > /dev/null; done &
nc -ll -p %d -e sha256sum &
nc -ll -p %d -e produce &
iperf3 -s > /dev/null &
for port in %d %d %d; do
    until netstat -ltn | grep -q ":$port "; do sleep 0.1; done
done
echo ready=yes
wait
''' % (STREAM_BYTES, SINK, SOURCE, TAKER, GIVER, IPERF, TAKER, GIVER)


def _iperf():
    """Path in a root -> path here."""
    found = Release(SUITE, ('iperf3',), ())
    files = {'usr/bin/iperf3': found.path('usr/bin/iperf3')}
    # For threads that end, which no program is linked with
    unwinder = {'%s/libgcc_s.so.1' % LIBRARIES:
                found.library('libgcc_s.so.1')}
    return {**files, **unwinder,
            **found.libraries(list(files.values()))}, found.loader


def _block():
    return random.Random(16).randbytes(BLOCK_BYTES)


def _expected():
    """Hash of what one way carries."""
    block, digest = _block(), hashlib.sha256()
    for number in range(BLOCKS):
        digest.update(b'block %d\n' % number + block)
    return digest.hexdigest()


def _tree(iperf):
    tree = application.busybox_tree()
    files = {**iperf, 'bin/lab': images.guest_tool(), 'bin/produce': PRODUCE,
             'srv/block': _block()}
    for name, data in files.items():
        tree.file('%s/%s' % (application.ROOT, name), data, 0o755)
    return tree


def _files(iperf):
    """Guest path -> content, for the parent."""
    tree, command = _tree(iperf), ['sh', '-c', SERVE]
    path = '/usr/sbin:/usr/bin:/sbin:/bin'
    return {
        '/lab/user.eif': application.image(
            'bench-user', command, tree, net='dhcp', net_wait=PATIENCE,
            env='PATH=' + path),
        '/lab/tap.eif': application.image(
            'bench-tap', command, tree, net='static', env='PATH=' + path,
            net_address=THEIRS + '/24', net_mtu=GOALS['tap'][0]),
        '/lab/produce': PRODUCE, '/lab/block': _block(),
        **{'%s/%s' % (IPERF_ROOT, name): data
           for name, data in iperf.items()}}


class Traffic:
    """An enclave behind a back end, and programs that use it."""

    def __init__(self, parent, kind, loader):
        self.parent, self.kind = parent, kind
        self.iperf = ['%s/%s' % (IPERF_ROOT, loader), '--library-path',
                      '%s/%s' % (IPERF_ROOT, LIBRARIES),
                      IPERF_ROOT + '/usr/bin/iperf3']
        self.address = THEIRS if kind == 'tap' else '127.0.0.1'
        parent.run(['rm', '-f', LOG])
        self.launch = Launch(parent, [
            '-accel', 'nitro', '-M', 'nitro', '-display', 'none', '-smp', 2,
            '-m', '%dM' % MIB_OF_ENCLAVE, '-kernel', '/lab/%s.eif' % kind,
            '-netdev', self._back_end(), '-device', 'nitro-net,netdev=net0',
            '-chardev', 'file,id=out,path=' + LOG,
            '-device', 'nitro-agent,stdout=out'])
        if not self.launch.connect():
            raise LabError('%s ended: %s' % (PROGRAM,
                                             self.launch.job.text()))
        self.launch.wait_booted()
        if kind == 'tap':
            parent.check('ip addr add %s/24 dev tap0 && ip link set tap0'
                         ' mtu %d up' % (OURS, GOALS['tap'][0]))
        self._await_ready()

    def _back_end(self):
        if self.kind == 'tap':
            return 'tap,id=net0,ifname=tap0,script=no,downscript=no'
        return 'user,id=net0' + ''.join(
            ',hostfwd=tcp:127.0.0.1:%d-:%d' % (port, port)
            for port in (IPERF, TAKER, GIVER))

    def _await_ready(self):
        end = time.monotonic() + PATIENCE
        while 'ready=' not in self.parent.get(LOG):
            if time.monotonic() > end:
                raise LabError('the program of the enclave is not ready')
            time.sleep(0.1)

    def tcp(self, way):
        """Gbit/s that iperf3 measures, after a second to speed up."""
        text = self.parent.check([
            *self.iperf, '-c', self.address, '-p', IPERF, '-J', '-t', SECONDS,
            '-O', 1, *(['-R'] if way == 'from' else [])])
        return json.loads(text)['end']['sum_received']['bits_per_second'] / 1e9

    def vsock(self, way):
        """Gbit/s of a plain stream."""
        # The stream ends when an input does, so the other one never ends
        port, source = (SINK, '< ' + ZEROS) if way == 'to' else (
            SOURCE, '<> ' + NEVER)
        begun = time.monotonic()
        # busybox's wc looks at each byte, which takes longer than the stream
        got = self.parent.check(['sh', '-c', (
            'lab vsock connect %d %d %s | dd of=/dev/null bs=%d'
            ' iflag=fullblock 2>&1' % (self.launch.cid, port, source,
                                       STREAM_BLOCK))])
        took = time.monotonic() - begun
        blocks = '%d+0 records in' % (STREAM_BYTES // STREAM_BLOCK)
        if way == 'from' and blocks not in got:
            raise LabError('vsock did not bring %d bytes: %s' % (
                STREAM_BYTES, got.strip()))
        return 8 * STREAM_BYTES / 1e9 / took

    def hashed(self, way):
        """Seconds for all blocks, and the hash at the other end."""
        begun = time.monotonic()
        text = self.parent.check(['sh', '-c', (
            '/lab/produce /lab/block | nc %s %d' if way == 'to'
            else 'nc %s %d < /dev/null | sha256sum') % (
                self.address, TAKER if way == 'to' else GIVER)])
        return time.monotonic() - begun, text.split()[0]

    def stop(self):
        """The enclave, and with it the launcher."""
        self.launch.qmp.command('quit')
        self.launch.job.wait()


def _name(kind, way, what):
    return '%s at MTU %d, %s enclave: %s' % (kind, GOALS[kind][0], way, what)


def _round(result, traffic, way):
    plain, tcp = traffic.vsock(way), traffic.tcp(way)
    add(result, _name(traffic.kind, way, 'vsock'), 'Gbit/s', plain)
    add(result, _name(traffic.kind, way, 'iperf3'), 'Gbit/s', tcp)
    add(result, _name(traffic.kind, way, 'iperf3 beside vsock'),
        '% of vsock', 100 * tcp / plain)


def _large(result, traffic, way, expected):
    took, got = traffic.hashed(way)
    if got != expected:
        raise LabError('%s: %d MB arrived wrongly' % (
            _name(traffic.kind, way, 'hash'),
            BLOCKS * BLOCK_BYTES // 1000000))
    add(result, _name(traffic.kind, way, '%d MB and their hash' % (
        BLOCKS * BLOCK_BYTES // 1000000)), 's', took)


def measure(result, rounds):
    """All of it."""
    packages.fetch()
    images.build_all()
    iperf, loader = _iperf()
    expected = _expected()
    with Parent(2, MIB_OF_PARENT, _files(iperf)) as parent:
        parent.check(['truncate', '-s', STREAM_BYTES, ZEROS])
        parent.check(['mkfifo', NEVER])
        parent.check(['modprobe', 'tun'])
        for kind in GOALS:
            print('measuring the network of an enclave: %s' % kind,
                  flush=True)
            traffic = Traffic(parent, kind, loader)
            for way in WAYS:
                for _ in range(rounds):
                    _round(result, traffic, way)
                _large(result, traffic, way, expected)
            traffic.stop()
    parent.forget()


def check(result, targets):
    """What was wanted."""
    for kind, (_, percent) in GOALS.items():
        for way in WAYS:
            name = _name(kind, way, 'iperf3 beside vsock')
            targets.limit(name, '% of vsock', median(result, name), percent)
