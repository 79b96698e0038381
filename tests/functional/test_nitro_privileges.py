#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: nobody has more rights than needed.

In the parent the launcher runs as a user of group ne, in a sandbox and in an
empty root directory.  On this machine nitro-hypervisor runs as nobody when the
test runs as root; otherwise all of it runs as the user who tests.
"""

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from nitro_parent import NitroParentTest, ScopedTest, only_wanted, stop_parent

from nitro_lab import config
from nitro_lab.launch import Launch
from nitro_lab.parent import LEASH, Parent

NOBODY = 65534
SANDBOX = ('on,obsolete=deny,elevateprivileges=deny,spawn=deny,'
           'resourcecontrol=deny')
# The user is changed within the sandbox
SANDBOX_USER = SANDBOX.replace('elevateprivileges=deny,', '')
ACCOUNTS = r'''
grep -q ^member: /etc/passwd && exit
for user in member outsider; do
    echo "$user:x:90${#user}:65534::/tmp:/bin/sh" >> /etc/passwd
done
sed -i 's/^ne:.*/&member/' /etc/group
'''


class As:
    """The parent, with programs started as a user of it."""

    def __init__(self, parent, user):
        self.parent, self.user = parent, user

    def spawn(self, argv, follow=None):
        """Start a program."""
        return self.parent.spawn(
            ['su', self.user, '-s', '/bin/sh', '-c', 'exec "$0" "$@"',
             '--', *argv], follow=follow)

    def __getattr__(self, name):
        return getattr(self.parent, name)


class Unprivileged(Parent):
    """A parent whose hypervisor process has a user of its own.

    Programs and firmware are copied: that user may not be allowed to look
    into the directory they were built in.
    """

    def start(self):
        self.copies = Path(tempfile.mkdtemp(prefix='nitro-copies-'))
        self.copies.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(self.sockets, NOBODY, NOBODY)
        super().start()

    def stop(self):
        super().stop()
        shutil.rmtree(self.copies, ignore_errors=True)

    def _copied(self, word):
        path = Path(str(word))
        if not path.is_absolute() or self.sockets == path:
            return str(word)
        if path == config.PKI:
            # Keys are used by their owner only, so it has some of its own
            return str(self.sockets / 'pki')
        target = self.copies / path.name
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copy(path, target)
        return str(target)

    def hypervisor_command(self):
        words = [self._copied(w) for w in super().hypervisor_command()]
        if os.geteuid():
            return words
        return ['setpriv', '--reuid=%d' % NOBODY, '--regid=%d' % NOBODY,
                '--clear-groups', '--no-new-privs', '--', *LEASH, *words]


class Launcher(NitroParentTest):
    """The launcher inside the parent."""

    def setUp(self):
        super().setUp()
        self.parent.check(['sh', '-c', ACCOUNTS])
        self.parent.check('chgrp ne /dev/nitro_enclaves'
                          ' && chmod 660 /dev/nitro_enclaves')

    def launch_as(self, user, *more):
        """Start the launcher as a user, with QMP."""
        socket_path = '/tmp/%s-qmp' % user
        self.parent.run(['rm', '-f', socket_path])
        launch = Launch(As(self.parent, user), self.arguments(*more),
                        socket=socket_path)
        self.launches.append(launch)
        return launch

    def process_status(self, launch, field):
        """A field of the launcher's /proc/PID/status."""
        pid = self.parent.check(['sh', '-c', 'grep -l "%s" /proc/[0-9]*/'
                                 'cmdline 2>/dev/null | grep -v self'
                                 ' | head -n 1' % launch.socket])
        text = self.parent.get(pid.strip().replace('cmdline', 'status'))
        return re.search(r'(?m)^%s:\s*(.*)$' % field, text).group(1).split()

    def test_member_of_group(self):
        """A user of group ne needs no other right, and can give up all."""
        launch = self.launch_as('member', '-sandbox', SANDBOX)
        self.assertTrue(launch.connect(), launch.job.text())
        launch.wait_booted()
        self.assertEqual(set(self.process_status(launch, 'Uid')), {'906'})
        self.assertEqual(self.process_status(launch, 'CapEff'),
                         ['0' * 16])
        self.assertEqual(self.process_status(launch, 'Seccomp'), ['2'])
        self.console(launch, 'demo: serving')
        self.assertIn('hello', self.hello(launch))
        self.assertEqual(self.stop(launch), 0, launch.job.text())

    def test_outsider(self):
        """Others learn whom to ask."""
        launch = self.launch_as('outsider')
        self.end(launch, 3)
        text = re.sub(r'\s+', ' ', launch.job.text())
        self.assertIn('cannot open /dev/nitro_enclaves: Permission denied',
                      text)
        self.assertIn('usermod -aG ne', text)

    def test_chroot_and_user(self):
        """An empty root directory and another user from the start on."""
        self.parent.check('mkdir -p /run/empty')
        launch = self.boot('-sandbox', SANDBOX_USER, '-run-with',
                           'chroot=/run/empty,user=nobody', '-M',
                           'nitro,measure=on')
        self.assertEqual(set(self.process_status(launch, 'Uid')),
                         {str(NOBODY)})
        self.console(launch, 'demo: serving')

        def measured():
            image = launch.qmp.command('query-nitro-enclave')['image']
            return image['measurement'] == 'done'
        self.wait_until(measured, 'measurement of a file out of reach')
        launch.qmp.command('system_powerdown')
        self.end(launch)


class Hypervisor(NitroParentTest):
    """nitro-hypervisor and the enclaves it runs."""

    @classmethod
    def start_parent(cls):
        return cls.parent_of_kind(Unprivileged)

    @classmethod
    def setUpClass(cls):
        stop_parent()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        stop_parent()

    def status(self, pid):
        """/proc/PID/status as a dictionary."""
        text = Path('/proc/%d/status' % pid).read_text()
        return dict(re.findall(r'(?m)^(\w+):\s*(.*)$', text))

    def memory_files(self, pid):
        """Inodes of the anonymous files that a process has open."""
        found = set()
        for entry in Path('/proc/%d/fd' % pid).iterdir():
            if os.readlink(entry).startswith('/memfd:'):
                found.add(entry.stat().st_ino)
        return found

    def test_processes(self):
        """No rights, no open sockets, nothing of the parent's in a child."""
        launch = self.boot()
        hypervisor = self.parent.hypervisor.popen.pid
        children = self.enclave_processes()
        for pid in [hypervisor, *children]:
            status = self.status(pid)
            self.assertNotIn('0', status['Uid'].split())
            self.assertEqual(int(status['CapEff'], 16), 0)
        self.assertTrue(self.memory_files(self.parent.vm.popen.pid))
        for pid in children:
            self.assertTrue(self.memory_files(pid))
            self.assertFalse(self.memory_files(pid)
                             & self.memory_files(self.parent.vm.popen.pid))
        self.console(launch, 'demo: serving')

    def test_sockets(self):
        """Only their owner gets at the sockets, whatever the directory."""
        names = ['control.sock', 'parent-vsock.sock']
        self.assertEqual(self.parent.sockets.stat().st_mode & 0o077, 0)
        for name in names:
            mode = (self.parent.sockets / name).stat().st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(mode & 0o077, 0, name)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
