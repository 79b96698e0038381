#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The key service of the lab: HTTP and TLS, and its command line."""

import contextlib
import http.client
import json
import math
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
from unittest import mock

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted, tiny_image
from nitro_document import public_der
from nitro_kms import (ACCOUNT, GOOD, OTHER, REGION, KmsTest, ServedTest,
                       decoded, encoded, policy_of, statement, when)
from nitro_verifiers import npm_packages

from nitro_lab import config, eif
from nitro_lab.kms import keys, server, sockets
from nitro_lab.kms.tls import Authority
from nitro_lab.patience import PATIENCE

LAB = config.TREE / 'contrib' / 'nitro-lab' / 'nitro-lab'


class Wire(ServedTest):
    """HTTP and TLS."""

    def connection(self, name='kms.%s.amazonaws.com' % REGION,
                   lax=ssl.OP_IGNORE_UNEXPECTED_EOF):
        """A connection in TLS, to one of the service's names."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.options &= lax | ~ssl.OP_IGNORE_UNEXPECTED_EOF
        plain = socket.create_connection(self.tcp.getsockname(), 600)
        self.addCleanup(plain.close)
        client = http.client.HTTPSConnection(name)
        client.sock = context.wrap_socket(plain, server_hostname=name)
        self.addCleanup(client.close)
        return client

    def post(self, target, body, client=None, path='/', **headers):
        """Status and body of an answer."""
        client = client or self.connection()
        client.request('POST', path, body, {
            'X-Amz-Target': target, 'Content-Type':
            'application/x-amz-json-1.1', 'Authorization':
            'AWS4-HMAC-SHA256 Credential=ROLE/20261129/x/kms/aws4_request',
            **headers})
        answer = client.getresponse()
        self.assertEqual(answer.headers['Content-Type'],
                         'application/x-amz-json-1.1')
        self.assertTrue(answer.headers['x-amzn-RequestId'])
        return answer.status, json.loads(answer.read())

    def test_names(self):
        """The region's, the lab's, this machine's; none else."""
        for name in ('kms.%s.amazonaws.com' % REGION, 'localhost',
                     'kms.lab.nitro-enclaves', '127.0.0.1'):
            status, reply = self.post('TrentService.GenerateRandom',
                                     '{"NumberOfBytes": 3}',
                                     self.connection(name))
            self.assertEqual((status, len(decoded(reply['Plaintext']))),
                             (200, 3))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.connection('kms.us-west-2.amazonaws.com')

    def test_authority(self):
        """The CA vouches for no other names, and is kept."""
        text = subprocess.run(
            ['openssl', 'x509', '-noout', '-text', '-in',
             self.authority.certificate], text=True, check=True,
            stdout=subprocess.PIPE).stdout
        self.assertIn('Name Constraints: critical', text)
        self.assertIn('nitro-lab, not AWS', text)
        again = Authority(self.top / 'tls')
        self.assertEqual(again.cert, self.authority.cert)
        for path in (self.top / 'tls').iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)

    def test_unix(self):
        """The same by the unix socket; a second service is refused."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        client = http.client.HTTPSConnection('localhost')
        with contextlib.closing(sockets.connect_unix(self.path)) as plain:
            client.sock = context.wrap_socket(plain,
                                              server_hostname='localhost')
            self.assertEqual(self.post('TrentService.ListKeys', '{}',
                                       client)[0], 200)
            client.close()
        lines = queue.Queue()
        with mock.patch.object(server.SPARING, 'say', lines.put):
            with self.assertRaisesRegex(FileExistsError, 'runs already'):
                sockets.listen_unix(self.path)
            self.assertIn('no TLS', lines.get(timeout=PATIENCE))

    def test_not_a_socket(self):
        """What else has the socket's name is neither removed nor used."""
        place = self.top / 'sockets'
        place.mkdir()
        for make in (lambda path: path.write_text('mine'),
                     lambda path: path.symlink_to(self.path),
                     lambda path: path.symlink_to(self.top / 'nothing')):
            path = place / 'kms.sock'
            make(path)
            with self.assertRaisesRegex(config.LabError, 'is not a socket'):
                sockets.listen_unix(path)
            with self.assertRaisesRegex(OSError, 'not a socket'):
                sockets.connect_unix(path)
            path.unlink()
        sockets.listen_unix(path).close()
        sockets.listen_unix(path).close()

    def test_denied(self):
        """As clients see it."""
        key = self.keys.create(keys.SYMMETRIC, policy_of(
            statement('Deny')))
        status, reply = self.post('TrentService.DescribeKey',
                                 json.dumps({'KeyId': key.id}))
        self.assertEqual((status, reply['__type'], set(reply)), (
            400, 'AccessDeniedException', {'__type', 'Message'}))

    def test_refused(self):
        """What is not a request."""
        deep = '{"a":' * 50000
        for code, status, arguments in (
                ('UnknownOperationException', 400, ('Other.Decrypt', '{}')),
                ('UnknownOperationException', 400, ('TrentService.X', '{}')),
                ('SerializationException', 400, ('TrentService.Decrypt', '{')),
                ('SerializationException', 400, ('TrentService.Decrypt', deep)),
                ('SerializationException', 400,
                 ('TrentService.Decrypt', b'\xff\xfe{}')),
                ('SerializationException', 400,
                 ('TrentService.Decrypt', '[]'))):
            with self.assertLogs('nitro-lab-kms', 'INFO') as log:
                got, reply = self.post(*arguments)
            self.assertEqual((got, reply['__type']), (status, code), arguments)
            self.assertEqual(len(log.output), 1, log.output)
            self.assertIn(' refused, %s: ' % code, log.output[0])
            self.assertIn(arguments[0].rpartition('.')[2], log.output[0])
        with self.assertLogs('nitro-lab-kms', 'INFO') as log:
            self.assertEqual(self.post('TrentService.ListKeys', '{}',
                                       Authorization='Basic x')[1]['__type'],
                             'MissingAuthenticationTokenException')
        self.assertIn('ListKeys', log.output[0])
        self.assertIn('not signed', log.output[0])
        with mock.patch.multiple(server.SPARING, lines=0, left_out=0), \
                self.assertLogs('nitro-lab-kms', 'INFO') as log:
            client = self.connection()
            client.request('GET', '/')
            self.assertEqual(client.getresponse().status, 501)
        self.assertEqual(len(log.output), 1, log.output)
        self.assertIn('501', log.output[0])
        self.assertEqual(self.post('TrentService.ListKeys', '{}', path='/x')[
            1]['__type'], 'UnknownOperationException')

    def test_not_tls(self):
        """A line says which mistake it is; a flood of them is cut short."""
        def talk(data):
            with socket.create_connection(self.tcp.getsockname(),
                                          600) as plain:
                plain.sendall(data)
                with contextlib.suppress(OSError):
                    plain.shutdown(socket.SHUT_WR)
                    while plain.recv(100):
                        pass

        with mock.patch.multiple(server.SPARING, lines=0, left_out=0), \
                mock.patch.object(server.SPARING, 'begun', math.inf), \
                self.assertLogs('nitro-lab-kms', 'INFO') as log:
            talk(b'POST / HTTP/1.1\r\n\r\n')
            talk(b'neither')
            self.assertIn('plain HTTP', log.output[0])
            self.assertIn('TLS', log.output[1])
            for _ in range(server.SPARING.MOST):
                talk(b'neither')
            self.assertEqual(len(log.output), server.SPARING.MOST)
            server.SPARING.begun = -math.inf
            talk(b'neither')
            self.assertIn('2 more', log.output[-2])

    def test_slow(self):
        """Who does not begin with TLS is not waited for as others are."""
        with mock.patch.object(server, 'HANDSHAKE_SECONDS', 0.1), \
                mock.patch.multiple(server.SPARING, lines=0, left_out=0), \
                self.assertLogs('nitro-lab-kms', 'INFO') as log, \
                socket.create_connection(self.tcp.getsockname(),
                                         PATIENCE) as plain:
            self.assertEqual(plain.recv(1), b'')
        self.assertIn('no TLS', log.output[0])
        self.assertIn('timed out', log.output[0])

    def test_full(self):
        """One more than there may be is logged, and waits for its turn."""
        lines = queue.Queue()
        listener = sockets.listen_tcp(0)
        address = listener.getsockname()
        with mock.patch.object(server, 'CONNECTIONS_MAX', 1):
            running = server.Server(
                self.service, server.Callers(ACCOUNT, {}),
                self.authority.context(REGION), [listener])
        with mock.patch.object(server.SPARING, 'say', lines.put), running, \
                socket.create_connection(address, PATIENCE) as first, \
                socket.create_connection(address, PATIENCE) as second:
            self.assertIn('1 connections are open',
                          lines.get(timeout=PATIENCE))
            first.close()
            second.sendall(b'neither')
            for _ in range(2):
                self.assertIn('no TLS', lines.get(timeout=PATIENCE))

    def test_end(self):
        """After the last answer TLS ends in order, not just the stream."""
        client = self.connection(lax=0)
        client.sock.suppress_ragged_eofs = False
        client.sock.sendall(b'GET / HTTP/1.0\r\n\r\n')
        while client.sock.recv(65536):
            pass

    def test_too_long(self):
        """The length is enough to refuse it."""
        client = self.connection()
        client.putrequest('POST', '/')
        client.putheader('Content-Length', str(server.BODY_MAX + 1))
        client.endheaders()
        answer = client.getresponse()
        self.assertEqual((answer.status, json.loads(answer.read())['__type']),
                         (413, 'RequestEntityTooLargeException'))

    def test_bad_http(self):
        """It costs its own connection, and others are served."""
        for data in (b'\0' * 100, b'POST / HTTP/1.1\r\n\r\n',
                     b'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
                     b'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx',
                     b'GET / HTTP/1.1\r\n\r\n', b'A' * 100000,
                     b'POST / HTTP/1.1\r\n' + b'a: b\r\n' * 200 + b'\r\n'):
            client = self.connection()
            with contextlib.suppress(OSError):
                client.sock.sendall(data)
                client.sock.unwrap()
        plain = socket.create_connection(self.tcp.getsockname(), 600)
        with contextlib.closing(plain):
            plain.sendall(b'not TLS at all\n')
            with contextlib.suppress(ConnectionError):
                plain.recv(100)
        silent = [socket.create_connection(self.tcp.getsockname(), 600)
                  for _ in range(8)]
        self.assertEqual(self.post('TrentService.ListKeys', '{}')[0], 200)
        for client in silent:
            client.close()


class Sdk(ServedTest):
    """@aws-sdk/client-kms, from npm."""

    def ask_all(self, *requests):
        """Outputs, or errors, of requests: (operation, input)."""
        run = subprocess.run(
            ['node', npm_packages() / 'kms.mjs',
             'https://127.0.0.1:%d' % self.tcp.getsockname()[1], REGION],
            input=json.dumps(requests), text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, check=False, env={
                **os.environ, 'NODE_EXTRA_CA_CERTS':
                str(self.authority.certificate)})
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def for_enclave(self, pcr0=GOOD):
        """The Recipient as the SDK has it: bytes."""
        reply = self.recipient(pcr0=pcr0)
        return {'Recipient': {
            **reply, 'AttestationDocument': {
                'base64': reply['AttestationDocument']}}}

    def secret_of(self, answer):
        """What the enclave finds in an answer, which has no other secret."""
        output = answer['output']
        self.assertFalse({'Plaintext', 'PrivateKeyPlaintext', 'SharedSecret'}
                         & set(output), output)
        return self.opened({'CiphertextForRecipient': output[
            'CiphertextForRecipient']['base64']})

    def test_operations(self):
        """With a Recipient, without, and denied."""
        key = {'KeyId': self.keys.create(keys.SYMMETRIC).arn}
        strict = {'KeyId': self.keys.create(keys.SYMMETRIC, policy_of(
            statement(**when('StringEquals', GOOD)))).arn}
        curve = self.keys.create('ECC_NIST_P256')
        blob = {'CiphertextBlob': {'base64': encoded(
            self.keys.find(key['KeyId']).encrypt(b'x', keys.SYMMETRIC, b''))}}
        peer = {'KeyId': curve.id, 'KeyAgreementAlgorithm': 'ECDH',
                'PublicKey': {'base64': encoded(public_der(
                    curve.private_key()))}}
        enclave, size = self.for_enclave(), {'NumberOfBytes': 32}
        reply = self.ask_all(
            ('DescribeKey', key), ('Decrypt', blob),
            ('Decrypt', {**blob, **enclave}),
            ('GenerateDataKey', {**strict, **size, **enclave}),
            ('GenerateDataKeyPair', {**key, **enclave,
                                     'KeyPairSpec': 'ECC_NIST_P384'}),
            ('GenerateRandom', {**size, **enclave}),
            ('DeriveSharedSecret', {**peer, **enclave}),
            ('GenerateDataKey', {**strict, **size,
                                 **self.for_enclave(OTHER)}),
            ('DescribeKey', {'KeyId': 'alias/none'}))
        self.assertEqual(reply[0]['output']['KeyMetadata']['Arn'],
                         key['KeyId'])
        self.assertEqual(reply[1]['output']['Plaintext'],
                         {'base64': encoded(b'x')})
        self.assertEqual(self.secret_of(reply[2]), b'x')
        self.assertEqual([len(self.secret_of(each)) for each in reply[3:7]],
                         [32, 185, 32, 32])
        self.assertEqual(reply[7]['error'], {
            'name': 'AccessDeniedException', 'status': 400, 'message':
            'User: arn:aws:iam::123456789012:user/SDK is not authorized to'
            ' perform: kms:GenerateDataKey on resource: %s because no'
            ' resource-based policy allows the kms:GenerateDataKey action'
            % strict['KeyId']})
        self.assertEqual(reply[8]['error'], {
            'name': 'NotFoundException', 'status': 400, 'message':
            'Alias %s:alias/none is not found.' % self.keys.prefix})


class Command(KmsTest):
    """nitro-lab kms, with a directory of its own."""

    def lab(self, *words, data=b'', status=0):
        """Output of a command."""
        run = subprocess.run(
            [LAB, 'kms', *words], input=data, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, check=False,
            env={**os.environ, 'LAB': str(self.top / 'lab')})
        self.assertEqual(run.returncode, status, run.stderr)
        self.assertNotIn(b'Traceback', run.stderr)
        return (run.stdout if not status else run.stderr).decode()

    def test_keys(self):
        """Make, list, encrypt, decrypt, policies."""
        self.lab('create', 'one')
        self.assertRegex(self.lab('list'), r'alias/one  SYMMETRIC_DEFAULT\n$')
        blob = self.lab('encrypt', 'one', data=b'secret')
        self.assertEqual(self.lab('decrypt', data=blob.encode()), 'secret')
        self.assertIn('kms:*', self.lab('policy', 'one'))
        rules = self.top / 'rules.json'
        rules.write_text(policy_of(statement(sid='mine')))
        self.lab('policy', 'one', rules)
        self.assertEqual(self.lab('policy', 'one'), rules.read_text())
        image = self.top / 'image.eif'
        image.write_bytes(tiny_image())
        self.lab('create', 'two', '--eif', image)
        self.assertIn(eif.measure(image.read_bytes())[0],
                      self.lab('policy', 'two'))
        rules.write_text('{')
        self.assertIn('no key policy', self.lab('policy', 'one', rules,
                                                status=1))
        for words, message in (
                (['create', 'one'], "there is a key 'one'"),
                (['create', '../x'], 'is not a name for a key'),
                (['create', 'x', '--spec', 'DES'], 'is not a kind of key'),
                (['encrypt', 'none'], "there is no key 'none'"),
                (['decrypt'], 'not a ciphertext'),
                (['serve', '--region', '../x'], 'is not the name of a region'),
                (['serve', '--caller', 'a=b'], 'is not the ARN'),
                (['serve', '--caller', 'A=arn:aws:iam::123456789012:user/a',
                  '--caller', 'A=arn:aws:iam::123456789012:user/b'],
                 '--caller: A is given twice')):
            self.assertIn(message, self.lab(*words, status=1))

    def test_damaged(self):
        """Each is a message with the file and what to do."""
        self.lab('create', 'demo')
        place = self.top / 'lab' / 'kms'
        rules = self.top / 'latin.json'
        rules.write_bytes(b'\xff')
        self.assertIn('latin.json: ', self.lab('policy', 'demo', rules,
                                               status=1))
        self.assertIn('latin.json: ', self.lab('create', 'x', '--policy',
                                               rules, status=1))
        good = json.loads((place / 'demo.key').read_text())
        bad = place / 'bad.key'
        shutil.copy(place / 'demo.policy.json', place / 'bad.policy.json')
        for change in ({'Secret': 'eHh4'}, {'KeyId': 'x'}):
            bad.write_text(json.dumps({**good, **change}))
            self.assertIn('bad.key: ', self.lab('encrypt', 'bad', data=b'x',
                                                status=1))
            reply = self.lab('list', status=1)
            self.assertIn('bad.key: ', reply)
        bad.unlink()
        (place / 'demo.policy.json').unlink()
        self.assertIn('nitro-lab kms policy demo FILE',
                      self.lab('policy', 'demo', status=1))
        rules.write_text(policy_of(statement()))
        self.lab('policy', 'demo', rules)
        pki = self.top / 'lab' / 'pki'
        pki.mkdir()
        pki.chmod(0o755)
        self.assertRegex(self.lab('serve', '--port', '0', status=1),
                         r'nitro-lab: the root of the lab: .*pki')
        self.assertIn("no key 'nobody'", self.lab('policy', 'nobody', rules,
                                                  status=1))

    def test_help(self):
        """It has each kind of key by its whole name."""
        reply = self.lab('create', '--help')
        for spec in keys.SPECS:
            self.assertIn(spec, reply)

    def test_serve(self):
        """It says where it listens, and ends at signals without a trace."""
        for number, status in ((signal.SIGTERM, 128 + signal.SIGTERM),
                               (signal.SIGINT, 130),
                               (signal.SIGHUP, 128 + signal.SIGHUP)):
            self.serve_until(number, status)
            self.assertFalse((self.top / 'served/kms/kms.sock').exists())

    def serve_until(self, number, status):
        """Start it, connect, send a signal."""
        with subprocess.Popen(
                [LAB, 'kms', 'serve', '--port', '0'], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, 'LAB': str(self.top / 'served')}) as run:
            reply = ''
            while 'keys in' not in reply:
                line = run.stdout.readline()
                self.assertTrue(line, reply)
                reply += line
            port = int(re.search(r'https://127.0.0.1:(\d+)', reply).group(1))
            context = ssl.create_default_context(
                cafile=self.top / 'served/kms/tls/ca.pem')
            with socket.create_connection(('127.0.0.1', port), 600) as plain:
                context.wrap_socket(
                    plain, server_hostname='kms.us-east-1.amazonaws.com'
                ).close()
            self.assertTrue((self.top / 'served/kms/kms.sock').is_socket())
            run.send_signal(number)
        self.assertEqual(run.returncode, status)


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
