# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Our Python programs refuse an option that is given twice.

nitro-run needs the composed tree: tests/functional/test_nitro_run.py has its
test.
"""

import os
import subprocess
import unittest

from testing import OVERLAY

FUZZ = '../tests/nitro/fuzz/fuzz'
LAB = '../contrib/nitro-lab/nitro-lab'
# Program, words before the option, the option (with a value: '--name=value')
TWICE = (
    ('check-series', '', '--jobs=1'), ('check-series', '', '--full'),
    ('check-tree', '', '--summary=/nowhere/a'),
    ('compose', '', '--force'), ('deb', '', '--try'),
    ('refresh', '', '--base=/nowhere'), ('run-tests', '', '--out=/nowhere'),
    ('series', '', '--summary=/nowhere/a'),
    (FUZZ, '', '--seconds=1'), (FUZZ, '', '--summary=/nowhere/a'),
    (LAB, 'run', '--mem=1'), (LAB, 'run', '--debug=on'),
    (LAB, 'fetch', '--refresh'), (LAB, 'parent', '--cpus=1'),
    (LAB, 'check', '--jobs=1'), (LAB, 'bench', '--runs=1'),
    (LAB, 'soak', '--seed=1'), (LAB, 'load', '--every=1'),
)


class Once(unittest.TestCase):
    """Each program, each kind of option."""

    def test_twice(self):
        """The second occurrence is refused before anything is done."""
        for program, words, option in TWICE:
            with self.subTest(program=program, option=option):
                run = subprocess.run(
                    [os.path.join(OVERLAY, program), *words.split(), option,
                     option], check=False, stderr=subprocess.PIPE, text=True)
                self.assertEqual(run.returncode, 2, run.stderr)
                self.assertIn(option.partition('=')[0] + ': given more than '
                              'once', run.stderr)

    def test_lists(self):
        """Options that collect values are no mistake."""
        run = subprocess.run(
            [os.path.join(OVERLAY, 'check-series'), '--option=a',
             '--option=b', '--help'], check=False, stdout=subprocess.PIPE)
        self.assertEqual(run.returncode, 0)
