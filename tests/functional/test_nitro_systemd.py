#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: enclaves as services of systemd.

What can be checked without running them is checked by programs of both Debian
releases; then systemd runs the parent, and everything is installed in it as
the manual says.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

from test_nitro_manual import blocks
from nitro_parent import (DEMO, DEMO_MIB, NitroParentTest, ScopedTest, config,
                          images, only_wanted)
from test_nitro_runner import PROGRAM_IMAGE, TOOL, TOP, program_image

from nitro_lab import python
from nitro_lab.arch import PROGRAM
from nitro_lab.patience import PATIENCE
from nitro_lab.systemd import SUITES, Release

UNITS = Path(config.TREE, 'contrib/nitro-systemd')
SERVICE, PROGRAMS = 'nitro-enclave@.service', 'nitro-program@.service'
READY = UNITS / 'nitro-enclave-ready'
EXAMPLE = UNITS / 'example.conf'
GREETING = {'QMP': {'version': {}, 'capabilities': []}}
# What systemd-analyze calls OK, in tenths
EXPOSURE = 20
CRASHING, MUTE = '/lab/crashing.eif', '/lab/mute.eif'
# Its kernel finds no init
LOST = '/lab/lost.eif'


class Units(ScopedTest):
    """What programs of systemd say of our files."""

    def setUp(self):
        super().setUp()
        self.root = Path(self.scratch_file('root'))

    def releases(self):
        """Each of them, with a root that has its units and our files."""
        for suite in SUITES:
            release = Release(suite)
            shutil.rmtree(self.root, ignore_errors=True)
            units = self.root / 'usr/lib/systemd/system'
            for tree in release.trees:
                for place in ('lib/systemd/system', 'usr/lib/systemd/system'):
                    if (tree / place).exists():
                        shutil.copytree(tree / place, units, symlinks=True,
                                        dirs_exist_ok=True)
            for name in (SERVICE, PROGRAMS):
                shutil.copy(UNITS / name, units)
            for name in ('usr/bin/env', 'usr/bin/nitro-run',
                         'usr/libexec/nitro-enclave-ready'):
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(READY, self.root / name)
            yield release

    def say(self, release, program, *words):
        """Run a program of the release; (status, output)."""
        run = subprocess.run([*release.here(program), *words], text=True,
                             check=False, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        return run.returncode, run.stdout

    def analyze(self, release, command, *words, unit=SERVICE):
        """systemd-analyze, about one instance."""
        return self.say(release, 'usr/bin/systemd-analyze', command,
                        '--root=%s' % self.root, *words,
                        unit.replace('@', '@app'))

    def edit(self, old, new):
        """Change the unit."""
        text = (UNITS / SERVICE).read_text()
        self.assertIn(old, text)
        (self.root / 'usr/lib/systemd/system' / SERVICE).write_text(
            text.replace(old, new))

    def test_verify(self):
        """No complaint, but one when there is something wrong."""
        words = ('verify', '--man=no', '--recursive-errors=no')
        for release in self.releases():
            for unit in (SERVICE, PROGRAMS):
                self.assertEqual(self.analyze(release, *words, unit=unit),
                                 (0, ''))
            self.edit('RestartSec=5', 'RestartSec=soon')
            self.assertIn('Failed to parse', self.analyze(release, *words)[1])
            self.edit('/usr/libexec/nitro-enclave-ready', '/usr/libexec/none')
            self.assertNotEqual(self.analyze(release, *words)[0], 0)

    def test_security(self):
        """Exposure is low, and it is the unit's doing."""
        words = ('security', '--offline=yes', '--no-pager',
                 '--threshold=%d' % EXPOSURE)
        for release in self.releases():
            for unit in (SERVICE, PROGRAMS):
                status, output = self.analyze(release, *words, unit=unit)
                self.assertEqual(status, 0, output)
            self.edit('CapabilityBoundingSet=\n', '')
            self.assertNotEqual(self.analyze(release, *words)[0], 0)

    def test_udev_rules(self):
        """udevadm has no complaint; only the newer one can say so."""
        release = Release('trixie')
        rules = Path(self.scratch_file('99-nitro.rules'))
        text = (UNITS / 'udev.rules').read_text()
        for old, new, expected in (('', '', 0), ('GROUP=', 'GROPU=', 1)):
            rules.write_text(text.replace(old, new))
            status, output = self.say(release, 'bin/udevadm', 'verify',
                                      '--resolve-names=never', str(rules))
            self.assertEqual(status, expected, output)


class Ready(ScopedTest):
    """nitro-enclave-ready, which notifies systemd of the heartbeat."""

    def run_with(self, *messages, expected=0):
        """Run it against a monitor that says @messages, then closes."""
        path = self.socket_dir().name + '/qmp'
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)

        def serve():
            with listener, listener.accept()[0] as peer:
                for message in (GREETING, {'return': {}}, *messages):
                    peer.sendall(json.dumps(message).encode() + b'\r\n')
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        run = subprocess.run([READY, path], text=True, check=False,
                             timeout=PATIENCE, stderr=subprocess.PIPE)
        thread.join(10)
        os.unlink(path)
        self.assertEqual(run.returncode, expected, run.stderr)
        return run.stderr

    def test_outcomes(self):
        """Booted before or after it looked, or not at all."""
        state = {'return': {'state': 'started'}}
        self.run_with(state, {'event': 'NITRO_ENCLAVE_STARTED'},
                      {'event': 'NITRO_ENCLAVE_BOOTED'})
        self.run_with({'return': {'state': 'booted'}})
        self.assertIn('ended before', self.run_with(
            state, {'event': 'NITRO_ENCLAVE_EXITED'}, expected=1))
        self.assertIn('no accelerator', self.run_with(
            {'error': {'desc': 'no accelerator'}}, expected=1))

    def test_no_monitor(self):
        """Nobody waits for the monitor of a process that has ended."""
        ended = subprocess.Popen(['true'])
        ended.wait()
        for environment, expected in (({'MAINPID': str(ended.pid)},
                                       'ended before'),
                                      ({}, 'No such file')):
            with self.subTest(expected):
                run = subprocess.run(
                    [READY, self.socket_dir().name + '/none'], text=True,
                    env=dict(os.environ, **environment), check=False,
                    stderr=subprocess.PIPE)
                self.assertEqual(run.returncode, 1)
                self.assertIn(expected, run.stderr)

    def test_usage(self):
        """It wants one socket."""
        run = subprocess.run([READY], text=True, check=False,
                             stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 2)
        self.assertIn('usage: ', run.stderr)


class ServiceTest(NitroParentTest):
    """systemd runs the parent, and an enclave in it."""

    abstract = True
    nodes = []

    @classmethod
    def parent_files(cls):
        # The QEMU under test needs the C library of its own release, or newer
        release = next(release for release in map(Release, SUITES)
                       if release.fits())
        return {**super().parent_files(), **release.files(), **python.files(),
                **{'/contrib/nitro-systemd/' + path.name: path
                   for path in UNITS.iterdir()},
                **python.nitro_run_files(TOP), '/usr/bin/nitro-run':
                b'#!/bin/sh\nexec %s "$@"\n' % TOOL.encode(),
                PROGRAM_IMAGE: program_image(),
                CRASHING: images.demo_image('crashing', 'demo.mode=crash'),
                LOST: images.demo_image('lost', 'rdinit=/none'),
                MUTE: images.demo_image('mute', 'demo.mode=mute')}

    @classmethod
    def start_parent(cls):
        parent = super().start_parent()
        parent.check(['python3', '-c', python.WARM_UP])
        block = next(b for b in blocks() if 'cd contrib/nitro-systemd' in b)
        commands = [command for command in re.findall('(?m)^# (.*)', block)
                    if 'app' not in command]    # those are for one enclave
        node = 'stat -c "%U %G %a" /dev/nitro_enclaves'
        cls.nodes = [parent.check(node)]
        parent.check('set -e; cd /; %s; udevadm settle; systemctl'
                     ' daemon-reload' % '; '.join(commands))
        cls.nodes.append(parent.check(node))
        return parent

    def setUp(self):
        super().setUp()
        self.followed = []

    def _end_launches(self):
        self.systemctl('stop', 'nitro-enclave@*', 'nitro-program@*')
        journal = self.parent.check('journalctl --no-pager')
        Path(self.log_file('journal.log')).write_text(journal)
        for job in self.followed:
            job.signal(signal.SIGTERM)
        super()._end_launches()

    # Units

    def systemctl(self, *words):
        """A command that has to succeed; returns what it prints."""
        return self.parent.check(['systemctl', *words])

    def show(self, name, *properties):
        """Properties of an instance."""
        text = self.systemctl('show', 'nitro-enclave@' + name)
        found = dict(line.split('=', 1) for line in text.splitlines())
        return [found[p] for p in properties]

    def describe(self, name, **settings):
        """Write the description of an instance; returns its journal."""
        settings = {'QEMU': PROGRAM, 'EIF': DEMO, 'MEMORY': '%dM' % DEMO_MIB,
                    'ACCEL': 'debug-mode=on', 'OPTIONS': '-serial stdio',
                    **settings}
        self.parent.put('/etc/nitro-enclaves/%s.conf' % name, ''.join(
            '%s=%s\n' % pair for pair in settings.items()).encode())
        return self.follow('nitro-enclave@' + name)

    def follow(self, unit):
        """The journal of a unit."""
        job = self.parent.spawn(['journalctl', '--no-tail', '--follow',
                                 '--unit', unit])
        self.followed.append(job)
        return job

    def query(self, name):
        """What the monitor of an instance shows."""
        words = ''.join(json.dumps({'execute': command}) for command in
                        ('qmp_capabilities', 'query-nitro-enclave'))
        relay = self.parent.spawn(['lab', 'relay',
                                   '/run/nitro-enclave/%s/qmp' % name])
        relay.send(words.encode())
        found = relay.wait_for(r'\{"return": (.*"state".*)\}\r\n')
        relay.signal(signal.SIGTERM)
        return json.loads(found.group(1))

    # Scenarios

    def test_installed(self):
        """The driver's device is for group ne, directories are there."""
        self.assertEqual(self.nodes, ['root root 660\n', 'root ne 660\n'])
        self.parent.check(['ls', '/etc/nitro-enclaves',
                           '/var/lib/nitro-enclaves'])

    def test_life(self):
        """Active means booted; it comes back when it is killed."""
        text = EXAMPLE.read_text()
        offered = dict(re.findall('(?m)^#?([A-Z]+)=(.*)', text))
        serial, program, network = re.findall('(?m)^#OPTIONS=(.*)', text)
        journal = self.describe('app', CPUS=offered['CPUS'],
                                ACCEL=offered['ACCEL'], OPTIONS=serial)
        self.systemctl('start', 'nitro-enclave@app')
        info = self.query('app')
        self.assertEqual((info['state'], info['cid']), ('booted', 40))
        journal.wait_for(r'nitro-enclave-app\[\d+\]: demo: serving')
        active, pid = self.show('app', 'ActiveState', 'MainPID')
        self.assertEqual(active, 'active')
        self.assert_confined(pid)
        self.parent.check(['kill', '-9', pid])
        journal.wait_for('(?s)restart counter is at 1.*Started .*Enclave app',
                         90)
        self.assertEqual(self.query('app')['state'], 'booted')
        self.systemctl('stop', 'nitro-enclave@app')
        self.assertEqual(self.show('app', 'ActiveState', 'Result'),
                         ['inactive', 'success'])
        self.check_program(program + ' ' + network,
                           re.findall('(?m)^#   (.+)', text))

    def check_program(self, options, allowed):
        """Output of a program, which is stopped by its stop signal; the port
        of the example is there when the unit allows it."""
        place = '/etc/systemd/system/nitro-enclave@net.service.d'
        self.parent.check(['mkdir', '-p', place])
        self.parent.put(place + '/network.conf', '\n'.join(allowed).encode())
        self.systemctl('daemon-reload')
        journal = self.describe('net', EIF=PROGRAM_IMAGE, OPTIONS=options)
        self.systemctl('start', 'nitro-enclave@net')
        journal.wait_for(r'nitro-enclave-net\[\d+\]: a= args=')
        self.assertIn('0100007F:1F90', self.parent.get('/proc/net/tcp'))
        self.systemctl('stop', 'nitro-enclave@net')
        journal.wait_for(r'nitro-enclave-net\[\d+\]: stopped')
        self.assertEqual(self.show('net', 'ActiveState', 'Result'),
                         ['inactive', 'success'])

    def assert_confined(self, pid):
        """What the unit takes away is not there."""
        text = self.parent.get('/proc/%s/status' % pid)
        found = dict(re.findall(r'(\w+):\s*(.*)', text))
        group = re.search(r'(?m)^ne:x:(\d+):', self.parent.get('/etc/group'))
        self.assertIn(group.group(1), found['Groups'].split())
        self.assertGreater(int(found['Uid'].split()[0]), 61183)
        for name, value in (('NoNewPrivs', '1'), ('Seccomp', '2'),
                            ('CapEff', '0' * 16), ('CapBnd', '0' * 16)):
            self.assertEqual(found[name], value, name)
        self.assertNotRegex(self.parent.get('/proc/%s/maps' % pid), ' .wx')
        self.assertRegex(self.parent.get('/proc/%s/mounts' % pid),
                         r'(?m)^\S+ / \S+ ro[, ]')
        self.parent.check(['systemd-analyze', 'security', '--no-pager',
                           '--threshold=%d' % EXPOSURE, 'nitro-enclave@app'])


class Service(ServiceTest):
    """That alone."""


class Services(ServiceTest):
    """That, and what makes it launch anew."""

    def test_no_heartbeat(self):
        """Not active before it; without it, launched again."""
        journal = self.describe('mute', EIF=MUTE, OPTIONS='-serial stdio'
                                ' -global nitro-heartbeat.timeout=25')
        self.systemctl('start', '--no-block', 'nitro-enclave@mute')
        journal.wait_for('init started, mode mute')
        # In start-post, or, if that took as long, in auto-restart
        self.assertEqual(self.show('mute', 'ActiveState'), ['activating'])
        journal.wait_for('(?s)status=5/.*restart counter is at 1')
        self.assertNotIn('Started', journal.text())

    def test_crash(self):
        """A guest's panic after its boot: launched again."""
        journal = self.describe('crash', EIF=CRASHING)
        self.systemctl('start', 'nitro-enclave@crash')
        journal.wait_for('(?s)Started.*Kernel panic.*restart counter is at 1'
                         '.*Started')

    def test_refused(self):
        """Tried again unless nothing would be different."""
        for name, state, settings, words in (
                ('small', 'failed', {'MEMORY': '1M'}, 'Use -m 64M or more'),
                ('none', 'failed', {'QEMU': 'qemu-none'}, 'status=127'),
                ('lost', 'auto-restart', {'EIF': LOST},
                 'status=4/.*ended before its enclave had booted')):
            with self.case(name):
                journal = self.describe(name, **settings)
                run = self.parent.run(['systemctl', 'start',
                                       'nitro-enclave@' + name])
                self.assertEqual(run.status, 1, run.output)
                self.assertEqual(self.show(name, 'SubState'), [state])
                journal.wait_for('(?s)' + words)
        run = self.parent.run('systemctl start nitro-enclave@nobody;'
                              ' systemctl is-active nitro-enclave@nobody')
        self.assertEqual(run.output, 'inactive\n')

    def test_program(self):
        """A container's program: active when booted, its output in the
        journal, ended by its stop signal with its own status."""
        self.parent.put('/etc/nitro-enclaves/web.program', (
            'SOURCE=%s\nOPTIONS=--memory 192M\n' % PROGRAM_IMAGE).encode())
        journal = self.follow('nitro-program@web')
        self.systemctl('start', 'nitro-program@web')
        journal.wait_for(r'nitro-program-web\[\d+\]: a= args=')
        self.systemctl('stop', 'nitro-program@web')
        self.assertIn('ExecMainStatus=3\n', self.systemctl(
            'show', 'nitro-program@web'))

    def test_boot(self):
        """Enabled, it starts with the machine, once the driver is there."""
        journal = self.describe('boot')
        trigger = ['udevadm', 'trigger', '/dev/nitro_enclaves', '--action']
        self.parent.check([*trigger, 'remove'])
        self.systemctl('enable', 'nitro-enclave@boot')
        self.systemctl('start', '--no-block', 'multi-user.target')
        self.wait_until(lambda: re.search(
            'nitro_enclaves.device +start +running',
            self.systemctl('list-jobs')), 'waits for the device')
        self.parent.check([*trigger, 'add'])
        journal.wait_for('Started')
        self.parent.check([*trigger, 'remove'])
        journal.wait_for('Stopped')
        self.parent.check([*trigger, 'add'])
        self.systemctl('disable', 'nitro-enclave@boot')


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
