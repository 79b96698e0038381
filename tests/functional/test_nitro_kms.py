#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The key service of the lab: its operations and its directory of keys."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted
from nitro_document import MODULE, Module, public_der
from nitro_kms import (ACCOUNT, CALLER, GOOD, IMAGE_KEY, OTHER, REGION, ZERO,
                       KmsTest, decoded, encoded, policy_of, statement, when)

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from nitro_lab import config
from nitro_lab.kms import keys
from nitro_lab.kms.attestation import Verifier
from nitro_lab.kms.errors import Refusal
from nitro_lab.kms.operations import Service
from nitro_lab.kms.request import Request
from nitro_lab.kms.tls import Authority

RECIPIENT_OPERATIONS = {
    'Decrypt': 'Plaintext', 'GenerateDataKey': 'Plaintext',
    'GenerateDataKeyPair': 'PrivateKeyPlaintext',
    'GenerateRandom': 'Plaintext', 'DeriveSharedSecret': 'SharedSecret'}


class Operations(KmsTest):
    """Each operation, good and bad."""

    def create(self, **members):
        """ARN of a new key."""
        reply = self.ask('CreateKey', **members)['KeyMetadata']
        return reply['Arn']

    def test_encrypt(self):
        """What was encrypted is decrypted, with the same context."""
        key = self.create()
        context = {'a': '1', 'b': '2'}
        blob = self.ask('Encrypt', KeyId=key, Plaintext=encoded(b'secret'),
                        EncryptionContext=context)['CiphertextBlob']
        reply = self.ask('Decrypt', CiphertextBlob=blob, EncryptionContext={
            'b': '2', 'a': '1'})
        self.assertEqual(reply, {
            'KeyId': key, 'Plaintext': encoded(b'secret'),
            'EncryptionAlgorithm': 'SYMMETRIC_DEFAULT'})
        self.refused('InvalidCiphertextException', 'Decrypt',
                     CiphertextBlob=blob)
        self.refused('IncorrectKeyException', 'Decrypt', CiphertextBlob=blob,
                     KeyId=self.create())
        raw = decoded(blob)
        for at in range(len(raw)):
            bad = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]
            with self.assertRaises(Refusal):
                self.ask('Decrypt', CiphertextBlob=encoded(bad),
                         EncryptionContext=context)
        for size in (1, 17, 30, len(raw) - 1):
            self.refused('InvalidCiphertextException', 'Decrypt',
                         CiphertextBlob=encoded(raw[:size]),
                         EncryptionContext=context)

    def test_rsa(self):
        """A key that others encrypt for."""
        key = self.create(KeySpec='RSA_2048')
        reply = self.ask('GetPublicKey', KeyId=key)
        self.assertEqual(reply['EncryptionAlgorithms'],
                         ['RSAES_OAEP_SHA_1', 'RSAES_OAEP_SHA_256'])
        how = {'KeyId': key, 'EncryptionAlgorithm': 'RSAES_OAEP_SHA_256'}
        blob = self.ask('Encrypt', Plaintext=encoded(b'x'), **how)
        reply = self.ask('Decrypt', CiphertextBlob=blob['CiphertextBlob'],
                        Recipient=self.recipient(), **how)
        self.assertEqual(self.opened(reply), b'x')
        self.refused('ValidationException', 'Encrypt',
                     Plaintext=encoded(bytes(1000)), **how)
        self.refused('InvalidKeyUsageException', 'GenerateDataKey', KeyId=key,
                     KeySpec='AES_256')

    def secret_of(self, operation, members):
        """What an operation gives to enclaves; the answer has no plaintext."""
        reply = self.ask(operation, Recipient=self.recipient(), **members)
        self.assertNotIn(RECIPIENT_OPERATIONS[operation], reply)
        secret = self.opened(reply)
        self.assertNotIn(encoded(secret), json.dumps(reply))
        return secret, reply

    def test_recipients(self):
        """All operations that take one."""
        key = self.create()
        secret, reply = self.secret_of('GenerateDataKey', {
            'KeyId': key, 'KeySpec': 'AES_256'})
        self.assertEqual(len(secret), 32)
        again, _ = self.secret_of('Decrypt', {
            'CiphertextBlob': reply['CiphertextBlob']})
        self.assertEqual(secret, again)
        secret, reply = self.secret_of('GenerateDataKeyPair', {
            'KeyId': key, 'KeyPairSpec': 'RSA_4096'})
        self.assertEqual(reply['PublicKey'], encoded(public_der(
            load_der_private_key(secret, None))))
        self.assertEqual(decoded(self.ask(
            'Decrypt', CiphertextBlob=reply['PrivateKeyCiphertextBlob'])[
                'Plaintext']), secret)
        secret, _ = self.secret_of('GenerateRandom', {'NumberOfBytes': 1024})
        self.assertEqual(len(secret), 1024)

    def test_shared_secret(self):
        """Both sides get the same; the enclave gets it sealed."""
        key = self.create(KeySpec='ECC_NIST_P384', KeyUsage='KEY_AGREEMENT')
        reply = self.ask('GetPublicKey', KeyId=key)
        self.assertEqual(reply['KeyAgreementAlgorithms'], ['ECDH'])
        mine = ec.generate_private_key(ec.SECP384R1())
        members = {'KeyId': key, 'KeyAgreementAlgorithm': 'ECDH',
                   'PublicKey': encoded(public_der(mine))}
        secret, _ = self.secret_of('DeriveSharedSecret', members)
        self.assertEqual(decoded(self.ask('DeriveSharedSecret', **members)[
            'SharedSecret']), secret)
        for bad in (b'\x30', public_der(self.key), public_der(
                ec.generate_private_key(ec.SECP256R1()))):
            self.refused('ValidationException', 'DeriveSharedSecret',
                         **{**members, 'PublicKey': encoded(bad)})
        self.refused('InvalidKeyUsageException', 'Encrypt', KeyId=key,
                     Plaintext=encoded(b'x'))

    def test_envelope(self):
        """Byte for byte of the form that AWS's answers have."""
        reply = self.ask('GenerateRandom', NumberOfBytes=32,
                        Recipient=self.recipient())
        data = decoded(reply['CiphertextForRecipient']).hex()
        key_id = hashlib.sha256(public_der(self.key)).hexdigest()
        self.assertRegex(data, (
            '^308006092a864886f70d010703' 'a0803080' '020102'
            '3182016b' '30820167' '020102' '8020' + key_id +
            '303c06092a864886f70d010107302fa00f300d06096086480165030402010500'
            'a11c301a06092a864886f70d010108300d06096086480165030402010500'
            '04820100' '[0-9a-f]{512}'
            '308006092a864886f70d010701' '301d060960864801650304012a'
            '0410[0-9a-f]{32}' 'a0800430[0-9a-f]{96}' + '0000' * 5 + '$'))

    def test_denied(self):
        """In AWS's words; the reason is for the log."""
        key = self.create(Policy=policy_of(
            statement(**when('StringEqualsIgnoreCase', GOOD)),
            statement(action=['kms:Encrypt', 'kms:PutKeyPolicy'],
                      sid='two')))
        blob = self.ask('Encrypt', KeyId=key, Plaintext=encoded(b'x'))[
            'CiphertextBlob']
        with self.assertLogs('nitro-lab-kms') as log:
            refusal = self.refused(
                'AccessDeniedException', 'Decrypt', CiphertextBlob=blob,
                Recipient=self.recipient(pcr0=OTHER))
        self.assertEqual(refusal.body(), {
            '__type': 'AccessDeniedException', 'Message':
            'User: arn:aws:iam::123456789012:user/u is not authorized to'
            ' perform: kms:Decrypt on resource: %s because no resource-based'
            ' policy allows the kms:Decrypt action' % key})
        for words in ('refused, AccessDeniedException: one: %s is %s, the'
                      ' policy has StringEqualsIgnoreCase %s'
                      % (IMAGE_KEY, OTHER, GOOD), key.rpartition('/')[2],
                      MODULE, 'PCR0=' + OTHER):
            self.assertIn(words, log.output[0])
        self.refused('AccessDeniedException', 'Decrypt', CiphertextBlob=blob)
        self.assertEqual(self.opened(self.ask(
            'Decrypt', CiphertextBlob=blob, Recipient=self.recipient())),
            b'x')
        self.ask('PutKeyPolicy', KeyId=key, Policy=policy_of(
            statement(), statement('Deny', 'kms:Decrypt', 'no')))
        refusal = self.refused('AccessDeniedException', 'Decrypt',
                               CiphertextBlob=blob)
        self.assertTrue(refusal.message.endswith(
            'with an explicit deny in a resource-based policy'))

    def test_warned(self):
        """When a policy is put, and when it is used in spite of it."""
        key = self.create()
        with self.assertLogs('nitro-lab-kms', 'WARNING') as log:
            self.ask('PutKeyPolicy', KeyId=key, Policy=policy_of(
                statement(**when('StringEquals', ZERO), sid='a\nb'),
                statement(sid='two')))
        self.assertIn('a?b: ', log.output[0])
        self.assertIn('debug mode', log.output[0])
        self.assertIn('useless', log.output[1])
        with self.assertLogs('nitro-lab-kms', 'WARNING') as log:
            self.ask('GenerateDataKey', KeyId=key, KeySpec='AES_128')
        self.assertIn('without a Recipient', log.output[0])

    def test_debug_mode(self):
        """An enclave in debug mode is what the policy says it is."""
        key = self.create(Policy=policy_of(statement(
            **when('StringEquals', ZERO))))
        with self.assertLogs('nitro-lab-kms', 'INFO') as log:
            self.ask('GenerateDataKey', KeyId=key, KeySpec='AES_256',
                     Recipient=self.recipient(pcr0=None))
        self.assertIn('debug mode', log.output[0])

    def bad_recipient(self, words, **options):
        """A Recipient that proves nothing; the log has the cause."""
        refusal = self.refused(
            'ValidationException', 'GenerateRandom', NumberOfBytes=1,
            Recipient=self.recipient(**options))
        self.assertRegex(refusal.reason, words)

    def bad_key(self, words, key):
        """A document that is good, but for its public_key: in the log."""
        with self.assertLogs('nitro-lab-kms', 'INFO') as log:
            self.bad_recipient(words, public_key=key)
        for part in (MODULE, 'PCR0=' + GOOD):
            self.assertIn(part, log.output[0])
        self.assertRegex(log.output[0], words)

    def test_failures(self):
        """What fails here is no fault of the client: 500, and a line."""
        missing = Service(self.keys, Verifier('/nothing/qemu-nsm', '/x'))
        killed = Service(self.keys, Verifier('true', '/x'))
        full = mock.patch.object(os, 'fsync', side_effect=OSError(
            errno.ENOSPC, 'No space left on device'))
        for service, how, operation, words in (
                (self.service, full, 'CreateKey', 'No space left'),
                (missing, contextlib.nullcontext(), 'GenerateRandom',
                 '/nothing/qemu-nsm'),
                (killed, contextlib.nullcontext(), 'GenerateRandom',
                 'qemu-nsm: ')):
            members = {'NumberOfBytes': 1, 'Recipient': self.recipient()}
            with how, self.assertLogs('nitro-lab-kms', 'INFO') as log, \
                    self.assertRaises(Refusal) as caught:
                service.call(operation, Request(members), CALLER)
            self.assertEqual((caught.exception.status, caught.exception.code,
                              len(log.output)),
                             (500, 'KMSInternalException', 1), log.output)
            self.assertIn('kms:%s; refused, KMSInternal' % operation,
                          log.output[0])
            self.assertIn(words, log.output[0])

    def test_bad_documents(self):
        """What the verifier finds, and keys that are not RSA-2048."""
        other = Module(self.top / 'other-pki')
        self.bad_recipient('chain', module=other)
        self.bad_recipient('dates', module=Module(self.top / 'pki', -4 * 3600))
        self.bad_recipient('dates', seconds=3600)
        self.bad_recipient('dates', seconds=-3600)
        self.bad_key('no public key', b'')
        self.bad_key('not a SubjectPublicKeyInfo', b'\x30x')
        for key in (ec.generate_private_key(ec.SECP256R1()),
                    rsa.generate_private_key(65537, 1024)):
            self.bad_key('RSA key of 2048 bits', public_der(key))

    def test_bad_cbor(self):
        """Bytes that are not a document."""
        good = self.module.document(public_der(self.key))
        for data in (b'\0', good[:-1], good + b'\0', bytes(20000),
                     b'\x9f' * 12000, b'\x84' + b'\x5b' + b'\xff' * 8,
                     good[:2000] + b'\xff' + good[2001:]):
            recipient = {'KeyEncryptionAlgorithm': 'RSAES_OAEP_SHA_256',
                         'AttestationDocument': encoded(data)}
            refusal = self.refused(
                'ValidationException', 'GenerateRandom', NumberOfBytes=1,
                Recipient=recipient)
            self.assertIn('attestation document refused: ', refusal.reason)

    def test_values(self):
        """Members of a wrong type, out of bounds, or absent."""
        key = self.create()
        good = self.recipient()
        validation, serial = 'ValidationException', 'SerializationException'
        for code, operation, members in (
                (validation, 'GenerateRandom', {}),
                (validation, 'GenerateRandom', {'NumberOfBytes': 0}),
                (validation, 'GenerateRandom', {'NumberOfBytes': 1025}),
                (validation, 'GenerateRandom', {'NumberOfBytes': 10 ** 300}),
                (serial, 'GenerateRandom', {'NumberOfBytes': True}),
                (serial, 'GenerateRandom', {'NumberOfBytes': '1'}),
                (serial, 'GenerateRandom', {'NumberOfBytes': 1,
                                            'Recipient': 'x'}),
                (validation, 'GenerateRandom', {
                    'NumberOfBytes': 1, 'Recipient': {
                        **good, 'KeyEncryptionAlgorithm': 'RSA'}}),
                (validation, 'GenerateRandom', {
                    'NumberOfBytes': 1, 'Recipient': {
                        'KeyEncryptionAlgorithm': 'RSAES_OAEP_SHA_256'}}),
                (serial, 'GenerateRandom', {
                    'NumberOfBytes': 1, 'Recipient': {
                        **good, 'AttestationDocument': '@@@'}}),
                (validation, 'GenerateDataKey', {'KeyId': key}),
                (validation, 'GenerateDataKey', {
                    'KeyId': key, 'KeySpec': 'AES_256', 'NumberOfBytes': 1}),
                (validation, 'GenerateDataKey', {'KeyId': key,
                                                 'KeySpec': 'AES_512'}),
                (validation, 'GenerateDataKeyPair', {'KeyId': key,
                                                     'KeyPairSpec': 'SM2'}),
                (serial, 'Encrypt', {'KeyId': 7, 'Plaintext': 'eA=='}),
                (validation, 'Encrypt', {'KeyId': 'k' * 3000}),
                (serial, 'Encrypt', {'KeyId': key, 'Plaintext': '\u00e9'}),
                (validation, 'Encrypt', {'KeyId': key, 'Plaintext': encoded(
                    bytes(4097))}),
                (serial, 'Encrypt', {
                    'KeyId': key, 'Plaintext': 'eA==',
                    'EncryptionContext': {'a': 1}}),
                (validation, 'Decrypt', {'CiphertextBlob': ''}),
                ('UnsupportedOperationException', 'CreateKey',
                 {'KeySpec': 'HMAC_256'}),
                (validation, 'CreateKey', {'KeyUsage': 'SIGN_VERIFY'}),
                ('UnsupportedOperationException', 'GetPublicKey',
                 {'KeyId': key}),
                ('MalformedPolicyDocumentException', 'CreateKey',
                 {'Policy': '{}'}),
                ('MalformedPolicyDocumentException', 'PutKeyPolicy',
                 {'KeyId': key, 'Policy': '{}'}),
                ('UnknownOperationException', 'DeleteEverything', {})):
            self.refused(code, operation, **members)

    def test_policy_and_list(self):
        """What is put is got; keys are found in each way."""
        text = policy_of(statement())
        reply = self.ask('CreateKey', Policy=text, Description='d')
        key = reply['KeyMetadata']
        self.assertEqual(self.ask('GetKeyPolicy', KeyId=key['KeyId']),
                         {'Policy': text, 'PolicyName': 'default'})
        self.assertIn({'KeyId': key['KeyId'], 'KeyArn': key['Arn']},
                      self.ask('ListKeys')['Keys'])
        self.keys.create(keys.SYMMETRIC, name='named')
        for name in ('alias/named', '%s:alias/named' % self.keys.prefix):
            self.ask('DescribeKey', KeyId=name)


class Directory(KmsTest):
    """Where keys lie, and what leads out of there."""

    def test_modes(self):
        """Nobody else reads them."""
        self.keys.create(keys.SYMMETRIC, name='modes')
        for path in (self.keys.directory, *self.keys.directory.iterdir()):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.assertEqual([path for path in self.keys.directory.iterdir()
                          if path.name.startswith('.')], [])

    def test_names(self):
        """A name that is a path, for clients and on the command line."""
        outside = self.top / 'outside.key'
        shutil.copy(self.keys.directory / (self.keys.create(
            keys.SYMMETRIC).name + '.key'), outside)
        for name in ('../outside', 'alias/../outside', '/' + str(outside),
                     'alias/' + str(outside), '..', '.', 'alias/', '*',
                     'alias/*', 'a\0b', 'alias/a\nb', 'key/../outside'):
            self.refused('NotFoundException', 'DescribeKey', KeyId=name)
            with self.assertRaises(config.LabError):
                self.keys.create(keys.SYMMETRIC, name=name)
            with self.assertRaises(config.LabError):
                self.keys.load(name)

    def test_links(self):
        """A link to a key elsewhere is refused."""
        key = self.keys.create(keys.SYMMETRIC, name='linked')
        path = self.keys.directory / 'linked.key'
        moved = path.rename(self.top / 'linked.key')
        path.symlink_to(moved)
        with self.assertRaisesRegex(config.LabError, 'linked.key is a link'):
            self.keys.load('linked')
        self.refused('NotFoundException', 'DescribeKey', KeyId=key.id)
        path.unlink()

    def test_two_at_once(self):
        """Of two that make the same name one wins, with all its files."""
        won = []

        def overtaken(spec):
            if not won:
                won.append(None)
                won[0] = self.keys.create(spec, policy_of(statement()), 'race')
            return os.urandom(32)

        with mock.patch.object(keys, '_new_secret', overtaken), \
                self.assertRaisesRegex(config.LabError, "a key 'race'"):
            self.keys.create(keys.SYMMETRIC, name='race')
        left = self.keys.load('race')
        self.assertEqual((left.id, left.secret, left.policy.text), (
            won[0].id, won[0].secret, won[0].policy.text))

    def test_nameless(self):
        """A name of no letters is not the same as no name."""
        with self.assertRaisesRegex(config.LabError, 'not a name for a key'):
            self.keys.create(keys.SYMMETRIC, name='')

    def test_authority_at_once(self):
        """All get the same CA, also when a first one was half made."""
        for name, half in (('fresh', False), ('half', True)):
            place = self.top / name
            if half:
                place.mkdir(mode=0o700)
                (place / 'ca-key.pem').write_bytes(b'')
            made, start = [], threading.Barrier(8)

            def make(place=place, made=made, start=start):
                start.wait()
                made.append(Authority(place).cert)

            threads = [threading.Thread(target=make) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(made, [Authority(place).cert] * 8)

    def test_authority_links(self):
        """Its files are regular ones, and its owner's."""
        for file in ('ca.pem', 'ca-key.pem'):
            place = self.top / ('tls-' + file)
            Authority(place)
            path = place / file
            moved = path.rename(self.top / file)
            path.symlink_to(moved)
            with self.assertRaisesRegex(config.LabError, file + ' is a link'):
                Authority(place)
            path.unlink()
            os.mkfifo(path)
            with self.assertRaisesRegex(config.LabError,
                                        file + ' is not a regular file'):
                Authority(place)

    def test_owner(self):
        """A key that another user put there is refused."""
        self.keys.create(keys.SYMMETRIC, name='theirs')
        with mock.patch.object(os, 'geteuid', lambda: os.getuid() + 1), \
                self.assertRaisesRegex(config.LabError, 'theirs.key belongs to'
                                       ' user %d' % os.getuid()):
            self.keys.load('theirs')

    def test_foreign(self):
        """A directory that others can read is not used."""
        place = self.top / 'open'
        place.mkdir(mode=0o755)
        with self.assertRaisesRegex(config.LabError, 'is open to others'):
            keys.Keys(place, REGION, ACCOUNT)
        link = self.top / 'link'
        link.symlink_to(self.keys.directory)
        with self.assertRaisesRegex(config.LabError, 'link is a link'):
            keys.Keys(link, REGION, ACCOUNT)

    def test_broken(self):
        """A file that was damaged costs its own key alone."""
        good = self.keys.create(keys.SYMMETRIC, name='good')
        bad = self.keys.create(keys.SYMMETRIC, name='bad')
        rules = self.keys.directory / 'bad.policy.json'
        rules.write_text('{')
        self.addCleanup(rules.unlink)
        self.addCleanup((self.keys.directory / 'bad.key').unlink)
        with self.assertLogs('nitro-lab-kms', 'INFO') as log:
            refusal = self.refused('KMSInternalException', 'DescribeKey',
                                   KeyId=bad.id)
        self.assertEqual(len(log.output), 1, log.output)
        self.assertIn('bad.policy.json: not JSON', log.output[0])
        self.assertNotIn('json', json.dumps(refusal.body()))
        self.ask('DescribeKey', KeyId=good.id)
        self.ask('ListKeys')
        (self.keys.directory / 'bad.key').write_text('[')
        self.assertNotIn(bad.id, json.dumps(self.ask('ListKeys')))
        self.refused('NotFoundException', 'DescribeKey', KeyId=bad.id)
        with self.assertRaisesRegex(config.LabError, "there is a key 'good'"):
            self.keys.create(keys.SYMMETRIC, name='good')


    def test_damage(self):
        """It is reported for the file that has it, and is no secret's end."""
        rsa_key = self.keys.create('RSA_2048', name='hurt')
        file = self.keys.directory / 'hurt.key'
        self.addCleanup(file.unlink)
        whole = json.loads(file.read_text())
        curve = keys.private_der(keys.new_private_key('ECC_NIST_P256'))
        for words, text in (
                ('not a JSON object', '[]'), ('', '\0'),
                *((name + ' is missing', json.dumps({**whole, name: value}))
                  for name in ('KeyId', 'KeySpec', 'CreationDate', 'Secret')
                  for value in (None, [], {}, True)),
                ('KeyId: ', json.dumps({**whole, 'KeyId': 'x'})),
                ('Secret: ', json.dumps({**whole, 'Secret': '@'})),
                ('CreationDate: ', json.dumps(
                    {**whole, 'CreationDate': float('nan')})),
                ('CreationDate: ', json.dumps(
                    {**whole, 'CreationDate': 10 ** 400})),
                ('Secret: 3 bytes', json.dumps(
                    {**whole, 'KeySpec': keys.SYMMETRIC, 'Secret': 'eHh4'}))):
            file.write_text(text)
            with self.assertRaisesRegex(config.LabError, 'hurt.key: ' + words):
                self.keys.load('hurt')
            self.refused('KMSInternalException', 'DescribeKey',
                         KeyId='alias/hurt')
            self.ask('ListKeys')
        for secret in (b'xxx', curve):
            file.write_text(json.dumps({**whole, 'Secret': encoded(secret)}))
            refusal = self.refused('KMSInternalException', 'GetPublicKey',
                                   KeyId=rsa_key.id)
            self.assertEqual(refusal.status, 500)
            self.assertIn('hurt.key: Secret: ', refusal.reason)

    def test_no_policy(self):
        """What is missing, and what makes it again."""
        key = self.keys.create(keys.SYMMETRIC, name='bare')
        (self.keys.directory / 'bare.policy.json').unlink()
        with self.assertRaisesRegex(config.LabError,
                                    "'bare' has no policy") as caught:
            self.keys.load('bare')
        self.assertIn('kms policy bare FILE', caught.exception.hint)
        with self.assertLogs('nitro-lab-kms', 'ERROR') as log:
            Service(self.keys, None)
        self.assertIn("'bare' has no policy", str(log.output))
        self.keys.put_policy('bare', policy_of(statement()))
        self.assertEqual(self.keys.load('bare').id, key.id)
        with self.assertRaisesRegex(config.LabError, "no key 'nobody'"):
            self.keys.put_policy('nobody', policy_of(statement()))


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
