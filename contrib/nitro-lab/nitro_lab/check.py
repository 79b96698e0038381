# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab check: the functional tests, with times and totals."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from . import images, packages
from .config import BUILD, CACHE, HERE, OUT, TREE, LabError

TESTS = ('test_nitro_lab.py', 'test_x86_64_nitro_parent.py',
         'test_x86_64_nitro_refusals.py', 'test_x86_64_nitro_manual.py')


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


def _run(script, only, totals):
    """One test file; counts the lines of its report."""
    process = subprocess.Popen(
        [sys.executable, script], env=_environment(only), text=True,
        stdout=subprocess.PIPE, errors='replace')
    for line in process.stdout:
        print(line, end='', flush=True)
        if re.match(r'ok .*# SKIP', line, re.I):
            totals['skipped'] += 1
        elif line.startswith('ok '):
            totals['passed'] += 1
        elif line.startswith('not ok '):
            totals['failed'] += 1
    if process.wait() and not totals['failed']:
        totals['failed'] += 1


def check(args):
    """Run all functional tests."""
    packages.fetch()
    images.build_all()
    totals = {'passed': 0, 'failed': 0, 'skipped': 0}
    for name in TESTS:
        script = TREE / 'tests/functional' / name
        if not script.exists():
            raise LabError('no %s' % script)
        _run(Path(script), args.only, totals)
    if args.summary:
        Path(args.summary).write_text(json.dumps(totals))
    print('%(passed)d passed, %(failed)d failed, %(skipped)d skipped'
          % totals)
    return 1 if totals['failed'] or not totals['passed'] else 0
