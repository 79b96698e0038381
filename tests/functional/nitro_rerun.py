# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Run a scenario once more when the emulated machine under it stood still.

Seen on both architectures: all CPUs of an emulated parent sleep, and its agent
does not answer any more.  One cause is mended, see system/physmem.c.  For any
other, a scenario that met this is run again in a new parent, once, and a line
reports it; a second time is a failure.
"""

import sys
import unittest


class _Recorder:
    """Takes what a test reports, to pass it on later or never."""

    failfast = False

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        return lambda *args: self.calls.append((name, args))

    def replay(self, result):
        """Report all of it."""
        for name, args in self.calls:
            if hasattr(result, name):
                getattr(result, name)(*args)


class RerunTest(unittest.TestCase):
    """A test whose machine may stand still."""

    stood_still = False     # set by a test that found its machine so

    def run(self, result=None):
        """Run; once more if the machine stood still."""
        result = result if result is not None else self.defaultTestResult()
        first = _Recorder()
        self.stood_still = False
        super().run(first)
        if self.stood_still:
            print('# %s: its parent stood still, see above; once more'
                  % self.id(), file=sys.__stderr__, flush=True)
            super().run(result)
        else:
            first.replay(result)
        return result
