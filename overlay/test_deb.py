# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Tests of the packages, made of other programs that are small."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import unittest
from unittest import mock

import deb_try
import output
import testing
import tree

# Where a package may put files without being in the way of others
OURS = re.compile(r'^usr/(lib/qemu-nitro/.+|share/doc/qemu-nitro(-lab|-doc)?'
                  r'/.+|bin/(qemu-nitro-system-\w+|qemu-eif|qemu-nsm|nitro-run|'
                  r'nitro-lab)|(lib|libexec)/([a-z.]+/)*[9-]*'
                  r'nitro-(enclave|program).+|'
                  r'share/(man/man1|bash-completion/completions)/'
                  r'(nitro-\w+|qemu-eif|qemu-nsm)[.1gz]*)$')


class Stage(testing.Case):
    """What comes before debhelper, in a build directory with stand-ins."""

    def setUp(self):
        super().setUp()
        self.deb = testing.command('deb')
        self.deb.BUILD = self.top
        # Stands in for Sphinx, which test_docs.py has to work
        mock.patch.object(self.deb.manual, 'make').start()
        mock.patch.dict(os.environ, SOURCE_DATE_EPOCH='86400').start()
        self.addCleanup(mock.patch.stopall)
        pages = ('qemu-eif', 'qemu-nsm', 'nitro-run', 'nitro-lab',
                 'nitro-hypervisor')
        for name, text in (('base/VERSION', '10.0.13\n'),
                           ('qemu/python/qemu/qmp/__init__.py', ''),
                           ('manual/html/system/nitro.html', 'Nitro'),
                           *((f'manual/man/{n}.1', '.TH') for n in pages),
                           *(('out/' + n, '') for n in output.PROGRAMS)):
            self.write(name, text)

    def make(self):
        """Build all packages: {name: path}."""
        with contextlib.redirect_stdout(io.StringIO()):
            paths = self.deb.make()
        return {os.path.basename(p).partition('_')[0]: p for p in paths}


class Refused(Stage):
    """What is reported."""

    def test_not_built(self):
        os.unlink(os.path.join(self.top, 'out', output.TOOLS[0]))
        self.assert_refused('qemu-eif is not there', 'make', self.make)

    def test_no_debhelper(self):
        """Neither what dpkg says nor what helps is lost."""
        with mock.patch.dict(os.environ, PATH=self.top):
            os.symlink('/bin/false', self.top + '/dpkg-buildpackage')
            self.assert_refused('dpkg-buildpackage --build=binary --no-sign '
                                'failed', 'overlay/deps deb', self.make)


@unittest.skipUnless(shutil.which('dh_bash-completion'),
                     'needs debhelper: overlay/deps deb')
class Packages(Stage):
    """Packages of stand-ins for programs."""

    def setUp(self):
        super().setUp()
        for name in output.PROGRAMS:
            shutil.copy('/bin/true', os.path.join(self.top, 'out', name))
        self.packages = self.make()
        self.root = os.path.join(self.top, 'root')
        for path in self.packages.values():
            subprocess.run(['dpkg-deb', '--extract', path, self.root],
                           check=True)

    def field(self, package, name):
        """A field of a package's control file."""
        return subprocess.run(
            ['dpkg-deb', '--field', self.packages[package], name], check=True,
            stdout=subprocess.PIPE, text=True).stdout.strip()

    def test_packages(self):
        for check in (self.check_control, self.check_files,
                      self.check_installed, self.check_services,
                      self.check_bare_chroot):
            with self.subTest(check.__doc__):
                check()

    def check_control(self):
        """Version and dependencies."""
        version = '10.0.13+nitro197001020000'
        self.assertEqual(self.field('qemu-nitro', 'Version'), version)
        self.assertIn('libc6', self.field('qemu-nitro', 'Depends'))
        self.assertIn(f'qemu-nitro (= {version})',
                      self.field('qemu-nitro-lab', 'Depends'))
        self.assertEqual(self.field('qemu-nitro-doc', 'Architecture'), 'all')

    def check_files(self):
        """Nothing is where the distribution's QEMU has something."""
        for name in tree.walk(self.root):
            self.assertRegex(name, OURS)
        self.assertEqual(set(os.listdir(self.root + '/usr/bin')), {
            'qemu-nitro-system-x86_64', 'qemu-nitro-system-aarch64',
            'qemu-eif', 'qemu-nsm', 'nitro-run', 'nitro-lab'})

    def check_installed(self):
        """Commands lead to programs, which are there."""
        for name in ('qemu-nitro-system-x86_64', 'qemu-eif', 'qemu-nsm'):
            subprocess.run([os.path.join(self.root, 'usr/bin', name)],
                           check=True)
        for name in ('nitro-run', 'nitro-lab'):
            text = tree.read(f'{self.root}/usr/bin/{name}').decode()
            script = re.search(r'/usr/lib/\S*/' + name, text).group()
            self.assertTrue(os.path.isfile(self.root + script))

    def check_services(self):
        """The unit launches the packaged QEMU."""
        unit = tree.read(self.root + '/usr/lib/systemd/system/nitro-enclave@'
                         '.service').decode()
        program = re.search(r'QEMU=(\S+)', unit).group(1)
        self.assertTrue(os.path.lexists(f'{self.root}/usr/bin/{program}'))
        helper = re.search(r'ExecStartPost=(\S+)', unit).group(1)
        self.assertTrue(os.access(self.root + helper, os.X_OK))

    def check_bare_chroot(self):
        """It installs where systemd-tmpfiles misses /proc; without its group
        it does not."""
        script = subprocess.run(
            ['dpkg-deb', '--info', self.packages['qemu-nitro'], 'postinst'],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        for failing, status in (('systemd-tmpfiles', 0),
                                ('systemd-sysusers', 1)):
            for name in ('systemd-sysusers', 'systemd-tmpfiles', 'systemctl',
                         'udevadm'):
                self.write(name, f'#!/bin/sh\nexit {int(name == failing)}\n',
                           0o755)
            run = subprocess.run(
                ['/bin/sh', '-c', script, 'postinst', 'configure'],
                env={'PATH': self.top}, check=False)
            self.assertEqual(run.returncode, status, failing)


class Trial(testing.Case):
    """The clean root, as far as it goes without one."""

    def test_no_clean_root(self):
        with mock.patch('shutil.which', lambda _name: None):
            self.assert_refused('by root, with debootstrap', 'TRY=1',
                                lambda: deb_try.Root('/x'))

    def test_what_is_tried(self):
        """A command that fails, or says something else, is reported."""
        done = subprocess.CompletedProcess([], 0, stdout='something\n')
        with mock.patch('subprocess.run', lambda *_a, **_k: done):
            self.assert_refused('without "(Debian "', 'look around',
                                lambda: deb_try.try_out(mock.MagicMock()))

    def test_leftovers(self):
        """What a removal leaves is named; notes are not looked at."""
        root = deb_try.Root.__new__(deb_try.Root)
        root.path, root.say = self.top, lambda *_words: ''
        os.makedirs(self.top + '/var/log')
        before = root.names()
        os.mkdir(self.top + '/var/log/apt')
        with contextlib.redirect_stdout(io.StringIO()):
            deb_try.remove(root, ['x'], before)
            os.mkdir(self.top + '/usr')
            self.assert_refused("'/usr'", 'look around', lambda:
                                deb_try.remove(root, ['x'], before))
