# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab boots: boot parents of all kinds, keep the traces of failures.

Nothing is done in them.  What QEMU logs is kept besides the console, so that
a parent that dies or hangs leaves its cause.
"""

import collections
import itertools
import threading

from . import accel, images, packages, postmortem
from .arch import GUEST
from .config import LabError
from .equipment import Equipment
from .parent import Parent
from .soak import say, side_by_side

# CPUs and MiB for enclaves, other options of a Parent
Kind = collections.namedtuple('Kind', 'cpus mib options')


class Gigantic(Parent):
    """One page of 1 GiB, taken at the beginning, beside 256 usual ones."""

    def page_words(self):
        return 'lab.hugepages=256 hugepagesz=1G hugepages=1'


KINDS = {
    'bare': (Parent, Kind(2, 256, {'devices': False})),
    'small': (Parent, Kind(2, 128, {})),
    'usual': (Parent, Kind(4, 448, {})),
    'large': (Parent, Kind(4, 2048, {})),
    'many': (Parent, Kind(16, 1024, {})),
    'gigantic': (Gigantic, Kind(4, 3072, {})),
    'nodes': (Parent, Kind(4, 512, {'equipment': Equipment(nodes=2)})),
}
if GUEST.name == 'aarch64':
    KINDS['gicv2m'] = (Parent, Kind(4, 448,
                                    {'machine': 'virt,gic-version=2',
                                     'accelerator': 'tcg'}))


# Each command of the first program, and each task that waits for long
TRACE = ' ignore_loglevel lab.trace sysctl.kernel.hung_task_timeout_secs=30'


def _log_options(directory):
    """QEMU's log of what guests do wrong, and of resets."""
    return ['-d', 'guest_errors,unimp,cpu_reset', '-D',
            directory / 'qemu-debug.log']


class Boots:
    """Boots parents, several at once."""

    def __init__(self, kinds, boots, at_once):
        self.lock = threading.Lock()
        self.left = list(itertools.islice(itertools.cycle(kinds), boots))
        self.at_once, self.boots = at_once, boots
        self.seconds = {kind: [] for kind in kinds}
        self.failures, self.again = [], 0

    def _one(self, kind):
        make, (cpus, mib, options) = KINDS[kind]
        parent = make(cpus, mib, **options)
        parent.qemu_args = _log_options(parent.dir)
        parent.words += TRACE
        problem = None
        try:
            parent.start()
            parent.check(['true'])
        except (LabError, EOFError, OSError) as error:
            problem = '%s: %s (logs: %s)' % (kind, error, parent.dir)
            (parent.dir / 'postmortem.log').write_text(
                postmortem.describe(parent))
        finally:
            parent.stop()
        with self.lock:
            self.again += parent.retries
            if problem:
                self.failures.append(problem)
                say('FAILED %s' % problem)
            else:
                self.seconds[kind].append(parent.boot_seconds)
        if not problem and not parent.retries:
            parent.forget()

    def _work(self):
        while True:
            with self.lock:
                if not self.left:
                    return
                kind = self.left.pop(0)
                done = self.boots - len(self.left)
            self._one(kind)
            if done % 20 == 0:
                say('%d of %d' % (done, self.boots))

    def run(self):
        """All of them; true when each booted at its first attempt."""
        side_by_side(self.at_once, self._work)
        return not self.failures and not self.again

    def table(self):
        """Lines: kind, boots, median seconds."""
        yield '%-10s %6s %8s' % ('kind', 'booted', 'seconds')
        for kind, times in self.seconds.items():
            times = sorted(times)
            yield '%-10s %6d %8.1f' % (kind, len(times),
                                       times[len(times) // 2] if times else 0)


def boots(args):
    """The command."""
    packages.fetch()
    images.build_all()
    kinds = args.kinds or list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise LabError('no kind of parent is called %s' % ', '.join(unknown),
                       'choose from ' + ', '.join(KINDS))
    accel.chosen()      # an error is better once than from each boot
    work = Boots(kinds, args.boots, args.at_once)
    good = work.run()
    for line in work.table():
        say(line)
    say('%d boots of %s parents: %d failed, %d were booted once more'
        % (args.boots, GUEST.name, len(work.failures), work.again))
    return 0 if good else 1
