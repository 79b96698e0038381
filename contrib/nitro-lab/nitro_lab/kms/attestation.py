# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Recipients: attestation documents, which qemu-nsm verifies."""

import json
import subprocess

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from . import envelope
from .errors import Refusal, internal, invalid
from .policy import attested

AGE_SECONDS = 300
ALGORITHM = 'RSAES_OAEP_SHA_256'
DOCUMENT_MAX = 12288        # a module's answer
SEALED_MAX = 6144           # AWS's limit of CiphertextForRecipient
KEY_BITS = 2048
TOOL_SECONDS = 600          # it neither waits for anybody nor asks


class Recipient:
    """An enclave that proved what it is, and the key it has attested."""

    def __init__(self, claims):
        self.module_id = claims['ModuleID']
        self.registers = claims['PCRs']
        self.values = attested(self.registers)
        self.spki = bytes.fromhex(claims['PublicKey'] or '')
        self.key = None

    def take_key(self):
        """The attested key; apart, so that a log can name the enclave."""
        self.key = _public_key(self.spki)

    def seal(self, secret):
        """What only the enclave can open."""
        sealed = envelope.seal(self.key, self.spki, secret)
        if len(sealed) > SEALED_MAX:
            raise invalid('the answer for the recipient would have %d bytes,'
                          ' more than %d' % (len(sealed), SEALED_MAX))
        return sealed

    def is_in_debug_mode(self):
        """Are PCR0 to PCR2 zero?"""
        return not any(self.registers.get('PCR%d' % n, '').strip('0')
                       for n in range(3))

    def __str__(self):
        """For the log: registers that are not zero, of which few count."""
        words = ['%s=%s' % (name, value) for name, value
                 in self.registers.items() if value.strip('0')]
        return ' '.join([self.module_id, *words] + (
            ['debug mode: PCR0 to PCR2 are zero']
            if self.is_in_debug_mode() else []))


def _public_key(spki):
    if not spki:
        raise invalid('The attestation document has no public key')
    try:
        key = load_der_public_key(spki)
    except Exception as error:      # of many types, some from its C library
        raise invalid('The public key in the attestation document is not a'
                      ' SubjectPublicKeyInfo in DER') from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != KEY_BITS:
        raise invalid('The public key in the attestation document is not an'
                      ' RSA key of %d bits' % KEY_BITS)
    return key


class Verifier:
    """Accepts documents that a module of this lab signed a moment ago."""

    def __init__(self, tool, root):
        """@tool: qemu-nsm; @root: file with the certificate of the root."""
        self.command = [str(tool), 'verify', '--root', str(root), '--max-age',
                        str(AGE_SECONDS), '--allow-debug', '-']

    def recipient(self, document):
        """The Recipient, or a Refusal whose reason names the cause."""
        if len(document) > DOCUMENT_MAX:
            raise self._refusal('the document has %d bytes, more than %d'
                                % (len(document), DOCUMENT_MAX))
        run = subprocess.run(
            self.command, input=document, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=TOOL_SECONDS, check=False)
        if run.returncode == 1 or not run.stdout:
            raise internal('qemu-nsm: status %d: %s' % (
                run.returncode, run.stderr.decode(errors='replace').strip()))
        reply = json.loads(run.stdout)
        if run.returncode or not reply['Valid']:
            raise self._refusal('%s: %s' % (reply['Cause'], reply['Reason']))
        return Recipient(reply['Document'])

    @staticmethod
    def _refusal(reason):
        return Refusal('ValidationException', 'The attestation document is'
                       ' not valid', 'attestation document refused: '
                       + reason)
