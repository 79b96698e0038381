# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The sparse tree: which files are ours, and what they make of a base.

A file of the repository lies where QEMU would have it.  `X.patch` is our edit
of the base's file X; every other file is new.  overlay/base-SERIES holds edits
that one series of bases needs beside ours, or in their place, and
overlay/base-SERIES.toml how our C files are rewritten for it.  Git composes
them in a repository beside the composed tree: the base is a commit, and what
the tree should be replaces what it was, touching only what changed, so that
ninja rebuilds little.  A file that was edited there by hand is never
overwritten silently.
"""

import glob
import os
import re
import shutil
import subprocess
import tomllib

from git import Repository, TreeError

# Top-level names that are ours alone and never copied into QEMU
OURS_ALONE = {
    '.ci', '.git', '.github', '.gitignore', 'LICENSE', 'Makefile',
    'README.md', 'build', 'configure', 'debian', 'dist', 'overlay',
}
IGNORED_DIRS = {'__pycache__'}
IGNORED_ENDS = ('.orig', '.rej', '.pyc', '~', '.swp')
HEADER = 'include/standard-headers/linux/nitro_enclaves.h'
KERNEL_HEADER = '/usr/include/linux/nitro_enclaves.h'
# Files of ours that may be rewritten for a base
REWRITTEN = ('.c', '.h')


def repository():
    """Top directory of the repository this file lies in."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def say(*words, **more):
    """Run a command; its output."""
    run = subprocess.run(words, check=False, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         **more)
    if run.returncode != 0:
        raise TreeError(
            f'{" ".join(words[:3])} failed: {run.stdout[-600:]}'
            f'{run.stderr[-600:]}', 'see what it says')
    return run.stdout


def read(path):
    """Contents of a file as bytes."""
    with open(path, 'rb') as f:
        return f.read()


def walk(top, skip=frozenset()):
    """Relative paths of all regular files and links below top, sorted."""
    found = []
    for here, dirs, files in os.walk(top):
        below = '' if here == top else os.path.relpath(here, top)
        if not below:
            dirs[:] = [d for d in dirs if d not in skip]
            files = [f for f in files if f not in skip]
        dirs[:] = sorted(d for d in dirs if d not in IGNORED_DIRS)
        for d in dirs:
            if os.path.islink(os.path.join(here, d)):
                found.append(os.path.join(below, d))
        found += [os.path.join(below, f) for f in files]
    return sorted(found)


def overlay_files(repo):
    """Our files: (new files, edited upstream files), paths relative."""
    names = [n for n in walk(repo, OURS_ALONE)
             if not n.endswith(IGNORED_ENDS)]
    edits = [n[:-len('.patch')] for n in names if n.endswith('.patch')]
    return [n for n in names if not n.endswith('.patch')], edits


def series_of(version):
    """Release series of a version: its first two numbers."""
    return '.'.join(version.split('.')[:2])


def bases():
    """Release series this tree fits; base.conf's comes first."""
    here = os.path.dirname(os.path.abspath(__file__))
    found = []
    for conf in ['base.conf'] + sorted(glob.glob('base-*.conf',
                                                 root_dir=here)):
        text = read(os.path.join(here, conf)).decode()
        found.append(series_of(re.search('(?m)^version=(.*)', text)[1]))
    return found


def check_base(base):
    """Refuse a base that is missing or of another series."""
    version = os.path.join(base, 'VERSION')
    if not os.path.isfile(version):
        raise TreeError(f'no QEMU source in {base}',
                        'run overlay/base, or ./configure with '
                        'QEMU_SRC=DIRECTORY-OR-TARBALL')
    found = read(version).decode().strip()
    known = bases()
    if series_of(found) not in known:
        raise TreeError(f'base {base} is QEMU {found}, '
                        f'this tree fits {" and ".join(known)}',
                        f'point QEMU_SRC= to a {known[0]} source')
    return found


def own_edits(repo, base):
    """Directory of edits that only bases of this one's series need."""
    return os.path.join(repo, 'overlay',
                        'base-' + series_of(check_base(base)))


def edit_of(repo, base, name):
    """File of our edit of the base's file `name`."""
    own = os.path.join(own_edits(repo, base), name + '.patch')
    return own if os.path.isfile(own) else os.path.join(repo, name + '.patch')


class Rewrites:
    """What one series of bases has in place of words of our C files."""

    def __init__(self, repo, base):
        self.repo = repo
        path = own_edits(repo, base) + '.toml'
        self.name = os.path.relpath(path, repo)
        self.table = self._load(path) if os.path.isfile(path) else []

    def _load(self, path):
        """The table: [(pattern, replacement)]."""
        result = []
        try:
            content = tomllib.loads(read(path).decode())
            for entry in content.pop('rewrite', []):
                if sorted(entry) != ['from', 'to', 'why']:
                    raise ValueError(
                        f'rewrite {len(result) + 1} has {", ".join(entry)}')
                pattern = re.compile(entry['from'].encode(), re.M)
                pattern.sub(entry['to'].encode(), b'')
                result.append((pattern, entry['to'].encode()))
            if content:
                raise ValueError(f'{", ".join(content)} is not known')
        except (ValueError, re.error) as error:
            raise TreeError(f'cannot use {self.name}: {error}',
                            'let it hold [[rewrite]] only, each with why, '
                            'from and to') from error
        return result

    def rewritten(self, name):
        """A file of ours for this base, and the patterns that it matches."""
        data, matched = read(os.path.join(self.repo, name)), []
        for pattern, words in self.table if name.endswith(REWRITTEN) else []:
            data, count = pattern.subn(words, data)
            matched += [pattern] if count else []
        return data, matched

    def of(self, names):
        """Those of our files that differ for this base: {name: contents}."""
        result = {}
        unused = [pattern for pattern, _words in self.table]
        names = [n for n in names if n.endswith(REWRITTEN)]
        for name in names if self.table else []:
            data, matched = self.rewritten(name)
            unused = [p for p in unused if p not in matched]
            if matched:
                result[name] = data
        if unused:
            raise TreeError(
                f'{len(unused)} rewrite(s) of {self.name} match nothing in '
                f'{len(names)} .c and .h files of ours: from = '
                + ', '.join(p.pattern.decode() for p in unused),
                f'remove them from {self.name}, or repair their "from"')
        return result


def import_header():
    """The driver's UAPI header, from the kernel headers, in the form that
    scripts/update-linux-headers.sh gives to include/standard-headers.
    """
    if not os.path.isfile(KERNEL_HEADER):
        raise TreeError(f'{KERNEL_HEADER} is missing',
                        'install the kernel headers: make deps '
                        '(Debian: apt install linux-libc-dev)')
    text = re.sub(r'\b__([su])(8|16|32|64)\b', lambda m: (
        'u' if m[1] == 'u' else '') + f'int{m[2]}_t',
                  read(KERNEL_HEADER).decode())
    return re.sub(r'<(linux/[^>]*)>', r'"standard-headers/\1"',
                  text).encode()


def base_identity(base):
    """What distinguishes one unpacked base from another."""
    version = check_base(base)
    st = os.stat(os.path.join(base, 'VERSION'))
    return f'{version} {os.path.abspath(base)} {st.st_mtime_ns}'


class Composed:
    """The composed tree @out, and the repository in which it is composed.

    The index `composed` there is what the tree was last, file by file.
    """

    def __init__(self, out):
        self.out = os.path.abspath(out)
        self.git = Repository(self.out + '.git')
        self.env = self.git.index('composed', self.out)

    def run(self, *words, **more):
        """Run git on the composed tree."""
        return self.git.git(*words, cwd=self.out, env=self.env, **more)

    def start_from(self, base):
        """Forget all if the base is another."""
        index = self.env['GIT_INDEX_FILE']
        if self.git.start_from(base, base_identity(base)) or \
                not (os.path.isdir(self.out) and os.path.isfile(index)):
            shutil.rmtree(self.out, ignore_errors=True)
            if os.path.isfile(index):
                os.unlink(index)

    def tree(self):
        """Id of the tree that was last composed."""
        return self.run('write-tree').strip()

    def changed_by_hand(self):
        """Names whose contents are no longer what composing left there."""
        self.run('update-index', '-q', '--really-refresh')
        return self.run('diff-files', '--name-only').split('\n')[:-1]

    def accept(self, name):
        """A file that was edited by hand is as composing will make it."""
        self.run('update-index', '--add', '--remove', '--', name)

    def become(self, tree_id, force):
        """Make the files those of a tree; names of those that differed."""
        before = self.tree() if os.path.isdir(self.out) else None
        os.makedirs(self.out, exist_ok=True)
        words = ['--reset'] if force else ['-m', before] if before else ['-m']
        self.run('read-tree', '-u', *words, tree_id)
        return self.git.differences(before or 'base', tree_id)


class Plan:
    """What a repository makes of a base, as a tree of git."""

    def __init__(self, composed, repo, base):
        self.git, self.repo, self.base = composed.git, repo, base
        self.env = self.git.index('wanted', repo)
        self.new, edits = overlay_files(repo)
        self.rewrites = Rewrites(repo, base)
        own = own_edits(repo, base)
        self.edits = {
            name: edit_of(repo, base, name)
            for name in sorted({*edits, *overlay_files(own)[1]})}

    def run(self, *words, **more):
        """Run git on the index of what is wanted."""
        return self.git.git(*words, cwd=self.repo, env=self.env, **more)

    def make(self):
        """The id of that tree."""
        self.run('read-tree', 'base')
        self._check_names()
        self._apply(*self.edits.values())
        self.run('update-index', '--add', '-z', '--stdin',
                 data='\0'.join(self.new).encode())
        for name, data in self.rewrites.of(self.new).items():
            self._put(name, data)
        if HEADER not in self.new:
            self._put(HEADER, import_header())
        return self.run('write-tree').strip()

    def _put(self, name, data):
        """Let a file be something that is nowhere on disk."""
        blob = self.git.git('hash-object', '-w', '--stdin', data=data).strip()
        self.run('update-index', '--add', '--cacheinfo',
                 f'100644,{blob},{name}')

    def _check_names(self):
        there = set(self.run('ls-files', '-z').split('\0'))
        for name in self.new:
            if name in there:
                raise TreeError(f'{name} would replace a file of the base',
                                f'make it an edit: {name}.patch')
        for name in self.edits:
            if name not in there:
                raise TreeError(
                    f'{name}.patch edits a file the base does not have',
                    f'remove or move it: git mv {name}.patch NEW-PATH')

    def _apply(self, *edits):
        if not edits:
            return
        try:
            # An edit that fits several bases may end with a change
            self.run('apply', '--cached', '--whitespace=nowarn',
                     '--unidiff-zero', *edits)
        except TreeError as error:
            if len(edits) > 1:
                for edit in edits:
                    self._apply(edit)
            name = os.path.relpath(edits[0], self.repo)
            origin = os.path.join(self.base, name.removesuffix('.patch'))
            raise TreeError(
                f'edit {name} does not apply: {error}',
                'see the conflict: patch -p1 --fuzz=0 --dry-run '
                f'{origin} {edits[0]}') from error


def compose(repo, base, out, force=False):
    """Make `out` the base plus our tree; returns names that were written."""
    check_base(base)
    tree = Composed(out)
    tree.start_from(base)
    wanted = Plan(tree, repo, base).make()
    dirty = tree.changed_by_hand() if os.path.isdir(out) and not force else []
    if dirty:
        raise TreeError(
            f'{len(dirty)} file(s) in {out} were edited there: '
            + ' '.join(dirty[:5]) + (' ...' if len(dirty) > 5 else ''),
            'keep them: overlay/refresh ' + ' '.join(dirty[:5])
            + ' ; drop them: overlay/compose --force')
    return tree.become(wanted, force)
