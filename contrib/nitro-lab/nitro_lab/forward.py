# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Ports of this machine that lead to ports of a parent, by its network card.

They belong to who asked for them, a Visitor of server.py, and end with it.
"""

import re
import threading

from .config import LabError
from .equipment import CARD
from .qmp import QmpError

# As tcp:127.0.0.1:8080:80, port of this machine first
RULE = re.compile(r'(tcp|udp):([0-9.]+):([0-9]{1,5}):([0-9]{1,5})', re.A)


def rule(text):
    """An option's value; refuses what QEMU would take for something else."""
    found = RULE.fullmatch(text)
    if not found or not all(0 < int(port) < 65536 for port in found.groups(
            )[2:]):
        raise LabError("--forward: '%s' is not a rule" % text,
                       'write for instance tcp:127.0.0.1:8080:80')
    return text


class Forwards:
    """Those of one parent, for all its visitors."""

    def __init__(self, parent):
        self.parent, self.lock = parent, threading.Lock()
        self.owners = {}            # rule: visitor

    def _human(self, line):
        """A command of the monitor; returns what it complains about."""
        with self.lock:
            try:
                return self.parent.qmp.human(line).strip()
            except (QmpError, EOFError, OSError) as error:
                return str(error)

    def add(self, text, visitor):
        """Open a port; returns why that failed, or nothing."""
        if not self.parent.equipment.net:
            return ('parent %s has no network card: start it with --net'
                    % self.parent.name)
        kind, address, outer, inner = RULE.fullmatch(text).groups()
        said = self._human('hostfwd_add %s %s:%s:%s-:%s' % (
            CARD, kind, address, outer, inner))
        if said:
            return ('cannot listen on %s:%s (%s): %s'
                    % (address, outer, kind, said))
        self.owners[text] = visitor
        return ''

    def remove(self, visitor):
        """Close the ports of a visitor."""
        for text in [text for text, owner in list(self.owners.items())
                     if owner is visitor]:
            kind, address, outer, _ = RULE.fullmatch(text).groups()
            self._human('hostfwd_remove %s %s:%s:%s' % (CARD, kind, address,
                                                        outer))
            del self.owners[text]
