# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Manual and code agree: messages, refused options, driver codes, owners.

The manual quotes every message that a user can meet, with words in capitals
where the code has a conversion.  A message that only one side knows fails.
"""

import errno
import fnmatch
import os
import re
import unittest

import manual
import tree

REPO = tree.repository()
BUILD = os.environ.get('BUILD', os.path.join(REPO, 'build'))
OPTIONS = 'docs/system/nitro-options.rst'
MONITOR = 'docs/system/nitro-monitor.rst'
MESSAGES = 'docs/system/nitro-troubleshooting.rst'
PARENT_MANUAL = 'docs/system/devices/nitro-enclaves-pci.rst'

# Where the messages of accelerator, machine, devices and image reader are
SOURCES = ('accel/nitro/*.c', 'accel/stubs/nitro-*.c', 'hw/nitro/*.c',
           'hw/core/eif-*.c')
# The emulated parent has a page of its own
PARENT_SOURCES = ('hw/nitro/enclaves-*.c',)
# The machine that is an emulated enclave is no launcher
CHILD_SOURCES = ('hw/core/eif-machine.c',)
# Where QEMU's own messages are that the manual quotes
BASE_SOURCES = ('system', 'hw/core', 'gdbstub', 'dump', 'accel', 'backends',
                'util')

# Calls that word a message
CALLS = ('error_setg', 'error_setg_errno', 'error_prepend', 'error_report',
         'warn_report', 'info_report', 'section_error')

# Words of the code that are not in the manual, and why
UNQUOTED = {
    '%s': 'ne-error.c: the text of an errno, behind "cannot open"',
    '%s (%s: %s%serror %d)': 'ne-error.c: its own table, checked below',
    'section %u%s of the image %s': 'eif-image.c: see section_error()',
    'this QEMU binary has no nitro accelerator':
        'such a binary has no machine nitro',
    '%s: ': 'the option, file or section that a message is about',
    '%s %s: ': 'the option and the file that a message is about',
}

# Options of QEMU that do on machine nitro what they do elsewhere
WORKING = set('''
    M accel action add-fd append chardev cpu d D daemonize device dfilter
    dump-vmstate echr enable-kvm enable-sync-profile global help initrd
    kernel L m machine mem-path mem-prealloc mon monitor msg name nodefaults
    nographic no-reboot no-shutdown no-user-config object overcommit pidfile
    preconfig qmp qmp-pretty qtest qtest-log readconfig run-with S sandbox
    serial set smp trace version'''.split())
# Options of targets that have no machine nitro
FOREIGN = set('g old-param prom-env'.split())

STRING = r'"(?:[^"\\]|\\.)*"'
TOKEN = re.compile(STRING + r'|\w+')
DIRECTIVE = re.compile(r'%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z|j|t)?'
                       r'[diouxXscpf]')
PLACEHOLDER = re.compile(r'\b[A-Z][A-Z-]*\b')


def text_of(name):
    """A file of the repository, as text."""
    return tree.read(os.path.join(REPO, name)).decode()


def files(patterns, without=()):
    """Files of the composed tree, by patterns."""
    new, _ = tree.overlay_files(REPO)
    return [n for n in new if any(fnmatch.fnmatch(n, p) for p in patterns)
            and not any(fnmatch.fnmatch(n, p) for p in without)]


def macros(source):
    """String macros of a C file: name -> text."""
    found = {}
    joined = source.replace('\\\n', ' ')
    for name, value in re.findall(r'(?m)^#define (\w+)\s+(".*)$', joined):
        found[name] = join_strings(value, found)
    return found


def join_strings(code, known):
    """The text of adjacent literals, PRI macros and string macros."""
    text = ''
    for token in TOKEN.findall(code):
        if token[0] == '"':
            text += token[1:-1].replace('\\"', '"').replace('\\n', '\n')
        elif token.startswith('PRI'):
            text += token[3]
        elif token in known:
            text += known[token]
    return text


def arguments(source, start):
    """Top-level arguments of the call whose parenthesis opens at `start`."""
    depth, parts, current = 0, [], ''
    for match in re.compile(STRING + r'|[(){},]|[^"(){},]+').finditer(
            source, start):
        token = match.group()
        if token in '({':
            depth += 1
        elif token in ')}':
            depth -= 1
        if depth == 0:
            return parts + [current]
        if token == ',' and depth == 1:
            parts.append(current)
            current = ''
        elif not (token == '(' and depth == 1):
            current += token
    raise ValueError('call without an end')


def without_comments(source):
    """C code without comments."""
    return re.sub(r'/\*.*?\*/', '', source, flags=re.S)


def phrases(source):
    """Formats of all messages that a C file words, except mere functions."""
    source = without_comments(source)
    known = macros(source)
    for match in re.finditer(r'\b(%s)\(' % '|'.join(CALLS), source):
        for argument in arguments(source, match.end() - 1):
            if '"' in argument:
                words = join_strings(argument, known)
                if match.group(1) == 'section_error':
                    words = 'section %u%s of the image ' + words
                yield words
                break


def pattern(words):
    """Regular expression for what the manual may say for a format."""
    parts = [re.escape(p) for p in DIRECTIVE.split(words.replace('%%', '%'))]
    tail = '.*$' if words.endswith(': ') else '(: .*)?$'
    return re.compile('.*?'.join(parts) + tail)


def section(label, page=OPTIONS):
    """The part of a page between a label and the next one."""
    found = re.search(r'(?ms)^\.\. _%s:$(.*?)(?=^\.\. _|\Z)' % label,
                      text_of(page))
    return found.group(1)


def quoted(label, page=OPTIONS):
    """Messages that a part of a page quotes: literals on their own."""
    found = re.findall(r'(?m)^(?:\* )?``([^`]+)``$', section(label, page))
    return [' '.join(words.split()) for words in found]


def table(label, page=OPTIONS):
    """Rows of the list-tables in a part of the manual."""
    body = section(label, page)
    for row in re.findall(r'(?ms)^   \* - (.*?)(?=^   \* - |^\S|\Z)', body):
        yield [' '.join(cell.replace('``', '').split())
               for cell in re.split(r'(?m)^     - ', row)]


class Messages(unittest.TestCase):
    """Every message is in the manual, every message of it in the code."""

    page, label = MESSAGES, 'nitro-messages'
    sources, without = SOURCES, PARENT_SOURCES + CHILD_SOURCES
    unquoted, minimum = UNQUOTED, 50

    def setUp(self):
        self.code = {}
        for name in files(self.sources, self.without):
            for words in phrases(text_of(name)):
                self.code.setdefault(words, name)
        self.manual = quoted(self.label, self.page)

    def test_something_was_found(self):
        self.assertGreater(len(self.code), self.minimum)
        self.assertGreater(len(self.manual), self.minimum)

    def test_code_is_in_manual(self):
        for words, name in self.code.items():
            if words not in self.unquoted:
                with self.subTest(words, file=name):
                    self.assertTrue(any(pattern(words).match(m)
                                        for m in self.manual),
                                    f'{self.page} does not quote this')

    def test_manual_is_in_code(self):
        known = [pattern(w) for w in self.code
                 if w not in self.unquoted]
        for message in self.manual:
            with self.subTest(message):
                self.assertTrue(any(p.match(message) for p in known),
                                'the code has no such message')

    def test_exceptions_are_needed(self):
        for words in self.unquoted:
            self.assertIn(words, self.code)


class ParentMessages(Messages):
    """The same for the emulated parent's device."""

    page, label = PARENT_MANUAL, 'nitro-enclaves-pci-messages'
    sources, without = PARENT_SOURCES, ()
    unquoted, minimum = {}, 10


class BaseMessages(unittest.TestCase):
    """Messages of QEMU itself that the manual quotes are in the base."""

    def test_messages_of_qemu(self):
        code = ''
        for top in BASE_SOURCES:
            for here, _, names in os.walk(os.path.join(BUILD, 'base', top)):
                for name in names:
                    if name.endswith('.c'):
                        code += tree.read(os.path.join(here, name)).decode()
        code = re.sub(r'"\s*\n\s*"', '', code)
        for message in quoted('nitro-messages-qemu', MESSAGES):
            for part in PLACEHOLDER.split(message):
                with self.subTest(message, part=part):
                    self.assertTrue(part.strip('\'" ') in code,
                                    'QEMU has no such message')


class Options(unittest.TestCase):
    """The table of refused options is that of the machine."""

    def test_table(self):
        code = without_comments(text_of('hw/nitro/machine-options.c'))
        rows = code.partition('refused[] = {')[2].partition('};')[0]
        refused = re.findall(r'"([^"]+)",\s*"([^"]+)" }', rows)
        self.assertGreater(len(refused), 5)
        manual = [tuple(row) for row in table('nitro-refused-options')][1:]
        self.assertEqual(sorted(manual), sorted(refused))

    def test_every_option(self):
        """Each option of QEMU works, or the manual says why not."""
        text = tree.read(os.path.join(BUILD, 'qemu',
                                      'qemu-options.hx')).decode()
        told = set(re.findall(r'(?<![\w-])-([\w-]+)',
                              section('nitro-refused-options')
                              + section('nitro-ignored-options')))
        defined = set(re.findall(r'(?m)^DEF\("([\w-]+)"', text))
        self.assertGreater(len(defined), 100)
        for name in sorted(defined):
            with self.subTest(name):
                self.assertTrue(name in told | WORKING | FOREIGN,
                                'refuse it, or say why it is ignored')
        self.assertEqual(WORKING - defined, set())
        self.assertEqual(FOREIGN - defined, set())


class Commands(unittest.TestCase):
    """The manual names each monitor command that looks at the guest."""

    def test_named(self):
        manual = text_of(MONITOR).partition('Refused commands\n')[2]
        for file in ('hmp-commands.hx', 'hmp-commands-info.hx'):
            text = tree.read(os.path.join(BUILD, 'qemu', file)).decode()
            names = re.findall(
                r'\.name += "(\w+)[^}]+?\.flags += "g",\n', text)
            self.assertGreater(len(names), 3)
            info = 'info ' if 'info' in file else ''
            for name in names:
                with self.subTest(name):
                    self.assertIn(f'``{info}{name}``', manual)


class DriverErrors(unittest.TestCase):
    """The table of the driver's errors is that of the code."""

    def setUp(self):
        self.source = text_of('accel/nitro/ne-error.c')
        header = tree.read(os.path.join(BUILD, 'qemu', tree.HEADER)).decode()
        self.numbers = dict(re.findall(
            r'#define\s+(NE_ERR_\w+)\s+\(?(\d+)\)?', header))

    def rows(self):
        """(request or nothing, code, cause or nothing, hint) of the code."""
        source = without_comments(self.source)
        known = {**macros(text_of('include/system/nitro-hints.h')),
                 **macros(text_of('accel/nitro/ne.h') + source)}
        source = source.partition('rows[] = {')[2].partition('\n};')[0]
        for match in re.finditer(r'\b(CODE|PLAIN)(_AT)?\(', source):
            parts = [p.strip() for p in arguments(source, match.end() - 1)]
            request = parts.pop(0) if match.group(2) else ''
            code = parts.pop(0)
            if match.group(1) == 'CODE':
                code = 'NE_ERR_' + code
            cause, hint = (join_strings(p, known) for p in parts)
            yield request, code, cause, hint

    def label(self, request, code):
        """First column of the manual's table."""
        words = f'{self.numbers[code]} {code}' if code in self.numbers \
            else code
        return words + (f' at {self.request(request)}' if request else '')

    def request(self, name):
        """The request's name as messages have it."""
        return re.search(r'\[NE_REQUEST_%s\] = "(\w+)"' % name,
                         self.source).group(1)

    def test_table(self):
        code = [[self.label(request, code),
                 cause or os.strerror(getattr(errno, code)), hint]
                for request, code, cause, hint in self.rows()]
        self.assertGreater(len(code), 50)
        manual = [row for row in table('nitro-driver-errors', MESSAGES)
                  if row[0] != 'Error']
        self.maxDiff = None
        for row in code:
            with self.subTest(row[0]):
                self.assertIn(row, manual)
        for row in manual:
            with self.subTest(row[0]):
                self.assertIn(row, code)

    def test_all_codes(self):
        for code in self.numbers:
            with self.subTest(code):
                self.assertIn(code, section('nitro-driver-errors', MESSAGES))


class Sphinx(unittest.TestCase):
    """The manual is built from our pages without a complaint."""

    # More than half of the manual; nothing of ours is there or refers to it
    OTHERS = ('devel/**', 'user/**', 'specs/**', 'about/**',
              'interop/qemu-ga-ref.rst',
              'interop/qemu-storage-daemon-qmp-ref.rst', 'system/arm/**',
              'system/riscv/**', 'system/ppc/**', 'system/openrisc/**')

    def build(self, kind):
        """Complaints of sphinx-build about pages of ours."""
        said = manual.make(BUILD, kind, fresh=kind == 'html',
                           without=self.OTHERS)
        return [line for line in said.splitlines()
                if re.search('nitro|eif', line)]

    def test_pages(self):
        """HTML of every page, then the manual pages of our programs."""
        new, _ = tree.overlay_files(REPO)
        pages = [n for n in new if re.fullmatch(r'docs/.*\.rst', n)]
        self.assertGreater(len(pages), 5)
        self.assertEqual(self.build('html'), [])
        for name in pages:
            with self.subTest(name):
                self.assertTrue(os.path.exists(os.path.join(
                    manual.directory(BUILD, 'html'), name[5:-4] + '.html')))
        self.assertEqual(self.build('man'), [])
        for name in pages:
            if name.startswith('docs/tools/'):
                page = os.path.basename(name)[:-4] + '.1'
                with self.subTest(page):
                    self.assertTrue(os.path.exists(os.path.join(
                        manual.directory(BUILD, 'man'), page)))


class Maintainers(unittest.TestCase):
    """MAINTAINERS names every new file, and no file that is not there."""

    def setUp(self):
        self.new, self.edits = tree.overlay_files(REPO)
        self.patterns = re.findall(r'(?m)^\+F: (\S+)$',
                                   text_of('MAINTAINERS.patch'))

    @staticmethod
    def covers(line, name):
        """Whether an F: line names a file, as get_maintainer.pl sees it."""
        if line.endswith('/'):
            return name.startswith(line) or fnmatch.fnmatch(name, line + '*')
        return fnmatch.fnmatch(name, line) and \
            name.count('/') == line.count('/')

    def test_every_file_is_covered(self):
        for name in self.new:
            with self.subTest(name):
                self.assertTrue(any(self.covers(p, name)
                                    for p in self.patterns))

    def test_every_line_is_needed(self):
        for line in self.patterns:
            with self.subTest(line):
                self.assertTrue(any(self.covers(line, n)
                                    for n in self.new))

    def test_nobody_is_named(self):
        self.assertNotRegex(text_of('MAINTAINERS.patch'), r'(?m)^\+[MR]:')
