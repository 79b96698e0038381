# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The parent guest's tool, as far as it runs outside of a guest."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(REPO, 'contrib', 'nitro-lab'))
from nitro_lab import images  # noqa: E402

# More than a relay, two pipes and a socket hold
BULK = bytes(range(256)) * 16384
PATIENCE = 600


class Relay(unittest.TestCase):
    """lab relay: stdin and stdout become a connection."""

    def setUp(self):
        if images.FOREIGN:
            self.skipTest('the tool is for machines of another kind')
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = os.path.join(directory.name, 'peer.sock')
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen(1)
        self.relay = subprocess.Popen(
            [images.guest_tool(), 'relay', path], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.relay.communicate)
        self.addCleanup(self.relay.kill)
        self.peer = listener.accept()[0]
        self.peer.settimeout(PATIENCE)
        self.addCleanup(self.peer.close)

    def exchange(self):
        """Give BULK to the relay; returns its output and errors."""
        return self.relay.communicate(BULK, PATIENCE)

    def peer_gets(self, size):
        """All of that size, and the end."""
        data = bytearray()
        while len(data) < size:
            block = self.peer.recv(size - len(data))
            self.assertNotEqual(block, b'')
            data += block
        self.assertEqual(self.peer.recv(1), b'')
        return bytes(data)

    def test_stubborn_peer(self):
        """A peer that reads nothing until all it says was taken."""
        found = []

        def talk():
            self.peer.sendall(BULK)
            found.append(self.peer_gets(len(BULK)))
            self.peer.close()

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        output, errors = self.exchange()
        thread.join(PATIENCE)
        self.assertEqual((output == BULK, found == [BULK], errors,
                          self.relay.returncode), (True, True, b'', 0))

    def test_peer_leaves(self):
        """What nobody takes any more is no reason to stay."""
        self.peer.close()
        self.relay.wait(PATIENCE)
        self.assertEqual(self.relay.returncode, 0)

    def test_peer_stops_reading(self):
        """What it says yet is passed on."""
        self.peer.shutdown(socket.SHUT_RD)
        thread = threading.Thread(target=lambda: (self.peer.sendall(BULK),
                                                  self.peer.close()),
                                  daemon=True)
        thread.start()
        output, errors = self.exchange()
        thread.join(PATIENCE)
        self.assertEqual((output == BULK, errors, self.relay.returncode),
                         (True, b'', 0))


if __name__ == '__main__':
    unittest.main()
