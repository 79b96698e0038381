#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Documents made by AWS, verified by the verifiers that ours are shown to.

This says what those verifiers are worth: they accept what is real, and
refuse it after a change, under another root, and at another time.
"""

import json
import os
from pathlib import Path

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted
from nitro_verifiers import ALL, Refused, example, openssl, tee_verifier

from nitro_lab import nsm

load_tests = only_wanted

DOCUMENTS = Path(os.environ.get('EIF_VECTORS', '/nowhere')) / 'attestation'
DAY = 24 * 3600


class Verifiers(QemuBaseTest):
    """Each verifier, and each document."""

    def setUp(self):
        super().setUp()
        if not DOCUMENTS.is_dir():
            self.skipTest('EIF_VECTORS names no directory with attestation '
                          'documents made by AWS')
        expected = json.loads((DOCUMENTS / 'expected.json').read_text())
        self.documents = {}
        for name, fields in expected.items():
            document = (DOCUMENTS / (name + '.bin')).read_bytes()
            self.documents[name] = (
                document, nsm.decode(nsm.decode(document)[2])['cabundle'][0],
                fields['timestamp'] // 1000, fields)

    def test_accepted(self):
        """At their time, with the fields that they have."""
        for name, (document, root, time_s, fields) in self.documents.items():
            openssl(document, root, time_s)
            said = tee_verifier(document, root, time_s)
            for field in ('pcrs', 'nonce', 'user_data', 'public_key'):
                self.assertEqual(said[field], fields[field], (name, field))
            said = example(document, root, time_s)
            self.assertEqual(fields['pcrs'], {
                str(index): value.hex()
                for index, value in said['pcrs'].items()}, name)

    def refused(self, verifier, *arguments):
        """The verifier has to refuse this."""
        with self.assertRaises(Refused, msg=verifier.__name__):
            verifier(*arguments)

    def test_refused(self):
        """Later, with a changed register, or under another root."""
        document, root, time_s, fields = self.documents['d2-production']
        register = bytes.fromhex(fields['pcrs']['0'])
        changed = document.replace(register, register[:-1] + b'\0')
        self.assertNotEqual(changed, document)
        # Of its time, but the regional certificate
        other = nsm.decode(nsm.decode(document)[2])['cabundle'][1]
        for verifier in ALL:
            self.refused(verifier, document, root, time_s + DAY)
            self.refused(verifier, document, other, time_s)
            # openssl looks at certificates alone
            if verifier is not openssl:
                self.refused(verifier, changed, root, time_s)


if __name__ == '__main__':
    QemuBaseTest.main()
