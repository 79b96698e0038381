# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""CiphertextForRecipient: CMS EnvelopedData as AWS's key service makes it.

BER with indefinite lengths: a key for AES-256-CBC, wrapped with RSAES-OAEP
(SHA-256) for a recipient whom the SHA-256 of the public key names.
"""

import hashlib
import os

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SEQUENCE, SET, INTEGER, OCTETS, NULL = 0x30, 0x31, 0x02, 0x04, b'\x05\x00'
KEY_ID, TAGGED_0, TAGGED_1 = 0x80, 0xa0, 0xa1
END = b'\x00\x00'
VERSION = b'\x02'
ENVELOPED = bytes.fromhex('06092a864886f70d010703')
DATA = bytes.fromhex('06092a864886f70d010701')
RSAES_OAEP = bytes.fromhex('06092a864886f70d010107')
MGF1 = bytes.fromhex('06092a864886f70d010108')
SHA256 = bytes.fromhex('0609608648016503040201')
AES256_CBC = bytes.fromhex('060960864801650304012a')


def _der(tag, *parts):
    """An item whose length is known."""
    body = b''.join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, 'big')
    return bytes([tag, 0x80 | len(size)]) + size + body


def _ber(tag, *parts):
    """A constructed item that ends with a marker."""
    return bytes([tag, 0x80]) + b''.join(parts) + END


def _oaep():
    """Algorithm and parameters that wrap the key."""
    digest = _der(SEQUENCE, SHA256, NULL)
    return _der(SEQUENCE, RSAES_OAEP, _der(
        SEQUENCE, _der(TAGGED_0, digest),
        _der(TAGGED_1, _der(SEQUENCE, MGF1, digest))))


def _encrypt(key, secret):
    """IV and ciphertext."""
    iv = os.urandom(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    padded = padder.update(secret) + padder.finalize()
    return iv, encryptor.update(padded) + encryptor.finalize()


def seal(public_key, spki, secret):
    """The envelope around a secret; @spki is the DER of the public key."""
    key = os.urandom(32)
    wrapped = public_key.encrypt(key, rsa_padding.OAEP(
        rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    iv, ciphertext = _encrypt(key, secret)
    recipient = _der(SEQUENCE, _der(INTEGER, VERSION),
                     _der(KEY_ID, hashlib.sha256(spki).digest()), _oaep(),
                     _der(OCTETS, wrapped))
    content = _ber(SEQUENCE, DATA,
                   _der(SEQUENCE, AES256_CBC, _der(OCTETS, iv)),
                   _ber(TAGGED_0, _der(OCTETS, ciphertext)))
    return _ber(SEQUENCE, ENVELOPED, _ber(TAGGED_0, _ber(
        SEQUENCE, _der(INTEGER, VERSION), _der(SET, recipient), content)))
