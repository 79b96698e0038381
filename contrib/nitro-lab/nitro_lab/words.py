# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What words of the command line can be.

argparse applies these types to defaults as well, which come from environment
variables, but checks only what was typed against 'choices'.
"""

import argparse


def text(word):
    """Anything but nothing."""
    if not word:
        raise argparse.ArgumentTypeError('an empty word names nothing')
    return word


def switch(word):
    """on or off."""
    if word not in ('on', 'off'):
        raise argparse.ArgumentTypeError("'%s' is neither on nor off" % word)
    return word


def number(least):
    """A whole number, not less than @least."""
    def parse(word):
        if not word.isascii() or not word.lstrip('-').isdecimal():
            raise argparse.ArgumentTypeError("'%s' is not a whole number"
                                             % word)
        if int(word) < least:
            raise argparse.ArgumentTypeError('%s is less than %d, which is'
                                             ' the least' % (word, least))
        return int(word)

    return parse


some, any_number = number(1), number(0)
