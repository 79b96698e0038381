# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The repository of git in which trees are composed and series are made.

It lies below the build directory, beside the composed tree, and holds the
base as a commit.  Nobody's configuration of git has a say in it.
"""

import os
import shutil
import subprocess

NOBODY = 'The QEMU Nitro contributors <nitro@qemu-nitro.invalid>'
# Firmware, which is not built here and would be two thirds of all files
LEFT_OUT = ':(exclude,glob)roms/*/**'
# Options of git by which the same tree makes the same series everywhere
CONFIG = {
    'core.looseCompression': '0', 'core.autocrlf': 'false',
    'core.fileMode': 'true', 'diff.renames': 'false', 'gc.auto': '0',
    'format.useAutoBase': 'false', 'advice.detachedHead': 'false',
}


class TreeError(Exception):
    """What went wrong, and the command that helps."""

    def __init__(self, message, remedy):
        super().__init__(message)
        self.remedy = remedy


def ident():
    """Name and address of the user, as git has them."""
    words = [subprocess.run(['git', 'config', 'user.' + key], check=False,
                            stdout=subprocess.PIPE, text=True).stdout.strip()
             for key in ('name', 'email')]
    if not all(words):
        raise TreeError(
            'SIGNOFF=1 needs a name to sign off with',
            'tell git yours: git config user.name, git config user.email')
    return f'{words[0]} <{words[1]}>'


def date_of(repo):
    """Seconds since 1970 of what is made into a series."""
    if os.environ.get('SOURCE_DATE_EPOCH'):
        return os.environ['SOURCE_DATE_EPOCH']
    run = subprocess.run(['git', '-C', repo, 'log', '-1', '--format=%ct'],
                         check=False, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    return run.stdout.strip() or '0'


class Repository:
    """That repository; author and date are those of every commit."""

    def __init__(self, path, author=NOBODY, date='0'):
        self.path = path
        self.author = author
        self.date = date
        if not os.path.isfile(os.path.join(path, 'HEAD')):
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path)
            self.git('init', '--quiet', '--bare')
        for key, value in CONFIG.items():
            self.git('config', key, value)

    def environment(self, **more):
        """No configuration but this repository's; one author, one date."""
        env = {k: v for k, v in os.environ.items()
               if not k.startswith('GIT_')}
        name, _, email = self.author.rstrip('>').partition(' <')
        for who in ('AUTHOR', 'COMMITTER'):
            env.update({f'GIT_{who}_NAME': name, f'GIT_{who}_EMAIL': email,
                        f'GIT_{who}_DATE': f'@{self.date} +0000'})
        return dict(env, GIT_DIR=self.path, GIT_CONFIG_NOSYSTEM='1',
                    GIT_CONFIG_GLOBAL=os.devnull, LC_ALL='C', TZ='UTC',
                    **more)

    def git(self, *words, cwd=None, data=None, env=None):
        """Run git; returns its output as text."""
        return self.read(*words, cwd=cwd, data=data,
                         env=env).decode(errors='replace')

    def read(self, *words, cwd=None, data=None, env=None):
        """Run git; returns its output as bytes."""
        run = subprocess.run(
            ['git', *words], cwd=cwd or self.path, check=False, input=data,
            env=env or self.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        if run.returncode != 0:
            raise TreeError(
                f'git {words[0]} failed: '
                + ' '.join(run.stderr.decode(errors='replace').split()),
                f'begin anew: rm -rf {self.path}')
        return run.stdout

    def index(self, name, top):
        """Environment in which git compares a directory with that index."""
        return self.environment(
            GIT_WORK_TREE=os.path.abspath(top),
            GIT_INDEX_FILE=os.path.join(self.path, name + '.index'))

    def start_from(self, top, identity):
        """Let the branch base be a directory, but for LEFT_OUT.

        Returns whether it was another one before.
        """
        run = subprocess.run(
            ['git', 'log', '-1', '--format=%B', 'base', '--'], check=False,
            env=self.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        if run.stdout.strip() == identity:
            return False
        env = self.index('base', top)
        self.git('add', '--all', '--force', '--', '.', LEFT_OUT, cwd=top,
                 env=env)
        self.branch('base', self.git(
            'commit-tree', self.git('write-tree', env=env).strip(),
            '-m', identity).strip())
        return True

    def files(self, tree_id, names=None):
        """Files of a tree, or some of them: {path: (contents, mode)}."""
        entries = [entry.split('\t') for entry in self.git(
            'ls-tree', '-r', '-z', tree_id).split('\0')[:-1]]
        entries = [(fields.split(), name) for fields, name in entries
                   if names is None or name in names]
        blobs = self.read('cat-file', '--batch=%(objectsize)', data=''.join(
            fields[2] + '\n' for fields, _name in entries).encode())
        result, at = {}, 0
        for fields, name in entries:
            start = blobs.index(b'\n', at) + 1
            at = start + int(blobs[at:start])
            result[name] = (blobs[start:at], int(fields[0], 8) & 0o777)
            at += 1
        return result

    def branch(self, name, commit):
        """Let a branch end at a commit."""
        self.git('update-ref', 'refs/heads/' + name, commit)

    def stack(self, branch, base, commits):
        """Put commits on top of a base: [(message, {path: (data, mode)})]."""
        name = f'{self.author} {self.date} +0000'
        stream = []
        for number, (message, files) in enumerate(commits):
            text = message.encode()
            stream.append(f'commit refs/heads/{branch}\nauthor {name}\n'
                          f'committer {name}\ndata {len(text)}\n'.encode()
                          + text + b'\n')
            if number == 0:
                stream.append(f'from {base}\n'.encode())
            for path, (data, mode) in files.items():
                bits = '100755' if mode & 0o100 else '100644'
                stream.append(f'M {bits} inline {path}\n'
                              f'data {len(data)}\n'.encode() + data + b'\n')
        self.git('fast-import', '--quiet', '--force', data=b''.join(stream))

    def differences(self, one, other):
        """Names of files in which two trees differ."""
        return self.git('diff-tree', '-r', '--name-only', one,
                        other).split('\n')[:-1]

    def worktree(self, path, revision, names):
        """Check out a commit anew, but only those of its files on disk."""
        shutil.rmtree(path, ignore_errors=True)
        self.git('worktree', 'prune')
        self.git('worktree', 'add', '--quiet', '--no-checkout', '--detach',
                 path, revision)
        self.within(path, 'sparse-checkout', 'set', '--no-cone', '--stdin',
                    data=''.join(f'/{n}\n' for n in names).encode())
        self.within(path, 'checkout', '--quiet', '--detach', revision)

    def move(self, path, revision):
        """Check out a commit; files that stay the same are not touched."""
        self.git('worktree', 'prune')
        if not os.path.exists(os.path.join(path, '.git')):
            self.git('worktree', 'add', '--quiet', '--detach', path, revision)
        self.within(path, 'checkout', '--quiet', '--force', '--detach',
                    revision)

    def within(self, path, *words, data=None):
        """Run git in a work tree of this repository."""
        env = self.environment()
        del env['GIT_DIR']
        return self.git(*words, cwd=path, data=data, env=env)
