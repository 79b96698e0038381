# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Tests of what writes the patch series: the plan, and git on a small base."""

import contextlib
import difflib
import io
import os
import shutil
import subprocess
import sys
import types
import unittest
from unittest import mock

import git
import series_plan
import testing
import tree

BASE = {'meson.build': "one\n\ntwo\n", 'a.c': 'int a;\n'}
WANTED = {
    'meson.build': "one\nsubdir('dev')\n\ntwo\nextra\n",
    'a.c': 'int b;\n',
    'acc/a.c': '#include "x.h"\n',
    'include/x.h': 'x\n',
    'dev/meson.build': "# licence\n\nadd('one.c')\n\nadd('two.c')\n",
    'dev/Kconfig': 'config ONE\n\nconfig TWO\n',
    'dev/one.c': 'one\n',
    'dev/two.c': 'two\n',
    'OWNERS': 'Accelerator\nF: acc/\nF: include/*.h\n\nDevices\nF: dev/\n'
              'F: lab/\n',
    'lab/boot': 'boot\n',
}
MANIFEST = '''
[grow]
"OWNERS" = "lines"
"dev/meson.build" = "paragraphs"
"dev/Kconfig" = "paragraphs"
"meson.build" = "paragraphs"
[outside]
paths = ["lab/*"]
[[series]]
name = "acc"
subject = "Accelerator"
text = "why"
needs = []
[[series.patch]]
subject = "acc: add it"
text = "Because."
paths = ["OWNERS", "a.c", "acc/*", "meson.build", "include/**"]
[[series]]
name = "dev"
subject = "Devices"
text = "why"
needs = ["acc"]
[[series.patch]]
subject = "dev: add one"
text = "Because."
paths = ["dev/**"]
[[series.patch]]
subject = "dev: add two"
text = "Because."
paths = ["dev/two*"]
lines."dev/Kconfig" = ["^config TWO"]
'''


def files(texts):
    """Texts as the plan takes them."""
    return {name: (text.encode(), 0o644) for name, text in texts.items()}


class Case(testing.Case):
    """A manifest, and refusals with words in them."""

    def manifest(self, text=MANIFEST):
        """A manifest, read from a file."""
        self.write('series.toml', text)
        return series_plan.load(os.path.join(self.top, 'series.toml'))

    def plan(self, text=MANIFEST, wanted=None):
        """A checked plan of our small tree."""
        plan = series_plan.Plan(self.manifest(text), files(wanted or WANTED),
                                files(BASE))
        plan.check()
        return plan

    def assert_invalid(self, words, call, remedy='overlay/series.toml'):
        """The same, for what the manifest can mend unless told otherwise."""
        self.assert_refused(words, remedy, call)


class Plans(Case):
    """What comes with which patch."""

    def test_files(self):
        plan = self.plan()
        brought = [sorted(plan.brings(n)) for n in range(3)]
        self.assertEqual(brought, [
            ['OWNERS', 'a.c', 'acc/a.c', 'include/x.h', 'meson.build'],
            ['OWNERS', 'dev/Kconfig', 'dev/meson.build', 'dev/one.c',
             'meson.build'],
            ['dev/Kconfig', 'dev/meson.build', 'dev/two.c']])

    def text(self, plan, name, number):
        """A file as of a patch."""
        return plan.contents(name, number).decode()

    def test_paragraphs(self):
        """Paragraphs come with the files they name, or as told."""
        plan = self.plan()
        self.assertEqual(self.text(plan, 'dev/meson.build', 0), '')
        self.assertEqual(self.text(plan, 'dev/meson.build', 1),
                         "# licence\n\nadd('one.c')\n")
        self.assertEqual(self.text(plan, 'dev/Kconfig', 1), 'config ONE\n')
        self.assertEqual(self.text(plan, 'meson.build', 0),
                         'one\n\ntwo\nextra\n')

    def test_lines(self):
        """Lines come with the first file they cover, headings before."""
        plan = self.plan()
        self.assertEqual(self.text(plan, 'OWNERS', 0),
                         'Accelerator\nF: acc/\nF: include/*.h\n')
        self.assertEqual(self.text(plan, 'OWNERS', 2) + 'F: lab/\n',
                         WANTED['OWNERS'])

    def test_deeper_lines(self):
        """What is indented deeper belongs to the line before."""
        growth = series_plan.Growth('docs/m', '', "x\n  y\n'lab/b',\n  z\n",
                                    'lines')
        growth.schedule([], series_plan.Names({'docs/lab/b.rst': 3}), 1)
        self.assertEqual(growth.at(2), b'')
        growth.schedule([], series_plan.Names({'docs/x': 1,
                                               'docs/lab/b.rst': 3}), 1)
        self.assertEqual(growth.at(2), b'x\n  y\n')

    def test_pages(self):
        """Paragraphs of a manual come with the pages they refer to."""
        names = series_plan.Names({'docs/a.rst': 1, 'docs/lab/b.rst': 2})
        for text, due in (('the program ``a``', None), ('see :doc:`a`', 1),
                          (':doc:`a`, :doc:`/lab/b`', 2), ('   lab/b\n', 2),
                          ("   'a',\n", 1), ('open(void *b.rst)', None),
                          ('docs/lab/*', 2)):
            self.assertEqual(names.due(text, 'docs'), due, text)

    def test_list(self):
        """Each of the strings added to a list comes by itself."""
        added = "l = [\n  'acc',\n  'dev',\n  'x',\n]\n"
        with mock.patch.dict(BASE, {'meson.build': "l = [\n  'x',\n]\n"}):
            plan = self.plan(wanted=dict(WANTED, **{
                'meson.build': added, 'acc/trace-events': 'x\n'}))
        self.assertEqual(self.text(plan, 'meson.build', 0),
                         "l = [\n  'acc',\n  'x',\n]\n")
        self.assertEqual(self.text(plan, 'meson.build', 1), added)

    def test_end(self):
        """Behind the last series everything is there."""
        plan = self.plan()
        for name, text in WANTED.items():
            self.assertEqual(self.text(plan, name, 3), text)
        self.assertEqual(sorted(plan.brings(3)), ['OWNERS', 'lab/boot'])

    def test_replaced_lines(self):
        """What is replaced stays until its piece comes."""
        growth = series_plan.Growth('m', 'a\nb\nc\n', 'a\nB\nc\n',
                                    'paragraphs')
        growth.schedule([{}, {'lines': {'m': ['^B$']}}],
                        series_plan.Names({}), 0)
        self.assertEqual(growth.at(0), b'a\nb\nc\n')
        self.assertEqual(growth.at(1), b'a\nB\nc\n')

    def test_blank_lines(self):
        """Blank lines stay with the paragraph that is before or after."""
        for text, parts in (('a\nb\n', ['a\nb\n']),
                            ('a\n\nb\n', ['a\n', '\nb\n']),
                            ('\na\n\nb\n', ['\na\n', '\nb\n']),
                            ('a\n\nb\n\n', ['a\n\n', 'b\n\n'])):
            self.assertEqual(
                [''.join(p) for p in
                 series_plan.paragraphs(text.splitlines(True))], parts)


class Refused(Case):
    """Each error names the path or the patch."""

    def refuse(self, words, before='', after='', remedy='overlay/series.toml',
               **wanted):
        text = MANIFEST.replace(before, after) if before else MANIFEST
        self.assertTrue(not before or text != MANIFEST)
        self.assert_invalid(words,
                            lambda: self.plan(text, dict(WANTED, **wanted)),
                            remedy)

    def test_unclaimed(self):
        self.refuse('new/x.c belongs to no series', **{'new/x.c': ''})

    def test_unknown_need(self):
        for need in ('"none"', '"dev"'):
            self.refuse('series dev needs ' + need.strip('"') + ', which is',
                        '"acc"]', need + ']')

    def test_missing_need(self):
        self.refuse('"dev: add one": dev/one.c (include/x.h) needs "acc: add',
                    '["acc"]', '[]', **{'dev/one.c': '#include "x.h"\n'})

    def test_outside_is_named(self):
        self.refuse('acc/a.c (lab/boot) needs "outside"',
                    **{'acc/a.c': '#include "lab/boot"\n'})

    def test_claimed_twice(self):
        self.refuse('dev/two.c is claimed twice: dev: add one; dev: add two',
                    '"dev/**"', '"dev/**", "dev/t*.c"')

    def test_stale_pattern(self):
        self.refuse('acc/none.c brings no file', '"acc/*"',
                    '"acc/*", "acc/none.c"')

    def test_stale_piece(self):
        self.refuse('nothing in dev/Kconfig matches ^config THREE', 'TWO',
                    'THREE')

    def test_piece_asked_for_twice(self):
        self.refuse('two patches ask for "config TWO"', '"dev/**"]',
                    '"dev/**"]\nlines."dev/Kconfig" = ["TWO"]')

    def test_pieces_of_what_does_not_grow(self):
        self.refuse('dev/Kconfig does not grow',
                    '"dev/Kconfig" = "paragraphs"\n', '')

    def test_no_such_file_to_grow(self):
        self.refuse('none.c is to grow but is not a file', '[grow]',
                    '[grow]\n"none.c" = "lines"')

    def test_early_include(self):
        self.refuse('acc/a.c (dev/y.h) needs "dev: add one"',
                    **{'acc/a.c': '#include "dev/y.h"\n', 'dev/y.h': ''})

    def test_early_build_file(self):
        self.refuse('acc/meson.build needs "dev: add two"',
                    **{'acc/meson.build': "add('../dev/two.c')\n"})

    def test_empty_patch(self):
        self.refuse('"doc: nothing" brings nothing', '[[series.patch]]\n'
                    'subject = "dev: add one"', '[[series.patch]]\n'
                    'subject = "doc: nothing"\ntext = ""\npaths = []\n'
                    '[[series.patch]]\nsubject = "dev: add one"')

    def test_subject(self):
        for subject in ('no area', 'acc: ends with a stop.',
                        'acc: ' + 'x' * 80):
            self.refuse('is not "area: summary"', 'acc: add it', subject,
                        'below 72 characters')


class Git(Case):
    """Series, patches and git am, on a base of two files."""

    def setUp(self):
        super().setUp()
        self.command = testing.command('series')
        for name, text in BASE.items():
            self.write('build/base/' + name, text)
        self.write('build/base/untouched', 'x\n')
        self.write('build/base/scripts/checkpatch.pl', '#!/bin/sh\n', 0o755)
        self.write('build/base/VERSION', '10.0.13\n')
        for name, text in WANTED.items():
            if name not in BASE:
                self.write('repo/' + name, text)
        for name, text in BASE.items():
            if WANTED.get(name, text) != text:
                self.write(f'repo/{name}.patch', ''.join(
                    difflib.unified_diff(text.splitlines(True),
                                         WANTED[name].splitlines(True),
                                         'a/' + name, 'b/' + name)))
        self.args = types.SimpleNamespace(
            build=self.top + '/build', base=self.top + '/build/base',
            out=self.top + '/build/qemu')
        tree.compose(self.top + '/repo', self.args.base, self.args.out)

    def make(self, text=MANIFEST, **env):
        """Run the command; what it printed."""
        self.write('repo/overlay/series.toml', text)
        printed = io.StringIO()
        with mock.patch('tree.repository', lambda: self.top + '/repo'), \
                mock.patch.object(self.command, 'SIGNOFF',
                                  'SIGNOFF' in env), \
                mock.patch.dict(os.environ, SOURCE_DATE_EPOCH='86400',
                                **env), \
                contextlib.redirect_stdout(printed):
            self.command.make(self.args)
        return printed.getvalue()

    def patches(self):
        """The series: {name: text}."""
        top = self.top + '/build/series'
        return {name: tree.read(os.path.join(top, name)).decode()
                for name in tree.walk(top)}

    def test_series(self):
        self.assertIn('3 patches on QEMU 10.0.13', self.make())
        patches = self.patches()
        self.assertEqual(list(patches), [
            '1-acc/0000-cover-letter.patch', '1-acc/0001-acc-add-it.patch',
            '2-dev/0000-cover-letter.patch', '2-dev/0001-dev-add-one.patch',
            '2-dev/0002-dev-add-two.patch'])
        cover = patches['2-dev/0000-cover-letter.patch']
        self.assertIn('Subject: [PATCH 0/2] Devices\n\nwhy\n\n'
                      'Needs the series "Accelerator".\n', cover)
        self.assertIn('files changed', cover)
        self.assertNotIn('lab/', ''.join(patches.values()))
        first = patches['1-acc/0001-acc-add-it.patch']
        self.assertIn(f'From: {git.NOBODY}\n', first)
        self.assertIn('Date: Fri, 2 Jan 1970 00:00:00 +0000\n', first)
        self.assertNotIn('Signed-off-by', first)
        self.assertEqual(tree.read(self.top + '/build/series.am/dev/two.c'),
                         b'two\n')

    def test_alone(self):
        """A series is applied without one before that it does not need."""
        self.make(MANIFEST.replace('[outside]\npaths = ["lab/*"]\n', '')
                  .replace('"include/**"]', '"include/**"]\n'
                           'lines."OWNERS" = ["F: lab"]')
                  + '[[series]]\nname = "lab"\nsubject = "Lab"\n'
                  'text = "why"\nneeds = []\n[[series.patch]]\n'
                  'subject = "lab: add it"\ntext = "x"\npaths = ["lab/*"]\n')
        work = git.Repository(self.top + '/build/qemu.git')
        self.assertIn('OWNERS', work.differences('base', 'lab'))
        self.assertEqual(work.differences('base', 'alone/lab'), ['lab/boot'])

    def test_need_left_out(self):
        """A series that does not say what it needs cannot be applied."""
        self.assert_invalid('git am failed: error: OWNERS', lambda: self.make(
            MANIFEST.replace('["acc"]', '[]')), 'begin anew')

    def test_same_again(self):
        """Neither time nor place is in the series."""
        self.make()
        before = self.patches()
        shutil.rmtree(self.top + '/build/qemu.git')
        tree.compose(self.top + '/repo', self.args.base, self.args.out)
        self.make()
        self.assertEqual(self.patches(), before)

    def test_signed_off(self):
        config = self.top + '/config'
        self.write('config', '[user]\nname = A B\nemail = a@b.example\n')
        with mock.patch.dict(os.environ, GIT_CONFIG_GLOBAL=config), \
                mock.patch('git.ident',
                           lambda: 'A B <a@b.example>'):
            self.make(SIGNOFF='1', FORMAT='-v2 --rfc')
        text = self.patches()['2-dev/v2-0002-dev-add-two.patch']
        self.assertIn('From: A B <a@b.example>\n', text)
        self.assertIn('[RFC PATCH v2 2/2]', text)
        self.assertIn('\nSigned-off-by: A B <a@b.example>\n', text)

    def test_nobody_signs_off(self):
        run = subprocess.CompletedProcess([], 1, stdout='')
        with mock.patch('subprocess.run', lambda *_a, **_k: run):
            self.assert_invalid('a name to sign off with', git.ident,
                                'git config user.name')

    def test_composed_tree_is_another(self):
        self.write('build/qemu/untouched', 'edited\n')
        self.assert_invalid('qemu was edited or is old', self.make,
                            'overlay/compose')

    def test_mode_differs(self):
        os.chmod(self.top + '/build/qemu/dev/one.c', 0o755)
        self.assert_invalid('qemu was edited or is old', self.make,
                            'overlay/compose')

    def complain(self, text):
        """Let checkpatch.pl complain about the last patch."""
        self.write('build/base/scripts/checkpatch.pl',
                   '#!/bin/sh\nfor f; do :; done\ncase $f in\n'
                   f'*/0002-*) echo "$f:5: {text}"; exit 1 ;;\nesac\n', 0o755)

    def test_checkpatch(self):
        for text in ('ERROR: bad style', 'WARNING: odd style'):
            self.complain(text)
            self.assert_invalid('0002-dev-add-two.patch:5: ' + text,
                                self.make, 'repair')

    def test_unavoidable(self):
        """A warning may be expected; an error may not."""
        expected = MANIFEST + '[warnings]\n"odd" = "known"\n'
        self.complain('WARNING: odd style')
        self.assertIn('1 patch(es): WARNING: odd style (known)',
                      self.make(expected))
        self.complain('ERROR: odd style')
        self.assert_invalid('ERROR: odd style', lambda: self.make(expected),
                            'repair')

    def test_am_is_looked_at(self):
        """What git am makes is compared, not believed."""
        real = git.Repository.within

        def within(work, path, *words, **more):
            if words[0] == 'am':
                words = words[:-1]
            return real(work, path, *words, **more)
        with mock.patch.object(git.Repository, 'within', within):
            self.assert_invalid('alone/acc and acc differ in 6 file(s): '
                                'OWNERS a.c', self.make, 'overlay/series')

    def test_failure_of_git(self):
        work = git.Repository(self.top + '/build/qemu.git')
        self.assert_invalid('git diff-tree failed: fatal:', lambda:
                            work.differences('none', 'none'), 'begin anew')


class Nightly(Case):
    """What overlay/check-series chooses."""

    def setUp(self):
        super().setUp()
        self.command = testing.command('check-series')
        self.command.BUILD = self.top

    def test_choose(self):
        for text, numbers in (('1-', [1, 2, 3, 4]), ('2', [2]),
                              ('1,3-4', [1, 3, 4]), ('4-', [4])):
            self.assertEqual(self.command.choose(text, 4), numbers)

    def test_choose_what_is_not_there(self):
        for text, words in (('5', 'patches 1 to 4, not 5'),
                            ('3-2', 'patches 1 to 4, not 3-2'),
                            ('0', 'patches 1 to 4, not 0'),
                            ('x', '"x" is not a number')):
            self.assert_refused(words, '1,7-9,30-', lambda text=text:
                                self.command.choose(text, 4))

    def test_no_series(self):
        with mock.patch('sys.argv', ['check-series']):
            self.assert_refused('there is no series', 'make series',
                                self.command.main)

    def test_devices(self):
        """Symbols that no Kconfig declares yet are left out."""
        self.write('series.check/qemu/configs/devices/x86_64-softmmu/x', '')
        self.write('series.check/qemu/configs/devices/aarch64-softmmu/x', '')
        check = self.command.Check(1)
        with mock.patch.object(git.Repository, 'within',
                               lambda *_a, **_k: 'config Q35\n'):
            check.write_devices()
        self.assertEqual(
            check.source('configs/devices/x86_64-softmmu/series.mak'),
            'CONFIG_Q35=y\n')

    def test_poison(self):
        """Our symbols are kept from common code from the beginning on."""
        self.write('series.check/qemu/scripts/make-config-poison.sh', '')
        check = self.command.Check(1)
        declared = {'base': 'config Q35\n',
                    'series': 'config Q35\nconfig TWO\nconfig ONE\n'}
        with mock.patch.object(
                git.Repository, 'within',
                lambda _self, _path, *words: declared[words[3]]), \
                mock.patch.object(
                    git.Repository, 'git',
                    lambda *_a: 'echo "#pragma GCC poison $*"\n'):
            script = f'{check.qemu}/{self.command.POISON}'
            check.write_poison()
            before = os.stat(script).st_mtime_ns
            self.write('series.check/qemu/' + self.command.POISON, 'new')
            check.write_poison()
        self.assertEqual(os.stat(script).st_mtime_ns, before)
        run = subprocess.run([script, 'CONFIG_A'], check=True, text=True,
                             stdout=subprocess.PIPE)
        self.assertEqual(run.stdout, ''.join(
            f'#pragma GCC poison CONFIG_{name}\n'
            for name in ('A', 'ONE', 'TWO')))

    def options(self, known, **more):
        """What is chosen while meson knows these options of ours."""
        self.write('series.check/qemu/meson_options.txt', known)
        return self.command.Check(1, **more).options()

    def test_options(self):
        """Our ./configure's, with the list of devices that are there."""
        there = "option('nitro', type)\noption('libdeflate', type)"
        options = self.options(there, more=['--disable-debug-info'])
        self.assertIn('--target-list=x86_64-softmmu,aarch64-softmmu', options)
        for word in ('--without-default-devices', '--enable-werror',
                     '--with-devices-x86_64=series',
                     '--with-devices-aarch64=series'):
            self.assertIn(word, options)
        self.assertEqual(options[-1], '--disable-debug-info')
        if os.uname().machine in ('x86_64', 'aarch64'):
            self.assertIn('--enable-nitro', options)
        self.assertNotIn('--enable-nitro', self.options('other'))

    def test_full(self):
        """QEMU's default features and devices, and ours."""
        options = self.options("option('nitro'", full=True)
        self.assertEqual([w for w in options if w.startswith('--with')], [])
        self.assertIn('--enable-libcbor', options)

    def test_failure(self):
        check = self.command.Check(1)
        check.log = self.top + '/log'
        self.assert_refused('false ended with status 1', 'see its log: ',
                            lambda: check.run('false'))


class Series(unittest.TestCase):
    """The manifest of this repository fits its tree."""

    def test_manifest(self):
        build = os.environ.get('BUILD',
                               os.path.join(tree.repository(), 'build'))
        _manifest, plan = testing.command('series').plan_of(
            tree.repository(), os.path.join(build, 'base'),
            tree.Composed(os.path.join(build, 'qemu')))
        last = len(plan.patches) - 1
        for name, (data, _mode) in plan.wanted.items():
            self.assertEqual(plan.contents(name, last), data, name)
