# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab parent: a shell in the parent guest."""

import os
import select
import shutil
import sys
import termios
import tty

from . import images, instance, packages
from .arch import PROGRAM
from .config import Progress
from .parent import Parent

WELCOME = '''
A parent with the real driver: /dev/nitro_enclaves, %(mem)d MiB in huge pages,
%(cpus)d CPUs in the pool.  Try

  %(program)s -accel nitro,debug-mode=on -M nitro -nographic \\
      -smp 2 -m 256M -kernel /lab/demo.eif

  lab ne create memory 64 vcpu 0 vcpu 0 start 1 0 wait 1000
  lab vsock echo CID 5005 hello

'exit' ends the parent and everything in it.
'''


def _show(data):
    os.write(sys.stdout.fileno(), data)


def _relay(job):
    """Keys to the shell until it ends."""
    stdin = sys.stdin.fileno()
    while job.status is None:
        if select.select([stdin], [], [], 0.1)[0]:
            data = os.read(stdin, 4096)
            if not data:
                job.end_input()
                job.wait(timeout=None)
                return
            job.send(data)


def _interactive(parent):
    size = shutil.get_terminal_size()
    job = parent.spawn(['sh', '-c', 'stty rows %d cols %d; exec sh -i'
                        % (size.lines, size.columns)], terminal=True,
                       follow=_show)
    saved = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        _relay(job)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
    return job


def parent_shell(args):
    """Boot a parent and hand its shell to the user."""
    progress = Progress(2)
    progress.step('boot images')
    packages.fetch()
    images.build_all()
    progress.done()
    progress.step('parent')
    files = {'/lab/demo.eif': images.demo_image(),
             '/lab/demo-kernel': images.demo_kernel(),
             '/lab/demo-initrd': images.demo_initramfs()}
    with Parent(args.cpus, args.mem, files,
                **instance.chosen(args)) as parent:
        progress.done()
        if sys.stdin.isatty():
            print(WELCOME % dict(vars(args), program=PROGRAM))
            job = _interactive(parent)
        else:
            job = parent.spawn(['sh'], follow=_show)
            _relay(job)
    parent.forget()
    return max(job.status, 0)
