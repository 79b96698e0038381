#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Recipe and manifest for containers, without building or running any."""

import re
import shlex
import subprocess

import yaml

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted

from nitro_lab import config
from nitro_lab.arch import HOST

HERE = config.TREE / 'contrib' / 'kubernetes'
PACKAGES = HERE / 'runtime-packages'
QEMU = config.OUT / ('qemu-system-' + HOST.name)
DEVICE = 'aws.ec2.nitro/nitro_enclaves'
UNITS = {'Mi': 1, 'Gi': 1024, 'M': 1, 'G': 1024}


def mebibytes(text):
    """A size of Kubernetes or of QEMU."""
    number, unit = re.fullmatch(r'(\d+)(\w+)', text).groups()
    return int(number) * UNITS[unit]


def recipe():
    """Instructions of the Containerfile, as (name, rest)."""
    text = re.sub(r'(?m)^#.*\n', '', (HERE / 'Containerfile').read_text())
    for line in text.replace('\\\n', ' ').splitlines():
        if line.strip():
            yield line.split(maxsplit=1)


def commands():
    """Command lines of a container: by itself, and in a pod."""
    parts = {name: yaml.safe_load(rest) for name, rest in recipe()
             if name in ('ENTRYPOINT', 'CMD')}
    pod, = yaml.safe_load((HERE / 'enclave.yaml').read_text())[
        'spec']['template']['spec']['containers']
    return [parts['ENTRYPOINT'] + words for words in (parts['CMD'],
                                                      pod['args'])]


class Recipe(QemuBaseTest):
    """The image."""

    def test_instructions(self):
        """Known ones; what is copied from the source is there."""
        known = {'ARG', 'FROM', 'COPY', 'WORKDIR', 'RUN', 'ENTRYPOINT',
                 'CMD'}
        stages = []
        for name, rest in recipe():
            self.assertIn(name, known)
            words = shlex.split(rest)
            if name == 'FROM':
                self.assertEqual(words[0], '$DEBIAN')
                stages.append(words[2] if len(words) > 2 else None)
            elif name == 'COPY' and words[0].startswith('--from='):
                self.assertIn(words[0].partition('=')[2], stages)
        self.assertEqual(stages, ['build', None])

    def test_shell(self):
        """Commands are good shell, and name what the source has."""
        for name, rest in recipe():
            if name == 'RUN':
                subprocess.run(['sh', '-n', '-c', rest], check=True)
        text = (HERE / 'Containerfile').read_text()
        self.assertIn('contrib/kubernetes/runtime-packages /image', text)

    def test_entry(self):
        """QEMU takes the command line: it gets as far as the device."""
        for words in commands():
            self.check_launch(words)

    def check_launch(self, words):
        """The line is right, but for what is not there."""
        self.assertEqual(words.pop(0), 'qemu')
        missing = self.scratch_file('none.eif')
        words[words.index('/app.eif')] = missing
        # There is no driver's device here: nothing can be launched
        words[words.index('nitro')] = 'nitro,device=/dev/null'
        run = subprocess.run([QEMU, *words], text=True,
                             stdin=subprocess.DEVNULL, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 3, run.stderr)
        self.assertIn('the device does not belong to the Nitro Enclaves driver',
                      ' '.join(run.stderr.split()))

    def test_packages(self):
        """The packages have the libraries of QEMU, all of them."""
        names = subprocess.run(
            [PACKAGES, QEMU], check=True, text=True,
            stdout=subprocess.PIPE).stdout.split()
        self.assertIn('libc6', names)
        self.assertIn('libglib2.0-0', [n.replace('t64', '') for n in names])
        files = subprocess.run(['dpkg', '-L', *names], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split()
        have = {path.rpartition('/')[2] for path in files}
        needed = re.findall(r'/(\S+) \(0x', subprocess.run(
            ['ldd', QEMU], check=True, text=True,
            stdout=subprocess.PIPE).stdout)
        self.assertGreater(len(needed), 3)
        for library in needed:
            self.assertIn(library.rpartition('/')[2], have)

    def test_no_program(self):
        """Refused with what to do."""
        run = subprocess.run([PACKAGES, '/none'], check=False, text=True,
                             stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 2)
        self.assertIn("no program '/none'", run.stderr)
        self.assertIn("after 'make'", run.stderr)


class Manifest(QemuBaseTest):
    """The Deployment."""

    def setUp(self):
        super().setUp()
        self.deployment = yaml.safe_load((HERE / 'enclave.yaml').read_text())
        self.pod = self.deployment['spec']['template']
        self.container, = self.pod['spec']['containers']

    def test_selector(self):
        """It finds its own pods, as the API demands."""
        self.assertEqual((self.deployment['apiVersion'],
                          self.deployment['kind']),
                         ('apps/v1', 'Deployment'))
        self.assertEqual(
            self.deployment['spec']['selector']['matchLabels'],
            self.pod['metadata']['labels'])

    def test_resources(self):
        """Requests of devices and huge pages are the limits; -m fits."""
        limits, requests = (self.container['resources'][kind]
                            for kind in ('limits', 'requests'))
        for name in (DEVICE, 'hugepages-2Mi'):
            self.assertEqual(limits[name], requests[name])
        self.assertEqual(limits[DEVICE], '1')
        self.assertIn('memory', requests)
        args = self.container['args']
        self.assertEqual(mebibytes(args[args.index('-m') + 1]),
                         mebibytes(limits['hugepages-2Mi']))

    def test_rights(self):
        """None, but vsock."""
        context = self.container['securityContext']
        self.assertEqual(context['capabilities'], {'drop': ['ALL']})
        self.assertIs(context['allowPrivilegeEscalation'], False)
        self.assertNotIn('privileged', context)
        self.assertNotIn('hostNetwork', self.pod['spec'])


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
