# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab check: the functional tests, with times and totals."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from . import accel, images, packages, python
from .arch import GUEST
from .config import BUILD, CACHE, HERE, OUT, TREE, LabError

SKIPPED = re.compile(r'ok \d+ (\S+).*# SKIP (.*)')
# Files that take longest, in their order; one at the end would run alone
LONG = ('libvirt', 'launches', 'runner', 'soak', 'life', 'refusals', 'crash',
        'channels', 'systemd', 'init', 'net', 'reboot', 'manual')
# What a file reports that has no test of the names that are wanted
NOTHING = ['TAP version 13', '1..0']


def _scripts():
    """Files of tests; which of them apply to ARCH, they know themselves."""
    directory = TREE / 'tests' / 'functional'
    scripts = sorted(directory.glob('test_nitro_*.py'))
    if len(scripts) < 3:
        raise LabError('no tests in %s' % directory)
    first = [directory / ('test_nitro_%s.py' % name) for name in LONG]
    return first + [script for script in scripts if script not in first]


def _environment(only):
    python = [BUILD / 'qemu' / 'python', BUILD / 'qemu/tests/functional',
              CACHE / 'python', HERE]
    old = os.environ.get('PYTHONPATH')
    return dict(os.environ,
                PYTHONPATH=':'.join(map(str, python)) + (
                    ':' + old if old else ''),
                PYTHONDONTWRITEBYTECODE='1',
                QEMU_TEST_QEMU_BINARY=str(images.emulator()),
                QEMU_BUILD_ROOT=str(OUT), BUILD=str(BUILD),
                NITRO_TESTS=' '.join(only))


def _by_reason(skipped):
    """(reason, names) of (name, reason), in the order of the reasons."""
    names = {}
    for name, reason in skipped:
        names.setdefault(reason, []).append(name)
    return names.items()


class Totals:
    """What the test programs have reported."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, []

    def line(self, text):
        """One line of a report."""
        skipped = SKIPPED.match(text)
        if skipped:
            name, reason = skipped.groups()
            self.skipped.append((name.partition('.')[2], reason))
        elif text.startswith('ok '):
            self.passed += 1
        elif text.startswith('not ok '):
            self.failed += 1

    def counts(self):
        """As the jobs of the Makefile add them up."""
        return {'passed': self.passed, 'failed': self.failed,
                'skipped': len(self.skipped)}

    def show(self):
        """What was left out and why, then the numbers."""
        if self.skipped:
            print('\nnot on this %s parent:' % GUEST.name)
        for reason, names in _by_reason(self.skipped):
            print('  %s: %s' % (', '.join(names), reason))
        print('%s: %d passed, %d failed, %d skipped' % (
            GUEST.name, self.passed, self.failed, len(self.skipped)))


def _run(script, only):
    """One test file; returns its exit status and its report."""
    process = subprocess.run(
        [sys.executable, script], env=_environment(only), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors='replace',
        check=False)
    return process.returncode, process.stdout


def _show(status, report, totals):
    """Print a report and count its lines."""
    failed = totals.failed
    if report.splitlines() != NOTHING:
        print(report, end='', flush=True)
    for line in report.splitlines():
        totals.line(line)
    if status and totals.failed == failed:
        totals.failed += 1


def _jobs(wanted):
    """Test files at once: a parent of its own keeps little more than a CPU
    busy."""
    return wanted or min(2, os.cpu_count())


def check(args):
    """Run all functional tests."""
    packages.fetch()
    packages.extra(python.PACKAGES)
    images.build_all()
    accel.chosen()      # an error is better once than from each test
    totals = Totals()
    with ThreadPoolExecutor(_jobs(args.jobs)) as pool:
        runs = [pool.submit(_run, script, args.only)
                for script in _scripts()]
        for run in as_completed(runs):
            _show(*run.result(), totals)
    if args.summary:
        Path(args.summary).write_text(json.dumps(totals.counts()))
    totals.show()
    return 1 if totals.failed or not totals.passed else 0
