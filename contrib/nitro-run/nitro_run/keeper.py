# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""run -d: a process that stays with a program, as run does without -d.

It keeps the output, passes on signals, and leaves the status behind.  The
enclave does not outlive it.
"""

import contextlib
import json
import os
import signal
import time

from .agent import Agent
from .common import RunError, stopping
from .journal import Journal
from .programs import EXITED, NO_STATUS, RUNNING, Programs


SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
KILLED = json.dumps({'Status': NO_STATUS, 'Reason': 'the keeper was killed',
                     'Remedy': None})


class Keeper:
    """In a process of its own."""

    def __init__(self, programs, program, report):
        """@report: descriptor to which one line says how the start went."""
        self.programs, self.program, self.report = programs, program, report
        self.booted = False

    def keep(self, attend, frames):
        """From the launch to the end of the program.

        @attend: attends to a program; takes an Agent and a function that is
        called with the enclave when that has booted.
        """
        self.program.save(Keeper=os.getpid())
        journal = Journal(self.program.place)
        agent = Agent(journal.write, journal.remark, frames)
        status, reason, remedy = NO_STATUS, '', None
        try:
            with stopping():
                status = attend(agent, self._booted)
            reason = agent.text
        except RunError as error:
            status, reason, remedy = error.status, str(error), error.remedy
        except SystemExit as end:
            status = end.code
        except Exception as error:      # nobody would see it
            reason = f'the keeper failed: {error!r}'
        self._ended(status, reason, remedy)

    def _booted(self, enclave):
        self.program.save(State=RUNNING, **enclave.run_info())
        self.booted = True
        self._say({})

    def _ended(self, status, reason, remedy):
        if self.booted:
            self.program.save(State=EXITED, Status=status, Reason=reason,
                              Ended=time.time_ns())
            return
        self._say({'Status': status, 'Reason': reason, 'Remedy': remedy})

    def _say(self, what):
        with contextlib.suppress(OSError):      # who started us has gone
            os.write(self.report, json.dumps(what).encode())
        os.close(self.report)


def _become_keeper(keep):
    """The rest of the life of this process."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.chdir('/')
        keep()
    finally:
        os._exit(0)


def _start(keep):
    """Start a keeper, which begins by @keep, a function of the descriptor for
    its report; returns that.  Signals that come meanwhile are for it.
    """
    keepers = []

    def end(number, _frame):
        for pid in keepers:
            os.kill(pid, number)

    report, theirs = os.pipe()
    with stopping(end), os.fdopen(report, 'rb') as file:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid:
            keepers.append(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if not pid:
            _become_keeper(lambda: keep(theirs))
        os.close(theirs)
        return json.loads(file.read() or KILLED)


def detach(args, enclaves, attend, frames):
    """Start a keeper; returns when the enclave has booted.

    @attend: see Keeper.keep()
    """
    programs = Programs(enclaves)
    program, lock = programs.new(
        args.enclave_name, args.is_named, Source=args.origin,
        Arguments=args.more, Port=args.agent_port,
        Ports=[str(one) for one in args.publish])
    args.enclave_name = program.name
    with lock:      # which the keeper has, too
        failure = _start(lambda report: Keeper(
            programs, program, report).keep(attend, frames))
    if failure:
        programs.abandon(program)
        raise RunError(failure['Reason'] or 'stopped before its enclave had'
                       ' booted', failure['Remedy'], failure['Status'])
    print(program.name)
    return 0
