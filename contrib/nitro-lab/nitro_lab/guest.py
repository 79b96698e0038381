# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Programs and files in a parent, through its agent."""

import signal

from .config import LabError
from .patience import PATIENCE
from .qmp import JobStream, Qmp


class Guest:
    """What a parent can do for others, here or in another process."""

    agent = None

    def run(self, argv, timeout=PATIENCE, data=b''):
        """Run a program to its end; (status, output, errors)."""
        return self.agent.run(argv, timeout, data)

    def check(self, argv, timeout=PATIENCE, data=b''):
        """Run a program that has to succeed; returns its output."""
        result = self.run(argv, timeout, data)
        if result.status:
            raise LabError('%s: status %d: %s' % (argv, result.status,
                                                  result.errors.strip()))
        return result.output

    def spawn(self, argv, **options):
        """Start a program."""
        return self.agent.spawn(argv, **options)

    def put(self, path, data, mode=0o644):
        """Write a file in the parent."""
        self.check(['sh', '-c', 'cat > "$0" && chmod "$1" "$0"', path,
                    '%o' % mode], data=data)

    def get(self, path):
        """Read a text file in the parent."""
        return self.check(['cat', path])

    def guest_qmp(self, path, job):
        """QMP of a QEMU that runs inside the parent as @job."""
        relay = self.spawn(['lab', 'relay', path])
        job.call_at_end(lambda: relay.signal(signal.SIGTERM))
        return Qmp(JobStream(relay))

    def free_huge_pages(self):
        """Huge pages nobody uses."""
        return int(self.get('/sys/kernel/mm/hugepages/hugepages-2048kB/'
                            'free_hugepages'))
