#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: what the page "Your launcher in the lab" says to type.

Each line with a prompt is run unchanged, on this machine.
"""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from test_nitro_launchers import PAGE
from test_nitro_manual import blocks
from nitro_parent import ScopedTest, config, images, only_named

from nitro_lab.arch import PROGRAM

BOOTED = b'demo: serving'
LAUNCH = '''#!/bin/sh
exec %s -accel nitro,debug-mode=on -M nitro -nographic \\
    -kernel "$1" -m "$2M" -smp "$3"
''' % PROGRAM


class Page(ScopedTest):
    """The page's commands."""

    def setUp(self):
        super().setUp()
        self.top = tempfile.TemporaryDirectory()
        self.addCleanup(self.top.cleanup)
        top = Path(self.top.name)
        images.build_all()
        (top / 'app.eif').write_bytes(images.demo_image(
            'page', 'demo.mode=poweroff').read_bytes())
        (top / 'launch').write_text(LAUNCH)
        (top / 'launch').chmod(0o755)
        self.running = []

    def tearDown(self):
        for process in self.running:
            process.kill()
            process.communicate()
        super().tearDown()

    def start(self, line, **options):
        """Run a line in a shell of its own, where the image is."""
        path = '%s:%s' % (config.HERE, os.environ['PATH'])
        return subprocess.Popen(
            ['bash', '-c', 'exec ' + line], cwd=self.top.name,
            stdout=subprocess.PIPE, env=dict(os.environ, PATH=path),
            **options)

    def run_to_end(self, line):
        """It succeeds; one that does not end by itself is interrupted."""
        process = self.start(line, stdin=subprocess.DEVNULL)
        said, endless = b'', '/foreign/' in line
        for text in process.stdout:
            said += text
            if endless and BOOTED in text:
                process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(), [0, 130] if endless else [0], line)
        if ' run' in line or ' exec ' in line:
            self.assertIn(BOOTED, said, line)
        process.stdout.close()

    def stay(self, line):
        """A parent whose shell waits."""
        process = self.start(line, stdin=subprocess.PIPE)
        self.running.append(process)
        process.stdin.write(b'echo ready\n')
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b'ready\n', line)

    def test_commands(self):
        """Each of them, in their order."""
        lines = [line[2:] for block in blocks(PAGE)
                 for line in block.splitlines() if line.startswith('$ ')]
        self.assertGreaterEqual(len(lines), 9)
        for line in lines:
            if line.startswith('nitro-lab parent'):
                self.stay(line)
            else:
                self.run_to_end(line)


load_tests = only_named

if __name__ == '__main__':
    ScopedTest.main()
