# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab run --keep: the parent stays, ready for the next run.

Files go there through a shared directory, in which each run has one of its
own, so that neither the parent's memory nor other runs are in the way.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from . import accel, directories, images, visit
from .config import HERE, LAB, TREE, LabError
from .guest import Guest

sys.path.append(str(TREE / 'contrib/nitro-run'))
from nitro_run import background                    # noqa: E402

NAME = 'kept'
LEAST_MIB, LEAST_CPUS = 1024, 4
TOP, PLACE = LAB / 'kept', '/mnt/kept'
# Variables that are defaults of the run's own options
TAKEN = ('ARGS', 'MEM', 'CPUS')


class Kept(Guest):
    """A parent that another process runs, with what that says of it."""

    def __init__(self, agent, known):
        self.agent, self.accelerator = agent, known['accelerator']
        self.dir = Path(known['logs'])
        self.console = self.dir / 'parent-console.log'
        self.hypervisor_log = self.dir / 'hypervisor.log'


class Place:
    """A directory for files of one run: @here for the host, @there for the
    parent; use as a context manager."""

    def __enter__(self):
        TOP.mkdir(parents=True, exist_ok=True)
        self.here = Path(tempfile.mkdtemp(prefix='run-', dir=TOP))
        self.tag = self.here.name
        self.there = '%s/%s' % (PLACE, self.tag)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.here, ignore_errors=True)

    def add(self, files):
        """@files: path below @there -> file of the host."""
        for target, path in files.items():
            target = self.here / os.path.relpath(target, self.there)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(os.path.realpath(path), target)
            except OSError:
                shutil.copyfile(path, target)   # another file system


@contextlib.contextmanager
def _alone():
    TOP.mkdir(parents=True, exist_ok=True)
    with open(LAB / 'kept.lock', 'wb') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _misfit(known, mib, cpus):
    """Why a parent does not do, or None."""
    if known['made_of'] != images.fingerprint():
        return 'was started with other programs than are there now'
    if known['accelerator'] != accel.chosen():
        return 'runs with another accelerator'
    if known['memory_mib'] < mib or known['cpus'] < cpus:
        return ('has %d MiB and %d CPUs for enclaves, this one needs %d MiB'
                ' and %d CPUs' % (known['memory_mib'], known['cpus'], mib,
                                  cpus))
    return None


def _start(name, mib, cpus, kernel):
    words = ['--kernel', kernel] if kernel else []
    words += ['parent', '--keep=bare', '--name', name, '--mem', str(mib),
              '--cpus', str(cpus), '--share', '%s:%s' % (TOP, PLACE)]
    log = LAB / 'kept.log'
    environment = {key: value for key, value in os.environ.items()
                   if key not in TAKEN}
    if not background.start([sys.executable, HERE / 'nitro-lab', *words],
                            environment, log):
        raise LabError('the parent could not be started:\n'
                       + log.read_text(errors='replace').strip()[-2000:],
                       'see %s' % log)


def ensure(name, mib, cpus, kernel=None):
    """A parent that runs and has room for an enclave of this size.

    One that does not do is ended first, unless something runs in it.
    @kernel: as for nitro-lab --kernel, or None.
    """
    with _alone():
        if name in directories.running():
            agent, known = visit.ask(name)
            problem = _misfit(known, mib, cpus)
            if not problem:
                return Kept(agent, known)
            problem = 'parent %s %s' % (name, problem)
            if known['enclaves'] or known['programs']:
                raise LabError('%s; programs or enclaves run in it' % problem,
                               'end them, or all: nitro-lab stop --name '
                               + name)
            print('\nnitro-lab: %s: starting another' % problem,
                  file=sys.stderr)
            visit.end(name)
        _start(name, max(mib, LEAST_MIB), max(cpus, LEAST_CPUS), kernel)
        return Kept(*visit.ask(name))
