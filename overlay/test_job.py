# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Tests of what jobs and ./configure choose on machines of both kinds.

The machine is whatever uname says, here a fake.
"""

import collections
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import testing  # noqa: E402

OVERLAY = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(OVERLAY)
Uname = collections.namedtuple('Uname', 'machine')


def load(machine, arch=''):
    """overlay/job as it is on a machine, with ARCH= given."""
    with mock.patch('os.uname', lambda: Uname(machine)), \
            mock.patch.dict(os.environ, {'ARCH': arch}):
        return testing.command('job')


def names(steps):
    """Names of steps in their order."""
    return [step.name for step in steps]


class Jobs(unittest.TestCase):
    """Steps of the jobs."""

    def test_native(self):
        """An arm64 machine has nothing to cross-build."""
        job = load('aarch64')
        check = names(job.JOBS['check']())
        self.assertEqual([n for n in check if 'arm64' in n], [])
        self.assertEqual(check.count('functional'), 1)
        self.assertNotIn('functional-aarch64', check)
        self.assertEqual(names(job.JOBS['run']()),
                         names(job.build_steps()) + ['lab-image', 'lab'])

    def test_cross(self):
        """Others test the parent of their own kind, then that of arm64."""
        job = load('x86_64')
        check = names(job.JOBS['check']())
        order = ['build', 'functional', 'deps-arm64', 'root-arm64',
                 'configure-arm64', 'build-arm64', 'lab-image-aarch64',
                 'functional-aarch64']
        self.assertEqual([n for n in check if n in order], order)
        self.assertNotIn('build-arm64', names(job.JOBS['run']()))

    def test_arch(self):
        """ARCH=aarch64 builds the launcher for the other architecture."""
        job = load('x86_64', 'aarch64')
        steps = job.JOBS['run']()
        self.assertIn('build-arm64', names(steps))
        self.assertEqual(steps[-1].command[:2], ['env', 'ARCH=aarch64'])
        for machine, arch in (('aarch64', 'x86_64'), ('x86_64', 'riscv64')):
            with self.assertRaisesRegex(SystemExit, 'ARCH=' + arch):
                load(machine, arch).JOBS['run']()

    def test_variants(self):
        """Other choices of features are built for the machine at hand."""
        for machine in ('x86_64', 'aarch64'):
            job = load(machine)
            other = ({'x86_64', 'aarch64'} - {machine}).pop()
            for name, (options, _patterns, _patience) in job.VARIANTS.items():
                self.assertIn(f'--target-list={machine}-softmmu', options)
                self.assertNotIn(other, ' '.join(options))
                build = job.variant_steps(name)[1]
                self.assertTrue(build.command.endswith(
                    'qemu-system-' + machine))

    def test_series(self):
        """Patches need a composed tree, not a built one."""
        job = load('x86_64')
        self.assertIn('series', names(job.JOBS['check']()))
        steps = names(job.JOBS['series']())
        self.assertEqual(steps, names(job.source_steps()) + ['series'])
        with mock.patch.dict(os.environ, PATCHES='3-5'):
            self.assertEqual(job.JOBS['check-series']()[-1].command,
                             ['overlay/check-series', '3-5'])

    def test_deb(self):
        """Packages are made of what was built; trying them is a choice."""
        job = load('x86_64')
        self.assertEqual(job.JOBS['deb']()[-1].command, ['overlay/deb'])
        with mock.patch.dict(os.environ, TRY='1'):
            steps = job.JOBS['deb']()
        self.assertEqual(names(steps), names(job.build_steps()) + ['deb'])
        self.assertEqual(steps[-1].command, ['overlay/deb', '--try'])

    def test_failures(self):
        """What failed is told by name, from both kinds of test logs."""
        with tempfile.NamedTemporaryFile('w', suffix='.log') as log:
            log.write('ok 1 a\nnot ok 2 b.c\nTraceback\n1..2\n'
                      'test-eif  FAILED  3 passed\n  failed: /eif/short\n')
            log.flush()
            self.assertEqual(load('x86_64').failures(log.name),
                             ['not ok 2 b.c', 'failed: /eif/short'])


class Configure(unittest.TestCase):
    """Choices of ./configure and its helpers."""

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix='nitro-uname-')
        self.addCleanup(shutil.rmtree, self.top)

    def run_on(self, machine, *command):
        """Run a script of the repository with a uname of ours."""
        path = os.path.join(self.top, 'uname')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(f'#!/bin/sh\necho {machine}\n')
        os.chmod(path, 0o755)
        env = dict(os.environ, PATH=self.top + ':' + os.environ['PATH'],
                   BUILD=os.path.join(self.top, 'build'))
        return subprocess.run(command, cwd=REPO, env=env, check=False,
                              text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)

    def choice(self, machine, *options):
        """Our choice of options on a machine."""
        text = self.run_on(machine, './configure', '--help', *options).stdout
        return text.partition('Our choice: ')[2].split()

    def test_host_gets_the_machine(self):
        """-M nitro goes into the QEMU of the host's own architecture."""
        for machine, other in (('x86_64', 'aarch64'), ('aarch64', 'x86_64')):
            options = self.choice(machine)
            self.assertIn('--enable-nitro', options)
            self.assertIn(f'--with-devices-{machine}=nitro', options)
            self.assertIn(f'--with-devices-{other}=nitro-parent', options)

    def test_cross(self):
        """--arm64 builds what an arm64 host runs, and no more."""
        options = self.choice('x86_64', '--arm64')
        self.assertIn('--target-list=aarch64-softmmu', options)
        self.assertIn('--with-devices-aarch64=nitro', options)

    def test_elsewhere(self):
        """Hosts of a third kind can be parents, not launch enclaves."""
        options = self.choice('riscv64')
        self.assertNotIn('--enable-nitro', options)
        self.assertIn('--with-devices-aarch64=nitro-parent', options)

    def test_cross_on_arm64(self):
        """Nobody cross-builds for the machine at hand."""
        run = self.run_on('aarch64', 'overlay/cross-arm64')
        self.assertEqual(run.returncode, 1)
        self.assertIn('this is an arm64 host', run.stdout)
        self.assertIn('make builds for it', run.stdout)
