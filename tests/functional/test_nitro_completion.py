#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Completion in bash: what is offered for a line that was begun."""

import subprocess

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted

from nitro_lab import config

CONTRIB = config.TREE / 'contrib'
RUN = CONTRIB / 'nitro-run' / 'nitro-run'
LAB = CONTRIB / 'nitro-lab' / 'nitro-lab'
EIF = config.OUT / 'tools' / 'eif' / 'qemu-eif'
NSM = config.OUT / 'tools' / 'nsm' / 'qemu-nsm'
HYPERVISOR = (config.OUT / 'contrib' / 'nitro-hypervisor'
              / 'nitro-hypervisor')
SCRIPT = '''. "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_nitro_complete "$1" "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
complete -p nitro-run nitro-lab nitro-hypervisor qemu-eif qemu-nsm \\
    > /dev/null'''


class Completion(QemuBaseTest):
    """Each program, its commands, their options."""

    def offers(self, *words):
        """What bash offers for the last of these words."""
        run = subprocess.run(
            ['bash', '-uc', SCRIPT, 'bash',
             CONTRIB / 'nitro-run' / 'completion.bash', *words],
            check=True, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.assertEqual(run.stderr, '')
        return run.stdout.split()

    def test_commands(self):
        """All commands, or those that begin so."""
        self.assertEqual(self.offers(RUN, ''), [
            'run-enclave', 'run', 'describe-enclaves', 'terminate-enclave',
            'console', 'doctor', 'selftest', 'images', 'prune', 'lab', 'ps',
            'logs', 'wait', 'stop', 'inspect', 'rm', 'relay', 'build-enclave'])
        self.assertEqual(self.offers(RUN, 't'), ['terminate-enclave'])
        self.assertEqual(self.offers(EIF, ''), [
            'build', 'describe', 'diff', 'extract', 'pcr', 'sign',
            'verify'])
        self.assertEqual(self.offers(NSM, ''), ['show', 'verify'])
        self.assertLessEqual({'run', 'parent', 'check', 'soak'},
                             set(self.offers(LAB, '')))

    def test_options(self):
        """Those of the command, or of the program before it."""
        self.assertEqual(self.offers(RUN, 'run-enclave', '--cpu'),
                         ['--cpu-count', '--cpu-ids'])
        self.assertEqual(self.offers(RUN, '--run'), ['--runtime-dir'])
        self.assertEqual(self.offers(RUN, 'terminate-enclave', '--a'),
                         ['--all'])
        self.assertEqual(self.offers(EIF, 'build', '--k'), ['--kernel'])
        self.assertEqual(self.offers(NSM, 'verify', '--no'), ['--nonce'])
        self.assertEqual(self.offers(LAB, 'run', '--e'), ['--eif'])
        self.assertEqual(self.offers(HYPERVISOR, '--parent-i'),
                         ['--parent-id'])

    def test_files(self):
        """The value of an option is left to bash, which knows files."""
        self.assertEqual(self.offers(RUN, 'run-enclave', '--eif-path', ''),
                         [])


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
