# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Unmodified verifiers of attestation documents, made by others.

Each of them returns what it says of a document, or raises Refused.  They are
given a root, and documents of any root are the same to them.
"""

import fcntl
import hashlib
import importlib.util
import json
import shutil
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from nitro_lab import config, nsm
from nitro_lab.patience import PATIENCE

NPM = config.TREE / 'tests' / 'nitro' / 'npm'
EXAMPLE = config.TREE / 'docs' / 'system' / 'nitro-attestation' / 'verify.py'


class Refused(Exception):
    """A verifier does not accept the document."""


def _run(words, **options):
    run = subprocess.run(words, text=True, capture_output=True, check=False,
                         timeout=PATIENCE, **options)
    if run.returncode:
        raise Refused('%s: %s%s' % (words, run.stdout, run.stderr))
    return run.stdout


def _install(sources, target):
    if not shutil.which('npm'):
        raise AssertionError('npm is missing: overlay/deps verifiers')
    partial = target.with_suffix('.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for source in sources:
        shutil.copy(source, partial)
    subprocess.run(
        ['npm', 'ci', '--cache', config.CACHE / 'npm', '--prefer-offline',
         '--ignore-scripts', '--no-audit', '--no-fund'],
        cwd=partial, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    partial.rename(target)


def npm_packages():
    """Directory with our scripts, and the packages that they use.

    It is made once for each state of those files.
    """
    sources = sorted(path for path in NPM.iterdir() if path.is_file())
    digest = hashlib.sha256(b''.join(
        path.name.encode() + path.read_bytes() for path in sources))
    store = config.BUILD / 'npm'
    target = store / digest.hexdigest()[:16]
    store.mkdir(parents=True, exist_ok=True)
    with open(store / 'lock', 'w', encoding='utf-8') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not target.exists():
            _install(sources, target)
    return target


def run_node(script, *words):
    """Output of a script of ours that uses packages from npm."""
    return _run(['node', npm_packages() / script, *words])


def tee_verifier(document, root_der, time_s):
    """@0xsequence/tee-verifier, from npm."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(document)
        file.flush()
        said = json.loads(run_node('verify.mjs', file.name, str(time_s)))
    if not said['signature'] or not said['chain'] or \
            said['root'] != hashlib.sha256(root_der).hexdigest():
        raise Refused('tee-verifier: %s' % said)
    return said


def _pem(path, certificates):
    """Write certificates as openssl reads them."""
    path.write_text(''.join(
        _run(['openssl', 'x509', '-inform', 'DER', '-in', der])
        for der in certificates))
    return path


def openssl(document, root_der, time_s):
    """openssl verify, which looks at the certificates alone."""
    payload = nsm.decode(nsm.decode(document)[2])
    with tempfile.TemporaryDirectory() as name:
        top, files = Path(name), []
        chain = [root_der, *payload['cabundle'][1:], payload['certificate']]
        for number, der in enumerate(chain):
            files.append(top / ('%d.der' % number))
            files[-1].write_bytes(der)
        return _run(['openssl', 'verify', '-attime', str(time_s),
                     '-CAfile', _pem(top / 'root.pem', files[:1]),
                     '-untrusted', _pem(top / 'between.pem', files[1:-1]),
                     _pem(top / 'leaf.pem', files[-1:])])


def example(document, root_der, time_s):
    """verify() of the manual's example, without the nonce's check."""
    spec = importlib.util.spec_from_file_location('verify', EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    nonce = nsm.decode(nsm.decode(document)[2])['nonce']
    try:
        return module.verify(
            document, module.x509.load_der_x509_certificate(root_der), nonce,
            datetime.fromtimestamp(time_s, timezone.utc))
    except Exception as error:      # each library has its own
        raise Refused(repr(error)) from error


def example_program(document, root, nonce):
    """The example as the manual calls it; what it prints."""
    run = subprocess.run(['/usr/bin/python3', EXAMPLE, root, nonce],
                         input=document, capture_output=True, check=False,
                         timeout=PATIENCE)
    if run.returncode:
        raise Refused(run.stderr.decode())
    return run.stdout.decode()


ALL = (tee_verifier, openssl, example)
