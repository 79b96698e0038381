# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""From options to an enclave that has booted."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from .common import RunError, die_with_parent, escaped, stopping
from .console import connect_console, copy_console
from .enclaves import TERM_SECONDS
from .qmp import GONE, Monitor

HUGE_PAGES = Path('/sys/kernel/mm/hugepages')
PAUSE = 0.1


def free_pages():
    """Sizes of huge pages in MiB and how many are free."""
    found = {}
    for directory in HUGE_PAGES.glob('hugepages-*kB'):
        size = int(re.search(r'-(\d+)kB', directory.name)[1]) // 1024
        if size >= 2:
            found[size] = int((directory / 'free_hugepages').read_text())
    return found


def choose_pages(wanted, free):
    """(page size, memory) in MiB: the smallest pages that there are enough of.

    Without such a size QEMU is left to say what is missing.
    """
    for size in sorted(free):
        memory = -(-wanted // size) * size
        if free[size] * size >= memory:
            return size, memory
    return None, wanted + wanted % 2


def command_line(args, name, place, monitor_fd, pages):
    """QEMU's command line."""
    size, memory = pages
    accel = 'nitro,debug-mode=' + ('on' if args.debug_mode else 'off')
    if args.enclave_cid:
        accel += f',enclave-cid={args.enclave_cid}'
    if args.cpu_ids:
        accel += ',cpus=' + ':'.join(map(str, args.cpu_ids))
    where = escaped(place)
    words = [args.qemu, '-accel', accel,
             '-M', 'nitro,measure=on' + (f',page-size={size}M' if size else ''),
             '-nodefaults', '-display', 'none', '-S',
             '-smp', str(args.cpu_count or len(args.cpu_ids)),
             '-m', f'{memory}M', '-kernel', args.eif_path,
             '-name', 'guest=' + escaped(name), '-pidfile', f'{place}/pid',
             '-chardev', f'socket,id=launch,fd={monitor_fd}',
             '-mon', 'chardev=launch,mode=control',
             '-qmp', f'unix:{where}/control,server=on,wait=off',
             '-qmp', f'unix:{where}/qmp,server=on,wait=off']
    if args.debug_mode:
        words += ['-chardev', f'socket,id=console,path={where}/console,'
                  'server=on,wait=off', '-device',
                  'nitro-serial-vsock,chardev=console,backlog=1M']
    return words + args.qemu_options


class Launch:
    """QEMU from its start to the heartbeat of its enclave."""

    def __init__(self, args, enclave, log, attended=False, descriptors=()):
        """@log: open and locked; it is closed by close() or abandon().

        @attended: the enclave does not outlive this process.
        @descriptors: files that QEMU has to have.
        """
        self.enclave, self.place, self.log = enclave, enclave.place, log
        self.console = self.qmp = self.process = None
        self.stopped = 0            # number of the signal
        self.ours, theirs = socket.socketpair()
        pages = choose_pages(args.memory_mib, free_pages())
        argv = command_line(args, enclave.name, self.place, theirs.fileno(),
                            pages)
        with theirs:
            try:
                self.process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    pass_fds=[theirs.fileno(), *descriptors],
                    start_new_session=True,
                    preexec_fn=die_with_parent if attended else None)
            except OSError as error:
                self.abandon()
                raise RunError(f'cannot run {args.qemu}: {error.strerror}',
                               'name the program with --qemu') from error
        enclave.pid, enclave.attended = self.process.pid, attended

    def said(self):
        """What QEMU had to say."""
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(
            errors='replace').strip()

    def start(self, attach=False):
        """Until the heartbeat, if there is one; fills in the enclave."""
        with stopping(self._stop):
            self._start(attach)

    def _stop(self, number, _frame):
        """End QEMU, and so what waits for it.

        An exception would hit the monitor's event loop somewhere.
        """
        self.stopped = number
        self.process.terminate()

    def _start(self, attach):
        try:
            self.enclave.note()
            self.qmp = Monitor(self.ours)
            if attach:
                self.console = connect_console(self.place)
            self.qmp.cmd('cont')
            while not self.ready():
                if self.process.poll() is not None:
                    raise self.failure()
            self.enclave.learn(self.qmp.cmd('query-name')['name'],
                               self.qmp.cmd('query-nitro-enclave'))
        except (*GONE, FileNotFoundError) as error:
            raise self.failure() from error
        if self.stopped:
            raise self.failure()
        self.enclave.pid = int((self.place / 'pid').read_text())
        self.enclave.note()

    def ready(self):
        """Look at the next event: is the enclave up?"""
        try:
            event = self.qmp.pull_event(wait=PAUSE)['event']
        except asyncio.TimeoutError:
            return False
        if event == 'NITRO_ENCLAVE_BOOTED':
            return True
        return event == 'NITRO_ENCLAVE_STARTED' and 'heartbeat' not in \
            self.qmp.cmd('query-nitro-enclave')

    def failure(self):
        """Why QEMU ended."""
        status = self.process.wait()
        if self.stopped:
            sys.exit(128 + self.stopped)
        if self.console:
            copy_console(self.console)
        return RunError(self.said() or f'QEMU ended with status {status}',
                        status=status if status > 0 else 1)

    def close(self):
        """Leave QEMU to itself."""
        try:
            if self.qmp:
                self.qmp.close()
        finally:
            self.ours.close()
            self.log.close()

    def abandon(self):
        """End it and leave nothing."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(TERM_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)
        with contextlib.suppress(*GONE):
            self.close()
