#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: enclaves that are launched again, and several at once."""

import signal

from nitro_parent import (DEMO, DEMO_MIB, ECHO_PORT, NitroParentTest,
                          ScopedTest, only_wanted)

from nitro_lab.launch import Launch

# Enough of them to see a leak in accounts that are exact
RESETS = 6
AT_ONCE = 4


class LifeTest(NitroParentTest):
    """Enough CPUs and memory for several enclaves."""

    parent_cpus, parent_mib = 2 * AT_ONCE, AT_ONCE * DEMO_MIB + 64

    def info(self, launch):
        """What the monitor shows."""
        return launch.qmp.command('query-nitro-enclave')

    def reset(self, launch):
        """system_reset; returns when the enclave of before has ended."""
        launch.qmp.command('system_reset')
        data = launch.qmp.wait_event('NITRO_ENCLAVE_EXITED')['data']
        self.assertEqual(data['cause'], 'reset')

    def booted(self, launch):
        """Wait for the heartbeat of an enclave after the first."""
        data = launch.qmp.wait_event('NITRO_ENCLAVE_BOOTED')['data']
        launch.cid = data['cid']

    def first_boot(self, *more, **options):
        """Launch, with all events from the first on."""
        launch = self.start(self.arguments('-S', *more, **options))
        launch.qmp.command('cont')
        self.booted(launch)
        return launch

    def again(self, launch):
        """Reset and boot."""
        self.reset(launch)
        self.booted(launch)

    def echo(self, launch):
        """Traffic to the enclave and back."""
        self.assertEqual(self.parent.check(
            ['lab', 'vsock', 'echo', launch.cid, ECHO_PORT, 'there']),
            'there\n')


class Reset(LifeTest):
    """system_reset."""

    def test_production(self):
        """Another enclave with the same measurements answers."""
        launch = self.first_boot(debug='off')
        before, first = self.registers(self.hello(launch)), self.info(launch)
        self.again(launch)
        second = self.info(launch)
        self.assertEqual(self.registers(self.hello(launch)), before)
        self.assertNotEqual(second['slot-uid'], first['slot-uid'])
        self.assertEqual((first['launches'], second['launches']), (1, 2))
        self.assertEqual(second['state'], 'booted')
        self.assertEqual(second['cid'], launch.cid)
        self.echo(launch)
        self.assertEqual(self.stop(launch), 0)

    def test_console(self):
        """The console of the next enclave follows that of the last."""
        launch = self.first_boot()
        for _ in range(2):
            self.console(launch, 'hello from enclave CID %d' % launch.cid)
            self.console(launch, 'demo: serving')
            old = launch.cid
            self.again(launch)
            self.assertNotEqual(launch.cid, old)
        self.console(launch, 'hello from enclave CID %d' % launch.cid)

    def test_without_rights(self):
        """Neither privileges nor file names are needed any more."""
        self.parent.check('mkdir -p /run/empty; cp %s /run/gone.eif' % DEMO)
        launch = self.first_boot('-run-with',
                                 'chroot=/run/empty,user=nobody',
                                 image='/run/gone.eif')
        self.parent.check('rm /run/gone.eif')
        self.again(launch)
        self.echo(launch)
        self.assertEqual(self.stop(launch), 0)

    def test_while_booting(self):
        """An enclave that is about to boot is ended all the same."""
        launch = self.start(self.arguments())
        self.wait_until(lambda: launch.poll() and launch.cid, 'CID')
        self.reset(launch)
        self.booted(launch)
        self.echo(launch)

    def test_many(self):
        """Nothing is left behind, and a chosen CID is kept."""
        launch = self.start(['-accel', 'nitro,debug-mode=on,enclave-cid=77',
                             *self.arguments('-S')[2:]])
        launch.qmp.command('cont')
        self.booted(launch)
        self.again(launch)
        before = self.descriptors(launch), self.parent.free_huge_pages()
        for _ in range(RESETS - 1):
            self.again(launch)
            self.assertEqual(launch.cid, 77)
        self.echo(launch)
        self.assertEqual((self.descriptors(launch),
                          self.parent.free_huge_pages()), before)
        self.assertEqual(self.info(launch)['launches'], RESETS + 1)

    def descriptors(self, launch):
        """How many files the launcher has open."""
        return int(self.parent.check(
            ['sh', '-c', 'cd $(dirname $(grep -l "%s" /proc/[0-9]*/cmdline'
             ' 2>/dev/null | grep -v self | head -n 1)); ls fd | wc -l'
             % launch.socket]))

    def test_after_crash(self):
        """A guest that panicked is looked at, then launched again."""
        launch = self.first_boot('-no-shutdown', *self.direct(
            'demo.mode=crash', 'demo.seconds=1'), image=None)
        for _ in range(2):
            launch.qmp.wait_event('SHUTDOWN')
            launch.qmp.command('system_reset')
            launch.qmp.wait_event('RESET')
            self.assertEqual(launch.qmp.command('query-status')['status'],
                             'prelaunch')
            launch.qmp.command('cont')
            self.booted(launch)
        self.assertEqual(self.info(launch)['launches'], 3)

    def test_on_exit(self):
        """on-exit=reset: its own end leads to the next one."""
        launch = self.start([
            '-accel', 'nitro,debug-mode=on,on-exit=reset',
            *self.arguments('-S', *self.direct('demo.mode=poweroff',
                                               'demo.seconds=1'),
                            image=None)[2:]])
        launch.qmp.command('cont')
        for _ in range(3):
            self.booted(launch)
        launch.qmp.command('quit')
        self.end(launch)

    def test_lost(self):
        """The hypervisor refuses the second enclave: status 3."""
        launch = self.first_boot()
        self.fault('START:1:-12')
        self.reset(launch)
        data = launch.qmp.wait_event('NITRO_ENCLAVE_EXITED')['data']
        self.assertEqual(data['cause'], 'start-failed')
        self.assertIn('not enough memory to start', data['error'])
        self.end(launch, status=3)


class AtOnce(LifeTest):
    """Several launches on one parent."""

    def test_four(self):
        """Each waits for its turn, all boot, a reset is one's own affair."""
        launches = [self.start(self.arguments()) for _ in range(AT_ONCE)]
        for launch in launches:
            launch.wait_booted()
        self.assertEqual(len({launch.cid for launch in launches}), AT_ONCE)
        launches[0].qmp.command('system_reset')
        self.booted_again(launches[0])
        for launch in launches:
            self.echo(launch)
        for launch in launches:
            self.assertEqual(self.stop(launch), 0)

    def booted_again(self, launch):
        """Wait for the second enclave."""
        def booted():
            info = self.info(launch)
            launch.cid = info.get('cid')
            return info['launches'] == 2 and info['state'] == 'booted'
        self.wait_until(booted, 'second boot')

    def test_busy_cpus(self):
        """CPUs that are free in a moment are waited for."""
        holder = self.parent.spawn(
            ['lab', 'ne', 'create', *['vcpu', '0'] * (self.parent_cpus - 2),
             'hold'])
        holder.wait_for('holding')
        launch = Launch(self.parent, self.arguments('-trace', 'nitro_busy',
                                                    cpus=4),
                        socket='/run/qmp-busy')
        self.launches.append(launch)
        launch.job.wait_for('nitro_busy', errors=True)
        holder.end_input()
        holder.wait()
        self.assertTrue(launch.connect(), launch.job.text())
        launch.wait_booted()

    def test_holder_dies(self):
        """Port 9000 is free when the process that had it is killed."""
        holder = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        holder.wait_for('listening')
        launch = self.start(self.arguments())
        launch.job.wait_for('vsock port 9000 is taken', errors=True)
        self.assertEqual(self.info(launch)['heartbeat']['state'], 'waiting')
        holder.signal(signal.SIGKILL)
        holder.wait()
        launch.wait_booted()

    def test_holder_stays(self):
        """At the deadline, the owner of port 9000 is named."""
        holder = self.parent.spawn(['lab', 'vsock', 'listen', '9000'])
        holder.wait_for('listening')
        self.refused(self.arguments(
            '-global', 'nitro-heartbeat.port-timeout=2'),
            'heartbeat: cannot listen on vsock port 9000: Address already in '
            'use', 'port-timeout=SECONDS')
        holder.signal(signal.SIGKILL)
        holder.wait()


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
