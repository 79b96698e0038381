#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: the command lines of the manual launch enclaves.

Taken from the page as they are, but for names of files, sizes that the
emulated parent does not have, and the program for the other architecture.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from nitro_parent import (DEMO, INITRD, KERNEL, NitroParentTest, ScopedTest,
                          config, images, only_wanted)

from nitro_lab.arch import FOREIGN
from nitro_lab.launch import find_device

PAGES = ['docs/system/nitro%s.rst' % part
         for part in ('', '-options', '-life', '-memory', '-devices',
                      '-monitor', '-systemd')]
TUTORIAL = 'docs/system/nitro-tutorial.rst'
ATTESTATION = 'docs/system/nitro-attestation.rst'

# Commands of that page that other scenarios have: with a key service
ELSEWHERE = r'^make|kms serve|kms policy|nitro-lab parent|vsock connect'
if FOREIGN:
    ELSEWHERE += r'|nitro-lab kms'      # its client needs libraries

# Word of the manual -> what the parent has
WORDS = (('app.eif', DEMO), ('Image', KERNEL), ('initrd.cpio', INITRD),
         (r'\d+[MG]', '128M'), ('size=524288k', 'size=131072k'))
# Parts of words.  The demo enclave's kernel finds its devices by ACPI only;
# QEMU may have been built without libnuma, the parent has one node, and the
# threads of a core have neighbouring numbers.
PARTS = ((r' pci=off', ''),
         (r',host-nodes=0,policy=bind', ''),
         (r'(?<=,)size=\d+G', 'size=128M'),
         (r'(hugetlbsize|page-size)=1G', r'\1=2M'),
         (r'cpus=2:6', 'cpus=2:3'),
         (r'"size":536870912', '"size":134217728'))


def blocks(*pages):
    """Literal blocks of pages, with continued lines joined."""
    text = ''.join((config.TREE / page).read_text()
                   for page in pages or PAGES)
    for block in re.findall(r'::\n\n((?:  .*\n|\n)+)', text):
        yield re.sub(r'\\\n\s*', '', re.sub(r'(?m)^  ', '', block))


def translate(command):
    """Arguments of a command line of the page, for the emulated parent."""
    for word in shlex.split(command):
        for pattern, value in WORDS:
            if re.fullmatch(pattern, word):
                word = value
        for pattern, value in PARTS:
            word = re.sub(pattern, value, word)
        yield word


class Manual(NitroParentTest):
    """What the manual says to type."""

    def launch_each(self, lines, minimum, ready):
        """One launch per list of arguments, each ended before the next."""
        self.assertGreaterEqual(len(lines), minimum)
        for arguments in lines:
            with self.case(shlex.join(arguments)):
                try:
                    launch = self.start(arguments)
                    ready(launch, arguments)
                except config.LabError as error:
                    self.fail(error)
                self.assertEqual(self.stop(launch), 0)

    def booted(self, launch, arguments):
        """Continue if need be, wait for the heartbeat."""
        if '-S' in arguments:
            self.assertEqual(launch.qmp.get('/machine/nitro', 'state'),
                             'prepared')
            launch.qmp.command('cont')
        launch.wait_booted()

    def has_console(self, launch, _arguments):
        """Wait for the console's connection."""
        path = find_device(launch.qmp, 'nitro-serial-vsock')
        self.wait_until(lambda: launch.qmp.get(path, 'state') == 'open',
                        'console open')

    def test_commands(self):
        """Every whole command line."""
        commands = [line for block in blocks()
                    for line in re.findall(r'(?m)^\$ qemu-system-\w+ (.*)$',
                                           block)]
        lines = [list(translate(command)) for command in commands]
        for words in lines:
            if '-append' in words:
                at = words.index('-append') + 1
                words[at] += ' ' + images.demo_cmdline()
        self.launch_each(lines, 4, self.booted)

    def test_tutorial(self):
        """What the tutorial types in the parent answers as it says."""
        typed = [(line, answer) for block in blocks(TUTORIAL)
                 for line, answer in re.findall(
                     r'(?m)^parent# (.*)\n((?:(?!parent#).*\n)*)', block)]
        launch, asked = None, 0
        for line, answer in typed:
            if line.startswith('qemu-system'):
                self.assertTrue(launch is None or self.stop(launch) == 0)
                launch = self.start(list(translate(
                    line.partition(' ')[2].rstrip(' &'))))
                launch.wait_booted()
                said = self.console(launch, '(?s)demo: .*serving').group() \
                    if '-nographic' in line else ''
            elif line.startswith('lab '):
                said = self.parent.check(['sh', '-c', line.replace(
                    ' 16 ', ' %d ' % launch.cid)])
            else:
                continue
            asked += 1
            for words in filter(None, answer.splitlines()):
                self.assertRegex(said, self.as_told(words, launch.cid))
        self.assertGreaterEqual(asked, 4)
        with tempfile.TemporaryDirectory() as top:
            self.check_attestation(top, launch.cid)

    def check_attestation(self, top, cid):
        """What the next page types on the host, about this enclave."""
        shutil.copy(images.demo_image(), os.path.join(top, 'demo.eif'))
        typed = [pair for block in blocks(ATTESTATION) for pair in re.findall(
            r'(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)', block)
            if not re.search(ELSEWHERE, pair[0])]
        self.assertGreaterEqual(len(typed), 4 if FOREIGN else 7)
        for line, answer in typed:
            said = self.typed_on_host(line, top, cid)
            for words in answer.splitlines():
                # A line that was cut, or lines that are left out
                self.assertIsNotNone(re.search(self.as_told(
                    words, cid).removesuffix(r'\.\.\.'), said), said)

    def typed_on_host(self, line, top, cid):
        """Output of a command; the parent is the one that there is."""
        inside = re.fullmatch(r'\S+/nitro-lab exec -- (.*) > (\S+)', line)
        if inside:
            job = self.parent.spawn(shlex.split(
                inside.group(1).replace(' 16 ', ' %d ' % cid)))
            self.assertEqual(job.wait(), 0, line)
            Path(top, inside.group(2)).write_bytes(job.output)
            return ''
        for word, value in (('build/lab/', '%s/' % config.LAB),
                            ('build/out/', '%s/' % config.OUT),
                            ('contrib/', '%s/contrib/' % config.TREE),
                            ('docs/', '%s/docs/' % config.TREE),
                            ('--image secret.eif', '--image demo.eif'),
                            ('python3 ', '/usr/bin/python3 ')):
            line = line.replace(word, value)
        # The keys of this machine's user are not for tests
        env = dict(os.environ, LAB=os.path.join(top, 'lab'))
        run = subprocess.run(line, shell=True, cwd=top, env=env, text=True,
                             capture_output=True, check=False)
        self.assertEqual(run.returncode, 0, line + run.stderr)
        return run.stdout

    @staticmethod
    def as_told(words, cid):
        """Pattern of a line of the tutorial: sizes and values differ."""
        words = re.sub(r'(PCR\d) 0{20,}\.\.\.', r'\1 ZEROS', words)
        words = re.sub(r'(PCR\d) [0-9a-f]+\.\.\.', r'\1 VALUE', words)
        words = re.sub('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'UUID',
                       words)
        words = re.escape(words.replace('CID 16', 'CID %d' % cid))
        for word, pattern in (('ZEROS', '0{96}'), (r'212\ MiB', r'\d+ MiB'),
                              ('VALUE', '(?!0{96})[0-9a-f]{96}'),
                              ('UUID', '[0-9a-f-]{36}')):
            words = words.replace(word, pattern)
        return words

    def test_consoles(self):
        """Every way to connect a console."""
        options = [line for block in blocks()
                   for line in re.findall(r'(?m)^(-(?:serial|nodefaults) .*)$',
                                          block)]
        base = [str(word) for word in self.arguments()]
        base.remove('-nographic')
        base += ['-display', 'none']
        self.launch_each([base + list(translate(line)) for line in options],
                         6, self.has_console)

    def test_cid(self):
        """The CID by QMP and in the monitor."""
        launch = self.boot()
        request = next(json.loads(block) for block in blocks()
                       if '"qom-get"' in block)
        self.assertEqual(launch.qmp.command(request['execute'],
                                            **request['arguments']),
                         launch.cid)
        line = next(re.search(r'\(qemu\) (.*)', block).group(1)
                    for block in blocks() if '(qemu)' in block)
        self.assertEqual(int(launch.qmp.human(line)), launch.cid)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
