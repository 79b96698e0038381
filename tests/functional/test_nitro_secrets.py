#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: an enclave that gets a secret which it alone can open."""

import contextlib
import hashlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from unittest import mock

from nitro_parent import NitroParentTest, ScopedTest, only_wanted
from nitro_kms import (ACCOUNT, IMAGE_KEY, OTHER, decoded, encoded, policy_of,
                       statement, when)

from nitro_lab import config, eif, images
from nitro_lab.kms import keys, place, server, sockets
from nitro_lab.kms.attestation import Verifier
from nitro_lab.kms.operations import Service
from nitro_lab.kms.place import REGION, VSOCK_PORT
from nitro_lab.kms.tls import Authority
from nitro_lab.patience import PATIENCE
from nitro_lab.proxy import Proxy

TOOL_PORT = 5007
IMAGE = '/tmp/key-client.eif'


class Secrets(NitroParentTest):
    """A key service on this machine; the client is in the enclave."""

    def setUp(self):
        super().setUp()
        self.top = Path(tempfile.mkdtemp(prefix='nitro-kms-'))
        self.addCleanup(shutil.rmtree, self.top)
        self.keys = keys.Keys(self.top / 'kms', REGION, ACCOUNT)
        authority = Authority(self.keys.directory / 'tls')
        self.image = self.top / 'key-client.eif'
        images.key_client_image(self.image, authority.certificate)
        self.parent.put(IMAGE, self.image.read_bytes())
        self.serve(authority)

    def serve(self, authority):
        """Run the key service behind the port of AWS's vsock-proxy."""
        path = self.keys.directory / 'kms.sock'
        service = Service(self.keys, Verifier(
            images.document_tool(), config.PKI / 'root.pem'))
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(mock.patch.object(server, 'HANDSHAKE_SECONDS',
                                              PATIENCE))
        stack.enter_context(server.Server(
            service, server.Callers(ACCOUNT, {}), authority.context(REGION),
            [sockets.listen_unix(path)]))
        Proxy(self.parent, VSOCK_PORT, lambda: sockets.connect_unix(path))

    def client(self, launch, *words):
        """Lines of the client in the enclave."""
        job = self.parent.spawn(['lab', 'vsock', 'connect', launch.cid,
                                 TOOL_PORT])
        job.send((' '.join(words) + '\n').encode())
        job.wait()
        return job.text().splitlines()

    @staticmethod
    def line(secret):
        """What the client prints of a secret."""
        return 'kms: secret of %d bytes, SHA-256 %s' % (
            len(secret), hashlib.sha256(secret).hexdigest())

    def test_secret(self):
        """The image that the policy names gets it, and no other does."""
        launch = self.boot(image=IMAGE, mib=256, debug='off')
        pcr0 = eif.measure(self.image.read_bytes())[0]
        mine, _ = (self.keys.create(keys.SYMMETRIC, policy_of(statement(
            **when('StringEqualsIgnoreCase', value))), name)
            for name, value in (('mine', pcr0.upper()), ('other', OTHER)))
        # The owner of the keys needs neither service nor policy
        blob = mine.encrypt(b'of the host', keys.SYMMETRIC, b'')
        with self.assertLogs('nitro-lab-kms', 'INFO') as log:
            said = self.client(launch, 'decrypt', encoded(blob), 'generate',
                               'alias/other', 'generate', 'alias/mine')
        self.assertEqual(len(said), 4, said)
        self.assertEqual(said[0], self.line(b'of the host'))
        self.assertRegex(said[1], '"AccessDeniedException".* is not authorized'
                         ' to perform: kms:GenerateDataKey on resource: ')
        self.assertEqual(said[3], self.line(mine.decrypt(
            decoded(said[2].split()[-1]), keys.SYMMETRIC, b'')))
        for words in ('%s is %s, the policy has StringEqualsIgnoreCase %s'
                      % (IMAGE_KEY, pcr0, OTHER), self.parent.instance_id):
            self.assertIn(words, log.output[1])
        self.stop(launch)


class Proxied(NitroParentTest):
    """A port of the parent that leads to this machine; CID 1 is itself."""

    def proxy(self, connect):
        """Words that reach it."""
        Proxy(self.parent, VSOCK_PORT, connect)
        return 1, VSOCK_PORT

    def echo(self):
        """A socket whose other end sends back what it gets."""
        mine, other = socket.socketpair()

        def serve():
            with other, contextlib.suppress(ConnectionError):
                while data := other.recv(65536):
                    other.sendall(data)
        threading.Thread(target=serve, daemon=True).start()
        return mine

    def test_bytes(self):
        """All of them come, of several connections, one after another."""
        where = self.proxy(self.echo)
        reply = self.parent.check(['lab', 'vsock', 'bulk', *where, 300000])
        self.assertIn('300000 bytes intact', reply)
        many = self.parent.spawn(['lab', 'vsock', 'many', *where, 8])
        many.end_input()
        self.assertEqual(many.wait(), 0, many.text())
        for number in range(3):
            text = 'text %d' % number
            self.assertEqual(self.parent.check(
                ['lab', 'vsock', 'echo', *where, text]), text + '\n')

    def test_nobody(self):
        """Without a key service the connection ends, and a line says why."""
        where = self.proxy(place.connect)
        with mock.patch.object(place, 'SOCKET', Path('/nowhere/kms.sock')), \
                self.assertLogs('nitro-lab', 'WARNING') as log:
            self.parent.spawn(['lab', 'vsock', 'connect', *where]).wait()
        self.assertIn('no key service: No such file or directory; start one:'
                      ' nitro-lab kms serve', log.output[0])


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
