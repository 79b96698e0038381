# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Warnings and errors of the hypervisor process, and of the parent's first
program, on the terminal of the user."""

import re
import sys
import threading

SECONDS = 0.3
# In the hypervisor's log: all but information has a cause to look at
HYPERVISOR = re.compile(r'^nitro-hypervisor: (?!info: )(?:warning: )?(.*)',
                        re.M)
# What parent/init prints
PARENT = re.compile(r'^lab: (.*?)\r?$', re.M)
# A terminal may be in raw mode
END = '\r\n' if sys.stderr.isatty() else '\n'


class Warnings:
    """Shows each new line of the logs at once; a context manager."""

    def __init__(self, parent, old=True):
        """@old: also what was there before."""
        self.logs = [('nitro-hypervisor', parent.hypervisor_log, HYPERVISOR),
                     ('parent', parent.console, PARENT)]
        self.seen = {log: 0 if old else log.stat().st_size
                     for _, log, _ in self.logs}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self._look()

    def _follow(self):
        while not self.ended.wait(SECONDS):
            self._look()

    def _look(self):
        for name, log, pattern in self.logs:
            for text in pattern.findall(self._new_lines(log)):
                print('%s: %s' % (name, text), end=END, file=sys.stderr,
                      flush=True)

    def _new_lines(self, log):
        """Complete lines since the last look."""
        if not log.exists():
            return ''
        with open(log, 'rb') as file:
            file.seek(self.seen[log])
            data = file.read()
        end = data.rfind(b'\n') + 1
        self.seen[log] += end
        return data[:end].decode(errors='replace')
