# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Which patch of which series brings what: overlay/series.toml, applied.

Every file is claimed by one patch.  Files in the table `grow` are brought in
pieces: paragraphs, or single lines; entries that are added to a list are
always single.  A piece comes with the patch that the table `lines` of a patch
says; else with the last of the patch that claims the file and those that
bring the files of ours which the piece names.

What belongs to no series comes at the very end, in a patch that is not sent.
"""

import difflib
import fnmatch
import os
import re
import tomllib

import tree

# What stands for a directory in lists of directories
LISTED_AS = ('', '/meson.build', '/Kconfig', '/trace-events')
WORD = re.compile(r'[\w./*?+-]+')
# A page of the manual that is referred to, or listed
PAGE = re.compile(r"(?:doc:`|'|^   )(/?[\w/-]+)(?=[`'\n])", re.M)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
# A line of a list of strings, or of pages
ITEM = re.compile(r"\s+'[^']+',\n|   [\w/-]+\n|\n")
# Files that fail to build when they name what is not there
BUILD_FILES = ('meson.build', 'Kconfig', '.rst')


def fail(message, remedy):
    """Give up; remedy is about the manifest unless it says otherwise."""
    raise tree.TreeError(message, remedy)


def load(path):
    """The manifest; patches get the number of their series."""
    with open(path, 'rb') as f:
        manifest = tomllib.load(f)
    names = [series['name'] for series in manifest['series']]
    for number, series in enumerate(manifest['series']):
        unknown = set(series['needs']) - set(names[:number])
        if unknown:
            fail(f'series {names[number]} needs {" ".join(sorted(unknown))}, '
                 'which is not an earlier series',
                 'see "needs" in overlay/series.toml')
    for patch in (p for series in manifest['series'] for p in series['patch']):
        if not re.fullmatch(r'\S+: \S.{0,70}[^.]', patch['subject']):
            fail(f'subject "{patch["subject"]}" is not "area: summary"',
                 'leave out the full stop, keep it below 72 characters')
    return manifest


def pattern_re(pattern):
    """Expression for a pattern in which ** crosses directories, * does not."""
    return re.compile(re.escape(pattern).replace(r'\*\*', '.*')
                      .replace(r'\*', '[^/]*'))


def claim(patches, names):
    """The patch that brings each file: {name: index}.

    Of several patterns the one with most letters decides.
    """
    patterns = [(len(p.replace('*', '')), i, p, pattern_re(p))
                for i, patch in enumerate(patches) for p in patch['paths']]
    result, used = {}, set()
    for name in names:
        found = [(letters, i, p) for letters, i, p, expression in patterns
                 if expression.fullmatch(name)]
        if not found:
            fail(f'{name} belongs to no series',
                 'add it to "paths" of a patch, or of "outside", in '
                 'overlay/series.toml')
        best = max(found)[0]
        owners = {i for letters, i, _ in found if letters == best}
        if len(owners) > 1:
            fail(f'{name} is claimed twice: '
                 + '; '.join(patches[i]['subject'] for i in sorted(owners)),
                 'narrow the "paths" of one in overlay/series.toml')
        result[name] = owners.pop()
        used.update((i, p) for letters, i, p in found if letters == best)
    for _letters, i, p, _expression in patterns:
        if (i, p) not in used:
            fail(f'"{patches[i]["subject"]}": {p} brings no file',
                 'remove it from overlay/series.toml')
    return result


class Names:
    """Finds names of our new files in text."""

    def __init__(self, claims):
        self.claims = claims

    def exact(self, paths):
        """Patches of those of the paths that are files of ours."""
        return {self.claims[p] for p in map(os.path.normpath, paths)
                if p in self.claims}

    def covered(self, pattern):
        """First patch with a file below a directory, or like a pattern."""
        if pattern.endswith('/'):
            pattern += '*'
        found = [i for name, i in self.claims.items()
                 if fnmatch.fnmatchcase(name, pattern)]
        return {min(found)} if found else set()

    def due(self, text, here):
        """The last patch that brings a file named in text, or None."""
        found = set()
        for word in WORD.findall(text):
            if '/' in word and ('*' in word or word.endswith('/')):
                found |= self.covered(word)
            elif word.strip('./'):
                found |= self.exact(place + end for end in LISTED_AS for place
                                    in (os.path.join(here, word), word))
        for word in PAGE.findall(text):
            found |= self.exact([('docs' + word if word[0] == '/' else
                                  os.path.join(here, word)) + '.rst'])
        return max(found) if found else None

    def included(self, text, here):
        """(file, patch) for each include directive that means one of ours."""
        for word in INCLUDE.findall(text):
            for top in (here, 'include', ''):
                path = os.path.normpath(os.path.join(top, word))
                if path in self.claims:
                    yield path, self.claims[path]
                    break


class Piece:
    """Lines that come together, what they replace, and when they come."""

    def __init__(self, old, new, due=-1):
        self.old = old
        self.new = new
        self.due = due

    def at(self, number):
        """The lines as of a patch."""
        return self.new if self.due <= number else self.old


def paragraphs(lines):
    """Split lines at blank ones, which stay where nothing is lost."""
    blank_ends = bool(lines) and not lines[-1].strip()
    parts, part = [], []
    for line in lines:
        if not blank_ends and not line.strip() and \
                any(p.strip() for p in part):
            parts.append(part)
            part = []
        part.append(line)
        if blank_ends and not line.strip():
            parts.append(part)
            part = []
    return parts + ([part] if part else [])


def changes(before, after):
    """(old, new) of equal and changed lines; additions by paragraph."""
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for what, i1, i2, j1, j2 in matcher.get_opcodes():
        if what == 'insert':
            for part in paragraphs(after[j1:j2]):
                yield [], part
        else:
            yield before[i1:i2], after[j1:j2]


class Growth:
    """One file that is brought piece by piece."""

    def __init__(self, name, before, after, mode):
        self.name = name
        self.home = os.path.dirname(name)
        self.mode = mode
        self.parts = [(old, new) for old, new in changes(
            before.splitlines(True), after.splitlines(True))]
        self.pieces = []

    def told(self, text, patches):
        """The patch that asks for a text in its table `lines`, or None."""
        found = [i for i, patch in enumerate(patches)
                 for p in patch.get('lines', {}).get(self.name, ())
                 if re.search(p, text, re.M)]
        if len(found) > 1:
            fail(f'{self.name}: two patches ask for "{text.strip()}"',
                 'see the tables "lines" in overlay/series.toml')
        return found[0] if found else None

    def schedule(self, patches, names, owner):
        """Decide when each piece comes."""
        for old, new in self.parts:
            if old == new:
                self.pieces.append(Piece(old, new))
                continue
            text = ''.join(new)
            due = self.told(text, patches)
            if due is None and not old and (
                    self.mode == 'lines' or all(map(ITEM.fullmatch, new))):
                self.by_line(new, names, owner)
                continue
            if due is None:
                due = max(owner, names.due(text, self.home) or 0)
            self.pieces.append(Piece(old, new, due))

    def by_line(self, lines, names, owner):
        """Lines that name nothing come with the first that does.

        Those that are indented deeper come with the line before.
        """
        lines = re.findall(r'^( *)(\S.*\n(?:\1 +\S.*\n)*|\n)',
                           ''.join(lines), re.M)
        lines = [indent + rest for indent, rest in lines]
        dues = [names.due(line, self.home) for line in lines]
        first = min((d for d in dues if d is not None), default=owner)
        self.pieces += [
            Piece([], [line], max(owner, first if due is None else due))
            for line, due in zip(lines, dues)]

    def check_tables(self, patches):
        """Each pattern of the manifest is about a piece that is there."""
        for patch in patches:
            for pattern in patch.get('lines', {}).get(self.name, ()):
                if not any(old != new and re.search(pattern, ''.join(new),
                                                    re.M)
                           for old, new in self.parts):
                    fail(f'"{patch["subject"]}": nothing in {self.name} '
                         f'matches {pattern}',
                         'remove it from overlay/series.toml')

    def at(self, number):
        """The file as of a patch, as bytes."""
        return ''.join(''.join(p.at(number)) for p in self.pieces).encode()


class Plan:
    """The series as contents: what each patch makes of which file.

    wanted and base are {path: (contents, mode)}; of the base only the files
    that are edited are needed.
    """

    def __init__(self, manifest, wanted, base):
        self.series = manifest['series']
        self.patches = [p for s in self.series for p in s['patch']]
        # What belongs to no series comes behind the last
        self.patches.append(dict(manifest.get('outside', {'paths': []}),
                                 subject='outside', text=''))
        self.wanted = wanted
        self.base = base
        self.claims = claim(self.patches, sorted(wanted))
        self.names = Names({n: i for n, i in self.claims.items()
                            if n not in base})
        self.growths = {name: self._grow(name, mode)
                        for name, mode in manifest.get('grow', {}).items()}
        for patch in self.patches:
            for name in patch.get('lines', {}):
                if name not in self.growths:
                    fail(f'"{patch["subject"]}": {name} does not grow',
                         'add it to "grow" in overlay/series.toml')

    def _grow(self, name, mode):
        if name not in self.wanted:
            fail(f'{name} is to grow but is not a file of ours',
                 'remove it from "grow" in overlay/series.toml')
        before = self.base.get(name, (b'', 0))[0].decode()
        growth = Growth(name, before, self.wanted[name][0].decode(), mode)
        growth.check_tables(self.patches)
        growth.schedule(self.patches, self.names, self.claims[name])
        return growth

    def contents(self, name, number):
        """A file as of a patch, counted from 0; nothing while it is not."""
        if name in self.growths:
            return self.growths[name].at(number)
        if self.claims[name] <= number:
            return self.wanted[name][0]
        return self.base.get(name, (b'', 0))[0]

    def brings(self, number):
        """What a patch changes: {path: (contents, mode)}."""
        result = {}
        for name in sorted(self.wanted):
            now = self.contents(name, number)
            new = name not in self.growths and \
                name not in self.base and self.claims[name] == number
            if new or now != self.contents(name, number - 1):
                result[name] = (now, self.wanted[name][1])
        return result

    def numbers(self, series):
        """Numbers of the patches of a series, counted from 0."""
        at = self.series.index(series)
        first = sum(len(s['patch']) for s in self.series[:at])
        return range(first, first + len(series['patch']))

    def order(self, series):
        """A series behind those that it needs, directly or not."""
        found = {series['name']}
        for other in reversed(self.series):
            if other['name'] in found:
                found.update(other['needs'])
        return [s for s in self.series if s['name'] in found]

    def there(self, number):
        """Patches that are there once a patch of a series is applied."""
        series = next(s for s in self.series if number in self.numbers(s))
        return {n for s in self.order(series) for n in self.numbers(s)
                if n <= number}

    def early(self, number):
        """Names in build files and includes of a patch that are not there."""
        there = self.there(number)
        for name, (data, _mode) in self.brings(number).items():
            here, file = os.path.split(name)
            if name in self.base:
                continue
            if file.endswith(BUILD_FILES):
                due = self.names.due(data.decode(), here)
                if due is not None and due not in there:
                    yield name, self.patches[due]['subject']
            if file.endswith(('.c', '.h')):
                for path, due in self.names.included(data.decode(), here):
                    if due not in there:
                        yield f'{name} ({path})', self.patches[due]['subject']

    def check(self):
        """Nothing is named before it is there, and no patch is empty."""
        for number, patch in enumerate(self.patches[:-1]):
            if not self.brings(number):
                fail(f'"{patch["subject"]}" brings nothing',
                     'remove it from overlay/series.toml')
            for name, other in self.early(number):
                fail(f'"{patch["subject"]}": {name} needs "{other}", '
                     'which is later, or in a series it does not need',
                     'change order or "needs" in overlay/series.toml')
