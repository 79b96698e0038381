# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What commands have in common: what is made and where, options, ends."""

import json
import os
import sys

import streams
import tree

HYPERVISOR = 'contrib/nitro-hypervisor/nitro-hypervisor'
TOOLS = ('tools/eif/qemu-eif', 'tools/nsm/qemu-nsm')
# Paths below a build directory, which ninja takes as targets
PROGRAMS = ('qemu-system-x86_64', 'qemu-system-aarch64', HYPERVISOR,
            'contrib/nitro-init/nitro-init',
            'contrib/nitro-lab/enclave/nitro-demo-init', *TOOLS)


def directory():
    """Where everything is made: $BUILD, or build in the repository."""
    return os.path.abspath(os.environ.get('BUILD') or
                           os.path.join(tree.repository(), 'build'))


def add_tree_options(parser):
    """Options of a command that works on a composed tree."""
    parser.add_argument('--base', default=os.path.join(directory(), 'base'),
                        help='unpacked QEMU source (build/base)')
    parser.add_argument('--out', default=os.path.join(directory(), 'qemu'),
                        help='composed tree (build/qemu)')


def summarize(path, passed, failed, skipped=0):
    """Write totals for overlay/job, if it wants them."""
    if path:
        with open(path, 'w', encoding='utf-8') as f:
            json.dump({'passed': passed, 'failed': failed,
                       'skipped': skipped}, f)


def run(name, main):
    """Run a command; what it refuses ends it with cause and remedy."""
    def checked():
        try:
            return main()
        except tree.TreeError as error:
            sys.exit(f'{name}: {error}\n{name}: {error.remedy}')
    streams.run(name, checked)
