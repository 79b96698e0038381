# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What tests of the commands in this directory have in common."""

import importlib.machinery
import importlib.util
import os
import shutil
import tempfile
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


class Case(unittest.TestCase):
    """A test case with a directory that looks for words of a TreeError."""

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix='nitro-overlay-')
        self.addCleanup(shutil.rmtree, self.top)

    def write(self, name, text, mode=0o644):
        """Write a file below that directory."""
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)

    def assert_refused(self, cause, remedy, call):
        """`call` raises a TreeError with these words in it."""
        with self.assertRaises(tree.TreeError) as caught:
            call()
        self.assertIn(cause, str(caught.exception))
        self.assertIn(remedy, caught.exception.remedy)
