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

PROTECTED = {1: -35}                        # the algorithm: ES384


def dates(cert):
    """Begin and end of its life; before version 42 they had no zone."""
    if hasattr(cert, 'not_valid_after_utc'):
        return cert.not_valid_before_utc, cert.not_valid_after_utc
    return (cert.not_valid_before.replace(tzinfo=datetime.timezone.utc),
            cert.not_valid_after.replace(tzinfo=datetime.timezone.utc))


def verify_certificate(issuer, cert, cas_below):
    """Raises unless the issuer is a CA that may and did sign this."""
    extension = issuer.extensions.get_extension_for_class
    ca = extension(x509.BasicConstraints).value
    if not ca.ca or not extension(x509.KeyUsage).value.key_cert_sign or (
            ca.path_length is not None and ca.path_length < cas_below):
        raise ValueError(f'{issuer.subject} is no CA for {cert.subject}')
    if cert.issuer != issuer.subject:
        raise ValueError(f'{cert.subject} has another issuer')
    issuer.public_key().verify(cert.signature, cert.tbs_certificate_bytes,
                               ec.ECDSA(cert.signature_hash_algorithm))


def verify_chain(chain, now):
    """Raises unless each certificate is valid, and signed by the one before."""
    for depth, (issuer, cert) in enumerate(zip(chain, chain[1:])):
        verify_certificate(issuer, cert, len(chain) - 2 - depth)
    for cert in chain:
        begin, end = dates(cert)
        if not begin <= now <= end:
            raise ValueError(f'{cert.subject} is not valid at {now}')


def verify(document, root, nonce, now):
    """What the document says; raises an exception when it proves nothing."""
    protected, _, payload, signature = cbor2.loads(document)
    said = cbor2.loads(payload)
    chain = [x509.load_der_x509_certificate(der)
             for der in (*said['cabundle'], said['certificate'])]
    if chain[0] != root:
        raise ValueError(f'{chain[0].subject} is not the root we trust')
    verify_chain(chain, now)
    if cbor2.loads(protected) != PROTECTED or len(signature) != 96:
        raise ValueError('the document is not signed with ES384')
    r, s = (int.from_bytes(half, 'big')
            for half in (signature[:48], signature[48:]))
    chain[-1].public_key().verify(
        utils.encode_dss_signature(r, s),
        cbor2.dumps(['Signature1', protected, b'', payload]),
        ec.ECDSA(hashes.SHA384()))
    if said['nonce'] != nonce:
        raise ValueError('the nonce is not ours: this is an old document')
    return said


if __name__ == '__main__':
    with open(sys.argv[1], 'rb') as file:
        ROOT = x509.load_pem_x509_certificate(file.read())
    SAID = verify(sys.stdin.buffer.read(), ROOT, sys.argv[2].encode(),
                  datetime.datetime.now(datetime.timezone.utc))
    for number, value in sorted(SAID['pcrs'].items()):
        print(f'PCR{number} {value.hex()}')
