#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: what an enclave gets from its Nitro Secure Module."""

import errno
import hashlib
import json
import ssl
import subprocess
import time
from pathlib import Path

from nitro_parent import ROLE, NitroParentTest, ScopedTest, only_wanted
from nitro_verifiers import (Refused, example, example_program, openssl,
                             tee_verifier)

from nitro_lab import config, eif, images, nsm

REQUEST_MAX = 0x1000
KEYS = ['module_id', 'digest', 'timestamp', 'pcrs', 'certificate', 'cabundle',
        'public_key', 'user_data', 'nonce']


# Exit statuses of qemu-nsm verify
CHAIN, SIGNATURE, MISMATCH, DEBUG = 3, 4, 6, 7


def extended(value, data):
    """A register after it was extended."""
    return hashlib.sha384(value + data).digest()


def verified(test, document, *options, status=0, root=True):
    """What qemu-nsm says of a document, in this exit status."""
    path = Path(test.log_file('document'))
    path.write_bytes(document)
    if root:
        options += ('--root', config.PKI / 'root.pem')
    run = subprocess.run(
        [config.OUT / 'tools/nsm/qemu-nsm', 'verify', *options, path],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        check=False)
    test.assertEqual(run.returncode, status, run.stdout + run.stderr)
    return json.loads(run.stdout)


class Module(NitroParentTest):
    """All requests, through the driver of the enclave's kernel."""

    def setUp(self):
        super().setUp()
        self.module = None

    def tearDown(self):
        if self.module:
            self.module.__exit__()
        super().tearDown()

    def failed(self, request, code):
        """The module has to refuse it with this error."""
        self.assertEqual(self.module.ask(request), {'Error': code}, request)

    def pcr(self, index):
        """Value of a register, and whether it is locked."""
        reply = self.module.ask({'DescribePCR': {'index': index}})
        return reply['DescribePCR']['data'], reply['DescribePCR']['lock']

    def test_requests(self):
        """Each request in a production enclave, good and bad."""
        launch = self.boot(debug='off')
        self.module = nsm.Module(self.parent, launch.cid)
        for check in (self.check_describe, self.check_registers,
                      self.check_random, self.check_lengths,
                      self.check_document, self.check_signed,
                      self.check_verifiers, self.check_extend,
                      self.check_locks):
            with self.case(check.__name__):
                check()

    def check_describe(self):
        """DescribeNSM."""
        reply = self.module.ask('DescribeNSM')['DescribeNSM']
        self.assertEqual(reply.pop('locked_pcrs'), list(range(16)))
        self.assertRegex(reply.pop('module_id'), r'^i-\w+-enc[0-9a-f]{16}$')
        self.assertEqual(reply, {
            'version_major': 1, 'version_minor': 0, 'version_patch': 0,
            'max_pcrs': 32, 'digest': 'SHA384'})

    def check_registers(self):
        """DescribePCR."""
        measured = eif.measure(images.demo_image().read_bytes())
        self.assertEqual([self.pcr(index)[0].hex() for index in range(3)],
                         measured)
        for index, name in ((3, ROLE), (4, self.parent.instance_id)):
            self.assertEqual(self.pcr(index), (
                extended(bytes(48), name.encode()), True))
        for index in [*range(5, 8), *range(9, 16)]:
            self.assertEqual(self.pcr(index), (bytes(48), True))
        for index in range(16, 32):
            self.assertEqual(self.pcr(index), (bytes(48), False))
        for index in (32, 255, 256, 65535, 65536, 2**32, 2**64 - 1):
            self.failed({'DescribePCR': {'index': index}}, 'InvalidIndex')
        # An index of two bytes that would do with one
        reply = self.module.ask(
            b'\xa1\x6bDescribePCR\xa1\x65index\x19\x00\x10')
        self.assertEqual(reply['DescribePCR']['data'], bytes(48))
        self.failed({'DescribePCR': {}}, 'InvalidOperation')

    def check_random(self):
        """GetRandom, of the enclave and of its kernel."""
        seen = {self.module.ask('GetRandom')['GetRandom']['random']
                for _ in range(2)}
        self.assertEqual([len(data) for data in seen], [256] * 2)
        seen = {self.module.random() for _ in range(2)}
        self.assertEqual([len(data) for data in seen], [64] * 2)

    def check_lengths(self):
        """The driver takes 4 KiB, and the module all of that."""
        number, _ = self.module.raw(bytes(REQUEST_MAX + 1))
        self.assertEqual(number, errno.EMSGSIZE)
        head = len(nsm.encode({'Attestation': {'nonce': bytes(0xfff)}})) \
            - 0xfff
        nonce = bytes(REQUEST_MAX - head)
        reply = self.module.ask({'Attestation': {'nonce': nonce}})
        self.assertIn(nonce, reply['Attestation']['document'])
        self.failed(b'\x80' * REQUEST_MAX, 'InvalidOperation')
        self.failed('Describe', 'InvalidOperation')

    def document(self, **fields):
        """Payload of a document; what encloses it is looked at."""
        document = nsm.decode(self.module.document(**fields))
        self.assertEqual(len(document), 4)
        payload = nsm.decode(document[2])
        self.assertEqual(list(payload), KEYS)
        return payload

    def check_document(self):
        """Attestation."""
        fields = {'user_data': b'u' * 1024, 'nonce': b'n' * 1024,
                  'public_key': b'k' * 1024}
        payload = self.document(**fields)
        self.assertLessEqual(fields.items(), payload.items())
        self.assertEqual(list(payload['pcrs']), list(range(16)))
        self.assertEqual(payload['pcrs'][0], self.pcr(0)[0])
        # The clock of the module is that of this machine
        self.assertLess(abs(payload['timestamp'] / 1000 - time.time()), 600)
        payload = self.document(nonce=b'')
        self.assertEqual((payload['nonce'], payload['user_data']), (b'', None))
        # Pieces, and integers in place of bytes
        reply = self.module.ask(
            b'\xbf\x6bAttestation\xbf\x65nonce\x5f\x42ab\x41c\xff'
            b'\x69user_data\x83\x01\x18\xff\x19\x00\x02\xff\xff')
        payload = nsm.decode(nsm.decode(reply['Attestation']['document'])[2])
        self.assertEqual((payload['nonce'], payload['user_data']),
                         (b'abc', b'\x01\xff\x02'))

    def check_signed(self):
        """Documents prove what this image is to those who have the root."""
        image = Path(self.log_file('image'))
        image.write_bytes(images.demo_image().read_bytes())
        first = self.module.document(user_data=b'u', nonce=b'n' * 1024,
                                     public_key=b'')
        Path(self.log_file('nonce')).write_bytes(b'n' * 1024)
        reply = verified(self, first, '--image', image, '--user-data', '75',
                        '--nonce', '@' + self.log_file('nonce'),
                        '--max-age', '600')
        self.assertIn('not AWS', json.dumps(reply))
        verified(self, first, root=False, status=CHAIN)
        verified(self, first, '--user-data', '76', status=MISMATCH)
        verified(self, first[:-1] + bytes([first[-1] ^ 1]),
                 status=SIGNATURE)
        # One leaf signs them all
        certificates = [nsm.decode(nsm.decode(document)[2])['certificate']
                        for document in (first, self.module.document())]
        self.assertEqual(certificates[0], certificates[1])

    def check_verifiers(self):
        """Verifiers of others accept a document, given the lab's root."""
        fields = {'user_data': b'user data', 'nonce': b'fresh',
                  'public_key': bytes(range(256))}
        document, time_s = self.module.document(**fields), int(time.time())
        root = config.PKI / 'root.pem'
        der = ssl.PEM_cert_to_DER_cert(root.read_text())
        measured = dict(enumerate(eif.measure(
            images.demo_image().read_bytes())))
        openssl(document, der, time_s)
        said = tee_verifier(document, der, time_s)
        self.assertLessEqual({str(index): value for index, value
                              in measured.items()}.items(),
                             said['pcrs'].items())
        self.assertLessEqual({key: value.hex() for key, value
                              in fields.items()}.items(), said.items())
        self.assertLessEqual(fields.items(),
                             example(document, der, time_s).items())
        said = example_program(document, root, 'fresh')
        for index, value in measured.items():
            self.assertIn('PCR%d %s\n' % (index, value), said)
        self.assertRaises(Refused, example_program, document, root, 'old')

    def check_extend(self):
        """ExtendPCR."""
        value = bytes(48)
        for data in (b'x', b'', bytes(4000)):
            value = extended(value, data)
            self.assertEqual(self.module.ask(
                {'ExtendPCR': {'index': 16, 'data': data}}),
                {'ExtendPCR': {'data': value}})
        self.assertEqual(self.pcr(16), (value, False))
        self.failed({'ExtendPCR': {'index': 15, 'data': b'x'}},
                    'ReadOnlyIndex')
        self.failed({'ExtendPCR': {'index': 32, 'data': b'x'}},
                    'InvalidIndex')
        self.failed({'ExtendPCR': {'index': 17}}, 'InvalidOperation')

    def check_locks(self):
        """LockPCR, LockPCRs."""
        value = self.pcr(16)[0]
        self.failed({'LockPCR': {'index': 0}}, 'ReadOnlyIndex')
        self.failed({'LockPCR': {'index': 32}}, 'InvalidIndex')
        self.assertEqual(self.module.ask({'LockPCR': {'index': 16}}),
                         'LockPCR')
        self.failed({'LockPCR': {'index': 16}}, 'ReadOnlyIndex')
        self.failed({'ExtendPCR': {'index': 16, 'data': b'x'}},
                    'ReadOnlyIndex')
        # A document lists what is locked
        pcrs = self.document()['pcrs']
        self.assertEqual((list(pcrs), pcrs[16]), (list(range(17)), value))
        self.failed({'LockPCRs': {'range': 33}}, 'InvalidIndex')
        self.assertEqual(self.module.ask({'LockPCRs': {'range': 32}}),
                         'LockPCRs')
        self.assertEqual(self.pcr(31), (bytes(48), True))
        self.assertEqual(len(self.document()['pcrs']), 32)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
