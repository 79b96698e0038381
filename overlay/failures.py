# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What a log of tests says about those that failed.

Knows the logs of jobs: TAP with whatever a test prints before its line, the
reports of overlay/run-tests, and those of Python's unittest.
"""

import itertools
import re

# Lines of all failed tests in a report; one test has fewer
MOST = 150
MOST_OF_ONE = 45

# Between two of these stands what one test has printed
BOUNDARY = re.compile(r'ok \d+\b|TAP version|1\.\.\d+|'
                      r'\S+ +(?:ok|FAILED) +\d+ passed')
NOT_OK = re.compile(r'not ok (?:\d+ )?(.*)')
PROGRAM = re.compile(r' +failed: (.*)')
UNITTEST = re.compile(r'(?:FAIL|ERROR): (.*)')
ENDS_UNITTEST = re.compile(r'={70}|Ran \d+ test')
AFTERWARDS = re.compile(r'#|Bail out!')
# How a message begins, and what is another each time
ERROR = re.compile(r'[\w.]*(?:Error|ERROR|Exception|Expired)\b')
VARIES = re.compile(r'0x[0-9a-f]+|\d+\.\d+')


class Failure:
    """A test that failed, and the lines about it."""

    def __init__(self, name, lines):
        self.name = name
        self.lines = lines

    def cause(self):
        """What failed tests of one cause have in common, or nothing."""
        said = list(itertools.takewhile(
            lambda line: not NOT_OK.match(line) and not PROGRAM.match(line),
            self.lines))
        starts = [i for i, line in enumerate(said) if ERROR.match(line)]
        if not starts:
            return None
        return [VARIES.sub('', line) for line in said[starts[-1]:]
                if line.strip('-= ')]


class Reader:
    """Goes through a log line by line and collects failures."""

    def __init__(self):
        self.failures = []
        self.names = set()
        self.pending = []
        self.last = ''
        self.in_unittest = False

    def found(self, name, line):
        """A test of that name failed; what it printed is pending."""
        plain = name.partition(' - ')[0]
        if NOT_OK.match(line) or plain not in self.names:
            self.failures.append(Failure(name, self.pending + [line]))
        self.names.add(plain)
        self.pending = []

    def from_unittest(self, line):
        """Whether a line belongs to the report of a test of unittest."""
        named = UNITTEST.match(line)
        if named and re.fullmatch('={70}', self.last):
            self.in_unittest = True
            self.failures.append(Failure(named.group(1), [line]))
        elif ENDS_UNITTEST.match(line):
            self.in_unittest = False
        elif self.in_unittest:
            self.failures[-1].lines.append(line)
        return self.in_unittest

    def from_tap(self, line):
        """A line of TAP, or of overlay/run-tests, or of what a test says."""
        failed = NOT_OK.match(line) or PROGRAM.match(line)
        if failed:
            self.found(failed.group(1), line)
        elif BOUNDARY.match(line):
            if line.startswith('TAP version'):
                self.end()
            self.pending = []
        elif AFTERWARDS.match(line) and NOT_OK.match(self.last):
            self.failures[-1].lines.append(line)
            return
        else:
            self.pending.append(line)
        self.last = line

    def end(self):
        """A program is at its end, which may have come early."""
        died = [i for i, line in enumerate(self.pending)
                if line.startswith('Traceback ')]
        if died:
            lines = list(itertools.takewhile(bool, self.pending[died[-1]:]))
            self.failures.append(Failure(lines[-1], lines))

    def line(self, line):
        """One line of the log."""
        if self.from_unittest(line):
            self.last = line
        else:
            self.from_tap(line)


def read(path):
    """The failures in a log, in its order."""
    reader = Reader()
    with open(path, encoding='utf-8', errors='replace') as f:
        for line in f:
            reader.line(line.rstrip())
    reader.end()
    return reader.failures


def shortened(lines, most):
    """The last lines, after a word on how many are left out."""
    lines = '\n'.join(lines).strip('\n').split('\n')
    if len(lines) <= most:
        return lines
    return [f'[{len(lines) - most + 1} lines left out]'] + lines[1 - most:]


def tell(found, most=MOST):
    """Lines to print about failures; of one cause, the first in full."""
    result, causes = [], []
    for number, failure in enumerate(found):
        cause = failure.cause()
        lines = ['', f'{failure.name}: for the same reason'] \
            if cause and cause in causes \
            else [''] + shortened(failure.lines, MOST_OF_ONE)
        if len(result) + len(lines) >= most:
            return result + ['', f'[{len(found) - number} more failed]']
        result += lines
        causes.append(cause)
    return result
