#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: an enclave whose kernel resets itself ends.

Images made for Nitro Enclaves have reboot=k and panic=30 on their command
line, and their first program ends with reboot(): that is how an enclave ends.
"""

from nitro_parent import AWS_CMDLINE, NitroParentTest, ScopedTest, only_wanted

from nitro_lab.arch import GUEST

FIRST_WORDS = 'demo: init started'
# How Linux resets an x86 machine; an arm64 kernel asks its firmware
WORDS = {'x86_64': 'ktbap', 'aarch64': 'k'}[GUEST.name]
# With ACPI tables the kernel tries their reset register, too
ACPI_WORDS = 'kab'
NOW = 'demo.mode=%s demo.seconds=0'


class Reboot(NitroParentTest):
    """Each word of reboot=, and panic=."""

    def end_of(self, *words, debug='on'):
        """Boot with these words, wait for the end; returns the console."""
        complaints = self.parent.complaints()
        launch = self.start(self.arguments(
            '-M', 'heartbeat=off', *self.direct(*words), image=None,
            debug=debug))
        self.end(launch)
        self.assertEqual(self.parent.complaints(), complaints)
        return launch.job.output.decode(errors='replace')

    def ends(self, last_words, *words):
        """It boots once, and nothing comes after these last words."""
        with self.case(' '.join(words)):
            text = self.end_of(*words)
            self.assertEqual(text.count(FIRST_WORDS), 1, text)
            self.assertIn(last_words, text.rpartition(FIRST_WORDS)[2])

    def test_words(self):
        """Without ACPI tables, as pci=off asks the hypervisor for."""
        for word in WORDS:
            self.ends('demo: reset', 'pci=off', 'reboot=' + word,
                      NOW % 'reboot')

    def test_words_acpi(self):
        """With ACPI, as distributions' kernels are."""
        for word in ACPI_WORDS:
            self.ends('demo: reset', 'reboot=' + word, NOW % 'reboot')

    def test_panic(self):
        """A panic, with the command line that AWS's tools write."""
        self.ends('Attempted to kill init',
                  AWS_CMDLINE.replace('ttyS0', GUEST.console), 'panic=1',
                  NOW % 'crash')

    def test_production(self):
        """Without debug mode there is no console, but the same end."""
        self.end_of('reboot=k', NOW % 'reboot', debug='off')


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
