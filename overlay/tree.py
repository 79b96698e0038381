# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The sparse tree: which files are ours, and what they make of a base.

A file of the repository lies where QEMU would have it.  `X.patch` is our edit
of the base's file X; every other file is new.  overlay/base-SERIES holds edits
that one series of bases needs beside ours, or in their place.  Composing writes the result
into a copy of the base, touching only what changed, so that ninja rebuilds
little.  What was written is remembered beside the composed tree; a file that
differs from that memory was edited by hand and is never overwritten silently.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile

# Top-level names that are ours alone and never copied into QEMU
OURS_ALONE = {
    '.ci', '.git', '.github', '.gitignore', 'LICENSE', 'Makefile',
    'README.md', 'build', 'configure', 'dist', 'overlay',
}
IGNORED_DIRS = {'__pycache__'}
IGNORED_ENDS = ('.orig', '.rej', '.pyc', '~', '.swp')
HEADER = 'include/standard-headers/linux/nitro_enclaves.h'
KERNEL_HEADER = '/usr/include/linux/nitro_enclaves.h'


class TreeError(Exception):
    """What went wrong, and the command that helps."""

    def __init__(self, message, remedy):
        super().__init__(message)
        self.remedy = remedy


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
        if here == top:
            dirs[:] = [d for d in dirs if d not in skip]
            files = [f for f in files if f not in skip]
        dirs[:] = sorted(d for d in dirs if d not in IGNORED_DIRS)
        for d in dirs:
            if os.path.islink(os.path.join(here, d)):
                found.append(os.path.relpath(os.path.join(here, d), top))
        for f in files:
            found.append(os.path.relpath(os.path.join(here, f), top))
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


def apply_edit(repo, base, name):
    """Contents of the base's file `name` with our edit, no fuzz."""
    edit = edit_of(repo, base, name)
    origin = os.path.join(base, name)
    if not os.path.isfile(origin):
        raise TreeError(f'{name}.patch edits a file the base does not have',
                        f'remove or move it: git mv {name}.patch NEW-PATH')
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, 'out')
        run = subprocess.run(
            ['patch', '--silent', '--force', '--fuzz=0', '-p1', '-r', '-',
             '-o', out, origin, edit],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        if run.returncode != 0:
            raise TreeError(
                f'edit {name}.patch does not apply: '
                + ' '.join(run.stdout.split()),
                f'see the conflict: patch -p1 --fuzz=0 --dry-run '
                f'{origin} {edit}')
        return read(out)


def import_header(repo):
    """The driver's UAPI header in QEMU's form, from the kernel headers."""
    script = os.path.join(repo, 'overlay', 'import-nitro-header')
    if not os.path.isfile(KERNEL_HEADER):
        raise TreeError(f'{KERNEL_HEADER} is missing',
                        'install the kernel headers: make deps '
                        '(Debian: apt install linux-libc-dev)')
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, 'nitro_enclaves.h')
        subprocess.run([script, KERNEL_HEADER, out], check=True)
        return read(out)


def wanted_files(repo, base):
    """All files of ours in the composed tree: {path: (contents, mode)}."""
    new, edits = overlay_files(repo)
    own = overlay_files(own_edits(repo, base))[1]
    result = {}
    for name in new:
        path = os.path.join(repo, name)
        if os.path.exists(os.path.join(base, name)):
            raise TreeError(f'{name} would replace a file of the base',
                            f'make it an edit: {name}.patch')
        result[name] = (read(path), os.stat(path).st_mode & 0o755)
    for name in sorted({*edits, *own}):
        mode = os.stat(os.path.join(base, name)).st_mode & 0o755 \
            if os.path.exists(os.path.join(base, name)) else 0o644
        result[name] = (apply_edit(repo, base, name), mode)
    if HEADER not in result:
        result[HEADER] = (import_header(repo), 0o644)
    return result


def digest(data):
    """Hex digest by which composed contents are remembered."""
    return hashlib.sha256(data).hexdigest()


class Composed:
    """The composed tree and the memory of what was written into it."""

    def __init__(self, out):
        self.out = out
        self.memory_path = out.rstrip('/') + '.composed.json'
        self.memory = {'base': None, 'files': {}, 'stat': {}}
        if os.path.isdir(out) and os.path.isfile(self.memory_path):
            with open(self.memory_path, encoding='utf-8') as f:
                self.memory = json.load(f)

    def path(self, name):
        return os.path.join(self.out, name)

    def _stat(self, name):
        st = os.lstat(self.path(name))
        return [st.st_size, st.st_mtime_ns]

    def changed_by_hand(self):
        """Names whose contents are no longer what composing left there."""
        changed = []
        for name, stat in self.memory['stat'].items():
            try:
                if self._stat(name) == stat:
                    continue
                if digest(read(self.path(name))) == \
                        self.memory['files'].get(name):
                    continue
            except (FileNotFoundError, IsADirectoryError):
                pass
            changed.append(name)
        return sorted(changed)

    def start_from(self, base, identity):
        """Begin anew with a copy of the base."""
        shutil.rmtree(self.out, ignore_errors=True)
        if os.path.exists(self.memory_path):
            os.unlink(self.memory_path)
        os.makedirs(os.path.dirname(os.path.abspath(self.out)), exist_ok=True)
        shutil.copytree(base, self.out, symlinks=True)
        self.memory = {'base': identity, 'files': {}, 'stat': {}}
        for name in walk(self.out):
            self.memory['stat'][name] = self._stat(name)

    def put(self, name, data, mode):
        """Write one file if its contents or mode differ; True if it did."""
        path = self.path(name)
        same = os.path.isfile(path) and read(path) == data
        if not same:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'wb') as f:
                f.write(data)
        os.chmod(path, mode)
        self.memory['files'][name] = digest(data)
        self.memory['stat'][name] = self._stat(name)
        return not same

    def drop(self, name, base):
        """A file that is no longer ours: the base's again, or gone."""
        origin = os.path.join(base, name)
        del self.memory['files'][name]
        if os.path.isfile(origin):
            shutil.copy2(origin, self.path(name))
            os.utime(self.path(name))
            self.memory['stat'][name] = self._stat(name)
            return
        if os.path.exists(self.path(name)):
            os.unlink(self.path(name))
        self.memory['stat'].pop(name, None)

    def save(self):
        """Remember what the tree holds now."""
        tmp = self.memory_path + '.new'
        with open(tmp, 'w', encoding='utf-8') as f:
            json.dump(self.memory, f)
        os.replace(tmp, self.memory_path)


def base_identity(base):
    """What distinguishes one unpacked base from another."""
    version = check_base(base)
    st = os.stat(os.path.join(base, 'VERSION'))
    return f'{version} {os.path.abspath(base)} {st.st_mtime_ns}'


def compose(repo, base, out, force=False):
    """Make `out` the base plus our tree; returns names that were written."""
    identity = base_identity(base)
    wanted = wanted_files(repo, base)
    tree = Composed(out)
    if tree.memory['base'] != identity:
        tree.start_from(base, identity)
    dirty = [] if force else tree.changed_by_hand()
    if dirty:
        raise TreeError(
            f'{len(dirty)} file(s) in {out} were edited there: '
            + ' '.join(dirty[:5]) + (' ...' if len(dirty) > 5 else ''),
            'keep them: overlay/refresh ' + ' '.join(dirty[:5])
            + ' ; drop them: overlay/compose --force')
    if force:
        for name in tree.changed_by_hand():
            if name not in wanted and name not in tree.memory['files']:
                shutil.copy2(os.path.join(base, name), tree.path(name))
                tree.memory['stat'][name] = tree._stat(name)
    written = [n for n, (data, mode) in sorted(wanted.items())
               if tree.put(n, data, mode)]
    for name in sorted(set(tree.memory['files']) - set(wanted)):
        tree.drop(name, base)
        written.append(name)
    tree.save()
    return written
