# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: enclaves are domains of Debian's libvirt, as it comes."""

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from nitro_parent import ScopedTest, config

from nitro_lab.arch import GUEST
from nitro_lab.libvirt import SUITES, Release

EXAMPLES = Path(config.TREE, 'docs/system/nitro-libvirt')


def example(name, arch=GUEST.name):
    """An example of the manual."""
    return (EXAMPLES / ('%s-%s.xml' % (name, arch))).read_text()


class Examples(ScopedTest):
    """The examples are valid for each libvirt."""

    def validate(self, release, path):
        """virt-xml-validate of a release."""
        return subprocess.run(
            ['sh', '-c', release.validator(), 'virt-xml-validate', path],
            text=True, check=False, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def test_schema(self):
        """Every example, and one with a mistake."""
        paths = sorted(EXAMPLES.glob('*.xml'))
        self.assertGreaterEqual(len(paths), 10)
        bad = Path(self.scratch_file('bad.xml'))
        bad.write_text(example('eif').replace('hugepages', 'largepages'))
        for suite in SUITES:
            release = Release(suite)
            for path in paths:
                run = self.validate(release, path)
                self.assertEqual(run.returncode, 0, run.stdout)
            run = self.validate(release, bad)
            self.assertIn('memoryBacking', run.stdout)
            self.assertNotEqual(run.returncode, 0)

    def test_pairs(self):
        """Each is there for both architectures, and boots alike."""
        names = {path.stem.rpartition('-')[::2]
                 for path in EXAMPLES.glob('*.xml')}
        self.assertEqual({arch for _, arch in names}, {'x86_64', 'aarch64'})
        for name, _ in names:
            both = [ElementTree.fromstring(example(name, arch))
                    for arch in ('x86_64', 'aarch64')]
            for tag in ('name', 'memory', 'vcpu', 'on_crash', 'on_poweroff'):
                first, second = (root.findtext(tag) for root in both)
                self.assertEqual(first, second, name)
