# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab kms: its command line.

All else needs python3-cryptography, which other commands of the lab do not.
"""

import importlib
import os

from ..config import LabError
from .place import DIRECTORY, PORT, REGION, SYMMETRIC


def _main(name):
    """A function of command.py."""
    def main(args):
        try:
            command = importlib.import_module('.command', __package__)
        except ModuleNotFoundError as error:
            raise LabError('the key service needs a Python module: %s' % error,
                           'overlay/deps installs it') from error
        return getattr(command, name)(args)
    return main


def add_commands(commands):
    """nitro-lab kms."""
    kms = commands.add_parser(
        'kms', help='a key service that verifies attestation documents',
        description='Speaks the protocol of AWS KMS.  Answers for a Recipient'
        ' are encrypted for the enclave that attested; key policies can ask'
        ' for its registers.  Keys lie in %s, in the clear.' % os.path.relpath(
            DIRECTORY))
    actions = kms.add_subparsers(dest='action', required=True)
    _add_serve(actions)

    def action(name, text, main=None, key=True):
        parser = actions.add_parser(name, help=text)
        if key:
            parser.add_argument('key', metavar='NAME', help='of the key, which'
                                ' is alias/NAME for clients')
        parser.set_defaults(main=_main(main or name), policy=None, eif=None)
        return parser

    def policy_options(parser, *names, **more):
        group = parser.add_mutually_exclusive_group()
        group.add_argument(*names, metavar='FILE', help="key policy, as AWS's"
                           ' in JSON', **more)
        group.add_argument('--eif', metavar='FILE', help='make a policy that'
                           ' lets enclaves of this image decrypt, and no one'
                           ' else')

    make = action('create', 'make a key')
    make.add_argument('--spec', default=SYMMETRIC,
                      help='kind of key (%s); also RSA_2048, RSA_3072,'
                      ' RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521'
                      % SYMMETRIC)
    policy_options(make, '--policy')
    action('list', 'list keys', 'list_keys', key=False)
    policy_options(action('policy', 'show or replace the policy of a'
                          ' key'), 'policy', nargs='?')
    action('encrypt', 'encrypt standard input, print base64')
    action('decrypt', 'decrypt base64 of standard input, as the owner'
           ' of the keys', key=False)
    image = action('image', 'make a demo enclave image with a client of this'
                   ' key service', 'make_image', key=False)
    image.add_argument('file', metavar='FILE', help='image to write')
    client = action('client', 'copy that client, a static program for'
                    ' containers in enclaves', 'copy_client', key=False)
    client.add_argument('file', metavar='FILE', help='program to write')
    action('ca', 'print the certificate of the CA', 'show_ca', key=False)


def _add_serve(actions):
    run = actions.add_parser(
        'serve', help='run the key service',
        description='Listens on loopback and on a unix socket, with TLS.'
        ' Prints a line for each call: who was it for, what the policy says,'
        ' and why.')
    run.add_argument('--port', type=int, default=PORT, metavar='N',
                     help='TCP port on loopback (%d); 0 is any that is free'
                     % PORT)
    run.add_argument('--region', default=REGION,
                     help='region to stand for (%s)' % REGION)
    run.add_argument('--caller', action='append', default=[],
                     metavar='ID=ARN', help='who the client with this access'
                     ' key ID is for key policies (a user of the account);'
                     ' may be repeated.  Signatures are not verified.')
    run.set_defaults(main=_main('serve'))
