# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Why does a parent not answer?  What can be seen from outside.

Nothing here needs the guest: the console's file, and the monitor of the
virtual machine, which answers even if no virtual CPU gets anywhere.
"""

import re

from .config import LabError
from .parent import PORT_NAME

CONSOLE_LINES = 30
# QEMU's word for x86
TRIPLE_FAULT = 'Triple fault\n'
# Queues of the first generic port of virtio-serial, where commands go
PORT_QUEUES = (4, 5)
QUEUE_FIELDS = ('vring-num', 'last-avail-idx', 'shadow-avail-idx', 'used-idx',
                'signalled-used', 'signalled-used-valid', 'inuse')


def _processes(parent, patience):
    result = parent.run(['ps', '-o', 'pid,ppid,stat,args'], patience)
    yield 'processes:'
    yield from result.output.splitlines()


def _console(parent, _patience):
    lines = parent.console_text().splitlines()
    yield 'console, last of %d lines:' % len(lines)
    yield from lines[-CONSOLE_LINES:]


def _reset(parent, _patience):
    """Registers of the CPU that reset the machine, if one did."""
    _, found, state = parent.cpu_log.read_text(
        errors='replace').rpartition(TRIPLE_FAULT)
    if found:
        yield from (found + state).splitlines()[:CONSOLE_LINES]


def _logs(parent, _patience):
    """What QEMU and nitro-hypervisor had to complain about."""
    for process in filter(None, (parent.vm, parent.hypervisor)):
        yield 'end of %s:' % process.log.name
        yield from process.tail().splitlines()


def _cpus(parent, _patience):
    """Where each virtual CPU is, twice: those that stand show the same."""
    for _ in range(2):
        text = parent.qmp.human('info registers -a')
        yield ' '.join(re.findall(r'CPU#\d+|\b(?:RIP|PC)=[0-9a-f]+|HLT=\d',
                                  text))
    yield parent.qmp.human('info cpus').strip()


def _queues(parent, _patience):
    """The rings that carry commands and answers.

    An index that is further ahead than the ring is long has made QEMU give
    the device up ("Guest moved used index"): the ring's memory shows whether
    the guest has written it.
    """
    for device in parent.qmp.command('x-query-virtio'):
        if device['name'] != 'virtio-serial':
            continue
        status = parent.qmp.command('x-query-virtio-status',
                                    path=device['path'])
        yield 'device of %s: broken %s' % (PORT_NAME, status['broken'])
        for queue in PORT_QUEUES:
            state = parent.qmp.command('x-query-virtio-queue-status',
                                       path=device['path'], queue=queue)
            yield 'queue %d of %s: %s' % (queue, PORT_NAME, ', '.join(
                '%s %s' % (field, state[field]) for field in QUEUE_FIELDS))
            # Flags, index, entries, used_event
            yield from parent.qmp.human('xp /%dhx %d' % (
                state['vring-num'] + 3, state['vring-avail'])).splitlines()


def _woken(parent, patience):
    """An answer that comes now was kept back by CPUs that slept."""
    parent.qmp.command('stop')
    parent.qmp.command('cont')
    result = parent.run(['true'], patience)
    yield 'after stop and cont: status %d' % result.status


def describe(parent, patience=30):
    """A text about the state of a parent; never fails.

    @patience: seconds that the guest gets for an answer.
    """
    lines = []
    # One that has ended would be waited for once with each question
    for part in (_processes, _console, _logs, _cpus, _queues, _woken) \
            if parent.vm and parent.vm.running() else (_console, _reset):
        try:
            lines += part(parent, patience)
        except (LabError, OSError, EOFError, KeyError, ValueError) as error:
            lines.append('no %s: %s' % (part.__name__.strip('_'),
                                        error or type(error).__name__))
    return '\n'.join(line.rstrip() for line in lines)
