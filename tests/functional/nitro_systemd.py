# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: enclaves as services of systemd.

The parent has no systemd, so units are checked by systemd-analyze of this
machine's release, and the command in them is run in the parent without.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

from nitro_parent import DEMO, DEMO_MIB, NitroParentTest, ScopedTest, config

from nitro_lab import packages
from nitro_lab.arch import PROGRAM

UNITS = Path(config.TREE, 'contrib/nitro-systemd')
SERVICE = 'nitro-enclave@.service'
READY = UNITS / 'nitro-enclave-ready'
GREETING = {'QMP': {'version': {}, 'capabilities': []}}
# What systemd-analyze calls OK, in tenths
EXPOSURE = 20


def codename():
    """This machine's release of Debian."""
    found = re.search(r'(?m)^VERSION_CODENAME=(\w+)',
                      Path('/etc/os-release').read_text())
    return found.group(1) if found else 'none'


class Units(ScopedTest):
    """What systemd says of them."""

    def setUp(self):
        super().setUp()
        if codename() not in ('bookworm', 'trixie'):
            self.skipTest('this machine runs neither Debian 12 nor 13')
        self.trees = [tree for tree in packages.fetch_suite(
            codename(), ('systemd',), ()) if not tree.name.startswith('libc6')]
        self.root = Path(self.scratch_file('root'))
        self.units = self.root / 'usr/lib/systemd/system'
        shutil.rmtree(self.root, ignore_errors=True)
        for tree in self.trees:
            for place in ('lib/systemd/system', 'usr/lib/systemd/system'):
                if (tree / place).exists():
                    shutil.copytree(tree / place, self.units, symlinks=True,
                                    dirs_exist_ok=True)
        shutil.copy(UNITS / SERVICE, self.units)
        for name in ('usr/bin/env', 'usr/libexec/nitro-enclave-ready'):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(READY, self.root / name)

    def analyze(self, command, *words):
        """systemd-analyze of the release, about one instance."""
        libraries = [str(path) for tree in self.trees
                     for path in tree.rglob('*-linux-gnu*') if path.is_dir()]
        libraries += [path + '/systemd' for path in libraries]
        program = next(tree / 'usr/bin/systemd-analyze'
                       for tree in self.trees
                       if (tree / 'usr/bin/systemd-analyze').exists())
        return subprocess.run(
            [program, command, '--root=%s' % self.root, *words,
             'nitro-enclave@app.service'], text=True, check=False,
            env=dict(os.environ, LD_LIBRARY_PATH=':'.join(libraries)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def edit(self, old, new):
        """Change the unit."""
        text = (UNITS / SERVICE).read_text()
        self.assertIn(old, text)
        (self.units / SERVICE).write_text(text.replace(old, new))

    def test_verify(self):
        """No complaint, but one when there is something wrong."""
        words = ('verify', '--man=no', '--recursive-errors=no')
        run = self.analyze(*words)
        self.assertEqual((run.returncode, run.stdout), (0, ''))
        self.edit('RestartSec=5', 'RestartSec=soon')
        self.assertIn('Failed to parse', self.analyze(*words).stdout)
        self.edit('/usr/libexec/nitro-enclave-ready', '/usr/libexec/none')
        self.assertNotEqual(self.analyze(*words).returncode, 0)

    def test_security(self):
        """Exposure is low, and it is the unit's doing."""
        words = ('security', '--offline=yes', '--no-pager',
                 '--threshold=%d' % EXPOSURE)
        run = self.analyze(*words)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.edit('CapabilityBoundingSet=\n', '')
        self.assertNotEqual(self.analyze(*words).returncode, 0)


class Ready(ScopedTest):
    """nitro-enclave-ready, which tells systemd of the heartbeat."""

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
                             timeout=60, stderr=subprocess.PIPE)
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

    def test_usage(self):
        """It wants one socket."""
        run = subprocess.run([READY], text=True, check=False,
                             stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 2)
        self.assertIn('usage: ', run.stderr)


class Command(NitroParentTest):
    """The command of the unit."""

    def settings(self, text):
        """Assignments, also those behind a single hash."""
        found = dict(line.split('=', 1) for line in re.findall(
            r'(?m)^#?([A-Z]+=.*)$', text))
        return {**found, 'QEMU': PROGRAM, 'EIF': DEMO,
                'MEMORY': '%dM' % DEMO_MIB}

    def command(self):
        """ExecStart= with everything that example.conf offers."""
        text = (UNITS / SERVICE).read_text()
        line = re.search(r'ExecStart=((?:.*\\\n)*.*)', text).group(1)
        for name, value in self.settings(
                (UNITS / 'example.conf').read_text()).items():
            line = re.sub(r'\$\{%s\}|\$%s\b' % (name, name), value, line)
        self.assertNotIn('$', line)
        line = line.replace('%i', 'app').replace('%t', '/run')
        return shlex.split(line.replace('\\\n', ''))

    def test_start(self):
        """It boots, its console is its output, and no page is W and X."""
        self.parent.check('mkdir -p /run/nitro-enclave/app /usr/bin'
                          ' && ln -sf /bin/env /usr/bin/env')
        job = self.parent.spawn(self.command())
        self.addCleanup(job.signal, signal.SIGKILL)
        job.wait_for('demo: serving', 60)
        pid = self.parent.check('pidof ' + PROGRAM).split()[0]
        self.assertNotRegex(self.parent.get('/proc/%s/maps' % pid), ' .wx')
        qmp = self.parent.guest_qmp('/run/nitro-enclave/app/qmp', job)
        info = qmp.command('query-nitro-enclave')
        self.assertEqual((info['state'], info['cid']), ('booted', 40))
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(30), 0)
