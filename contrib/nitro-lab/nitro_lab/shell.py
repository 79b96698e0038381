# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab parent: a shell in the parent guest."""

import contextlib
import os
import select
import shutil
import sys
import termios
import tty

from . import images, packages, python
from .arch import PROGRAM
from .config import Progress
from .fitting import fitted
from .warnings import Warnings

# Where nitro-run is in a parent that is kept
RUNNER = '/nitro-run'
# What a parent that is kept may have in it
FULL, BARE = 'full', 'bare'
SECONDS = 0.5

WELCOME = '''
A parent with the real driver: /dev/nitro_enclaves, %(mem)d MiB in huge pages,
%(cpus)d CPUs in the pool.  Try

  %(program)s -accel nitro,debug-mode=on -M nitro -nographic \\
      -smp 2 -m 256M -kernel /lab/demo.eif

  lab ne create memory 64 vcpu 0 vcpu 0 start 1 0 wait 1000
  lab vsock echo CID 5005 hello

From other terminals: nitro-lab exec|put|get|status|stop (--name %(name)s).
Logs are in %(logs)s until the next parent or run.
'exit' ends the parent and everything in it.
'''


def _show(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _forward(job, heard):
    """Keys and signals to the program until it ends."""
    stdin = sys.stdin.fileno()
    reading = [stdin]
    while job.status is None and not job.failure:
        while heard:
            job.signal(heard.pop(0))
        if select.select(reading, [], [], 0.1)[0]:
            data = os.read(stdin, 65536)
            if not data:
                job.end_input()
                reading = []
            else:
                job.send(data)


@contextlib.contextmanager
def _raw_terminal():
    saved = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def relay(job, raw, heard=()):
    """Input of this program to one in the parent, until that ends, or its
    output is lost.

    @heard: a list to which a handler adds numbers of signals for it.
    """
    with _raw_terminal() if raw else contextlib.nullcontext():
        _forward(job, heard)


def sized(argv):
    """Words that run a program on a terminal as large as this one."""
    size = shutil.get_terminal_size()
    return ['sh', '-c', 'stty rows %d cols %d; exec "$0" "$@"'
            % (size.lines, size.columns), *argv]


def _keep(args, progress):
    """A parent for others, until it ends or is stopped."""
    files = {} if args.keep == BARE else {
        **python.files(), **python.nitro_run_files(RUNNER)}
    with fitted(args, args.cpus, args.mem, files) as parent, \
            Warnings(parent):
        if files:
            parent.check(['python3', '-c', python.WARM_UP])
        progress.done()
        print('ready', flush=True)
        # Python looks at signals between calls: another thread may take one
        ended = os.pidfd_open(parent.vm.popen.pid)
        while not select.select([ended], [], [], SECONDS)[0]:
            pass
    return 0


def parent_shell(args):
    """Boot a parent and hand its shell to the user."""
    progress = Progress(2)
    progress.step('boot images')
    packages.fetch()
    images.build_all()
    progress.done()
    progress.step('parent')
    if args.keep:
        return _keep(args, progress)
    files = {'/lab/demo.eif': images.demo_image(),
             '/lab/demo-kernel': images.demo_kernel(),
             '/lab/demo-initrd': images.demo_initramfs()}
    with fitted(args, args.cpus, args.mem, files) as parent, \
            Warnings(parent):
        progress.done()
        terminal = sys.stdin.isatty()
        if terminal:
            print(WELCOME % dict(vars(args), program=PROGRAM,
                                 name=parent.name, logs=parent.dir))
        argv = sized(['sh', '-i']) if terminal else ['sh']
        job = parent.spawn(argv, terminal=terminal, follow=_show)
        relay(job, raw=terminal)
    return max(job.status, 0)
