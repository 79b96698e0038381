# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""TLS of the key service: a CA of its own, and a certificate for its names.

    ca.pem          certificate of the CA, for clients
    ca-key.pem      its key
    server.pem      key and certificate of the service, made at each start

The CA is bound by its certificate to the names of AWS's endpoints, of the lab
and of this machine.  Who trusts it trusts the lab to be such an endpoint.
"""

import datetime
import ipaddress
import os
import ssl

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, load_pem_private_key)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..config import LabError
from .files import locked, private_directory, read_private, write_private
from .keys import public_der

CA, CA_KEY, SERVER = 'ca.pem', 'ca-key.pem', 'server.pem'
LAB_NAME = 'kms.lab.nitro-enclaves'
LOOPBACK = ipaddress.ip_address('127.0.0.1')
CA_DAYS, SERVER_DAYS = 3650, 365
SUBTREES = ('amazonaws.com', 'lab.nitro-enclaves', 'localhost')


def _name(text):
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'nitro-lab, not AWS'),
        x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject, issuer, key, days):
    now = datetime.datetime.utcnow()
    return (x509.CertificateBuilder().subject_name(subject)
            .issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(
                key.public_key()), False))


def _key_usage(ca):
    return x509.KeyUsage(not ca, False, False, False, False, ca, ca, False,
                         False)


def _pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8,
                             NoEncryption())


def _make_ca(directory):
    key = ec.generate_private_key(ec.SECP384R1())
    name = _name('CA of kms.lab.nitro-enclaves')
    permitted = [*(x509.DNSName(tree) for tree in SUBTREES),
                 x509.IPAddress(ipaddress.ip_network(LOOPBACK))]
    cert = (_builder(name, name, key, CA_DAYS)
            .add_extension(x509.BasicConstraints(True, 0), True)
            .add_extension(_key_usage(True), True)
            .add_extension(x509.NameConstraints(permitted, None), True)
            .sign(key, hashes.SHA384()))
    # The certificate last: without it all is made again
    write_private(directory / CA_KEY, _pem(key))
    write_private(directory / CA, cert.public_bytes(Encoding.PEM))


def _load_ca(directory):
    try:
        cert = x509.load_pem_x509_certificate(read_private(directory / CA))
        key = load_pem_private_key(read_private(directory / CA_KEY), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LabError('%s: the CA of the key service cannot be read: %s'
                       % (directory, error),
                       'remove the directory, for another CA') from error
    if public_der(cert) != public_der(key):
        raise LabError('%s: %s is not the key of %s' % (
            directory, CA_KEY, CA), 'remove the directory, for another CA')
    return cert, key


class Authority:
    """The CA in a directory, which is made when it is not there."""

    def __init__(self, directory):
        private_directory(directory)
        self.directory = directory
        with locked(directory):
            if not os.path.lexists(directory / CA):
                _make_ca(directory)
            self.cert, self.key = _load_ca(directory)

    @property
    def certificate(self):
        """File for clients."""
        return self.directory / CA

    def pem(self):
        """What is in that file."""
        return self.cert.public_bytes(Encoding.PEM).decode()

    def context(self, region):
        """TLS context of the service in a region."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = ['kms.%s.amazonaws.com' % region, LAB_NAME, 'localhost']
        cert = (_builder(_name(names[0]), self.cert.subject, key, SERVER_DAYS)
                .add_extension(x509.BasicConstraints(False, None), True)
                .add_extension(_key_usage(False), True)
                .add_extension(x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH]), False)
                .add_extension(x509.SubjectAlternativeName(
                    [*map(x509.DNSName, names), x509.IPAddress(LOOPBACK)]),
                    False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(
                        self.cert.public_key()), False)
                .sign(self.key, hashes.SHA384()))
        write_private(self.directory / SERVER, _pem(key)
                      + cert.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.directory / SERVER)
        return context
