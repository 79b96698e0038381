# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Tests of the report on failed tests, from logs of each kind."""

import tempfile
import unittest

import failures

# A file of functional tests; what unittest prints stands before each result
FUNCTIONAL = '''\
TAP version 13
# parent up                            6.8 s
# test_good                            1.0 s
ok 1 nitro_one.One.test_good
# parent up                            5.7 s
# port 9000                 busy  DIFFERS
Traceback (most recent call last):
  File "tests/functional/nitro_one.py", line 41, in test_bad
    self.assertTrue(False)
AssertionError: no enclave after 30.2 s

not ok 2 nitro_one.One.test_bad
# test_bad                             6.7 s
ok 3 nitro_one.One.test_fine
1..3
More information on nitro_one.One.test_bad could be found here:
 build/out/tests/functional/nitro_one.One.test_bad/base.log
'''
PORT = '''\
# port 9000                 busy  DIFFERS
Traceback (most recent call last):
  File "tests/functional/nitro_one.py", line 41, in test_bad
    self.assertTrue(False)
AssertionError: no enclave after 30.2 s

not ok 2 nitro_one.One.test_bad
# test_bad                             6.7 s'''
# Two programs as overlay/run-tests shows them
PROGRAMS = '''\
test-eif                                         ok    13 passed    0.1 s
test-nitro-ne                                FAILED     1 passed    0.2 s
TAP version 14
1..3
ok 1 /ne/open
**
ERROR:../tests/unit/test-nitro-ne.c:12:test_start: 'done' should be TRUE
not ok 2 /ne/start - ERROR:../tests/unit/test-nitro-ne.c:12:test_start
Bail out!
  failed: /ne/start - ERROR:../tests/unit/test-nitro-ne.c:12:test_start
  full log: build/logs/unit/test-nitro-ne.log
test-nitro-pool                              FAILED     1 passed    0.2 s
TAP version 14
ok 1 /pool/a
==7==ERROR: AddressSanitizer: heap-use-after-free
  failed: test-nitro-pool: program ended with status -6
  full log: build/logs/unit/test-nitro-pool.log
14 passed, 2 failed, 0 skipped
'''
UNITTEST = f'''\
test_a (test_x.X.test_a) ... FAIL
test_b (test_x.X.test_b) ... ok
test_c (test_x.X.test_c) ... ERROR

{'=' * 70}
FAIL: test_a (test_x.X.test_a)
{'-' * 70}
Traceback (most recent call last):
  File "overlay/test_x.py", line 3, in test_a
    self.assertEqual(1, 2)
AssertionError: 1 != 2

{'=' * 70}
ERROR: test_c (test_x.X.test_c)
{'-' * 70}
Traceback (most recent call last):
KeyError: 'c'

{'-' * 70}
Ran 3 tests in 0.1s

FAILED (failures=1, errors=1)
'''


def read(text):
    """Failures in a log with that text."""
    with tempfile.NamedTemporaryFile('w', suffix='.log') as log:
        log.write(text)
        log.flush()
        return failures.read(log.name)


def names(text):
    """Names of what a log calls failed."""
    return [failure.name for failure in read(text)]


def told(text, **more):
    """The report on a log."""
    return '\n'.join(failures.tell(read(text), **more)).strip()


class Kinds(unittest.TestCase):
    """Each kind of report says what failed and why, and little else."""

    def test_functional(self):
        self.assertEqual(names(FUNCTIONAL), ['nitro_one.One.test_bad'])
        self.assertEqual(told(FUNCTIONAL).partition('\n')[2], PORT)

    def test_programs(self):
        text = told(PROGRAMS)
        self.assertEqual(names(PROGRAMS), [
            '/ne/start - ERROR:../tests/unit/test-nitro-ne.c:12:test_start',
            'test-nitro-pool: program ended with status -6'])
        self.assertIn("\nERROR:../tests/unit/test-nitro-ne.c:12:test_start: "
                      "'done' should be TRUE\nnot ok 2 /ne/start", text)
        self.assertIn('\nBail out!\n\n==7==ERROR: AddressSanitizer', text)

    def test_same_name_in_two_programs(self):
        twice = ('a  FAILED  0 passed\nnot ok 1 /x\n  failed: /x\n'
                 'b  FAILED  0 passed\nnot ok 1 /x\n  failed: /x\n')
        self.assertEqual(names(twice), ['/x', '/x'])

    def test_unittest(self):
        text = told(UNITTEST)
        self.assertEqual(names(UNITTEST), ['test_a (test_x.X.test_a)',
                                           'test_c (test_x.X.test_c)'])
        self.assertTrue(text.startswith('FAIL: test_a'), text)
        self.assertIn("\nAssertionError: 1 != 2\n\nERROR: test_c", text)
        self.assertNotIn('Ran 3 tests', text)

    def test_program_that_died(self):
        """A file of tests may end before its first test."""
        died = ('Traceback (most recent call last):\n  File "x.py"\n'
                'ImportError: no y\n')
        for text in (died, died
                     + 'TAP version 13\nok 1 a\n1..1\n'):
            self.assertEqual(names(text), ['ImportError: no y'])
            self.assertEqual(told(text), died.strip())

    def test_nothing_failed(self):
        self.assertEqual(names('TAP version 13\nok 1 a\n1..1\nWords\n'), [])
        self.assertEqual(told(''), '')


class Short(unittest.TestCase):
    """Many failures are reported in few lines."""

    def test_same_reason(self):
        """Numbers that vary are no other reason; other words are."""
        again = FUNCTIONAL.replace('test_bad', 'test_too').replace(
            '30.2', '31.9')
        text = told(FUNCTIONAL + again)
        self.assertTrue(text.endswith(
            '\n\nnitro_one.One.test_too: for the same reason'), text)
        other = again.replace('no enclave', 'no parent')
        self.assertIn('AssertionError: no parent', told(FUNCTIONAL + other))

    def test_long_report(self):
        """The end of a long report is shown, where the reason stands."""
        text = told('\n'.join(map(str, range(1000))) + '\nnot ok 1 a\n')
        lines = text.split('\n')
        self.assertEqual(len(lines), failures.MOST_OF_ONE)
        self.assertEqual(lines[0], '[957 lines left out]')
        self.assertEqual(lines[-2:], ['999', 'not ok 1 a'])

    def test_many(self):
        text = told(''.join(f'said {i}\nnot ok {i} t{i}\n'
                            for i in range(100)), most=30)
        self.assertLessEqual(text.count('\n'), 32)
        self.assertTrue(text.endswith('\n\n[91 more failed]'), text)
        self.assertIn('said 8\n', text)
