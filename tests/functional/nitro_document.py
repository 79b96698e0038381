# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Attestation documents for tests that have no enclave.

nitro-hypervisor issues an instance; leaf and document are made here, by
python3-cryptography, after the form of those on EC2.
"""

import datetime
import re
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding, PublicFormat, load_pem_private_key)
from cryptography.x509.oid import NameOID

from nitro_lab import images
from nitro_lab.nsm import encode

INSTANCE = 'i-0123456789abcdef0'
MODULE = INSTANCE + '-enc0183d09086c24190'
PROTECTED = b'\xa1\x01\x38\x22'       # {1: -35}: ES384
REGISTER = 48


def public_der(key):
    """SubjectPublicKeyInfo of a private key."""
    return key.public_key().public_bytes(Encoding.DER,
                                         PublicFormat.SubjectPublicKeyInfo)


class Module:
    """A security module below the root of a directory."""

    def __init__(self, pki, seconds=0):
        """@pki: the directory, may be made; @seconds: what its clock adds."""
        issued = subprocess.run(
            [images.hypervisor(), '--pki-dir', pki, '--pki', 'issue',
             '--parent-id', INSTANCE], text=True, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        parts = re.findall('-----BEGIN.*?-----END[^\n]*\n', issued, re.S)
        self.issuer = load_pem_private_key(parts[0].encode(), None)
        chain = [x509.load_pem_x509_certificate(part.encode())
                 for part in parts[1:]]
        # Root first
        if chain[0].issuer != chain[0].subject:
            chain.reverse()
        self.chain = [cert.public_bytes(Encoding.DER) for cert in chain]
        self.ahead = seconds
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.leaf = self._leaf(chain[-1]).public_bytes(Encoding.DER)

    def _now(self):
        return time.time() + self.ahead

    def _leaf(self, instance):
        now = datetime.datetime.utcfromtimestamp(self._now())
        name = x509.Name([x509.NameAttribute(
            NameOID.COMMON_NAME, MODULE + '.lab')])
        usage = x509.KeyUsage(True, True, False, False, False, False, False,
                              False, False)
        return (x509.CertificateBuilder().subject_name(name)
                .issuer_name(instance.subject)
                .public_key(self.key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(seconds=3))
                .not_valid_after(now + datetime.timedelta(hours=3))
                .add_extension(x509.BasicConstraints(False, None), True)
                .add_extension(usage, False)
                .sign(self.issuer, hashes.SHA384()))

    def document(self, public_key=None, registers=None, seconds=0):
        """@registers: number -> bytes, others are zero; @seconds: its age."""
        pcrs = {index: bytes(REGISTER) for index in range(16)}
        pcrs.update(registers or {})
        payload = encode({
            'module_id': MODULE, 'digest': 'SHA384',
            'timestamp': int((self._now() - seconds) * 1000), 'pcrs': pcrs,
            'certificate': self.leaf, 'cabundle': self.chain,
            'public_key': public_key, 'user_data': None, 'nonce': None})
        text = encode(['Signature1', PROTECTED, b'', payload])
        r, s = utils.decode_dss_signature(
            self.key.sign(text, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(REGISTER, 'big') + s.to_bytes(REGISTER, 'big')
        return encode([PROTECTED, {}, payload, signature])
