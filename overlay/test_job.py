# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Tests of what jobs and ./configure choose on machines of both kinds.

The machine is whatever uname says, here a fake.
"""

import collections
import contextlib
import io
import os
import subprocess
import tempfile
import unittest
from unittest import mock

import prepared
import testing
import tree

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

    def test_run_builds(self):
        """Only the emulator of the architecture that it needs."""
        for arch, other in (('x86_64', 'aarch64'), ('aarch64', 'x86_64')):
            steps = load('x86_64', arch).JOBS['run']()
            build, = [step for step in steps if step.name == 'build']
            self.assertIn('qemu-system-' + arch, build.command)
            self.assertIn('nitro-hypervisor', build.command)
            self.assertNotIn('qemu-system-' + other, build.command)

    def test_selftest(self):
        """On an instance, in a root, and a refusal before minutes of
        building."""
        job = load('x86_64')
        with mock.patch.object(job.os.path, 'exists', return_value=False), \
                self.assertRaisesRegex(SystemExit, 'there is no /dev/nitro_e'
                                       '(.|\n)*make check-ec2 ROOT=DIR'):
            job.JOBS['check-ec2']()
        with mock.patch.object(job.os.path, 'exists', return_value=True):
            steps = job.JOBS['check-ec2']()
        self.assertEqual(names(steps), names(job.build_steps())
                         + ['check-ec2'])
        self.assertIn('selftest', steps[-1].command)
        with tempfile.TemporaryDirectory() as root:
            for name in ('bin/sh', 'usr/bin/nitro-run'):
                with mock.patch.dict(os.environ, {'ROOT': root}), \
                        self.assertRaisesRegex(SystemExit, 'ROOT=%s has no %s'
                                               % (root, name)):
                    job.JOBS['check-ec2']()
                os.makedirs(os.path.dirname(os.path.join(root, name)))
                os.symlink('/none', os.path.join(root, name))
            with mock.patch.dict(os.environ, {'ROOT': root}):
                steps = job.JOBS['check-ec2']()
        self.assertEqual(names(steps[-2:]), ['lab-image', 'check-ec2'])
        self.assertIn(root, steps[-1].command)

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
            command = job.JOBS['check-series']()[-1].command
        self.assertEqual((command[0], command[-1]),
                         ('overlay/check-series', '3-5'))
        self.assertIn('--option=--disable-debug-info', command)
        with mock.patch.dict(os.environ, FULL='1', JOBS='3'):
            self.assertEqual(job.JOBS['check-series']()[-1].command,
                             ['overlay/check-series', '--full', '--jobs',
                              '3'])

    def test_bases(self):
        """Each other QEMU is built and tested where nothing else is."""
        job = load('x86_64')
        steps = job.JOBS['check-bases']()
        self.assertEqual(names(steps), ['base-10.2'])
        self.assertEqual(steps[0].command, [
            'make', 'BASE=10.2', 'BUILD=' + job.out('10.2'), 'check-base'])
        steps = job.JOBS['check-base']()
        self.assertEqual(names(steps), names(job.build_steps()) + [
            'unit', 'qtest', 'lab-image', 'functional'])
        for name in job.LAUNCHES:
            self.assertIn(name, steps[-1].command)

    def test_chosen(self):
        """TEST= is of programs, scenarios or both; scenarios have ARCH=."""
        for arch, chosen, more in (
                ('', 'test-eif-load', ['chosen']),
                ('aarch64', 'qtest-*/nitro-nsm-test', ['chosen']),
                ('', 'Boot.test_eif', ['lab-image-chosen',
                                       'functional-chosen']),
                ('aarch64', 'Boot.test_eif test-eif-load', [
                    'deps-arm64', 'root-arm64', 'configure-arm64',
                    'build-arm64', 'chosen', 'lab-image-chosen',
                    'functional-chosen'])):
            job = load('x86_64', arch)
            with mock.patch.dict(os.environ, TEST=chosen):
                steps = job.JOBS['check']()
                self.assertNotIn('TEST', os.environ)
            self.assertEqual(names(steps), names(job.build_steps()) + more)
            for name in chosen.split():
                self.assertTrue(any(name in str(step.command)
                                    for step in steps[-2:] + steps[-3:-2]))
        self.assertIn('ARCH=aarch64', steps[-1].command)
        with mock.patch.dict(os.environ, TEST='Boot.test_eif'), \
                self.assertRaisesRegex(SystemExit, 'ARCH=riscv64'):
            load('x86_64', 'riscv64').JOBS['check']()

    def test_quick(self):
        """Programs, and one enclave that boots."""
        job = load('x86_64')
        steps = job.JOBS['check-quick']()
        self.assertEqual(names(steps), names(job.build_steps()) + [
            'unit', 'qtest', 'lab-image', 'functional'])
        self.assertIn('Boot.test_eif', steps[-1].command)

    def test_downloads_are_shared(self):
        """Another base has the downloads of the usual one."""
        with tempfile.TemporaryDirectory() as top:
            build = os.path.join(top, 'build', '10.2')
            os.makedirs(build)
            with mock.patch.dict(os.environ, BUILD=build, BASE='10.2'):
                job = load('x86_64')
                job.share_downloads()
                job.share_downloads()
            cache = os.path.join(build, 'cache')
            self.assertTrue(os.path.samefile(cache, top + '/build/cache'))

    def test_deb(self):
        """Packages are made of what was built; trying them is a choice."""
        job = load('x86_64')
        self.assertEqual(job.JOBS['deb']()[-1].command, ['overlay/deb'])
        with mock.patch.dict(os.environ, TRY='1'):
            steps = job.JOBS['deb']()
        self.assertEqual(names(steps), names(job.build_steps()) +
                         ['deps-deb', 'lab-image', 'deb'])
        self.assertEqual(steps[-1].command, ['overlay/deb', '--try'])

    def printed(self, log, counts):
        """What is printed when a step with such a log fails."""
        job = load('x86_64')
        text = io.StringIO()
        with tempfile.NamedTemporaryFile('w', suffix='.log') as f, \
                contextlib.redirect_stdout(text):
            f.write(log)
            f.flush()
            job.fail(job.Step('unit', 'tests', 'true', counts=counts),
                     f.name, 1)
            self.assertIn('full log: ' + os.path.relpath(f.name),
                          text.getvalue())
        return text.getvalue()

    def test_failed_tests(self):
        """Of a step with tests those are shown that failed."""
        log = 'why not\nnot ok 1 a\n' + 'ok 2 b\n' * 50
        self.assertIn('unit failed (status 1):\n\nwhy not\nnot ok 1 a\nfull',
                      self.printed(log, True))

    def test_failed_step(self):
        """Of others, and where no test is known, the last lines."""
        log = ''.join(f'line {i}\n' for i in range(100))
        for counts in (True, False):
            text = self.printed(log, counts)
            self.assertIn('(status 1):\n\nline 60\n', text)
            self.assertIn('line 99\nfull', text)


class Prepared(testing.Case):
    """What the steps before a job were made from."""

    def setUp(self):
        super().setUp()
        for name in ('repo/hw/a.c', 'repo/build/log', 'repo/.git/index',
                     'build/qemu/hw/a.c', 'build/program'):
            self.write(name, 'text')
        self.enterContext(mock.patch('tree.repository',
                                     lambda: self.top + '/repo'))
        self.enterContext(mock.patch.dict(os.environ,
                                          BUILD=self.top + '/build'))

    def preparation(self, *commands):
        """Of these commands, as a job has it at its beginning."""
        build = self.top + '/build'
        return prepared.Preparation(build + '/run.prepared', commands,
                                    build + '/qemu', [build + '/program'])

    def test_same(self):
        """Nothing has to be done when nothing has changed."""
        self.assertFalse(self.preparation('make').is_done())
        self.preparation('make').done()
        self.write('repo/build/log', 'more text')
        self.write('repo/.git/index', 'more text')
        self.assertTrue(self.preparation('make').is_done())

    def test_changes(self):
        """A source, a result, a command or a variable that differs."""
        self.preparation('make').done()
        self.assertFalse(self.preparation('make', 'it').is_done())
        with mock.patch.dict(os.environ, CFLAGS='-O3'):
            self.assertFalse(self.preparation('make').is_done())
        for change in (lambda: self.write('repo/hw/b.c', ''),
                       lambda: self.write('repo/hw/a.c', 'text'),
                       lambda: self.write('build/qemu/hw/a.c', 'text'),
                       lambda: os.unlink(self.top + '/repo/hw/a.c'),
                       lambda: os.unlink(self.top + '/build/program')):
            self.preparation('make').done()
            self.assertTrue(self.preparation('make').is_done())
            change()
            self.assertFalse(self.preparation('make').is_done())

    def test_change_meanwhile(self):
        """Of a source, while the steps run."""
        preparation = self.preparation('make')
        self.write('repo/hw/a.c', 'new text')
        preparation.done()
        self.assertFalse(self.preparation('make').is_done())

    def test_jobs(self):
        """Those that somebody waits for, and only the steps before them."""
        job = load('x86_64')
        self.assertIsNone(job.preparation('check', []))
        ran = []
        with mock.patch.dict(job.JOBS, run=lambda: [
                job.Step('build', 'build', 'true'),
                job.Step('lab', 'lab', 'true', shown=True)]), \
                mock.patch.object(job, 'execute', lambda step, _label:
                                  ran.append(step.name) or 0), \
                contextlib.redirect_stdout(io.StringIO()):
            for _ in range(2):
                self.assertEqual(job.run_job('run'), 0)
        self.assertEqual(ran, ['build', 'lab', 'lab'])

    def test_failed(self):
        """Steps that did not end well are done again."""
        job = load('x86_64')
        with mock.patch.dict(job.JOBS, run=lambda: [
                job.Step('build', 'build', 'true'),
                job.Step('lab', 'lab', 'true', shown=True)]), \
                mock.patch.object(job, 'execute', lambda *_: 1):
            for _ in range(2):
                text = io.StringIO()
                with contextlib.redirect_stdout(text):
                    self.assertEqual(job.run_job('run'), 1)
                self.assertIn('failed: build', text.getvalue())


class Configure(testing.Case):
    """Choices of ./configure and its helpers."""

    def run_on(self, machine, *command):
        """Run a script of the repository with a uname of ours."""
        self.write('uname', f'#!/bin/sh\necho {machine}\n', 0o755)
        env = dict(os.environ, PATH=self.top + ':' + os.environ['PATH'],
                   BUILD=os.path.join(self.top, 'build'))
        return subprocess.run(command, cwd=tree.repository(), env=env,
                              check=False, text=True, stdout=subprocess.PIPE,
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

    def test_other_source(self):
        """--source= configures a tree of QEMU as it is, firmware and all."""
        source = os.path.join(self.top, 'a tree')
        self.write('a tree/configure', '#!/bin/sh\necho "in $PWD:"; '
                   'printf "%s\\n" "$@"\n', 0o755)
        run = self.run_on('x86_64', './configure', '--bare', '--out=deep/out',
                          '--source=' + source, '--enable-x')
        out = os.path.join(self.top, 'build', 'deep', 'out')
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn(f'in {out}:\n', run.stdout)
        self.assertIn('\n--enable-x\n', run.stdout)
        self.assertEqual(sorted(os.listdir(os.path.join(self.top, 'build'))),
                         ['deep'])
        for path in ('usr/share/qemu', 'usr/share/seabios'):
            self.assertEqual(
                os.readlink(f'{out}/qemu-bundle/{path}'), '/' + path)
        with open(out + '.configured', encoding='utf-8') as f:
            self.assertEqual(f.read().splitlines()[1:], [
                '--bare', '--out=deep/out', '--source=' + source,
                '--enable-x'])

    def test_keep(self):
        """A build directory is made anew for other options alone."""
        self.write('tree/configure',
                   '#!/bin/sh\necho "ran: $*"; : > build.ninja\n', 0o755)
        source = ['--bare', f'--source={self.top}/tree']
        for options, ran in ((source + ['-Dx'], ' -Dx\n'),
                             (source + ['-Dx'], ''), ([], ''),
                             (source + ['-Dy'], ' -Dy\n'), ([], '')):
            run = self.run_on('x86_64', './configure', '--keep', *options)
            self.assertEqual(run.returncode, 0, run.stdout)
            self.assertEqual(run.stdout[-len(ran):] if ran else run.stdout,
                             ran)
        os.unlink(self.top + '/build/out/build.ninja')
        run = self.run_on('x86_64', './configure', '--keep')
        self.assertIn(' -Dy\n', run.stdout)

    def test_cross_on_arm64(self):
        """Nobody cross-builds for the machine at hand."""
        run = self.run_on('aarch64', 'overlay/cross-arm64')
        self.assertEqual(run.returncode, 1)
        self.assertIn('this is an arm64 host', run.stdout)
        self.assertIn('make builds for it', run.stdout)
