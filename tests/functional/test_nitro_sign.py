#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Signatures of qemu-eif, checked by rules written down here and by openssl.

Nothing of QEMU takes part in the checks: header, CRC, CBOR and registers are
read here, X.509 and ECDSA are openssl's.
"""

import base64
import hashlib
import json
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted

from nitro_lab import config

EIF = config.OUT / 'tools' / 'eif' / 'qemu-eif'
VECTORS = Path(os.environ.get('EIF_VECTORS', '/nowhere'))
HEADER = struct.Struct('>4sHHQQHH32Q32QII')
SIGNATURE = 4
MEASURED = {1, 2, 3}
# Curve: algorithm in COSE, hash, bytes of r and of s
CURVES = {'prime256v1': (-7, 'sha256', 32), 'secp384r1': (-35, 'sha384', 48),
          'secp521r1': (-36, 'sha512', 66)}


def cbor(data):
    """The item at the start of `data`, and what follows it."""
    major, info, data = data[0] >> 5, data[0] & 31, data[1:]
    if info >= 24:
        width = 1 << info - 24
        info, data = int.from_bytes(data[:width], 'big'), data[width:]
    if major < 2:
        return (-1 - info if major else info), data
    if major < 4:
        return data[:info] if major == 2 else data[:info].decode(), data[info:]
    items = []
    for _ in range(info * (major - 3)):
        item, data = cbor(data)
        items.append(item)
    return items if major == 4 else dict(zip(items[::2], items[1::2])), data


def string(data):
    """A byte string in CBOR; its length takes one byte, or none."""
    return (bytes([0x40 + len(data)]) if len(data) < 24
            else bytes([0x58, len(data)])) + data


def integer(number):
    """A number of a signature in DER."""
    data = number.to_bytes(number.bit_length() // 8 + 1, 'big')
    return bytes([2, len(data)]) + data


def ecdsa_der(signature):
    """From r and s behind each other to what openssl reads."""
    half = len(signature) // 2
    pair = (integer(int.from_bytes(signature[:half], 'big'))
            + integer(int.from_bytes(signature[half:], 'big')))
    length = bytes([len(pair)]) if len(pair) < 128 else bytes([0x81, len(pair)])
    return b'\x30' + length + pair


def extend(data):
    """A register of zeros after these bytes."""
    return hashlib.sha384(bytes(48) + hashlib.sha384(data).digest()).digest()


def sections(image):
    """Type and data of each, by the tables; header, CRC and size are right."""
    fields = HEADER.unpack_from(image)
    count, offsets, sizes = fields[6], fields[7:39], fields[39:71]
    found = []
    end = HEADER.size
    for offset, size in zip(offsets[:count], sizes[:count]):
        kind, _, again = struct.unpack_from('>HHQ', image, offset)
        assert size == again and offset >= end
        end = offset + 12 + size
        found.append((kind, image[offset + 12:end]))
    assert end == len(image) and not any(offsets[count:] + sizes[count:])
    assert fields[-1] == zlib.crc32(image[548:], zlib.crc32(image[:544]))
    return found


class Sign(QemuBaseTest):
    """Images of a few bytes."""

    def setUp(self):
        super().setUp()
        self.dir = Path(self.scratch_file('sign'))
        self.dir.mkdir()
        kernel = bytearray(0x1000)
        kernel[0x1fe:0x200], kernel[0x202:0x206] = b'\x55\xaa', b'HdrS'
        kernel[0x238:0x23c] = struct.pack('<I', 2047)
        (self.dir / 'kernel').write_bytes(kernel)
        for n in '012':
            (self.dir / n).write_bytes(b'070701' + n.encode())
        (self.dir / 'custom').write_text('{"b": [1.5, null], "a": "\u00e9"}')

    def run_in(self, *words, data=None):
        """Output of a program that has to succeed."""
        return subprocess.run(words, cwd=self.dir, input=data, check=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout

    def pair(self, curve, name):
        """Options that sign with a new key."""
        key, cert = f'{name}-{curve}.key', f'{name}-{curve}.pem'
        self.run_in('openssl', 'ecparam', '-name', curve, '-genkey', '-out',
                    key)
        self.run_in('openssl', 'req', '-x509', '-new', '-key', key, '-subj',
                    '/CN=' + name, '-days', '2', '-out', cert)
        return ('--signing-certificate', cert, '--private-key', key)

    def build(self, *options):
        """Three ramdisks and metadata."""
        out = self.run_in(EIF, 'build', '-k', 'kernel', '-i', '0', '-i', '1',
                          '--initrd=2', '-c', 'a b', '-m', 'custom', '-o',
                          'image', *options)
        return (self.dir / 'image').read_bytes(), json.loads(out)

    def check(self, image, certificate=None, curve=None):
        """The rules; a new image has these, too: algorithm, certificate."""
        parts = sections(image)
        section, = [data for kind, data in parts if kind == SIGNATURE]
        entries, rest = cbor(section)
        self.assertEqual((len(entries), list(entries[0]), rest), (
            1, ['signing_certificate', 'signature'], b''))
        pem, cose = map(bytes, entries[0].values())
        self.assertEqual(pem, certificate or pem)
        (protected, unprotected, payload, signature), rest = cbor(cose)
        self.assertEqual((unprotected, rest), ({}, b''))
        algorithm = cbor(protected)[0][1]
        name, (_, digest, width) = next(
            item for item in CURVES.items() if item[1][0] == algorithm)
        self.assertEqual(name, curve or name)
        self.assertEqual(len(signature), 2 * width)
        pcr0 = extend(b''.join(data for kind, data in parts
                               if kind in MEASURED))
        self.assertEqual(cbor(payload)[0], {'register_index': 0,
                                            'register_value': list(pcr0)})
        signed = (b'\x84\x6aSignature1' + string(protected) + b'\x40'
                  + string(payload))
        self.verify(pem, digest, signed, signature)
        # All but the signature is given by the rules, byte for byte
        self.assertEqual(cose, b'\x84' + string(protected) + b'\xa0'
                         + string(payload) + string(signature))
        self.assertEqual(section, b'\x81\xa2\x73signing_certificate'
                         + self.integers(pem) + b'\x69signature'
                         + self.integers(cose))
        return pem

    @staticmethod
    def integers(data):
        """Bytes as an array of integers."""
        head = (b'\x98' + bytes([len(data)]) if len(data) < 256
                else b'\x99' + struct.pack('>H', len(data)))
        return head + b''.join(bytes([n]) if n < 24 else bytes([24, n])
                               for n in data)

    def verify(self, pem, digest, signed, signature):
        """openssl says that the signature is good."""
        (self.dir / 'der').write_bytes(ecdsa_der(signature))
        (self.dir / 'public').write_bytes(
            self.run_in('openssl', 'x509', '-pubkey', '-noout', data=pem))
        self.run_in('openssl', 'dgst', '-' + digest, '-verify', 'public',
                    '-signature', 'der', data=signed)

    def pcr(self, *options):
        """What the command pcr prints as JSON."""
        return json.loads(self.run_in(EIF, 'pcr', *options))

    def test_build(self):
        """Signed when it is built, with each curve, twice the same."""
        for curve in CURVES:
            options = self.pair(curve, 'build')
            image, reply = self.build(*options)
            pem = self.check(image, (self.dir / options[1]).read_bytes(),
                             curve)
            self.assertEqual(self.build(*options)[0], image)
            der = base64.b64decode(b''.join(pem.splitlines()[1:-1]))
            self.assertEqual(reply['Measurements']['PCR8'], extend(der).hex())
            self.assertEqual(self.pcr('--signing-certificate', options[1]),
                             {'PCR8': extend(der).hex()})
            self.run_in(EIF, 'verify', '--require-signature', 'image')

    def test_sections(self):
        """Official order; PCR1 has the first ramdisk, PCR2 the others."""
        image, reply = self.build()
        parts = sections(image)
        self.assertEqual([kind for kind, _ in parts], [1, 2, 5, 3, 3, 3])
        self.assertEqual([data[-1:] for _, data in parts[3:]],
                         [b'0', b'1', b'2'])
        boot = parts[0][1] + parts[1][1]
        for n, data in enumerate((boot + b'070701' b'0' b'070701' b'1'
                                  b'070701' b'2', boot + b'0707010',
                                  b'0707011' b'0707012')):
            self.assertEqual(reply['Measurements'][f'PCR{n}'],
                             extend(data).hex())
        self.assertEqual(json.loads(parts[2][1])['CustomMetadata'],
                         {'a': '\u00e9', 'b': [1.5, None]})
        (self.dir / 'file').write_bytes(image)
        self.assertEqual(self.pcr('--input', 'file'),
                         {'PCR': extend(image).hex()})

    def test_sign(self):
        """Added, then replaced with longer and shorter ones."""
        plain, _ = self.build()
        for curve in 'secp384r1', 'secp521r1', 'prime256v1':
            options = self.pair(curve, 'sign' * len(curve))
            self.run_in(EIF, 'sign', *options, 'image')
            image = (self.dir / 'image').read_bytes()
            self.check(image, (self.dir / options[1]).read_bytes(), curve)
            self.assertEqual(image, self.build(*options)[0])
            self.assertEqual(sections(image)[:-1], sections(plain))
            (self.dir / 'image').write_bytes(image)

    def test_vectors(self):
        """Images of the official builder: read, and signed anew."""
        if not VECTORS.exists():
            self.skipTest('there are no images of the official builder '
                          '(EIF_VECTORS)')
        options = self.pair('prime256v1', 'vectors')
        for path in VECTORS.glob('*.eif'):
            shutil.copyfile(path, self.dir / 'image')
            if 'signed' in path.name:
                self.check(path.read_bytes())
            self.run_in(EIF, 'sign', *options, 'image')
            image = (self.dir / 'image').read_bytes()
            self.check(image, (self.dir / options[1]).read_bytes())
            before = [part for part in sections(path.read_bytes())
                      if part[0] != SIGNATURE]
            self.assertEqual(sections(image)[:-1], before)


load_tests = only_wanted

if __name__ == '__main__':
    QemuBaseTest.main()
