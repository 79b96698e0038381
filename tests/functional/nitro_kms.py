# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Base of tests of the lab's key service.

Documents are those of nitro_document.py, envelopes are opened by openssl.
"""

import base64
import json
import shutil
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_document import Module, public_der

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat)

from nitro_lab import images
from nitro_lab.arch import FOREIGN
from nitro_lab.kms import keys, policy, server, sockets
from nitro_lab.kms.attestation import Verifier
from nitro_lab.kms.errors import Refusal
from nitro_lab.kms.operations import Service
from nitro_lab.kms.request import Request
from nitro_lab.kms.tls import Authority
from nitro_lab.patience import PATIENCE

REGION, ACCOUNT = 'eu-north-1', '123456789012'
CALLER = policy.Principal('arn:aws:iam::%s:user/u' % ACCOUNT)
GOOD, OTHER, ZERO = ('%02x' % n * 48 for n in (0xab, 0xcd, 0))
IMAGE_KEY = 'kms:RecipientAttestation:ImageSha384'


def statement(effect='Allow', action='kms:*', sid='one', **more):
    """One of a policy."""
    return {'Sid': sid, 'Effect': effect, 'Principal': {'AWS': '*'},
            'Action': action, 'Resource': '*', **more}


def when(operator, value, key=IMAGE_KEY):
    """A condition."""
    return {'Condition': {operator: {key: value}}}


def policy_of(*statements):
    """Text of a policy."""
    return json.dumps({'Version': '2012-10-17',
                       'Statement': list(statements)})


def decoded(text):
    """Bytes of base64."""
    return base64.b64decode(text, validate=True)


def encoded(data):
    """The other way round."""
    return base64.b64encode(data).decode()


@unittest.skipIf(FOREIGN, 'the key service is that of this machine')
class KmsTest(QemuBaseTest):
    """A key service in this process, and an enclave's key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.top = Path(tempfile.mkdtemp(prefix='nitro-kms-'))
        cls.addClassCleanup(shutil.rmtree, cls.top)
        cls.module = Module(cls.top / 'pki')
        cls.key = rsa.generate_private_key(65537, 2048)
        cls.key_file = cls.top / 'enclave.pem'
        cls.key_file.write_bytes(cls.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        verifier = Verifier(images.document_tool(),
                            cls.top / 'pki' / 'root.pem')
        cls.keys = keys.Keys(cls.top / 'kms', REGION, ACCOUNT)
        cls.service = Service(cls.keys, verifier)

    def ask(self, operation, **members):
        """The answer to a request."""
        return self.service.call(operation, Request(members), CALLER)

    def recipient(self, module=None, public_key=None, pcr0=GOOD, **more):
        """The Recipient of a request."""
        registers = {0: bytes.fromhex(pcr0)} if pcr0 else {}
        return {'KeyEncryptionAlgorithm': 'RSAES_OAEP_SHA_256',
                'AttestationDocument': encoded(
                    (module or self.module).document(
                        public_der(self.key) if public_key is None
                        else public_key, registers, **more))}

    def opened(self, answer):
        """What openssl finds in CiphertextForRecipient."""
        return subprocess.run(
            ['openssl', 'cms', '-decrypt', '-inform', 'DER', '-inkey',
             self.key_file], input=decoded(answer['CiphertextForRecipient']),
            stdout=subprocess.PIPE, check=True).stdout

    def refused(self, code, operation, **members):
        """The Refusal of a request."""
        with self.assertRaises(Refusal) as caught:
            self.ask(operation, **members)
        self.assertEqual(caught.exception.code, code, (
            operation, str(members)[:200], caught.exception.reason))
        return caught.exception


class ServedTest(KmsTest):
    """The same, served on loopback and a unix socket."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.top / 'tls')
        cls.path = cls.keys.directory / 'kms.sock'
        cls.tcp = sockets.listen_tcp(0)
        listeners = [sockets.listen_unix(cls.path), cls.tcp]
        patience = mock.patch.object(server, 'HANDSHAKE_SECONDS', PATIENCE)
        patience.start()
        cls.addClassCleanup(patience.stop)
        running = server.Server(
            cls.service, server.Callers(ACCOUNT, {'ROLE': CALLER.arn}),
            cls.authority.context(REGION), listeners)
        running.__enter__()
        cls.addClassCleanup(running.__exit__)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.settle, set(threading.enumerate()))

    @staticmethod
    def settle(before):
        """What connections log at their end belongs to this test."""
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE)
