# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What the lab boots, as far as it works outside of a guest."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(REPO, 'contrib', 'nitro-lab'))
from nitro_lab import config, images  # noqa: E402

# More than a relay, two pipes and a socket hold
BULK = bytes(range(256)) * 16384
PATIENCE = 600


class Making(unittest.TestCase):
    """Files that several labs may want at once."""

    def setUp(self):
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.target = Path(top.name) / 'made'

    def test_at_once(self):
        """One makes it, the others wait, and none sees half of it."""
        makers, seen = [], []

        def want():
            with config.making(self.target, 'stamp') as new:
                if new:
                    makers.append(new)
                    with open(new, 'wb') as f:
                        for _ in range(100):
                            f.write(BULK[:4096])
                            f.flush()
            seen.append(self.target.stat().st_size)
        threads = [threading.Thread(target=want) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual((len(makers), seen), (1, [409600] * 8))

    def make(self, stamp, text):
        """Want it made of @stamp; whether that was to be done."""
        with config.making(self.target, stamp) as new:
            if new:
                new.write_text(text)
            return bool(new)

    def test_again(self):
        """It is made anew when it would be another, or is gone."""
        self.assertTrue(self.make('a', 'one'))
        self.assertFalse(self.make('a', 'two'))
        self.assertTrue(self.make('b', 'two'))
        self.target.unlink()
        self.assertTrue(self.make('b', 'three'))

    def test_failure(self):
        """What cannot be made leaves the old one, and nothing of the new."""
        self.make('a', 'one')
        with self.assertRaises(OSError), \
                config.making(self.target, 'b') as new:
            new.write_text('half')
            raise OSError
        self.assertEqual(self.target.read_text(), 'one')
        self.assertFalse(new.exists())
        self.assertTrue(self.make('b', 'two'))


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
