# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The lab's emulated parent, for machines without the device.

One parent serves all runs: it is started by the first of them and stays.  It
sees the store of images by virtiofs, and has a nitro-run of its own, which
launches there.  Everything goes through the commands of nitro-lab.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from . import background
from .build import TREE
from .common import RunError, progress, tell
from .store import directory

NAME = 'nitro-run'
NAME_DIGITS = 8
# Of parent --keep
PROGRAM, PLACE = '/nitro-run/contrib/nitro-run/nitro-run', '/mnt/images'
LEAST_MIB, LEAST_CPUS = 1024, 4
# Variables that are defaults of its options
TAKEN = ('ARGS', 'MEM', 'CPUS', 'INSTANCE_ID', 'ROLE')


class Lab:
    """@store: directory of images."""

    def __init__(self, store):
        self.store = store
        arch = os.environ.get('ARCH') or os.uname().machine
        self.note, self.lock, self.log, self.ports = (
            store / f'lab-{arch}.{kind}' for kind in ('json', 'lock', 'log',
                                                      'ports'))
        # A parent sees one store
        self.name = NAME if 'NITRO_RUN_IMAGES' not in os.environ else \
            f'{NAME}-{hashlib.sha256(bytes(store)).hexdigest()[:NAME_DIGITS]}'
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in TAKEN}
        if (TREE / 'overlay' / 'job').exists():
            self.program = str(TREE / 'contrib/nitro-lab/nitro-lab')
            self.environment.setdefault('BUILD', str(TREE / 'build'))
        else:
            self.program = shutil.which('nitro-lab')
        if not self.program:
            raise RunError('there is no /dev/nitro_enclaves, and no nitro-lab,'
                           ' which would emulate a parent', 'apt-get install'
                           ' ./qemu-nitro-lab_*.deb')

    def _command(self, *words):
        return [self.program, *map(str, words)]

    def _call(self, *words, **options):
        return subprocess.run(self._command(*words), env=self.environment,
                              stdin=subprocess.DEVNULL, check=False,
                              **options)

    def equipment(self):
        """Tool, Kernel, Modules and Init for images, see build.Recipe."""
        with progress('preparing the lab'):
            made = self._call('image', '--json', stdout=subprocess.PIPE)
        if made.returncode:
            raise RunError('the lab has nothing to build images with')
        return json.loads(made.stdout)

    def runs(self):
        """Does the parent?"""
        return self._call('exec', '--name', self.name, '--', 'true',
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0

    @contextlib.contextmanager
    def _alone(self):
        self.store.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.lock, 'wb') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def ensure(self, mib, cpus):
        """Start the parent, unless it runs; it has to be large enough for
        one enclave of this size."""
        with self._alone():
            if not self.runs():
                self._start(max(mib, LEAST_MIB), max(cpus, LEAST_CPUS))
                return
            size = json.loads(self.note.read_text())
        if mib > size['MemoryMiB'] or cpus > size['CPUs']:
            raise RunError(
                f'the lab has {size["MemoryMiB"]} MiB and {size["CPUs"]} CPUs'
                f' for enclaves, this one needs {mib} MiB and {cpus} CPUs',
                'end it with: nitro-run lab stop; the next run starts one that'
                ' is large enough')

    def _start(self, mib, cpus):
        begun = time.monotonic()
        tell(f'nitro-run: starting the lab: {mib} MiB and {cpus} CPUs for'
             ' enclaves; nitro-run lab stop ends it')
        command = self._command('parent', '--keep', '--name', self.name,
                                '--mem', mib, '--cpus', cpus, '--net',
                                '--kms', '--share', f'{self.store}:{PLACE}')
        if not background.start(command, self.environment, self.log):
            raise RunError('the lab could not be started: '
                           + self.log.read_text(errors='replace').strip()
                           [-1000:], f'see {self.log}')
        self.note.write_text(json.dumps({'MemoryMiB': mib, 'CPUs': cpus}))
        tell(f'nitro-run: the lab is up after'
             f' {time.monotonic() - begun:.0f} s')

    def _exec(self, ports, *words):
        """Command that runs a program in the parent, which @ports of this
        machine lead to meanwhile: there they have the same numbers."""
        rules = [f'--forward={one.kind}:{one.address}:{one.outer}:{one.outer}'
                 for one in ports]
        return self._command('exec', '--name', self.name, *rules, '--',
                             *words)

    def detach(self, ports, *words):
        """Run nitro-run run -d in the parent; returns its status.

        Another process has the ports as long as the program runs, whose name
        it gets when that is known.
        """
        keep = self._exec(ports, 'sh', '-c', 'echo ready; read -r name &&'
                          f' exec {PROGRAM} wait "$name"')
        theirs, ours = os.pipe()
        with open(theirs, 'rb') as name, open(ours, 'wb') as tell_name:
            keeper = background.start(keep, self.environment, self.ports,
                                      name)
            if not keeper:
                raise RunError('the ports cannot be published: '
                               + self.ports.read_text(errors='replace')
                               .strip().removeprefix('nitro-lab: '))
            with subprocess.Popen(
                    self._exec([], PROGRAM, 'run', *words),
                    env=self.environment, stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE) as run:
                try:
                    said = run.stdout.read()
                except BaseException:
                    run.terminate()
                    raise
            if not run.returncode:
                tell_name.write(said)
        if run.returncode:
            keeper.wait()       # the ports are free then
        print(said.decode(errors='replace'), end='')
        return run.returncode

    def become(self, *words, ports=()):
        """Be a nitro-run in the parent from now on: never returns.

        Signals, outputs and status: as nitro-lab exec has them.
        """
        command = self._exec(ports, PROGRAM, *words)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.execve(command[0], command, self.environment)

    def status(self):
        """Show the parent; returns the exit status."""
        return self._call('status', '--name', self.name).returncode

    def stop(self):
        """End the parent and everything in it; returns the exit status."""
        with self._alone():
            return self._call('stop', '--name', self.name).returncode


def lab(args):
    """The command lab."""
    here = Lab(directory())
    return here.stop() if args.action == 'stop' else here.status()
