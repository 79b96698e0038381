# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Programs that run detached: ps, logs, stop, wait, inspect, rm.

Where there is no device they are in the lab's parent, and so are these
commands.
"""

import contextlib
import os
import signal
import time

from . import foreground, lab, store
from .common import RunError, complain, print_json
from .driver import DEVICE
from .enclaves import END_SECONDS, Enclaves
from .journal import Reader
from .programs import (EXITED, LOST, NO_STATUS, RUNNING, STARTING,
                       Programs)

ROW = '{:<20}  {:<8}  {:>6}  {:<19}  {:<24}  {}'


def _there(args, *words):
    """Programs of this machine, or be the command in the lab's parent.

    Without a lab that runs there are no programs in it.
    """
    if not os.path.exists(DEVICE):
        parent = lab.Lab(store.directory())
        if parent.runs():
            parent.become(args.command, *words)
    return Programs(Enclaves(args.runtime_dir))


def _row(info):
    begun = time.strftime('%Y-%m-%d %H:%M:%S',
                          time.localtime(info.get('Begun', 0) // 10 ** 9))
    words = [info.get('Source'), *(info.get('Arguments') or [])]
    # Nobody listens at the ports of one that has ended
    ports = info.get('Ports') if info['State'] in (STARTING, RUNNING) else None
    return ROW.format(info['Name'], info['State'], info.get('Status', ''),
                      begun, ', '.join(map(str, ports or [])),
                      ' '.join(map(str, words)))


def ps(args):
    """List them, the oldest first."""
    found = [one.info() for one in _there(
        args, *(['--json'] if args.json else [])).all()]
    if args.json:
        print_json(found)
        return 0
    print(ROW.format('NAME', 'STATE', 'STATUS', 'BEGUN', 'PORTS',
                     'SOURCE'))
    for info in found:
        print(_row(info))
    return 0


def inspect(args):
    """All that is known of some of them."""
    programs = _there(args, *args.names)
    print_json([programs.find(name).info() for name in args.names])
    return 0


def logs(args):
    """What one has written so far, or until it ends."""
    more = ['--follow'] if args.follow else []
    program = _there(args, *more, args.name).find(args.name)
    Reader(program.place, foreground.write, foreground.remark).read(
        lambda: args.follow and program.lives())
    return 0


def wait(args):
    """Until one has ended; returns its status."""
    program = _there(args, args.name).find(args.name)
    program.wait()
    info = program.info()
    if info['State'] not in (EXITED, LOST):
        raise RunError(f'program {args.name} was removed', status=NO_STATUS)
    if info.get('Reason'):
        complain(RunError(info['Reason']))
    return info['Status']


def _signal(program, number):
    """A signal to its keeper, which it is only while it lives."""
    pid = program.note().get('Keeper')
    with contextlib.suppress(ProcessLookupError, TypeError):
        keeper = os.pidfd_open(pid)
        try:
            if program.lives():
                signal.pidfd_send_signal(keeper, number)
        finally:
            os.close(keeper)


def _stop(program, seconds):
    """The keeper takes a second signal for the end of patience; another one,
    as two that are the same could become one."""
    for number, patience in ((signal.SIGTERM, seconds),
                             (signal.SIGINT, END_SECONDS)):
        if not program.lives():
            return
        _signal(program, number)
        if program.ends_within(patience):
            return
    raise RunError(f'program {program.name} has not ended {END_SECONDS} s'
                   ' after its enclave was to', 'end its keeper: kill -KILL'
                   f' {program.note().get("Keeper")}')


def _each(args, programs, what):
    """Do it with each that was named; the first failure does not hide others.
    """
    status = 0
    for name in args.names:
        try:
            what(programs.find(name))
            print(name)
        except RunError as error:
            complain(error)
            status = error.status
    return status


def stop(args):
    """End some: by the stop signal, then the enclave."""
    programs = _there(args, '--time', args.time, *args.names)
    return _each(args, programs, lambda one: _stop(one, args.time))


def remove(args):
    """Forget some that have ended."""
    programs = _there(args, *args.names)
    return _each(args, programs, programs.remove)
