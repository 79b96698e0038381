# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What host and parent have in use, to be compared before and after."""

import re
import time
from pathlib import Path

from .parent import NE_DEVICE

# Memory of its own: what it maps of the parent's counts as the parent's.  The
# allocator of the C library keeps some of what was freed.
MEMORY_SLACK_KIB = 256
MEMORY = 'host: hypervisor memory, KiB'

# One line per fact about the parent: name, tab, value
LOOK = r'''
fact() { printf '%s\t%s\n' "$1" "$(echo $2)"; }
programs=
for process in /proc/[0-9]*; do
    programs="$programs $(readlink $process/exe)"
done
pages=/sys/kernel/mm/hugepages/hugepages-2048kB
fact 'huge pages free' "$(cat $pages/free_hugepages)"
fact 'huge pages reserved' "$(cat $pages/resv_hugepages)"
fact 'CPUs online' "$(cat /sys/devices/system/cpu/online)"
fact 'users of the driver' "$(cat /sys/module/nitro_enclaves/refcnt)"
fact 'processes' "$(printf '%s\n' $programs | sort | uniq -c)"
fact 'descriptors of the agent' "$(ls /proc/1/fd | wc -l)"
fact 'sockets' "$(grep sockets: /proc/net/sockstat)"
fact 'files' "$(find /tmp /run /dev/shm /dev/hugepages | sort)"
'''


def descriptors(pid):
    """What the descriptors of a process on the host are, with counts."""
    kinds = {}
    for link in Path('/proc/%d/fd' % pid).iterdir():
        try:
            kind = re.sub(r':\[\d+\]', '', str(link.readlink()))
        except FileNotFoundError:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
    return ' '.join('%s x%d' % pair for pair in sorted(kinds.items()))


def children(pid):
    """Names of the children of a process on the host, also of dead ones."""
    names = []
    for task in Path('/proc/%d/task' % pid).iterdir():
        for child in (task / 'children').read_text().split():
            try:
                names.append(Path('/proc/%s/comm' % child).read_text()
                             .strip())
            except FileNotFoundError:
                pass
    return ' '.join(sorted(names)) or 'none'


def _status(pid, field):
    text = Path('/proc/%d/status' % pid).read_text()
    return int(re.search(r'^%s:\s+(\d+)' % field, text, re.M).group(1))


class Accounts:
    """Takes stock of a parent and of the processes that make it."""

    def __init__(self, parent, slack_kib=MEMORY_SLACK_KIB):
        self.parent, self.slack_kib = parent, slack_kib
        self.before = self.after = None

    def _of_host(self):
        hypervisor = self.parent.hypervisor.popen.pid
        machine = self.parent.vm.popen.pid
        return {
            'host: hypervisor children': children(hypervisor),
            'host: hypervisor descriptors': descriptors(hypervisor),
            'host: hypervisor threads': _status(hypervisor, 'Threads'),
            MEMORY: _status(hypervisor, 'RssAnon'),
            'host: parent VM descriptors': descriptors(machine),
            'host: runtime directory': ' '.join(sorted(
                path.name for path in self.parent.sockets.iterdir()))}

    def _of_device(self):
        return {'device: slots': self.parent.qmp.get(NE_DEVICE, 'slots')}

    def _of_parent(self):
        lines = self.parent.check(['sh', '-c', LOOK]).splitlines()
        return {'parent: ' + name: value for name, value in
                (line.split('\t', 1) for line in lines)}

    def _free_cpus(self):
        """How many CPUs an enclave can get."""
        output = self.parent.run(['lab', 'ne', 'create'] +
                                 ['vcpu', '0'] * self.parent.cpus).output
        return len(re.findall(r'vcpu ok', output))

    def _heartbeat_port(self):
        """Whether a launch could listen now."""
        job = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        with job.changed:
            job.changed.wait_for(lambda: job.status is not None
                                 or b'listening' in job.output, 10)
        state = 'free' if b'listening' in job.output else 'taken'
        job.signal(9)
        job.wait()
        return state

    def take(self):
        """Name of a thing -> how much of it is in use."""
        return {**self._of_device(), **self._of_parent(),
                'parent: CPUs for enclaves': self._free_cpus(),
                'parent: port 9000': self._heartbeat_port(),
                **self._of_host()}

    def open(self):
        """Note how things are now."""
        # What is looked at first may look at itself: see it twice
        self.take()
        self.before = self.after = self.take()

    def close(self, seconds=20):
        """Look again until all is as before, or time is up."""
        end = time.monotonic() + seconds
        while True:
            self.after = self.take()
            if not self.differences() or time.monotonic() > end:
                return self.differences()
            time.sleep(0.5)

    def differences(self):
        """Names of what is not as before."""
        return [name for name, value in self.before.items()
                if not same(name, value, self.after[name], self.slack_kib)]

    def table(self):
        """Lines: a thing, before, after; long values where they differ."""
        wrong = self.differences()
        for name, value in self.before.items():
            after = self.after[name]
            if name not in wrong and len(str(value)) > 12:
                value = after = '(same)'
            yield '%-30s %8s %8s  %s' % (
                name, value, after, 'DIFFERS' if name in wrong else 'ok')


def same(name, before, after, slack_kib=MEMORY_SLACK_KIB):
    """Is this as before?  Memory may grow by the slack, and shrink."""
    if name == MEMORY:
        return after - before <= slack_kib
    return after == before
