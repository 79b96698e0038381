# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Tests of the tools that compose the tree, on a base of three files."""

import hashlib
import os
import shutil
import subprocess

import testing
import tree

LINES = [f'line {n}\n' for n in range(1, 11)]


def text(path):
    """Contents of a file."""
    return tree.read(path).decode()


class TreeCase(testing.Case):
    """A repository, a base and an output directory of their own."""

    def setUp(self):
        super().setUp()
        self.repo = os.path.join(self.top, 'repo')
        self.base = os.path.join(self.top, 'base')
        self.out = os.path.join(self.top, 'build', 'qemu')
        shutil.copytree(testing.OVERLAY, os.path.join(self.repo, 'overlay'))
        shutil.rmtree(self.repo + '/overlay/base-10.2')
        os.unlink(self.repo + '/overlay/base-10.2.toml')
        self.write(self.base + '/VERSION', '10.0.13\n')
        self.write(self.base + '/hw/a.c', ''.join(LINES))
        self.write(self.base + '/untouched.c', 'base\n')
        self.write(self.repo + '/hw/new.c', 'new\n')
        self.edit('line 5\n', 'line five\n')

    def edit(self, before, after):
        """An edit of hw/a.c that turns one line into another."""
        at = LINES.index(before) if before in LINES else 4
        self.write(self.repo + '/hw/a.c.patch',
              'subject\n\nwhy\n\nUpstream: not submitted, test\n\n'
              '--- a/hw/a.c\n+++ b/hw/a.c\n'
              f'@@ -{at},3 +{at},3 @@\n {LINES[at - 1]}-{before}+{after}'
              f' {LINES[at + 1]}')

    def compose(self, **kwargs):
        """Compose; names of the files that were written."""
        return tree.compose(self.repo, self.base, self.out, **kwargs)

    def tool(self, name, *args):
        """Run one of the commands; (status, output)."""
        run = subprocess.run(
            [os.path.join(self.repo, 'overlay', name), '--base', self.base,
             '--out', self.out] + list(args), check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return run.returncode, run.stdout


class Compose(TreeCase):
    """What composing does when all is well."""

    def test_result(self):
        self.compose()
        self.assertEqual(text(self.out + '/hw/new.c'), 'new\n')
        self.assertIn('line five\n', text(self.out + '/hw/a.c'))
        self.assertEqual(text(self.out + '/untouched.c'), 'base\n')
        self.assertIn('uint64_t', text(os.path.join(self.out, tree.HEADER)))
        self.assertFalse(os.path.exists(self.out + '/overlay'))

    def test_base_is_never_edited(self):
        self.compose()
        self.assertEqual(text(self.base + '/hw/a.c'), ''.join(LINES))
        self.assertFalse(os.path.exists(self.base + '/hw/new.c'))

    def test_idempotent(self):
        self.assertIn('hw/a.c', self.compose())
        stamps = {n: os.stat(os.path.join(self.out, n)).st_mtime_ns
                  for n in tree.walk(self.out)}
        self.assertEqual(self.compose(), [])
        self.assertEqual(stamps, {
            n: os.stat(os.path.join(self.out, n)).st_mtime_ns
            for n in tree.walk(self.out)})

    def test_only_changed_files_are_touched(self):
        self.compose()
        self.write(self.repo + '/hw/new.c', 'newer\n')
        self.assertEqual(self.compose(), ['hw/new.c'])

    def test_removed_file_and_edit_go_away(self):
        self.compose()
        os.unlink(self.repo + '/hw/new.c')
        os.unlink(self.repo + '/hw/a.c.patch')
        self.assertEqual(self.compose(), ['hw/a.c', 'hw/new.c'])
        self.assertFalse(os.path.exists(self.out + '/hw/new.c'))
        self.assertEqual(text(self.out + '/hw/a.c'), ''.join(LINES))
        self.assertEqual(self.compose(), [])

    def test_mode_is_kept(self):
        os.chmod(self.repo + '/hw/new.c', 0o755)
        self.compose()
        self.assertTrue(os.access(self.out + '/hw/new.c', os.X_OK))

    def test_leftovers_of_editors_are_ignored(self):
        self.write(self.repo + '/hw/new.c.orig', 'x\n')
        self.write(self.repo + '/hw/new.c~', 'x\n')
        self.assertNotIn('hw/new.c.orig', self.compose())
        self.assertFalse(os.path.exists(self.out + '/hw/new.c~'))

    def test_another_base_starts_anew(self):
        self.compose()
        self.write(self.base + '/VERSION', '10.0.14\n')
        self.write(self.base + '/untouched.c', 'newer base\n')
        self.compose()
        self.assertEqual(text(self.out + '/untouched.c'), 'newer base\n')

    def test_edits_of_one_series(self):
        """They come beside the edits for all, or in place of one."""
        own = self.repo + '/overlay/base-10.2/'
        edit = text(self.repo + '/hw/a.c.patch')
        self.write(own + 'hw/a.c.patch', edit.replace('five', 'V'))
        self.write(self.base + '/hw/b.c', ''.join(LINES))
        self.write(own + 'hw/b.c.patch', edit.replace('hw/a.c', 'hw/b.c'))
        self.write(self.base + '/VERSION', '10.0.13\n')
        self.compose()
        self.assertIn('line five\n', text(self.out + '/hw/a.c'))
        self.assertNotIn('line five\n', text(self.out + '/hw/b.c'))
        self.write(self.base + '/VERSION', '10.2.2\n')
        self.compose()
        self.assertIn('line V\n', text(self.out + '/hw/a.c'))
        self.assertIn('line five\n', text(self.out + '/hw/b.c'))
        with open(self.out + '/hw/a.c', 'a', encoding='utf-8') as f:
            f.write('line 11\n')
        self.assertEqual(self.tool('refresh', 'hw/a.c'),
                         (0, 'overlay/base-10.2/hw/a.c.patch written\n'))
        self.assertEqual(text(self.repo + '/hw/a.c.patch'), edit)

    def test_each_base(self):
        """Every series that has a description can be the base."""
        self.assertEqual(tree.bases(), ['10.0', '10.2'])
        for version in ('10.0.13', '10.2.0', '10.2.50'):
            self.write(self.base + '/VERSION', version + '\n')
            self.assertIn('hw/a.c', self.compose())


class Rewrite(TreeCase):
    """Our C files become those of another base when they are composed."""

    NEW = '#include "old.h"\nint f(Old *a, Old *b) < 0;\n'
    RULES = (('"old\\.h"', '"new.h"'), (r'\bOld \*', 'const New *'),
             (r'^(int )(f\(.*\)) < 0', r'\1!\2'))

    def setUp(self):
        super().setUp()
        self.write(self.repo + '/hw/new.c', self.NEW)
        self.table(*self.RULES)
        self.write(self.base + '/VERSION', '10.2.2\n')

    def table(self, *rules):
        """What base-10.2.toml says."""
        self.text_of_table(''.join(
            f"[[rewrite]]\nwhy = \"x\"\nfrom = '{old}'\nto = '{new}'\n"
            for old, new in rules))

    def text_of_table(self, words):
        """Write base-10.2.toml."""
        self.write(self.repo + '/overlay/base-10.2.toml', words)

    def test_only_for_that_base(self):
        self.compose()
        self.assertEqual(
            text(self.out + '/hw/new.c'),
            '#include "new.h"\nint !f(const New *a, const New *b);\n')
        self.assertEqual(text(self.repo + '/hw/new.c'), self.NEW)
        self.write(self.base + '/VERSION', '10.0.13\n')
        self.compose()
        self.assertEqual(text(self.out + '/hw/new.c'), self.NEW)

    def test_only_our_c_files(self):
        """Files of the base, our edits and other files stay the same."""
        for name in ('hw/new.h', 'hw/new.py', 'hw/new.txt'):
            self.write(self.repo + '/' + name, 'Old *\n')
        self.write(self.base + '/untouched.c', 'Old *\n')
        self.edit('line 5\n', 'Old *\n')
        self.compose()
        self.assertEqual(text(self.out + '/hw/new.h'), 'const New *\n')
        for name in ('hw/new.py', 'hw/new.txt', 'untouched.c', 'hw/a.c'):
            self.assertIn('Old *\n', text(self.out + '/' + name))

    def test_in_this_order(self):
        self.table((r'\bOld\b', 'Newer'), ('Newer', 'Newest'))
        self.compose()
        self.assertIn('f(Newest *a', text(self.out + '/hw/new.c'))

    def test_idempotent(self):
        self.compose()
        self.assertEqual(self.compose(), [])

    def test_another_table(self):
        self.write(self.repo + '/hw/other.c', 'other\n')
        self.compose()
        self.table(('Old', 'Young'))
        self.assertEqual(self.compose(), ['hw/new.c'])

    def test_one_that_matches_nowhere(self):
        """What other files say does not count."""
        self.write(self.repo + '/hw/new.txt', 'gone\n')
        self.table(*self.RULES, ('gone', 'x'), ('lost', 'y'))
        self.assert_refused(
            '2 rewrite(s) of overlay/base-10.2.toml match nothing in 1 .c and '
            '.h files of ours: from = gone, lost', 'remove them from '
            'overlay/base-10.2.toml', self.compose)
        self.assertFalse(os.path.exists(self.out + '/hw/new.c'))

    def test_faulty_table(self):
        entry = "[[rewrite]]\nwhy = 'x'\nfrom = '%s'\nto = '%s'\n"
        for words, cause in (
                ('[[rewrite', 'Expected'),
                (entry % ('(Old', 'x'), 'missing ), unterminated'),
                (entry % ('Old', r'\1'), 'invalid group reference 1'),
                (entry % ('Old', 'x') + "[[rewrite]]\nfrom = 'x'\nto = 'y'\n",
                 'rewrite 2 has from, to'),
                (entry % ('Old', 'x') + "then = 'y'\n",
                 'rewrite 1 has why, from, to, then'),
                ("[[rewrites]]\nwhy = 'x'\n", 'rewrites is not known')):
            self.text_of_table(words)
            self.assert_refused(
                'cannot use overlay/base-10.2.toml: ' + cause,
                'each with why, from and to', self.compose)

    def test_ours(self):
        """Each table of this repository fits its files."""
        repo = tree.repository()
        new, _edits = tree.overlay_files(repo)
        tables = 0
        for series in tree.bases():
            self.write(self.base + '/VERSION', series + '.0\n')
            rewrites = tree.Rewrites(repo, self.base)
            tables += bool(rewrites.table)
            for name, data in rewrites.of(new).items():
                self.assertNotEqual(data, tree.read(f'{repo}/{name}'), name)
        self.assertEqual(tables, len(tree.bases()) - 1)


class Refused(TreeCase):
    """Each error names its cause and the next command."""

    def test_missing_base(self):
        shutil.rmtree(self.base)
        self.assert_refused('no QEMU source', 'overlay/base', self.compose)

    def test_other_series(self):
        for version in ('9.2.4', '10.1.0', '11.0.0', '100.0'):
            self.write(self.base + '/VERSION', version + '\n')
            self.assert_refused(f'is QEMU {version}', 'QEMU_SRC=',
                                self.compose)

    def test_edit_that_does_not_apply(self):
        self.edit('line 50\n', 'x\n')
        self.assert_refused('hw/a.c.patch does not apply',
                            'patch -p1 --fuzz=0 --dry-run', self.compose)
        self.assertFalse(os.path.exists(self.out + '/hw/a.c'))

    def test_no_fuzz(self):
        self.write(self.base + '/hw/a.c',
              ''.join(LINES).replace('line 4\n', 'line four\n'))
        self.assert_refused('does not apply', 'dry-run', self.compose)

    def test_edit_without_origin(self):
        self.write(self.repo + '/hw/gone.c.patch', text(self.repo
                                                   + '/hw/a.c.patch'))
        self.assert_refused('the base does not have', 'git mv', self.compose)

    def test_new_file_over_a_file_of_the_base(self):
        self.write(self.repo + '/untouched.c', 'ours\n')
        self.assert_refused('would replace', 'untouched.c.patch',
                            self.compose)

    def test_dirty_tree(self):
        self.compose()
        for name in ('hw/a.c', 'hw/new.c', 'untouched.c'):
            with open(os.path.join(self.out, name), 'a',
                      encoding='utf-8') as f:
                f.write('by hand\n')
            self.assert_refused(name, 'overlay/refresh', self.compose)
        self.compose(force=True)
        self.assertEqual(text(self.out + '/untouched.c'), 'base\n')
        self.assertEqual(text(self.out + '/hw/new.c'), 'new\n')

    def test_command_says_cause_and_remedy(self):
        self.write(self.base + '/VERSION', '9.0.0\n')
        status, output = self.tool('compose')
        self.assertEqual(status, 1)
        self.assertIn('this tree fits 10.0 and 10.2\n', output)
        self.assertIn('compose: point QEMU_SRC= to a 10.0 source', output)


class Refresh(TreeCase):
    """Edits of the composed tree come back into the repository."""

    def test_edit_keeps_its_words(self):
        self.compose()
        with open(self.out + '/hw/a.c', 'a', encoding='utf-8') as f:
            f.write('line 11\n')
        status, output = self.tool('refresh', 'hw/a.c')
        self.assertEqual((status, output), (0, 'hw/a.c.patch written\n'))
        edit = text(self.repo + '/hw/a.c.patch')
        self.assertTrue(edit.startswith('subject\n\nwhy\n\nUpstream:'))
        self.assertIn('+line 11\n', edit)
        self.assertEqual(self.compose(), [])

    def test_context_stays_as_wide_as_it_was(self):
        for name, wide in (('hw/a.c', 1), ('untouched.c', 3)):
            self.write(self.base + '/' + name, ''.join(LINES))
            self.write(self.base + '/VERSION', '10.0.13\n')
            self.compose()
            self.write(self.out + '/' + name,
                  ''.join(LINES).replace('line 5\n', 'five\n'))
            self.assertEqual(self.tool('refresh', name)[0], 0)
            edit = text(f'{self.repo}/{name}.patch')
            self.assertEqual(edit.count('\n line'), 2 * wide)
            self.assertIn(f'@@ -{5 - wide},{1 + 2 * wide} ', edit)

    def test_new_edit_gets_a_template(self):
        self.compose()
        self.write(self.out + '/untouched.c', 'touched\n')
        self.assertEqual(self.tool('refresh', 'untouched.c')[0], 0)
        self.assertIn('Upstream:', text(self.repo + '/untouched.c.patch'))
        self.assertEqual(self.compose(), [])

    def test_new_file_is_copied_back(self):
        self.compose()
        self.write(self.out + '/hw/new.c', 'changed\n')
        self.assertEqual(self.tool('refresh', 'hw/new.c')[0], 0)
        self.assertEqual(text(self.repo + '/hw/new.c'), 'changed\n')

    def test_rewritten_file_is_not_copied_back(self):
        """Words of one base would get into the files for all."""
        self.write(self.base + '/VERSION', '10.2.2\n')
        self.write(self.repo + '/hw/other.c', 'other\n')
        self.write(self.repo + '/overlay/base-10.2.toml',
                   "[[rewrite]]\nwhy = 'x'\nfrom = 'new'\nto = 'newer'\n")
        self.compose()
        self.assertEqual(text(self.out + '/hw/new.c'), 'newer\n')
        for words in ('newer\n', 'newer\nmore\n'):
            self.write(self.out + '/hw/new.c', words)
            status, output = self.tool('refresh', 'hw/new.c')
            self.assertEqual(status, 1)
            self.assertIn('refresh: hw/new.c is not copied back: composing '
                          'rewrote it for QEMU 10.2.2 by 1 rewrite(s) of '
                          'overlay/base-10.2.toml\n', output)
            self.assertIn(f'refresh: make the change in {self.repo}/hw/new.c',
                          output)
            self.assertIn('overlay/compose --force', output)
            self.assertEqual(text(self.repo + '/hw/new.c'), 'new\n')
        self.assert_refused('hw/new.c', 'overlay/refresh', self.compose)
        for name in ('hw/other.c', 'hw/more.c'):
            self.write(self.out + '/' + name, 'changed\n')
            self.assertEqual(self.tool('refresh', name),
                             (0, f'{name} copied back\n'))
            self.assertEqual(text(self.repo + '/' + name), 'changed\n')
        self.assertEqual(self.tool('compose', '--force')[0], 0)
        self.assertEqual(text(self.out + '/hw/new.c'), 'newer\n')

    def test_edit_that_is_gone(self):
        self.compose()
        self.write(self.out + '/hw/a.c', ''.join(LINES))
        self.assertEqual(self.tool('refresh', 'hw/a.c')[0], 0)
        self.assertFalse(os.path.exists(self.repo + '/hw/a.c.patch'))

    def test_unknown_path(self):
        self.compose()
        status, output = self.tool('refresh', 'hw/none.c')
        self.assertEqual(status, 1)
        self.assertIn('does not exist', output)


class Base(TreeCase):
    """Where the base comes from."""

    def run_base(self, **env):
        clean = {k: v for k, v in os.environ.items()
                 if k not in ('QEMU_SRC', 'BASE')}
        run = subprocess.run(
            [os.path.join(self.repo, 'overlay', 'base')], check=False,
            env=dict(clean, BUILD=self.top + '/build', **env),
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return run.returncode, run.stdout

    def pack(self, path, version='10.0.13'):
        """A release tarball with that version."""
        self.write(self.top + '/src/qemu-x/VERSION', version + '\n')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run(['tar', '-C', self.top + '/src', '-caf', path,
                        'qemu-x'], check=True)

    def release(self, digest):
        """Let base.conf pin a release that a file URL serves."""
        conf = self.repo + '/overlay/base.conf'
        words = text(conf).replace('sha256=\n', f'sha256={digest}\n')
        words = words.replace('release_url=https://download.qemu.org',
                              f'release_url=file://{self.top}/site')
        self.write(conf, words.replace('package=qemu',
                                       'package=no-such-package'))

    def test_directory(self):
        status, output = self.run_base(QEMU_SRC=self.base)
        self.assertEqual(status, 0, output)
        self.assertIn('QEMU 10.0.13 from', output)
        self.assertTrue(os.path.exists(self.top + '/build/base/hw/a.c'))

    def test_tarball(self):
        self.pack(self.top + '/t.tar.gz')
        status, output = self.run_base(QEMU_SRC=self.top + '/t.tar.gz')
        self.assertEqual(status, 0, output)
        self.assertEqual(self.run_base()[0], 0)

    def test_cached_tarball(self):
        self.pack(self.top + '/build/cache/qemu-10.0.13.tar.gz')
        status, output = self.run_base()
        self.assertEqual(status, 0, output)
        self.assertIn('build/cache/qemu-10.0.13.tar.gz', output)

    def test_release_with_the_pinned_digest(self):
        path = self.top + '/site/qemu-10.0.13.tar.xz'
        self.pack(path)
        digest = hashlib.sha256(tree.read(path)).hexdigest()
        self.release(digest)
        status, output = self.run_base()
        self.assertEqual(status, 0, output)
        self.assertIn('QEMU 10.0.13 from', output)

    def test_release_with_another_digest(self):
        self.pack(self.top + '/site/qemu-10.0.13.tar.xz')
        self.release('0' * 64)
        status, output = self.run_base()
        self.assertEqual(status, 1)
        self.assertIn('does not have the SHA-256 pinned', output)
        self.assertIn('QEMU_SRC=', output)

    def test_other_series(self):
        self.pack(self.top + '/t.tar.gz', '11.0.1')
        status, output = self.run_base(QEMU_SRC=self.top + '/t.tar.gz')
        self.assertEqual(status, 1)
        self.assertIn('is QEMU 11.0.1, wanted is 10.0 or 10.2', output)

    def test_missing(self):
        status, output = self.run_base(QEMU_SRC=self.top + '/none')
        self.assertEqual(status, 1)
        self.assertIn('does not exist', output)
        self.assertIn('directory or tarball of QEMU 10.0 or 10.2', output)

    def test_chosen_series(self):
        """BASE= wants one series, whatever else this tree fits."""
        self.pack(self.top + '/old.tar.gz')
        self.pack(self.top + '/new.tar.gz', '10.2.3')
        status, output = self.run_base(BASE='10.2',
                                       QEMU_SRC=self.top + '/old.tar.gz')
        self.assertEqual(status, 1)
        self.assertIn('is QEMU 10.0.13, wanted is 10.2', output)
        for chosen in ('', '10.2'):
            status, output = self.run_base(BASE=chosen,
                                           QEMU_SRC=self.top + '/new.tar.gz')
            self.assertEqual(status, 0, output)
        self.assertEqual(self.run_base(BASE='10.2'), (0, ''))

    def test_another_series_is_there(self):
        """What BASE= wants replaces what it does not want."""
        self.assertEqual(self.run_base(QEMU_SRC=self.base)[0], 0)
        self.pack(self.top + '/build/cache/qemu-10.2.0.tar.gz', '10.2.0')
        status, output = self.run_base(BASE='10.2')
        self.assertEqual(status, 0, output)
        self.assertIn('QEMU 10.2.0 from', output)

    def test_unknown_series(self):
        status, output = self.run_base(BASE='10.1')
        self.assertEqual(status, 1)
        self.assertIn('BASE=10.1 is not a base of this tree', output)
        self.assertIn('say BASE=10.0 or 10.2, or describe it in '
                      'overlay/base-10.1.conf', output)

    def test_unreachable(self):
        """A series that nobody has is reported, not left out."""
        conf = self.repo + '/overlay/base-10.2.conf'
        self.write(conf, text(conf).replace('qemu=1:10.2.2', 'no-such-package'))
        os.makedirs(self.top + '/bin')
        self.write(self.top + '/bin/apt-get', '#!/bin/sh\nexit 100\n')
        os.chmod(self.top + '/bin/apt-get', 0o755)
        status, output = self.run_base(
            BASE='10.2', PATH=self.top + '/bin:' + os.environ['PATH'])
        self.assertEqual(status, 1)
        self.assertIn('no source of QEMU 10.2 found, neither 10.2.2 nor '
                      'no-such-package', output)
        self.assertIn('QEMU_SRC=DIRECTORY-OR-TARBALL', output)

    def test_no_source(self):
        os.makedirs(self.top + '/src')
        status, output = self.run_base(QEMU_SRC=self.top + '/src')
        self.assertEqual(status, 1)
        self.assertIn('no QEMU source', output)
