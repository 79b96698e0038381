# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Keys of the key service: files of one private directory.

    NAME.key            the secret, in the clear: JSON
    NAME.policy.json    the policy of the key, in AWS's form

A name is what follows "alias/", or the key's ID when it has no alias.  All
files have mode 0600.  Nothing outside of the directory is read or written.
"""

import base64
import contextlib
import json
import math
import os
import re
import time
import uuid

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat, load_der_private_key)

from ..config import LabError
from .errors import Refusal
from .files import locked, private_directory, read_private, write_private
from .place import SYMMETRIC
from .policy import Policy

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,62}')
KEY, POLICY = '.key', '.policy.json'
CURVES = {'ECC_NIST_P256': ec.SECP256R1, 'ECC_NIST_P384': ec.SECP384R1,
          'ECC_NIST_P521': ec.SECP521R1}
RSA_BITS = {'RSA_2048': 2048, 'RSA_3072': 3072, 'RSA_4096': 4096}
SPECS = (SYMMETRIC, *RSA_BITS, *CURVES)
OAEP = {'RSAES_OAEP_SHA_1': hashes.SHA1, 'RSAES_OAEP_SHA_256': hashes.SHA256}

SECRET_LEN = 32             # of a symmetric one
MEND = 'correct the file, or restore it from a copy'

# A ciphertext blob: version, ID of the key, nonce, AES-256-GCM
BLOB_VERSION = b'\x01'
ID_LEN, NONCE_LEN = 16, 12
HEAD_LEN = len(BLOB_VERSION) + ID_LEN


def usage_of(spec):
    """What keys of a spec are for."""
    return 'KEY_AGREEMENT' if spec in CURVES else 'ENCRYPT_DECRYPT'


def new_private_key(spec):
    """A private key of an asymmetric spec."""
    if spec in RSA_BITS:
        return rsa.generate_private_key(65537, RSA_BITS[spec])
    return ec.generate_private_key(CURVES[spec]())


def private_der(key):
    """PKCS #8, as AWS has it."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8,
                             NoEncryption())


def public_der(key):
    """SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _oaep(algorithm):
    digest = OAEP[algorithm]
    return padding.OAEP(padding.MGF1(digest()), digest(), None)


def _member(data, name, parse, kind=str):
    """What a member of a key's file says; ValueError names the member."""
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError('%s is missing or of another type' % name)
    try:
        return parse(value)
    except (ValueError, OverflowError) as error:
        raise ValueError('%s: %s' % (name, error)) from error


def _key_id(text):
    return str(uuid.UUID(text))


def _spec(text):
    if text not in SPECS:
        raise ValueError("'%s' is not one of %s" % (text, ', '.join(SPECS)))
    return text


def _date(number):
    if not math.isfinite(float(number)):
        raise ValueError('%s is not a time' % number)
    return float(number)


def _secret(text):
    return base64.b64decode(text, validate=True)


def _is_of(key, spec):
    """Is a private key what its file says?"""
    if spec in RSA_BITS:
        return isinstance(key, rsa.RSAPrivateKey) and \
            key.key_size == RSA_BITS[spec]
    return isinstance(key, ec.EllipticCurvePrivateKey) and \
        isinstance(key.curve, CURVES[spec])


class Key:
    """One key and its policy."""

    def __init__(self, name, data, prefix):
        """@data: of its file; @prefix: what an ARN begins with."""
        if not isinstance(data, dict):
            raise ValueError('not a JSON object')
        self.name, self.policy = name, None
        self.id = _member(data, 'KeyId', _key_id)
        self.spec = _member(data, 'KeySpec', _spec)
        self.created = _member(data, 'CreationDate', _date, (int, float))
        self.description = str(data.get('Description', ''))
        self.secret = _member(data, 'Secret', _secret)
        if self.spec == SYMMETRIC and len(self.secret) != SECRET_LEN:
            raise ValueError('Secret: %d bytes, not %d'
                             % (len(self.secret), SECRET_LEN))
        self.arn = '%s:key/%s' % (prefix, self.id)

    @property
    def usage(self):
        """What it is for."""
        return usage_of(self.spec)

    def algorithms(self):
        """With which it encrypts."""
        if self.spec == SYMMETRIC:
            return [SYMMETRIC]
        return list(OAEP) if self.spec in RSA_BITS else []

    def private_key(self):
        """Of an asymmetric one; a check of it at each load takes long."""
        try:
            key = load_der_private_key(self.secret, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not _is_of(key, self.spec):
            raise LabError('%s%s: Secret: not a key of %s'
                           % (self.name, KEY, self.spec), MEND)
        return key

    def encrypt(self, plaintext, algorithm, context):
        """A ciphertext; @context has to be there again to decrypt it."""
        if self.spec != SYMMETRIC:
            return self.private_key().public_key().encrypt(
                plaintext, _oaep(algorithm))
        nonce = os.urandom(NONCE_LEN)
        head = BLOB_VERSION + uuid.UUID(self.id).bytes
        return head + nonce + AESGCM(self.secret).encrypt(
            nonce, plaintext, head + context)

    def decrypt(self, blob, algorithm, context):
        """What is in a ciphertext."""
        try:
            if self.spec != SYMMETRIC:
                return self.private_key().decrypt(blob, _oaep(algorithm))
            return AESGCM(self.secret).decrypt(
                blob[HEAD_LEN:HEAD_LEN + NONCE_LEN],
                blob[HEAD_LEN + NONCE_LEN:], blob[:HEAD_LEN] + context)
        except (InvalidTag, ValueError) as error:
            raise Refusal('InvalidCiphertextException', None, 'the ciphertext'
                          ' was changed, or its EncryptionContext is another'
                          ) from error


def key_id_of(blob):
    """ID of the key that made a ciphertext blob."""
    if blob[:len(BLOB_VERSION)] != BLOB_VERSION or \
            len(blob) <= HEAD_LEN + NONCE_LEN:
        raise Refusal('InvalidCiphertextException', None,
                      'the ciphertext is not one of this key service')
    return str(uuid.UUID(bytes=blob[len(BLOB_VERSION):HEAD_LEN]))


@contextlib.contextmanager
def _blame(path, absent, remedy):
    """Say of a file what is wrong with it."""
    try:
        yield
    except FileNotFoundError as error:
        raise LabError('%s: no %s' % (absent, path), remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        raise LabError('%s: %s' % (path, getattr(error, 'strerror', None)
                                   or error), MEND) from error


def _new_secret(spec):
    return os.urandom(SECRET_LEN) if spec == SYMMETRIC else private_der(
        new_private_key(spec))


class Keys:
    """All keys of a directory."""

    def __init__(self, directory, region, account):
        private_directory(directory)
        self.directory = directory
        self.prefix = 'arn:aws:kms:%s:%s' % (region, account)
        self.default_policy = json.dumps({
            'Version': '2012-10-17', 'Id': 'key-default-1',
            'Statement': [{
                'Sid': 'Enable IAM User Permissions', 'Effect': 'Allow',
                'Principal': {'AWS': 'arn:aws:iam::%s:root' % account},
                'Action': 'kms:*', 'Resource': '*'}]}, indent=1) + '\n'

    def _path(self, name, suffix):
        if not NAME.fullmatch(name):
            raise LabError("'%s' is not a name for a key" % name, 'use at most'
                           ' 63 letters, digits, - and _')
        return self.directory / (name + suffix)

    def names(self):
        """Of all keys."""
        return sorted(path.name.removesuffix(KEY)
                      for path in self.directory.glob('*' + KEY)
                      if NAME.fullmatch(path.name.removesuffix(KEY)))

    def create(self, spec, policy=None, name=None, description=''):
        """Make a key; @policy is text, without @name it has no alias."""
        policy = policy or self.default_policy
        Policy(policy)
        key_id = str(uuid.uuid4())
        name = key_id if name is None else name
        target = self._path(name, KEY)
        data = json.dumps({
            'KeyId': key_id, 'KeySpec': spec, 'CreationDate': time.time(),
            'Description': description, 'Secret': base64.b64encode(
                _new_secret(spec)).decode()}, indent=1) + '\n'
        with locked(self.directory):
            if os.path.lexists(target):
                raise LabError("there is a key '%s'" % name, 'choose another'
                               ' name, or remove %s' % target)
            write_private(self._path(name, POLICY), policy.encode())
            write_private(target, data.encode())
        return self.load(name)

    def put_policy(self, name, text):
        """Replace the policy of a key; ValueError when it is not one."""
        Policy(text)
        self._without_policy(name)
        write_private(self._path(name, POLICY), text.encode())

    def ids(self):
        """IDs of all keys whose files can be read."""
        return [key_id for key_id in map(self._id_of, self.names()) if key_id]

    def _id_of(self, name):
        """ID of a key, or nothing when its file is broken."""
        try:
            return _member(json.loads(read_private(self._path(name, KEY))),
                           'KeyId', _key_id)
        except (LabError, OSError, ValueError, RecursionError):
            return None

    def load(self, name):
        """A key by its name."""
        key, path = self._without_policy(name), self._path(name, POLICY)
        with _blame(path, "key '%s' has no policy" % name,
                    'nitro-lab kms policy %s FILE' % name):
            key.policy = Policy(read_private(path).decode())
        return key

    def _without_policy(self, name):
        path = self._path(name, KEY)
        with _blame(path, "there is no key '%s'" % name,
                    'nitro-lab kms create %s' % name):
            return Key(name, json.loads(read_private(path)), self.prefix)

    def find(self, wanted):
        """A key by its ID, its alias, or the ARN of either."""
        short = wanted.removeprefix(self.prefix + ':')
        if short.startswith('alias/'):
            name = short.removeprefix('alias/')
            if name not in self.names():
                raise Refusal('NotFoundException', 'Alias %s:alias/%s is not'
                              ' found.' % (self.prefix, name))
            return self.load(name)
        key_id = short.removeprefix('key/')
        for name in self.names():
            if self._id_of(name) == key_id:
                return self.load(name)
        raise Refusal('NotFoundException', "Key '%s:key/%s' does not exist"
                      % (self.prefix, key_id))
