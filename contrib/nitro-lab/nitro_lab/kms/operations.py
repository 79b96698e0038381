# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The operations of the key service, apart from how requests arrive.

With a Recipient an answer has CiphertextForRecipient in place of the secret,
in the operations that policy.ATTESTED lists.
"""

import base64
import logging
import os
import subprocess
import threading

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ..config import LabError
from . import attestation
from .errors import Refusal, internal, invalid
from .keys import (CURVES, RSA_BITS, SPECS, SYMMETRIC, key_id_of,
                   new_private_key, private_der, public_der, usage_of)
from .policy import ATTESTED, SIZE_MAX

LOG = logging.getLogger('nitro-lab-kms')
PLAINTEXT_MAX = 4096
BLOB_MAX = 6144
POLICY_NAME = 'default'
PAIR_SPECS = (*RSA_BITS, *CURVES)
KEYS_MAX = 1000
# AWS's, of the member; documents are smaller
DOCUMENT_MAX = 262144


def printable(text):
    """What strangers wrote, for a log: without control characters."""
    return ''.join(c if c.isprintable() else '?' for c in text)


def _text(data):
    return base64.b64encode(data).decode()


class Call:
    """One request for one operation."""

    def __init__(self, service, operation, request, principal):
        self.service, self.keys = service, service.keys
        self.operation, self.request = operation, request
        self.principal = principal
        self.recipient, self.key, self.reason = None, None, ''

    def run(self):
        """The members of the answer."""
        if self.operation not in HANDLERS:
            raise Refusal('UnknownOperationException', None,
                          'there is no such operation')
        try:
            self._take_recipient()
            return HANDLERS[self.operation](self)
        except LabError as error:
            raise internal('%s; %s' % (error, error.hint)) from error
        except (OSError, subprocess.SubprocessError) as error:
            raise internal(error) from error

    def _take_recipient(self):
        """Verify who the answer is for, if the operation knows recipients."""
        reply = (self.request.object('Recipient')
                if 'kms:' + self.operation in ATTESTED else None)
        if reply:
            reply.choice('KeyEncryptionAlgorithm', [attestation.ALGORITHM])
            self.recipient = self.service.verifier.recipient(
                reply.blob('AttestationDocument', DOCUMENT_MAX))
            self.recipient.take_key()

    def find(self, wanted=None, action=None):
        """The key of the request, when its policy allows it."""
        wanted = wanted or self.request.text('KeyId')
        self.key = self.keys.find(wanted)
        self._authorize(action or 'kms:' + self.operation)
        return self.key

    def _authorize(self, action):
        key = self.key
        decision = key.policy.decide(
            self.principal, action, key.arn,
            self.recipient.values if self.recipient else {})
        self.reason = decision.reason
        if not decision.allowed:
            raise Refusal(
                'AccessDeniedException',
                'User: %s is not authorized to perform: %s on resource: %s %s'
                % (self.principal.arn, action, key.arn,
                   'with an explicit deny in a resource-based policy'
                   if decision.explicit else
                   'because no resource-based policy allows the %s action'
                   % action), decision.reason)
        if action in ATTESTED and not self.recipient and \
                key.policy.is_attested(action):
            LOG.warning('%s of %s without a Recipient: another statement'
                        ' than the one for enclaves allows it', action,
                        key.name)

    def require(self, usage):
        """The key has to be for this usage."""
        if self.key.usage != usage:
            raise Refusal('InvalidKeyUsageException', '%s key usage is %s'
                          ' which is not valid for %s.' % (
                              self.key.arn, self.key.usage, self.operation))

    def require_symmetric(self):
        """Data keys are encrypted with symmetric keys alone."""
        self.require('ENCRYPT_DECRYPT')
        if self.key.spec != SYMMETRIC:
            raise Refusal('InvalidKeyUsageException', '%s key spec is %s which'
                          ' is not valid for %s.' % (
                              self.key.arn, self.key.spec, self.operation))

    def secret(self, member, data):
        """The member with a secret: for the recipient, if there is one."""
        if self.recipient:
            return {'CiphertextForRecipient': _text(self.recipient.seal(data))}
        return {member: _text(data)}

    def line(self, outcome):
        """For the log: everything about it but secrets, in one line."""
        parts = ['kms:' + self.operation[:64], outcome]
        if self.key:
            parts.append('key %s (%s)' % (self.key.name, self.key.id))
        parts += ['caller ' + self.principal.arn,
                  'recipient %s' % (self.recipient or 'none')]
        return printable('; '.join(parts))


def _algorithm(call):
    call.require('ENCRYPT_DECRYPT')
    return call.request.choice('EncryptionAlgorithm', call.key.algorithms(),
                               SYMMETRIC)


def _encrypt(call):
    key = call.find()
    algorithm, context = _algorithm(call), call.request.context()
    try:
        blob = key.encrypt(call.request.blob('Plaintext', PLAINTEXT_MAX),
                           algorithm, context)
    except ValueError as error:
        raise invalid('The plaintext is too long for %s with %s'
                      % (key.spec, algorithm)) from error
    return {'CiphertextBlob': _text(blob), 'KeyId': key.arn,
            'EncryptionAlgorithm': algorithm}


def _decrypt(call):
    blob = call.request.blob('CiphertextBlob', BLOB_MAX)
    named = call.request.optional_text('KeyId')
    asymmetric = call.request.text('EncryptionAlgorithm',
                                   SYMMETRIC) != SYMMETRIC
    if asymmetric and not named:
        raise invalid('KeyId is needed with an EncryptionAlgorithm of'
                      ' asymmetric keys')
    key = call.find(named or key_id_of(blob))
    algorithm = _algorithm(call)
    if not asymmetric and key_id_of(blob) != key.id:
        raise Refusal('IncorrectKeyException', 'The key ID in the request does'
                      ' not identify a CMK that can perform this operation.')
    data = key.decrypt(blob, algorithm, call.request.context())
    return {'KeyId': key.arn, 'EncryptionAlgorithm': algorithm,
            **call.secret('Plaintext', data)}


def _data_key(call):
    """Plaintext and the ciphertext of a new data key."""
    key = call.find()
    call.require_symmetric()
    number = call.request.number_of_bytes(required=False)
    spec = call.request.optional_text('KeySpec')
    if bool(number) == bool(spec):
        raise invalid('Please specify either number of bytes or key spec.')
    if spec:
        call.request.choice('KeySpec', ['AES_256', 'AES_128'])
        number = {'AES_256': 32, 'AES_128': 16}[spec]
    data = os.urandom(number)
    return data, {'KeyId': key.arn, 'CiphertextBlob': _text(
        key.encrypt(data, SYMMETRIC, call.request.context()))}


def _generate_data_key(call):
    data, answer = _data_key(call)
    return {**answer, **call.secret('Plaintext', data)}


def _generate_data_key_without_plaintext(call):
    return _data_key(call)[1]


def _data_key_pair(call):
    key = call.find()
    call.require_symmetric()
    spec = call.request.choice('KeyPairSpec', PAIR_SPECS)
    with call.service.slow:
        pair = new_private_key(spec)
    private = private_der(pair)
    return private, {
        'KeyId': key.arn, 'KeyPairSpec': spec,
        'PublicKey': _text(public_der(pair)), 'PrivateKeyCiphertextBlob':
        _text(key.encrypt(private, SYMMETRIC, call.request.context()))}


def _generate_data_key_pair(call):
    private, answer = _data_key_pair(call)
    return {**answer, **call.secret('PrivateKeyPlaintext', private)}


def _generate_data_key_pair_without_plaintext(call):
    return _data_key_pair(call)[1]


def _generate_random(call):
    call.reason = 'no key, so no policy'
    return call.secret('Plaintext', os.urandom(
        call.request.number_of_bytes(required=True)))


def _derive_shared_secret(call):
    key = call.find()
    call.require('KEY_AGREEMENT')
    call.request.choice('KeyAgreementAlgorithm', ['ECDH'])
    der = call.request.blob('PublicKey', 8192)
    private = key.private_key()
    try:
        peer = load_der_public_key(der)
        if not isinstance(peer, ec.EllipticCurvePublicKey):
            raise ValueError('not of a curve')
        secret = private.exchange(ec.ECDH(), peer)
    except Exception as error:      # of many types, some from its C library
        raise invalid('The public key is not one of %s in DER'
                      % key.spec) from error
    return {'KeyId': key.arn, 'KeyAgreementAlgorithm': 'ECDH',
            'KeyOrigin': 'AWS_KMS', **call.secret('SharedSecret', secret)}


def _capabilities(key):
    """What a key can be used with."""
    if key.usage == 'KEY_AGREEMENT':
        return {'KeyAgreementAlgorithms': ['ECDH']}
    return {'EncryptionAlgorithms': key.algorithms()}


def _metadata(key):
    return {'KeyMetadata': {
        'AWSAccountId': key.arn.split(':')[4], 'KeyId': key.id,
        'Arn': key.arn, 'CreationDate': key.created, 'Enabled': True,
        'Description': key.description, 'KeyUsage': key.usage,
        'KeyState': 'Enabled', 'Origin': 'AWS_KMS',
        'KeyManager': 'CUSTOMER', 'CustomerMasterKeySpec': key.spec,
        'KeySpec': key.spec, 'MultiRegion': False, **_capabilities(key)}}


def _malformed(error):
    return Refusal('MalformedPolicyDocumentException', str(error))


def _check_usage(request, spec):
    """A spec has one usage here."""
    usage = usage_of(spec)
    if request.text('KeyUsage', usage) != usage:
        raise invalid('KeyUsage %s is not compatible with KeySpec %s'
                      % (request.text('KeyUsage')[:64], spec))


def _create_key(call):
    request = call.request
    spec = request.text('KeySpec', '') or request.text(
        'CustomerMasterKeySpec', SYMMETRIC)
    if spec not in SPECS:
        raise Refusal('UnsupportedOperationException', "KeySpec '%s' is not"
                      ' one of %s' % (spec[:64], ', '.join(SPECS)))
    _check_usage(request, spec)
    policy = request.text('Policy', '', SIZE_MAX)
    call.reason = 'everybody may make keys here'
    with call.service.slow:
        if len(call.keys.names()) >= KEYS_MAX:
            raise Refusal('LimitExceededException', 'There are %d keys in %s'
                          % (KEYS_MAX, call.keys.directory))
        try:
            call.key = call.keys.create(
                spec, policy, description=request.text('Description', '',
                                                       minimum=0))
        except ValueError as error:
            raise _malformed(error) from error
    return _metadata(call.key)


def _describe_key(call):
    return _metadata(call.find())


def _get_public_key(call):
    key = call.find()
    if key.spec == SYMMETRIC:
        raise Refusal('UnsupportedOperationException',
                      '%s is symmetric and has no public key' % key.arn)
    return {'KeyId': key.arn, 'PublicKey': _text(public_der(
        key.private_key())), 'CustomerMasterKeySpec': key.spec,
        'KeySpec': key.spec, 'KeyUsage': key.usage, **_capabilities(key)}


def _get_key_policy(call):
    key = call.find()
    call.request.choice('PolicyName', [POLICY_NAME], POLICY_NAME)
    return {'Policy': key.policy.text, 'PolicyName': POLICY_NAME}


def _put_key_policy(call):
    key = call.find()
    call.request.choice('PolicyName', [POLICY_NAME], POLICY_NAME)
    text = call.request.text('Policy', maximum=SIZE_MAX)
    try:
        call.keys.put_policy(key.name, text)
    except ValueError as error:
        raise _malformed(error) from error
    warn(call.keys.load(key.name))
    return {}


def _list_keys(call):
    call.reason = 'everybody may list keys here'
    return {'Keys': [{'KeyId': key_id, 'KeyArn': '%s:key/%s' % (
        call.keys.prefix, key_id)} for key_id in call.keys.ids()],
        'Truncated': False}


HANDLERS = {
    'CreateKey': _create_key, 'Decrypt': _decrypt,
    'DeriveSharedSecret': _derive_shared_secret,
    'DescribeKey': _describe_key, 'Encrypt': _encrypt,
    'GenerateDataKey': _generate_data_key,
    'GenerateDataKeyPair': _generate_data_key_pair,
    'GenerateDataKeyPairWithoutPlaintext':
        _generate_data_key_pair_without_plaintext,
    'GenerateDataKeyWithoutPlaintext': _generate_data_key_without_plaintext,
    'GenerateRandom': _generate_random, 'GetKeyPolicy': _get_key_policy,
    'GetPublicKey': _get_public_key, 'ListKeys': _list_keys,
    'PutKeyPolicy': _put_key_policy}


def warn(key):
    """Say what is probably wrong with the policy of a key."""
    for text in key.policy.warnings():
        LOG.warning('policy of %s: %s', key.name, printable(text))


class Service:
    """Keys, and who verifies recipients; used by many threads."""

    def __init__(self, keys, verifier):
        self.keys, self.verifier = keys, verifier
        # Making RSA keys takes seconds: one at a time leaves room for others
        self.slow = threading.Lock()
        for name in keys.names():
            try:
                warn(keys.load(name))
            except LabError as error:
                LOG.error('%s; %s', error, error.hint)

    def call(self, operation, request, principal):
        """The members of the answer, or a Refusal; either is logged."""
        call = Call(self, operation, request, principal)
        try:
            answer = call.run()
        except Refusal as refusal:
            LOG.log(logging.ERROR if refusal.status >= 500 else logging.INFO,
                    '%s', call.line('refused, %s: %s' % (
                        refusal.code, refusal.reason)))
            raise
        LOG.info('%s', call.line('allowed: ' + call.reason))
        return answer
