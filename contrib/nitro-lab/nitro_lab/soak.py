# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab soak: many launches and ends, after which all is as before.

Some launches run at once in one emulated parent.  How each of them ends is
drawn from a generator whose seed is printed: the same seed and number of
launches give the same ends again.
"""

import collections
import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

from . import images, packages
from .accounts import Accounts
from .config import LabError
from .launch import Launch
from .parent import NE_DEVICE, Parent

DEMO, QUICK, CRASH = '/lab/demo.eif', '/lab/quick.eif', '/lab/crash.eif'
MIB, VCPUS = 128, 2
# A launch may have to wait for the heartbeat's port several times
PATIENCE = 600

# Faults of the device, and what the launcher says of them
FAULTS = (('ADD_MEM:1:-12', 'NE_SET_USER_MEMORY_REGION'),
          ('ALLOC:1:regions=0', 'NE_ERR_MEM_MAX_REGIONS'),
          ('ADD_VCPU:1:-5', 'NE_ADD_VCPU'),
          ('ADD_VCPU:2:-5', 'NE_ADD_VCPU'),
          ('START:1:-22', 'NE_START_ENCLAVE'),
          ('START:1:cid=2', 'the hypervisor reported CID 2'))

def side_by_side(count, work):
    """Call @work in so many threads; returns when all have ended."""
    threads = [threading.Thread(target=work, daemon=True)
               for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def say(text):
    """Progress, at once also into a file."""
    print(text, flush=True)


Result = collections.namedtuple('Result', 'number way seconds problem')


def parent_files():
    """Guest path -> image of all enclaves that a soak launches."""
    return {DEMO: images.demo_image(),
            QUICK: images.demo_image('quick', 'demo.mode=poweroff',
                                     'demo.seconds=1'),
            CRASH: images.demo_image('crash', 'demo.mode=crash',
                                     'demo.seconds=1')}


class Gate:
    """Lets launches start side by side, or one with a fault alone."""

    def __init__(self):
        self.changed = threading.Condition()
        self.inside, self.closed = 0, False

    @contextlib.contextmanager
    def starting(self):
        """While a launch may meet a fault."""
        with self.changed:
            self.changed.wait_for(lambda: not self.closed)
            self.inside += 1
        try:
            yield
        finally:
            with self.changed:
                self.inside -= 1
                self.changed.notify_all()

    @contextlib.contextmanager
    def alone(self):
        """While no other launch is on its way; enclaves run on."""
        with self.changed:
            self.changed.wait_for(lambda: not self.closed)
            self.closed = True
            self.changed.wait_for(lambda: not self.inside)
        try:
            yield
        finally:
            with self.changed:
                self.closed = False
                self.changed.notify_all()


class Lap:
    """One launch and its end; a method per way to end."""

    def __init__(self, soak, number, rng):
        self.soak, self.parent, self.rng = soak, soak.parent, rng
        self.socket = '/run/soak-%d' % number
        self.launch = None

    def spawn(self, image=DEMO, more=()):
        """Start the launcher."""
        self.launch = Launch(
            self.parent,
            ['-accel', 'nitro,debug-mode=' + self.rng.choice(('on', 'off')),
             '-M', 'nitro', '-nographic', '-smp', VCPUS, '-m', '%dM' % MIB,
             '-kernel', image, *more], socket=self.socket)

    def boot(self, image=DEMO):
        """Start the launcher and wait for the heartbeat."""
        paused = self.rng.random() < 0.2
        with self.soak.gate.starting():
            self.spawn(image, ['-S'] if paused else [])
            if not self.launch.connect():
                raise LabError('it ended at once: ' + self.launch.job.text())
            if paused:
                self.launch.qmp.command('cont')
            self.launch.wait_booted(PATIENCE)

    def wait(self, status, *words):
        """The launcher has to end with this status and say these words."""
        found, text = self.launch.job.wait(PATIENCE), self.launch.job.text()
        if found != status:
            raise LabError('status %d instead of %d: %s'
                           % (found, status, text[-2000:]))
        for expected in words:
            if expected not in text:
                raise LabError("no '%s' in: %s" % (expected, text[-2000:]))

    def ask(self, command):
        """A QMP command after which QEMU may hang up before it answers."""
        with contextlib.suppress(EOFError, OSError):
            self.launch.qmp.command(command)

    def sigterm(self):
        """SIGTERM to the launcher."""
        self.boot()
        self.launch.job.signal(signal.SIGTERM)
        self.wait(0)

    def sigkill(self):
        """SIGKILL to the launcher of a running enclave."""
        self.boot()
        self.launch.job.signal(signal.SIGKILL)
        self.wait(-signal.SIGKILL)

    def sigkill_early(self):
        """SIGKILL to the launcher at any moment of the launch."""
        with self.soak.gate.starting():
            self.spawn()
            time.sleep(self.rng.uniform(0, 4))
            self.launch.job.signal(signal.SIGKILL)
            self.wait(-signal.SIGKILL)

    def quit(self):
        """quit in the monitor."""
        self.boot()
        self.ask('quit')
        self.wait(0)

    def powerdown(self):
        """system_powerdown in the monitor."""
        self.boot()
        self.ask('system_powerdown')
        self.wait(0)

    def reset(self):
        """system_reset in the monitor, more than once, then quit."""
        self.boot()
        for launches in range(2, self.rng.randint(2, 3) + 1):
            with self.soak.gate.starting():
                self.launch.qmp.command('system_reset')
                self.wait_launch(launches)
        self.ask('quit')
        self.wait(0)

    def wait_launch(self, launches):
        """Wait until the enclave was launched so often and has booted."""
        end = time.monotonic() + PATIENCE
        while True:
            info = self.launch.qmp.command('query-nitro-enclave')
            if (info['launches'], info['state']) == (launches, 'booted'):
                return
            if time.monotonic() > end:
                raise LabError('no launch %d: %s' % (launches, info))
            time.sleep(0.2)

    def poweroff(self):
        """The enclave ends by itself."""
        with self.soak.gate.starting():
            self.spawn(QUICK)
            self.wait(0, ', booted after')

    def crash(self):
        """The enclave's kernel panics."""
        with self.soak.gate.starting():
            self.spawn(CRASH)
            self.wait(0, ', booted after')

    def lost(self):
        """The hypervisor loses the enclave."""
        self.boot()
        os.kill(enclave_process(self.parent, self.launch.cid), signal.SIGKILL)
        self.wait(0, ', booted after')

    def fault(self):
        """The device refuses a request of the launch."""
        rule, words = self.rng.choice(FAULTS)
        with self.soak.gate.alone():
            self.parent.qmp.set(NE_DEVICE, 'x-fault', rule)
            try:
                self.spawn()
                self.wait(3, words)
            finally:
                self.parent.qmp.set(NE_DEVICE, 'x-fault', '')

    def clean(self):
        """Leave nothing behind, also after a failure."""
        if self.launch and self.launch.job.status is None:
            self.launch.job.signal(signal.SIGKILL)
            self.launch.job.wait(30)
        self.parent.run(['rm', '-f', self.socket])


WAYS = ('sigterm', 'sigkill', 'sigkill_early', 'quit', 'powerdown', 'reset',
        'poweroff', 'crash', 'lost', 'fault')


def enclave_process(parent, cid):
    """Host process that runs the enclave with this CID."""
    hypervisor = parent.hypervisor.popen.pid
    for task in Path('/proc/%d/task' % hypervisor).iterdir():
        for pid in (task / 'children').read_text().split():
            words = Path('/proc/%s/cmdline' % pid).read_bytes().split(b'\0')
            if b'enclave-%d' % cid in words:
                return int(pid)
    raise LabError('no process runs the enclave with CID %d' % cid)


def draw(seed, number):
    """Way and generator of a launch; does not depend on the others'."""
    rng = random.Random('%d-%d' % (seed, number))
    return rng.choice(WAYS), rng


class Soak:
    """All launches, by several threads."""

    def __init__(self, parent, seed, launches, at_once=4, every=10, tell=say):
        self.parent, self.seed, self.launches = parent, seed, launches
        self.at_once, self.every, self.tell = at_once, every, tell
        self.draw = draw
        self.gate, self.lock = Gate(), threading.Lock()
        self.numbers = iter(range(1, launches + 1))
        self.results = []
        self.begun = time.monotonic()

    def one(self, number):
        """One launch; its problem, if any, does not keep others back."""
        way, rng = self.draw(self.seed, number)
        begun, problem, lap = time.monotonic(), None, None
        try:
            lap = Lap(self, number, rng)
            try:
                getattr(lap, way)()
            finally:
                lap.clean()
        except (LabError, EOFError, OSError, ValueError) as error:
            problem = '%s: %s' % (type(error).__name__, error)
        return Result(number, way, time.monotonic() - begun, problem)

    def _work(self):
        while True:
            with self.lock:
                number = next(self.numbers, None)
            if number is None or self.parent.agent.gone.is_set():
                return
            result = self.one(number)
            with self.lock:
                self._count(result)

    def _count(self, result):
        self.results.append(result)
        if result.problem:
            self.tell('launch %d (%s): %s' % (result.number, result.way,
                                              result.problem))
        if len(self.results) % self.every == 0:
            self.tell('%4d of %d launches, %d failed, %.0f s'
                      % (len(self.results), self.launches,
                         len(self.failed()), time.monotonic() - self.begun))

    def failed(self):
        """Launches that did not end as they had to."""
        return [result for result in self.results if result.problem]

    def run(self):
        """All launches; true when each ended as it had to."""
        side_by_side(self.at_once, self._work)
        return len(self.results) == self.launches and not self.failed()

    def table(self):
        """Lines: a way to end, how often, failures, median seconds."""
        yield '%-14s %8s %8s %10s' % ('end', 'launches', 'failed', 'seconds')
        for way in WAYS:
            mine = [r for r in self.results if r.way == way]
            if mine:
                times = sorted(r.seconds for r in mine)
                yield '%-14s %8d %8d %10.1f' % (
                    way, len(mine), sum(bool(r.problem) for r in mine),
                    times[len(times) // 2])


def warm_up(parent, at_once, tell=say):
    """Launches at once, for what is made once to be there when it is counted.
    """
    first = Soak(parent, 0, at_once, at_once, at_once + 1, tell)
    first.draw = lambda _seed, number: ('sigterm', random.Random(number))
    if not first.run():
        raise LabError('no enclave could be launched', 'see above')


def run_counted(parent, laps, tell=say, **slack):
    """Run a soak or a load; true when it is good and leaves nothing behind."""
    accounts = Accounts(parent, **slack)
    accounts.open()
    good = laps.run()
    differences = accounts.close()
    for line in ('', *laps.table(), '',
                 '%-30s %8s %8s' % ('in use', 'before', 'after'),
                 *accounts.table()):
        tell(line)
    return good and not differences


def run_in(parent, work):
    """Boot a parent and do the work there; returns an exit status."""
    begun = time.monotonic()
    with parent:
        good = work()
    say('\nafter %.0f s: %s' % (time.monotonic() - begun,
                                'all as before' if good else 'FAILED'))
    if good:
        parent.forget()
    else:
        say('logs are in %s' % parent.dir)
    return 0 if good else 1


def draw_seed(args):
    """The seed that was asked for, or any."""
    return random.randrange(10 ** 6) if args.seed is None else args.seed


def soak_parent(parent, seed, launches, at_once=4, every=10, tell=say):
    """Run a soak in a parent and report what came of it; true when good."""
    warm_up(parent, at_once, tell)
    return run_counted(parent, Soak(parent, seed, launches, at_once, every,
                                    tell), tell)


def soak(args):
    """The command."""
    packages.fetch()
    images.build_all()
    seed = draw_seed(args)
    say('soak: %d launches, %d at once, seed %d (again: SEED=%d LAUNCHES=%d)'
        % (args.launches, args.at_once, seed, seed, args.launches))
    parent = Parent(VCPUS * args.at_once, MIB * args.at_once, parent_files())
    return run_in(parent, lambda: soak_parent(parent, seed, args.launches,
                                              args.at_once))
