#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Verify an attestation document: verify.py ROOT.pem NONCE < DOCUMENT"""

import datetime
import sys

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils


def verify_chain(chain, now):
    """Each certificate is valid, and signed by the CA before it."""
    for depth, (issuer, cert) in enumerate(zip(chain, chain[1:])):
        ca = issuer.extensions.get_extension_for_class(
            x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        below = len(chain) - 2 - depth      # CAs between it and the leaf
        if not ca.ca or not usage.key_cert_sign or (
                ca.path_length is not None and ca.path_length < below):
            raise ValueError(f'{issuer.subject} must not sign that')
        if cert.issuer != issuer.subject:
            raise ValueError(f'{cert.subject} has another issuer')
        issuer.public_key().verify(cert.signature, cert.tbs_certificate_bytes,
                                   ec.ECDSA(cert.signature_hash_algorithm))
    for cert in chain:
        if not cert.not_valid_before <= now <= cert.not_valid_after:
            raise ValueError(f'{cert.subject} is not valid now')


def verify(document, root, nonce, now):
    """What the document claims; raises when it proves nothing."""
    protected, _, payload, signature = cbor2.loads(document)
    claims = cbor2.loads(payload)
    chain = [x509.load_der_x509_certificate(der)
             for der in (*claims['cabundle'], claims['certificate'])]
    if chain[0] != root:
        raise ValueError(f'root {chain[0].subject} is not trusted')
    verify_chain(chain, now)
    if cbor2.loads(protected) != {1: -35} or len(signature) != 96:
        raise ValueError('not signed with ES384')
    signed = cbor2.dumps(['Signature1', protected, b'', payload])
    r, s = (int.from_bytes(half, 'big')
            for half in (signature[:48], signature[48:]))
    chain[-1].public_key().verify(utils.encode_dss_signature(r, s), signed,
                                  ec.ECDSA(hashes.SHA384()))
    if claims['nonce'] != nonce:
        raise ValueError('the nonce is not ours: somebody replays')
    return claims


with open(sys.argv[1], 'rb') as file:
    ROOT = x509.load_pem_x509_certificate(file.read())
CLAIMS = verify(sys.stdin.buffer.read(), ROOT, sys.argv[2].encode(),
                datetime.datetime.now(datetime.timezone.utc)
                .replace(tzinfo=None))
for number, value in sorted(CLAIMS['pcrs'].items()):
    print(f'PCR{number} {value.hex()}')
