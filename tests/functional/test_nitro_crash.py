#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: the hypervisor process or the parent goes down under load.

Each has a parent of its own.  Whatever happens to the platform, the kernel of
the parent must not suffer from the device, and no enclave may be left on the
host.
"""

import os
import re
import signal
import time
from pathlib import Path

from nitro_parent import (DEMO_MIB, ECHO_PORT, NitroParentTest, ScopedTest,
                          only_wanted, stop_parent)

from nitro_lab.accounts import children
from nitro_lab.patience import PATIENCE

# What a kernel prints when something is wrong with itself
OOPS = re.compile(r'^.*(?:\bBUG\b|Oops|WARNING:|Call [Tt]race|Kernel panic|'
                  r'blocked for more than|Internal error).*$', re.M)
FOREVER = 600


class CrashTest(NitroParentTest):
    """Two enclaves in a parent that is not expected to survive."""

    parent_cpus, parent_mib = 4, 2 * DEMO_MIB + 64

    @classmethod
    def setUpClass(cls):
        stop_parent()

    def setUp(self):
        super(NitroParentTest, self).setUp()
        self.launches, self.problems = [], []
        self.began = time.monotonic()
        NitroParentTest.parent = self.start_parent()
        self.addCleanup(stop_parent)

    def _leave_as_found(self):
        """There is no parent that could have anything left."""

    def stream(self, launch):
        """Traffic without end to an enclave and back."""
        job = self.parent.spawn(['lab', 'vsock', 'stream', launch.cid,
                                 ECHO_PORT, FOREVER, 1000000])
        job.wait_for('connected')
        return job

    def kill_hypervisor(self):
        """It cannot clean up; returns processes of enclaves that it had."""
        hypervisor = self.parent.hypervisor.popen
        pids = self.enclave_processes() if children(hypervisor.pid) != 'none' \
            else []
        hypervisor.send_signal(signal.SIGKILL)
        hypervisor.wait(PATIENCE)
        return pids

    def assert_gone(self, pids):
        """No enclave outlives its hypervisor."""
        self.wait_until(lambda: not any(
            Path('/proc/%d/exe' % pid).exists() for pid in pids), 'end of %s'
            % pids)

    def assert_no_oops(self):
        """The parent is alive, and its kernel has nothing to complain of."""
        self.parent.check(['true'])
        self.assertIsNone(OOPS.search(self.parent.console_text()))


class Hypervisor(CrashTest):
    """nitro-hypervisor is killed."""

    def test_before_start(self):
        """A slot with memory and CPUs; then every request is refused."""
        holder = self.parent.spawn(['lab', 'ne', 'create', 'memory', 64,
                                    'vcpu', 0, 'vcpu', 0, 'hold'])
        holder.wait_for('holding')
        self.assertEqual(self.kill_hypervisor(), [])
        holder.end_input()
        self.assertEqual(holder.wait(), 0)
        self.refused(self.arguments(), 'NE_')
        self.assert_no_oops()

    def test_running(self):
        """An enclave that echoes and another that boots end."""
        running = self.boot()
        stream = self.stream(running)
        booting = self.start(self.arguments())
        self.wait_until(lambda: booting.poll() and booting.cid, 'START')
        pids = self.kill_hypervisor()
        self.assertEqual(len(pids), 2)
        self.assert_gone(pids)
        self.end(running, status=0)
        self.end(booting, status=4)
        self.assertIn('before its heartbeat', booting.job.text())
        # Its socket has no other side any more, and nobody who says so
        stream.signal(signal.SIGKILL)
        stream.wait()
        self.assert_no_oops()


class Enclave(CrashTest):
    """The process of an enclave is killed."""

    def test_starting(self):
        """As soon as it is there: before START has come back, or after."""
        for _ in range(3):
            launch = self.start(self.arguments())
            hypervisor = self.parent.hypervisor.popen.pid
            self.wait_until(lambda: children(hypervisor) != 'none', 'process')
            for pid in self.enclave_processes():
                os.kill(pid, signal.SIGKILL)
            self.assertIn(launch.job.wait(), (3, 4), launch.job.text())
        self.boot()
        self.assert_no_oops()


class Parent(CrashTest):
    """The parent goes down."""

    def load(self):
        """Enclaves at work."""
        self.launches.clear()
        launch = self.boot()
        self.stream(launch)
        self.assertNotEqual(self.enclave_processes(), [])

    def assert_ended(self):
        """No enclave is left on the host, and all of their memory is free."""
        hypervisor = self.parent.hypervisor.popen.pid
        self.wait_until(lambda: children(hypervisor) == 'none', 'no process')
        self.wait_until(lambda: self.fault_slots() == 0, 'no slot')

    def fault_slots(self):
        """Slots that the PCI function has."""
        return self.parent.qmp.get('/machine/peripheral/ne', 'slots')

    def test_reset(self):
        """A reset, then the driver is unbound: enclaves end, others boot."""
        self.load()
        self.parent.reset()
        self.assert_ended()
        self.load()
        # The driver itself fails when an enclave is closed after that
        self.parent.spawn('cd /sys/bus/pci/drivers/nitro_enclaves &&'
                          ' for function in 0000:*; do'
                          ' echo $function > unbind; done')
        self.assert_ended()
        self.parent.reset()
        self.launches.clear()
        self.boot()
        self.assertEqual(self.stop(self.launches[0]), 0)

    def test_power_off(self):
        """The machine's process is killed: enclaves end at once."""
        self.load()
        pids = self.enclave_processes()
        self.parent.vm.popen.send_signal(signal.SIGKILL)
        self.assert_gone(pids)
        self.parent.hypervisor.check()


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
