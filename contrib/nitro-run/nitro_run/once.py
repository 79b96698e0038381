# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Command lines on which an option counts once.

All programs of the project use this parser, also those beside nitro-run.
"""

import argparse


def _once(base):
    """The action, refusing a second occurrence of its option."""
    class Once(base):
        """One option of one command line."""

        def __call__(self, parser, namespace, values, option_string=None):
            if option_string:
                if self in parser.given:
                    raise argparse.ArgumentError(
                        self, 'given more than once')
                parser.given.add(self)
            super().__call__(parser, namespace, values, option_string)

    return Once


class OnceParser(argparse.ArgumentParser):
    """argparse lets the last value win, which hides mistakes in scripts.

    Options that collect values (action 'append') can be repeated.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.given = set()
        for name in None, 'store', 'store_const', 'store_true', 'store_false':
            self.register('action', name,
                          _once(self._registry_get('action', name)))

    def parse_known_args(self, args=None, namespace=None):
        """Parse one command line."""
        self.given.clear()
        return super().parse_known_args(args, namespace)
