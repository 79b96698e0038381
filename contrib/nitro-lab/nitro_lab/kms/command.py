# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What nitro-lab kms does; options.py has the command line."""

import base64
import contextlib
import logging
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from .. import images, packages
from ..config import LAB, PKI, LabError
from . import server, sockets
from .attestation import Verifier
from .errors import Refusal
from .keys import SPECS, Keys, key_id_of
from .operations import PLAINTEXT_MAX, Service, warn
from .place import ACCOUNT, DIRECTORY, REGION, SOCKET, SYMMETRIC, VSOCK_PORT
from .policy import Principal
from .request import decode_base64
from .tls import LAB_NAME, Authority

INPUT_MAX = 64 * 1024


def _keys(region=REGION):
    LAB.mkdir(parents=True, exist_ok=True)
    return Keys(DIRECTORY, region, ACCOUNT)


def _log_to_terminal():
    logging.basicConfig(format='%(asctime)s kms: %(levelname)s: %(message)s',
                        stream=sys.stderr, level=logging.INFO)


def _read_input():
    data = sys.stdin.buffer.read(INPUT_MAX + 1)
    if len(data) > INPUT_MAX:
        raise LabError('the input has more than %d bytes' % INPUT_MAX,
                       'encrypt a data key, and the data with that')
    return data


def _root():
    """The lab's root, which documents have to lead to."""
    run = subprocess.run(
        [images.hypervisor(), '--pki-dir', PKI, '--pki', 'export'], text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if run.returncode:
        raise LabError('the root of the lab: %s' % (
            run.stderr.strip() or '%s: status %d' % (PKI, run.returncode)))
    return PKI / 'root.pem'


def _callers(args):
    arns = {}
    for word in args.caller:
        key, equals, arn = word.partition('=')
        try:
            Principal(arn)
        except ValueError as error:
            raise LabError('--caller %s: %s' % (word, error),
                           'write --caller ACCESS_KEY_ID=ARN') from error
        if not equals or not re.fullmatch(r'\w+', key):
            raise LabError("--caller: '%s' is not an access key ID" % key,
                           'write --caller ACCESS_KEY_ID=ARN')
        if key in arns:
            raise LabError('--caller: %s is given twice' % key,
                           'name each access key ID once')
        arns[key] = arn
    return server.Callers(ACCOUNT, arns)


def _listen(port):
    try:
        near = sockets.listen_unix(SOCKET)
        try:
            return [near, sockets.listen_tcp(port)]
        except BaseException:
            SOCKET.unlink(missing_ok=True)
            raise
    except OverflowError as error:
        raise LabError('--port %d: %s' % (port, error)) from error
    except OSError as error:
        raise LabError('cannot listen: %s' % error, 'end the other program,'
                       ' or choose another port with --port') from error


@contextlib.contextmanager
def _removed(path):
    """Remove a file at the end; a socket while it is still ours."""
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def serve(args):
    """Until a signal ends it."""
    if not re.fullmatch(r'[a-z]{2}(-[a-z]+)+-\d', args.region):
        raise LabError("--region: '%s' is not the name of a region"
                       % args.region, 'write it like us-east-1')
    _log_to_terminal()
    callers = _callers(args)
    keys = _keys(args.region)
    authority = Authority(DIRECTORY / 'tls')
    service = Service(keys, Verifier(images.document_tool(), _root()))
    context = authority.context(args.region)
    listeners = _listen(args.port)
    with server.Server(service, callers, context, listeners), \
            _removed(SOCKET):
        print('key service of the lab, not AWS:\n'
              '  https://127.0.0.1:%d  as kms.%s.amazonaws.com and %s\n'
              '  unix socket %s, vsock port %d of parents with --kms\n'
              '  CA for clients %s\n'
              '  keys in %s' % (
                  listeners[1].getsockname()[1], args.region, LAB_NAME, SOCKET,
                  VSOCK_PORT, authority.certificate, DIRECTORY), flush=True)
        signal.pause()
    return 0


def _policy_of_image(path):
    """A policy that lets enclaves of an image decrypt, and nobody else."""
    run = subprocess.run([images.image_tool(), 'pcr', '--pcr=0', path],
                         text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, check=False)
    if run.returncode:
        raise LabError('--eif: %s' % run.stderr.strip())
    return POLICY_OF_IMAGE % (ACCOUNT, run.stdout.split()[-1])


POLICY_OF_IMAGE = '''{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "administration",
      "Effect": "Allow",
      "Principal": {"AWS": "arn:aws:iam::%s:root"},
      "Action": ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy",
                 "kms:GetPublicKey", "kms:Encrypt"],
      "Resource": "*"
    },
    {
      "Sid": "enclaves of the image",
      "Effect": "Allow",
      "Principal": {"AWS": "*"},
      "Action": ["kms:Decrypt", "kms:DeriveSharedSecret",
                 "kms:GenerateDataKey", "kms:GenerateDataKeyPair"],
      "Resource": "*",
      "Condition": {
        "StringEqualsIgnoreCase": {
          "kms:RecipientAttestation:ImageSha384":
            "%s"
        }
      }
    }
  ]
}
'''


def _policy_text(args):
    if args.eif:
        return _policy_of_image(args.eif)
    if args.policy:
        try:
            with open(args.policy, encoding='utf-8') as file:
                return file.read(INPUT_MAX)
        except UnicodeDecodeError as error:
            raise _no_policy(args, error) from error
    return None


def _no_policy(args, error):
    return LabError('%s: no key policy: %s' % (args.policy, error),
                    'see "Key policies" in the manual of nitro-lab')


def create(args):
    """Make a key."""
    if args.spec not in SPECS:
        raise LabError("--spec: '%s' is not a kind of key" % args.spec,
                       'choose one of ' + ', '.join(SPECS))
    _log_to_terminal()
    try:
        key = _keys().create(args.spec, _policy_text(args), args.key)
    except ValueError as error:
        raise _no_policy(args, error) from error
    warn(key)
    print('%s  alias/%s  %s' % (key.id, key.name, key.spec))
    return 0


def list_keys(_args):
    """All keys; status 1 when there are some that cannot be read."""
    keys, status = _keys(), 0
    for name in keys.names():
        try:
            key = keys.load(name)
        except LabError as error:
            print('nitro-lab: %s\nnitro-lab: %s' % (error, error.hint),
                  file=sys.stderr)
            status = 1
            continue
        print('%s  %s  %s' % (key.id, '-' if name == key.id else
                              'alias/' + name, key.spec))
    return status


def policy(args):
    """Show the policy of a key, or replace it."""
    _log_to_terminal()
    keys = _keys()
    text = _policy_text(args)
    if text is None:
        print(keys.load(args.key).policy.text, end='')
        return 0
    try:
        keys.put_policy(args.key, text)
    except ValueError as error:
        raise _no_policy(args, error) from error
    warn(keys.load(args.key))
    return 0


def encrypt(args):
    """Standard input for a key: base64 on standard output."""
    key, data = _keys().load(args.key), _read_input()
    if not 1 <= len(data) <= PLAINTEXT_MAX or key.spec != SYMMETRIC:
        raise LabError('%d bytes cannot be encrypted with %s'
                       % (len(data), key.spec), 'a %s key encrypts 1 to %d'
                       ' bytes' % (SYMMETRIC, PLAINTEXT_MAX))
    print(base64.b64encode(key.encrypt(data, SYMMETRIC, b'')).decode())
    return 0


def decrypt(_args):
    """The owner of the keys needs no policy."""
    keys = _keys()
    try:
        blob = decode_base64(_read_input().strip())
        data = keys.find(key_id_of(blob)).decrypt(blob, SYMMETRIC, b'')
    except (Refusal, ValueError) as error:
        raise LabError('the input is not a ciphertext of this key service: %s'
                       % getattr(error, 'reason', error), 'give the base64'
                       ' text that nitro-lab kms encrypt printed') from error
    sys.stdout.buffer.write(data)
    return 0


def show_ca(_args):
    """Certificate of the CA, for clients."""
    _keys()
    print(Authority(DIRECTORY / 'tls').pem(), end='')
    return 0


def copy_client(args):
    """The program that asks this key service, for images of others."""
    packages.fetch()
    LAB.mkdir(parents=True, exist_ok=True)
    shutil.copy(images.key_client(), args.file)
    return 0


def make_image(args):
    """A demo enclave that asks this key service."""
    _keys()
    packages.fetch()
    images.key_client_image(Path(args.file),
                            Authority(DIRECTORY / 'tls').certificate)
    return 0
