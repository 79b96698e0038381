# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""build-enclave: options and output of nitro-cli, the image by qemu-eif."""

import json
import os
import shutil
import subprocess

from .build import LOCAL, REMOTE, find_tool, run_tool
from .common import RunError, print_json, progress, tell

DOCKER_SOCKET = '/var/run/docker.sock'
# What builds a Dockerfile, and where skopeo finds the result
BUILDERS = {'docker': 'docker-daemon:', 'podman': 'containers-storage:',
            'buildah': 'containers-storage:'}
NOT_THERE = 'skopeo cannot copy'


def tagged(name):
    """The name of a container image with a tag."""
    last = name.rpartition('/')[2]
    return name if ':' in last or '@' in last else name + ':latest'


def sources(uri):
    """Where an image of that name may be, in this order."""
    if LOCAL.match(uri) or REMOTE.match(uri) or os.path.exists(uri):
        return [uri]
    found = []
    if os.environ.get('DOCKER_HOST') or os.path.exists(DOCKER_SOCKET):
        found.append('docker-daemon:' + tagged(uri))
    if shutil.which('podman') or shutil.which('buildah'):
        found.append('containers-storage:' + tagged(uri))
    return [*found, 'docker://' + tagged(uri)]


def _build_container(directory, uri):
    """Build a Dockerfile; returns where the image is."""
    builder = next(filter(shutil.which, BUILDERS), None)
    if not builder:
        raise RunError(f'nothing here builds {directory}: there is no '
                       + ', '.join(BUILDERS), 'install podman or buildah')
    # What it prints is no result
    built = subprocess.run([builder, 'build', '-t', tagged(uri), directory],
                           stdin=subprocess.DEVNULL, stdout=2, check=False)
    if built.returncode:
        raise RunError(f'{builder} cannot build {directory}: status'
                       f' {built.returncode}')
    return BUILDERS[builder] + tagged(uri)


def _words(args):
    """Command line of qemu-eif, but for the source."""
    words = [find_tool(), 'build', '--layout', 'aws',
             '--output', args.output_file,
             '--name', args.name or args.docker_uri.partition(':')[0]]
    for option in ('version', 'metadata', 'signing_certificate',
                   'private_key'):
        value = getattr(args, option)
        if value is not None:
            words += ['--' + option.replace('_', '-'), value]
    return words


def _build_first(words, places):
    """Take the first place that has the image."""
    for place in places[:-1]:
        try:
            return run_tool([*words, '--container', place])
        except RunError as error:
            if NOT_THERE not in str(error):
                raise
    return run_tool([*words, '--container', places[-1]])


def build_enclave(args):
    """The command."""
    tell('Start building the Enclave Image...')
    places = [_build_container(args.docker_dir, args.docker_uri)] \
        if args.docker_dir else sources(args.docker_uri)
    with progress(f'building an enclave image of {args.docker_uri}'):
        built = _build_first(_words(args), places)
    if remarks := built.stderr.strip():
        tell(remarks)
    tell('Enclave Image successfully created.')
    print_json(json.loads(built.stdout))
    return 0


def add_options(commands):
    """Options of build-enclave."""
    build = commands.add_parser(
        'build-enclave', help='build an enclave image from a container image',
        description='With the same files (NITRO_CLI_BLOBS) the registers are'
        ' the same as with nitro-cli.  No daemon is needed: an image comes'
        ' from the daemon of Docker, if it runs, from the storage of podman,'
        ' or from its registry.')
    build.add_argument('--docker-uri', required=True, metavar='URI',
                       help='container image: its name, or as qemu-eif build'
                       ' --container takes it')
    build.add_argument('--docker-dir', metavar='DIR',
                       help='build the container image first, of the'
                       ' Dockerfile there')
    build.add_argument('--output-file', required=True, metavar='FILE',
                       help='enclave image')
    for name, what in (('signing-certificate', 'sign the image'),
                       ('private-key', 'key of that certificate')):
        build.add_argument('--' + name, metavar='FILE', help=what)
    build.add_argument('--name', metavar='TEXT',
                       help='in the metadata (name of the container image)')
    build.add_argument('--version', metavar='TEXT', help='the same (digest of'
                       " the container's configuration)")
    build.add_argument('--metadata', metavar='FILE',
                       help='JSON for the metadata')
    build.set_defaults(main=build_enclave)
