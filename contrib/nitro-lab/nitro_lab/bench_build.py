# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Building images of containers: time and memory, beside tar and cpio.

Both end when their result is on the disk.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from . import application, images, packages
from .arch import HOST, PROGRAM
from .bench_images import BENCH, kernel
from .bench_stats import add, median
from .config import OUT, LabError
from .equipment import Equipment
from .parent import Parent

INIT = OUT / 'contrib' / 'nitro-init' / 'nitro-init'
SIZES_MB = (10, 500, 2000)
FILE_BYTES = 200_000
LARGE_MB, LARGE_CPUS = 1000, 2
COUNT = ('for d in /[0-9]* /bin; do /bin/busybox find $d -type f; done |'
         ' echo "files=$(/bin/busybox wc -l)"; /bin/busybox sleep 9999')
LOOK_S = 0.01
ANON_MIB = 64               # of qemu-eif beside the page cache, at any size


class _Counted:
    """A file that is written, and its digest."""

    def __init__(self, file):
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data):
        """As files have it."""
        self.digest.update(data)
        return self.file.write(data)


class _Random:
    """What a file has: bytes that no two files share."""

    def __init__(self, block, number):
        self.data = number.to_bytes(8, 'big') + block

    def read(self, size):
        """As files have it."""
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def _runnable(info):
    info.mode = 0o755
    return info


def _write_layer(path, size_mb, programs):
    """A tar archive of that size; returns its digest."""
    block = os.urandom(FILE_BYTES)
    with open(path, 'wb') as out:
        counted = _Counted(out)
        with tarfile.open(fileobj=counted, mode='w|') as tar:
            for name, program in programs.items():
                tar.add(program, name, filter=_runnable)
            for number in range(size_mb * 1_000_000 // FILE_BYTES):
                info = tarfile.TarInfo('%d/%d' % (number // 100, number))
                info.size = FILE_BYTES
                tar.addfile(info, _Random(block, number))
    return counted.digest.hexdigest()


def _write_layout(top, size_mb, programs=None):
    """An OCI layout with one layer, without compression; returns that.

    @programs: name -> file, in addition.
    """
    blobs = top / 'blobs' / 'sha256'
    blobs.mkdir(parents=True)
    digest = _write_layer(top / 'layer', size_mb, programs or {})
    layer = (top / 'layer').rename(blobs / digest)

    def descriptor(name, size):
        return {'digest': 'sha256:' + name, 'size': size}

    def blob(value):
        data = json.dumps(value).encode()
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return descriptor(name, len(data))

    config = blob({'os': 'linux', 'architecture': HOST.debian,
                   'config': {'Cmd': ['/app']},
                   'rootfs': {'diff_ids': ['sha256:' + digest]}})
    manifest = blob({'config': config, 'layers': [
        descriptor(digest, layer.stat().st_size)]})
    (top / 'index.json').write_text(json.dumps({'manifests': [manifest]}))
    return layer


def _anonymous_mib(pid):
    """Memory of a process, but for its files; 0 after its end."""
    try:
        text = Path('/proc/%d/status' % pid).read_text()
    except OSError:
        return 0
    found = re.search(r'^RssAnon:\s+(\d+)', text, re.M)
    return int(found.group(1)) / 1024 if found else 0


def _run(words, cwd):
    """(seconds, most MiB of anonymous memory)."""
    begin, most = time.monotonic(), 0
    with subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL) as tool:
        while tool.poll() is None:
            most = max(most, _anonymous_mib(tool.pid))
            time.sleep(LOOK_S)
    if tool.returncode:
        raise subprocess.CalledProcessError(tool.returncode, words)
    return time.monotonic() - begin, most


def _build(figures, top, size_mb):
    os.sync()               # not during the measurement
    seconds, mib = _run(
        [images.image_tool(), 'build', '--kernel', kernel(), '--container',
         top / 'layout', '--init', INIT, '--output',
         top / 'image.eif'], top)
    add(figures, 'build %d MB' % size_mb, 's', seconds)
    add(figures, 'memory to build %d MB' % size_mb, 'MiB', mib)
    (top / 'image.eif').unlink()


def _unpack_and_pack(figures, top, size_mb, layer):
    os.sync()               # not during the measurement
    (top / 'tree').mkdir()
    seconds, _ = _run(
        ['sh', '-ec', 'tar -xf "$0"; find . | sort |'
         ' cpio --quiet -o -H newc > ../image.cpio; sync ../image.cpio',
         layer], top / 'tree')
    add(figures, 'tar and cpio %d MB' % size_mb, 's', seconds)
    shutil.rmtree(top / 'tree')
    (top / 'image.cpio').unlink()


def measure(figures, runs):
    """Both ways for each size, in turn."""
    BENCH.mkdir(parents=True, exist_ok=True)
    for size_mb in SIZES_MB:
        with tempfile.TemporaryDirectory(dir=BENCH) as directory:
            top = Path(directory)
            layer = _write_layout(top / 'layout', size_mb)
            for _ in range(max(1, min(runs, 3))):
                _build(figures, top, size_mb)
                _unpack_and_pack(figures, top, size_mb, layer)


def measure_large(figures):
    """An image of 1 GB, from the container to the first word of its program,
    which has found all files."""
    BENCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BENCH) as directory:
        top = Path(directory)
        _write_layout(top / 'layout', LARGE_MB,
                      {'bin/busybox': packages.busybox()})
        begun = time.monotonic()
        image = application.container_image(
            top / 'layout', '/bin/busybox', 'sh', '-c', COUNT, name='large',
            agent='off')
        add(figures, 'build for the lab', 's', time.monotonic() - begun)
        shutil.move(image, top / 'large.eif')
        shutil.rmtree(top / 'layout')
        _boot(figures, top, application.minimum_memory(top / 'large.eif'))


def _boot(figures, top, mib):
    add(figures, 'memory to boot', 'MiB', mib)
    share = Equipment(shares=['%s:/mnt/large' % top])
    with Parent(LARGE_CPUS, mib + mib % 2, equipment=share) as parent:
        begun = time.monotonic()
        job = parent.spawn([PROGRAM, '-accel', 'nitro,debug-mode=on', '-M',
                            'nitro', '-nographic', '-smp', LARGE_CPUS, '-m',
                            '%dM' % (mib + mib % 2), '-kernel',
                            '/mnt/large/large.eif'])
        found = job.wait_for(r'files=(\d+)')
        add(figures, 'launch until the program runs', 's',
            time.monotonic() - begun)
        if int(found[1]) != LARGE_MB * 1_000_000 // FILE_BYTES + 1:
            raise LabError('the program found %s files' % found[1])
        job.signal(signal.SIGTERM)
        job.wait()


def check(figures, targets):
    """Not slower than tar and cpio, and in little memory."""
    for size_mb in SIZES_MB:
        targets.limit('build %d MB' % size_mb, 's',
                      median(figures, 'build %d MB' % size_mb),
                      median(figures, 'tar and cpio %d MB' % size_mb))
        name = 'memory to build %d MB' % size_mb
        targets.limit(name, 'MiB', median(figures, name), ANON_MIB)
