# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab load: enclaves echo side by side, some are killed and relaunched.

Every enclave echoes a stream of bytes over vsock, each byte of which is
checked.  At intervals some of them lose their launcher by SIGKILL, and are
launched again.  Then every byte must be accounted for: it came back, or it was
on its way when its enclave was killed.
"""

import collections
import random
import re
import signal
import threading
import time

from . import images, packages
from .config import LabError
from .launch import Launch
from .parent import Parent
from .soak import (DEMO, MIB, PATIENCE, VCPUS, draw_seed, run_counted,
                   run_in, say)

ECHO_PORT = 5005
RATE = 1000 * 1000              # bytes a second to each enclave
# What socket buffers and queues between both ends of a stream can hold
IN_FLIGHT = 8 << 20
WARM_UP, FOREVER = 2, 3600      # seconds
# The allocator of the hypervisor process keeps queues of 256 KiB for either
# direction of as many streams as there were at once
STREAM_SLACK_KIB = 512
INTACT, LOST = 0, 3             # exit status of lab vsock stream

Stream = collections.namedtuple('Stream', 'place killed sent received')


class Place:
    """Where one enclave after the other runs, in a thread."""

    def __init__(self, load, number):
        self.load, self.parent, self.number = load, load.parent, number
        self.launch = self.stream = None
        self.killed = False

    def _boot(self):
        """Returns when the enclave echoes; None when it is too late."""
        self.killed = False
        self.launch = Launch(
            self.parent, ['-accel', 'nitro', '-M', 'nitro', '-nographic',
                          '-smp', VCPUS, '-m', '%dM' % MIB, '-kernel', DEMO],
            socket='/run/load-%d' % self.number)
        if not self.launch.connect():
            raise LabError('it ended at once: ' + self.launch.job.text())
        self.launch.wait_booted(PATIENCE)
        if self.load.over:
            return None
        stream = self.parent.spawn(['lab', 'vsock', 'stream', self.launch.cid,
                                    ECHO_PORT, FOREVER, RATE])
        stream.wait_for('connected', 30)
        return stream

    def kill(self):
        """SIGKILL to the launcher; the driver ends the enclave."""
        self.killed = True
        self.launch.job.signal(signal.SIGKILL)

    def stop(self):
        """End the stream: all that was sent has to come back."""
        self.stream.signal(signal.SIGTERM)

    def _account(self, stream):
        """Note what the stream says; raise where bytes are missing."""
        status = stream.wait(FOREVER)
        # It may have had all back when the kill came
        wanted = (INTACT, LOST) if self.killed else (INTACT,)
        found = re.search(r'sent (\d+) received (\d+)', stream.text())
        if status not in wanted or not found:
            raise LabError('stream to CID %d: status %s: %s'
                           % (self.launch.cid, status, stream.text()))
        sent, received = map(int, found.groups())
        if sent - received > (IN_FLIGHT if status == LOST else 0):
            raise LabError('stream to CID %d: %d bytes sent, %d came back'
                           % (self.launch.cid, sent, received))
        self.load.account(Stream(self.number, status == LOST, sent, received))

    def life(self, kill_after=None):
        """Launch an enclave and stream until it is killed or time is up."""
        try:
            stream = self._boot()
            if stream:
                with self.load.lock:
                    self.stream = stream
                    if self.load.over:
                        self.stop()
                if kill_after:
                    time.sleep(kill_after)
                    self.kill()
                self._account(stream)
        finally:
            with self.load.lock:
                self.stream = None
            if self.launch and self.launch.job.status is None:
                self.launch.job.signal(signal.SIGTERM)
                self.launch.job.wait(30)
            self.parent.run(['rm', '-f', '/run/load-%d' % self.number])


class Load:
    """All places, and the one who kills."""

    def __init__(self, parent, seed, places, seconds, kill=2, every=5,
                 tell=say):
        self.parent, self.tell = parent, tell
        self.rng = random.Random(seed)
        self.places = [Place(self, number) for number in range(places)]
        self.seconds, self.kills, self.every = seconds, kill, every
        self.lock = threading.Lock()
        self.streams, self.problems = [], []
        self.over = False

    def account(self, stream):
        """One stream has ended as it had to."""
        with self.lock:
            self.streams.append(stream)

    def _live(self, place, kill_after=None):
        try:
            place.life(kill_after)
        except (LabError, EOFError, OSError, ValueError) as error:
            with self.lock:
                self.problems.append('place %d: %s: %s' % (
                    place.number, type(error).__name__, error))

    def _work(self, place):
        while not self.over and not self.problems:
            self._live(place)

    def _threads(self, work, *args):
        threads = [threading.Thread(target=work, args=(place, *args),
                                    daemon=True) for place in self.places]
        for thread in threads:
            thread.start()
        return threads

    def warm_up(self):
        """A killed stream each, for what stays to be there when it counts."""
        for thread in self._threads(self._live, WARM_UP):
            thread.join()
        self.streams.clear()
        if self.problems:
            raise LabError('no load: ' + self.problems[0])

    def _kill(self):
        """Kill some of those that echo now; returns how many."""
        with self.lock:
            ready = [place for place in self.places
                     if place.stream and not place.killed]
            for place in self.rng.sample(ready, min(self.kills, len(ready))):
                place.kill()

    def _finish(self):
        with self.lock:
            self.over = True
            for place in self.places:
                if place.stream:
                    place.stop()

    def _wait_all(self):
        """Until all echo at once."""
        end = time.monotonic() + PATIENCE
        while not self.problems and not all(p.stream for p in self.places):
            if time.monotonic() > end:
                raise LabError('not all enclaves echo after %d s' % PATIENCE)
            time.sleep(0.1)

    def run(self):
        """Streams for that long; true when all is accounted for."""
        threads = self._threads(self._work)
        try:
            self._wait_all()
            end = time.monotonic() + self.seconds
            while end - time.monotonic() > self.every and not self.problems:
                time.sleep(self.every)
                self._kill()
            time.sleep(max(0, end - time.monotonic()))
        finally:
            self._finish()
            for thread in threads:
                thread.join()
        for problem in self.problems:
            self.tell(problem)
        return not self.problems and self.balanced()

    def balanced(self):
        """Bytes of streams that were not killed have all come back."""
        return all(s.sent == s.received for s in self.streams if not s.killed)

    def table(self):
        """Lines: place, its enclaves, bytes."""
        yield '%-8s %8s %6s %12s %12s %12s' % (
            'place', 'streams', 'killed', 'sent', 'came back', 'lost by kill')
        for name, mine in [(place.number, [
                s for s in self.streams if s.place == place.number])
                for place in self.places] + [('all', self.streams)]:
            sent = sum(s.sent for s in mine)
            received = sum(s.received for s in mine)
            yield '%-8s %8d %6d %12d %12d %12d' % (
                name, len(mine), sum(s.killed for s in mine), sent, received,
                sent - received)


def load_parent(laps, tell=say):
    """Run a load in its parent and report what came of it; true when good."""
    laps.warm_up()
    return run_counted(laps.parent, laps, tell,
                       slack_kib=STREAM_SLACK_KIB * len(laps.places))


def load(args):
    """The command."""
    packages.fetch()
    images.build_all()
    seed = draw_seed(args)
    say('load: %d enclaves for %d s, %d killed every %d s, seed %d' % (
        args.enclaves, args.seconds, args.kill, args.every, seed))
    parent = Parent(VCPUS * args.enclaves, MIB * args.enclaves,
                    {DEMO: images.demo_image()})
    return run_in(parent, lambda: load_parent(Load(
        parent, seed, args.enclaves, args.seconds, args.kill, args.every)))
