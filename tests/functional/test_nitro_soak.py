#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: launches leave nothing behind; what is left would be found."""

import os
import signal
import sys

from nitro_parent import NitroParentTest, ScopedTest, only_wanted

from nitro_lab import load, postmortem, soak
from nitro_lab.accounts import Accounts

AT_ONCE, LAUNCHES = 4, 16
# This one has every way to end in it
SEED = int(os.environ.get('SEED') or 13163)


def tell(text):
    """Beside the test protocol."""
    print('# ' + text, file=sys.__stderr__, flush=True)


class Soak(NitroParentTest):
    """A short soak; nitro-lab soak is the long one."""

    parent_cpus, parent_mib = soak.VCPUS * AT_ONCE, soak.MIB * AT_ONCE

    @classmethod
    def parent_files(cls):
        return soak.parent_files()

    def test_launches(self):
        """After launches of all kinds everything is as before."""
        self.assertTrue(soak.soak_parent(self.parent, SEED, LAUNCHES,
                                         AT_ONCE, tell=tell), 'see above')

    def test_load(self):
        """Enclaves echo while others are killed: every byte is known."""
        laps = load.Load(self.parent, SEED, 3, 11, 1, tell=tell)
        self.assertTrue(load.load_parent(laps, tell), 'see above')
        self.assertGreater(sum(s.killed for s in laps.streams), 0)
        self.assertGreater(sum(not s.killed for s in laps.streams), 0)

    def test_leaks_are_found(self):
        """Whatever is left on purpose is in the accounts."""
        accounts = Accounts(self.parent)
        accounts.open()
        self.assertEqual(accounts.close(), [])
        enclave = self.parent.spawn(['lab', 'ne', 'create', 'memory', 64,
                                     'vcpu', 0, 'vcpu', 0, 'hold'])
        enclave.wait_for('holding')
        listener = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        listener.wait_for('listening')
        self.parent.put('/tmp/left', b'')
        stray = self.parent.sockets / 'left'
        stray.touch()
        found = accounts.close(0)
        for name in ('device: slots', 'parent: huge pages free',
                     'parent: users of the driver', 'parent: processes',
                     'parent: CPUs for enclaves', 'parent: port 9000',
                     'parent: descriptors of the agent', 'parent: files',
                     'host: runtime directory'):
            self.assertIn(name, found)
        stray.unlink()
        self.parent.check(['rm', '/tmp/left'])
        listener.signal(signal.SIGKILL)
        listener.wait()
        enclave.end_input()
        enclave.wait()
        self.assertEqual(accounts.close(), [])

    def test_failures_are_found(self):
        """A launch that ends in another way is reported."""
        said = []
        laps = soak.Soak(self.parent, SEED, 1, 1, tell=said.append)
        laps.draw = lambda seed, number: ('fault', soak.draw(seed, number)[1])
        faults, soak.FAULTS = soak.FAULTS, (('START:1:-22', 'other words'),)
        try:
            self.assertFalse(laps.run())
        finally:
            soak.FAULTS = faults
        self.assertRegex(said[0], r"^launch 1 \(fault\): LabError: no 'other "
                         "words' in: ")

    def test_silence_is_described(self):
        """A parent that does not answer is described from outside."""
        self.assertRegex(postmortem.describe(self.parent), r'lab agent')
        self.parent.qmp.command('stop')
        try:
            text = postmortem.describe(self.parent, 2)
        finally:
            self.parent.qmp.command('cont')
        self.assertIn("no processes: ps -o", text)
        self.assertRegex(text, r'(?m)^console, last of \d+ lines:$')
        self.assertRegex(text, r'(RIP|PC)=[0-9a-f]{16}.* CPU#1 ')
        self.assertRegex(text, r'(?m)^end of parent-qemu.log:$')
        self.assertRegex(text, r'(?m)^device of .*: broken False$')
        self.assertRegex(text, r'queue 5 of .*: vring-num \d+, last-avail')
        self.assertRegex(text, r'(?m)^[0-9a-f]{16}: 0x[0-9a-f]{4} 0x')


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
