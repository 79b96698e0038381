# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What tests of the commands in this directory have in common."""

import importlib.machinery
import importlib.util
import os
import unittest

import tree

OVERLAY = os.path.dirname(os.path.abspath(__file__))


def command(name):
    """A command of this directory as a new module."""
    loader = importlib.machinery.SourceFileLoader(
        name.replace('-', '_') + '_command', os.path.join(OVERLAY, name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class RefusalCase(unittest.TestCase):
    """A test case that looks for words of a TreeError."""

    def assert_refused(self, cause, remedy, call):
        """`call` raises a TreeError with these words in it."""
        with self.assertRaises(tree.TreeError) as caught:
            call()
        self.assertIn(cause, str(caught.exception))
        self.assertIn(remedy, caught.exception.remedy)
