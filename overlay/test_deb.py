# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Tests of the packages, made of other programs that are small."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import deb_try  # noqa: E402
import output  # noqa: E402
import testing  # noqa: E402
import tree  # noqa: E402

# Where a package may put files without being in the way of others
OURS = re.compile(r'\./usr/(lib/qemu-nitro/.+|share/doc/qemu-nitro(-lab|-doc)?'
                  r'/.+|bin/(qemu-nitro-system-\w+|qemu-eif|qemu-nsm|nitro-run|'
                  r'nitro-lab)|(lib|libexec)/([a-z.]+/)*[9-]*'
                  r'nitro-(enclave|program).+|'
                  r'share/(man/man1|bash-completion/completions)/'
                  r'(nitro-\w+|qemu-eif|qemu-nsm)[.1gz]*)$')


class Packages(testing.RefusalCase):
    """Packages from a build directory with stand-ins for programs."""

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix='nitro-deb-')
        self.addCleanup(shutil.rmtree, self.top)
        self.deb = testing.command('deb')
        self.deb.BUILD = self.top
        self.deb.OUT = os.path.join(self.top, 'out')
        for name in output.PROGRAMS:
            path = os.path.join(self.deb.OUT, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy('/bin/true', path)
        os.makedirs(self.top + '/base')
        os.makedirs(self.top + '/qemu/python/qemu/qmp')
        # Stands in for Sphinx, which test_docs.py has to work
        mock.patch.object(self.deb.manual, 'make').start()
        self.addCleanup(mock.patch.stopall)
        pages = [f'manual/man/{n}.1' for n in (
            'qemu-eif', 'qemu-nsm', 'nitro-run', 'nitro-lab',
            'nitro-hypervisor')]
        for directory in ('manual/man', 'manual/html/system'):
            os.makedirs(os.path.join(self.top, directory))
        for name, text in (('base/VERSION', '10.0.13\n'),
                           ('qemu/python/qemu/qmp/__init__.py', ''),
                           ('manual/html/system/nitro.html', 'Nitro'),
                           *((page, '.TH') for page in pages)):
            with open(os.path.join(self.top, name), 'w',
                      encoding='utf-8') as f:
                f.write(text)

    def make(self):
        """Build all packages: {name: path}."""
        with contextlib.redirect_stdout(io.StringIO()), \
                mock.patch.dict(os.environ, SOURCE_DATE_EPOCH='86400'):
            paths = self.deb.make()
        return {os.path.basename(p).partition('_')[0]: p for p in paths}

    def field(self, path, name):
        """A field of a package's control file."""
        return subprocess.run(['dpkg-deb', '--field', path, name], check=True,
                              stdout=subprocess.PIPE, text=True).stdout.strip()

    def test_files(self):
        """Nothing is where the distribution's QEMU has something."""
        programs = set()
        for path in self.make().values():
            listing = subprocess.run(
                ['dpkg-deb', '--contents', path], check=True,
                stdout=subprocess.PIPE, text=True).stdout
            for line in listing.splitlines():
                name = line.split(None, 5)[5]
                if not line.startswith('d'):
                    self.assertRegex(name.partition(' -> ')[0], OURS)
                    self.assertIn('root/root', line)
                if name.startswith('./usr/bin/') and line[0] != 'd':
                    programs.add(os.path.basename(name.split()[0]))
        self.assertEqual(programs, {
            'qemu-nitro-system-x86_64', 'qemu-nitro-system-aarch64',
            'qemu-eif', 'qemu-nsm', 'nitro-run', 'nitro-lab'})

    def test_installed(self):
        """Commands lead to programs, which are there."""
        root = os.path.join(self.top, 'root')
        for path in self.make().values():
            subprocess.run(['dpkg-deb', '--extract', path, root], check=True)
        for name in ('qemu-nitro-system-x86_64', 'qemu-eif', 'qemu-nsm'):
            subprocess.run([os.path.join(root, 'usr/bin', name)], check=True)
        for name in ('nitro-run', 'nitro-lab'):
            text = tree.read(os.path.join(root, 'usr/bin', name)).decode()
            script = re.search(r'/usr/lib/\S*/' + name, text).group()
            self.assertTrue(os.path.isfile(root + script))

    def test_services(self):
        """The unit launches the packaged QEMU."""
        root = os.path.join(self.top, 'root')
        launcher = self.make()['qemu-nitro']
        subprocess.run(['dpkg-deb', '--extract', launcher, root], check=True)
        unit = tree.read(root + '/usr/lib/systemd/system/nitro-enclave@'
                         '.service').decode()
        program = re.search(r'QEMU=(\S+)', unit).group(1)
        self.assertTrue(os.path.lexists(f'{root}/usr/bin/{program}'))
        helper = re.search(r'ExecStartPost=(\S+)', unit).group(1)
        self.assertTrue(os.access(root + helper, os.X_OK))
        for name in ('postinst', 'prerm', 'postrm'):
            script = subprocess.run(
                ['dpkg-deb', '--info', launcher, name], check=True,
                stdout=subprocess.PIPE).stdout
            subprocess.run(['sh', '-n'], input=script, check=True)

    def test_bare_chroot(self):
        """It installs where systemd-tmpfiles misses /proc; without its group
        it does not."""
        names = ('systemd-sysusers', 'systemd-tmpfiles', 'systemctl',
                 'udevadm')
        for failing, status in (('systemd-tmpfiles', 0),
                                ('systemd-sysusers', 1)):
            for name in names:
                path = os.path.join(self.top, name)
                with open(path, 'w', encoding='utf-8') as f:
                    f.write(f'#!/bin/sh\nexit {int(name == failing)}\n')
                os.chmod(path, 0o755)
            run = subprocess.run(
                ['/bin/sh', '-c', self.deb.POSTINST, 'postinst', 'configure'],
                env={'PATH': self.top}, check=False)
            self.assertEqual(run.returncode, status, failing)

    def test_control(self):
        packages = self.make()
        launcher = packages['qemu-nitro']
        self.assertEqual(self.field(launcher, 'Version'),
                         '10.0.13+nitro197001020000')
        self.assertIn('libc6', self.field(launcher, 'Depends'))
        self.assertIn('qemu-nitro (= 10.0.13+nitro197001020000)',
                      self.field(packages['qemu-nitro-lab'], 'Depends'))
        self.assertEqual(
            self.field(packages['qemu-nitro-doc'], 'Architecture'), 'all')

    def test_not_built(self):
        os.unlink(os.path.join(self.deb.OUT, output.TOOLS[0]))
        self.assert_refused('qemu-eif is not there', 'make', self.make)

    def test_failing_command(self):
        self.assert_refused('false failed', 'see what it says',
                            lambda: tree.say('false'))


class Trial(testing.RefusalCase):
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
        with tempfile.TemporaryDirectory() as top, \
                contextlib.redirect_stdout(io.StringIO()):
            root = deb_try.Root.__new__(deb_try.Root)
            root.path, root.say = top, lambda *_words: ''
            os.makedirs(top + '/var/log')
            before = root.names()
            os.mkdir(top + '/var/log/apt')
            deb_try.remove(root, ['x'], before)
            os.mkdir(top + '/usr')
            self.assert_refused("'/usr'", 'look around', lambda:
                                deb_try.remove(root, ['x'], before))
