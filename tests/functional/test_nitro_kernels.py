#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: a parent and enclaves with other kernels of the distribution."""

from nitro_parent import NitroParentTest, ScopedTest, images, only_named

from nitro_lab import kernels
from nitro_lab.arch import GUEST

META = 'linux-image-cloud-%s' % GUEST.debian
# Has neither the driver nor that of the security module
OLDER = META + '/bookworm'
NEWER = META + '/trixie-backports'
USUAL_IMAGE, OLD_IMAGE, NEW_IMAGE = ('/lab/%s.eif' % name for name in (
    'usual', 'old', 'new'))


def telling_image(kernel):
    """A demo enclave whose kernel says its release."""
    with kernels.using(kernel):
        return images.demo_image('telling', 'ignore_loglevel')


class NewerKernel(NitroParentTest):
    """A parent with the newest kernel."""

    @classmethod
    def parent_files(cls):
        return {**super().parent_files(),
                USUAL_IMAGE: telling_image(None),
                OLD_IMAGE: telling_image(cls.older),
                NEW_IMAGE: telling_image(cls.newer)}

    @classmethod
    def start_parent(cls):
        cls.older, cls.newer = map(kernels.find, (OLDER, NEWER))
        with kernels.using(cls.newer):
            return super().start_parent()

    def boots(self, image, release):
        """An enclave of the image has this kernel, and serves."""
        launch = self.boot(image=image)
        self.console(launch, 'demo: serving')
        self.assertIn('Linux version %s ' % release, launch.job.text())
        self.assertEqual(self.stop(launch), 0)

    def test_parent(self):
        """Its driver launches what the usual one launches."""
        self.assertEqual(self.parent.check(['uname', '-r']).strip(),
                         self.newer.release)
        self.boots(USUAL_IMAGE, kernels.current().release)

    def test_new_enclave(self):
        """The newest kernel in an enclave."""
        self.boots(NEW_IMAGE, self.newer.release)

    def test_old_enclave(self):
        """Debian 12's, which has no driver of the security module."""
        self.boots(OLD_IMAGE, self.older.release)


load_tests = only_named

if __name__ == '__main__':
    ScopedTest.main()
