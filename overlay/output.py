# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What is made of the tree, and where: names that jobs have in common."""

import os

import tree

EMULATORS = ('qemu-system-x86_64', 'qemu-system-aarch64')
HYPERVISOR = 'contrib/nitro-hypervisor/nitro-hypervisor'
INIT = 'contrib/nitro-init/nitro-init'
DEMO_INIT = 'contrib/nitro-lab/enclave/nitro-demo-init'
TOOLS = ('tools/eif/qemu-eif', 'tools/nsm/qemu-nsm')
# Paths below a build directory, which ninja takes as targets
PROGRAMS = (*EMULATORS, HYPERVISOR, INIT, DEMO_INIT, *TOOLS)


def directory():
    """Where everything is made: $BUILD, or build in the repository."""
    return os.path.abspath(os.environ.get('BUILD') or
                           os.path.join(tree.repository(), 'build'))
