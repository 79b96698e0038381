# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Keys of the key service: files of one private directory.

    NAME.key          the secret, in the clear: JSON, mode 0600
    NAME.policy.json  the policy of the key, in AWS's form

A name is the key's ID, or what follows "alias/".  Nothing outside of the
directory is read or written.
"""

import base64
import json
import os
import re
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, load_der_private_key)

from ..config import LabError
from .errors import Refusal
from .policy import ACCOUNT, Policy

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,62}$')
CURVES = {'ECC_NIST_P256': ec.SECP256R1, 'ECC_NIST_P384': ec.SECP384R1,
          'ECC_NIST_P521': ec.SECP521R1}
SYMMETRIC = 'SYMMETRIC_DEFAULT'
SPECS = (SYMMETRIC, *CURVES)
BLOB_VERSION = b'\x01'
ID_LEN, NONCE_LEN = 16, 12


class Key:
    """One key and its policy."""

    def __init__(self, name, data, policy, region):
        self.name, self.policy = name, policy
        self.id, self.spec = uuid.UUID(data['KeyId']), data['KeySpec']
        self.secret = base64.b64decode(data['Secret'])
        self.arn = 'arn:aws:kms:%s:%s:key/%s' % (region, ACCOUNT, self.id)

    def require(self, symmetric, operation):
        """Refuse what a key of this kind cannot do."""
        if (self.spec == SYMMETRIC) != symmetric:
            raise Refusal('InvalidKeyUsageException',
                          '%s key usage is not valid for %s.'
                          % (self.arn, operation))

    def wrap(self, plaintext, context):
        """A ciphertext blob."""
        nonce = os.urandom(NONCE_LEN)
        head = BLOB_VERSION + self.id.bytes
        return head + nonce + AESGCM(self.secret).encrypt(
            nonce, plaintext, head + context)

    def unwrap(self, blob, context):
        """What is in a ciphertext blob."""
        at = len(BLOB_VERSION) + ID_LEN
        try:
            return AESGCM(self.secret).decrypt(
                blob[at:at + NONCE_LEN], blob[at + NONCE_LEN:],
                blob[:at] + context)
        except (InvalidTag, ValueError) as error:
            raise Refusal('InvalidCiphertextException', '') from error

    def agree(self, peer):
        """Shared secret with the owner of a public key."""
        return load_der_private_key(self.secret, None).exchange(ec.ECDH(),
                                                                peer)


def _secret(spec):
    if spec == SYMMETRIC:
        return os.urandom(32)
    return ec.generate_private_key(CURVES[spec]()).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


class Keys:
    """All keys of a directory."""

    def __init__(self, directory, region):
        self.directory, self.region = directory, region
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = self.directory.stat()
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise LabError('%s is open to others' % directory,
                           'chmod 700 %s' % directory)

    def _path(self, name, suffix):
        if not NAME.match(name):
            raise LabError("'%s' is not a name of a key" % name,
                           'use letters, digits, - and _')
        path = self.directory / (name + suffix)
        if path.is_symlink():
            raise LabError('%s is a symbolic link' % path,
                           'keys are files of this directory alone')
        return path

    def names(self):
        """Of all keys."""
        return sorted(path.name.removesuffix('.key')
                      for path in self.directory.glob('*.key'))

    def create(self, name, spec, policy):
        """Make a key with a policy, which is text."""
        target = self._path(name, '.key')
        data = {'KeyId': str(uuid.uuid4()), 'KeySpec': spec,
                'Secret': base64.b64encode(_secret(spec)).decode()}
        rules = self._path(name, '.policy.json')
        if target.exists() or rules.exists():
            raise LabError('there is a key %s' % name, 'choose another name')
        self._write(rules, policy)
        Policy.load(rules)
        self._write(target, json.dumps(data, indent=1) + '\n')
        return self.load(name)

    @staticmethod
    def _write(path, text):
        """As a whole or not at all."""
        partial = path.with_name('.%s.%d' % (path.name, os.getpid()))
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, 'w', encoding='utf-8') as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        partial.rename(path)

    def load(self, name):
        """A key by its name."""
        path = self._path(name, '.key')
        try:
            data = json.loads(path.read_text())
            return Key(name, data, Policy.load(
                self._path(name, '.policy.json')), self.region)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabError('%s: no key: %s' % (path, error),
                           'make one: nitro-lab kms create %s' % name
                           ) from error

    def find(self, wanted):
        """A key by its ID, alias or the ARN of either."""
        short = wanted.rpartition(':')[2]
        alias = short.removeprefix('alias/')
        for name in self.names():
            key = self.load(name)
            if (short.startswith('alias/') and name == alias) or                     str(key.id) == short.removeprefix('key/'):
                return key
        raise Refusal('NotFoundException', "Key '%s' does not exist" % wanted)

    def of_blob(self, blob):
        """The key that made a ciphertext blob."""
        at = len(BLOB_VERSION)
        if blob[:at] != BLOB_VERSION or len(blob) < at + ID_LEN + NONCE_LEN:
            raise Refusal('InvalidCiphertextException', '')
        return self.find(str(uuid.UUID(bytes=blob[at:at + ID_LEN])))
