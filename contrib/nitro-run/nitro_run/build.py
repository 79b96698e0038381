# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""From what run is given to an enclave image: a file of one, or a container
image that qemu-eif builds one from.  Parts are known by their digests."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from . import network
from .common import RunError, progress
from .options import AGENT_PORT, values_of
from .store import Store

MAGIC = b'.eif'
MINIMUM = 'MinimumMemoryMiB'
BLOCK = 1 << 20
# A program waits for its reader, as with a pipe: there always is one
OUTPUT = 'block'
TOOL = 'qemu-eif'
TREE = Path(__file__).resolve().parents[3]
BLOBS = '/usr/share/nitro_enclaves/blobs'
# As qemu-eif reads them
LOCAL = re.compile(r'(?:oci|oci-archive|docker-archive):(.*)', re.S)
TRANSPORT = re.compile(r'^(?:oci|oci-archive|docker-archive|docker-daemon|'
                       'containers-storage):')
REMOTE = re.compile(r'containers-storage:|docker-daemon:|.*://', re.S)


def run_tool(words, cause=''):
    """Run a program; the result has its output and its remarks as text.

    @cause: what an error begins with
    """
    cause = cause and cause + ': '
    try:
        result = subprocess.run(
            [str(word) for word in words], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors='replace', check=False)
    except OSError as error:
        raise RunError(f'{cause}cannot run {words[0]}: {error.strerror}',
                       f'install {Path(words[0]).name}') from error
    if result.returncode:
        said = re.sub(r'^qemu-eif: ', '', result.stderr.strip(), flags=re.M)
        raise RunError(f'{cause}{said or shlex.join(map(str, words))}')
    return result


def digest_of(path):
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    try:
        with open(path, 'rb') as file:
            while data := file.read(BLOCK):
                digest.update(data)
    except OSError as error:
        raise RunError(f'cannot read {path}: {error.strerror}') from error
    return digest.hexdigest()


def text_of(settings):
    """Content of a --settings file; nothing without one."""
    if settings is None:
        return ''
    try:
        return Path(settings).read_text(encoding='utf-8',
                                        errors='surrogateescape')
    except OSError as error:
        raise RunError(f'cannot read {settings}: {error.strerror}') from error


def find_tool():
    """qemu-eif: installed, or where this tree builds it."""
    return shutil.which(TOOL) or str(TREE / 'build/out/tools/eif' / TOOL)


def is_enclave_image(source):
    """Is it the file of one?"""
    if not os.path.isfile(source):
        return False
    try:
        with open(source, 'rb') as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise RunError(f'cannot read {source}: {error.strerror}') from error


def _existing(path):
    """The longest part before a colon that exists: the rest is a tag."""
    while path and not os.path.exists(path):
        path = path.rpartition(':')[0]
    return path


def _local(source):
    """Its path, perhaps with a tag behind; None if skopeo has to fetch it."""
    local = LOCAL.fullmatch(source)
    if local or not REMOTE.match(source):
        return local[1] if local else source
    return None


def check_local(source):
    """Refuse a file that is not there."""
    path = _local(source)
    if path is not None and not _existing(path):
        raise RunError(f'{source} is neither a file nor a directory',
                       'give an enclave image, an OCI layout, an archive of'
                       ' docker save, or a name such as'
                       ' docker://registry/name:tag')


def _named(path):
    """The file that changes with an image, and what follows: all else in a
    layout is named by its digest."""
    found = _existing(path)
    return (os.path.join(found, 'index.json') if os.path.isdir(found)
            else found), path[len(found):]


def _local_digest(path):
    file, tag = _named(path)
    return digest_of(file) + tag


def source_digest(source):
    """What a container image is known by."""
    path = _local(source)
    if path is not None:
        return _local_digest(path)
    return run_tool(['skopeo', 'inspect', '--format', '{{.Digest}}', source],
                    f'cannot look at {source}').stdout.strip()


def _version(source):
    """What differs when a container image was replaced by another one."""
    path = _local(source)
    if path is None:
        return source_digest(source)
    try:
        info = os.stat(_named(path)[0])
    except OSError as error:
        raise RunError(f'cannot read {path}: {error.strerror}') from error
    return info.st_ino, info.st_size, info.st_mtime_ns


def _tree_digest(directory):
    """Names, sizes and times of kernel modules, which are many."""
    digest = hashlib.sha256()
    for path in sorted(Path(directory).rglob('*')):
        if path.is_file():
            info = path.stat()
            digest.update(f'{path.relative_to(directory)} {info.st_size}'
                          f' {info.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


class Recipe:
    """How the image of a container is built.

    @equipment: of the lab: dictionary of Tool, Kernel, Modules, Init; on an
    instance it is empty, and qemu-eif finds what is installed.
    """

    def __init__(self, args, equipment):
        self.args, self.source = args, args.source
        self.version = None         # when key() looked at it
        self.tool = equipment.get('Tool') or find_tool()
        self.files = {'--kernel': args.kernel or equipment.get('Kernel'),
                      '--init': equipment.get('Init') or self._init(),
                      '--settings': args.settings,
                      '--signing-certificate': args.signing_certificate,
                      '--private-key': args.private_key}
        self.modules = args.modules
        if self.modules is None and args.kernel is None:
            self.modules = equipment.get('Modules')

    def _init(self):
        """The one beside qemu-eif; None where qemu-eif alone knows it."""
        path = Path(self.tool).resolve().parents[2] / 'contrib' / 'nitro-init'
        return path / 'nitro-init' if (path / 'nitro-init').exists() else None

    def key(self):
        """Digest of all that goes into the image."""
        self.version = _version(self.source)
        parts = {'source': source_digest(self.source)
                 if _local(self.source) is not None else self.version,
                 'tool': digest_of(self.tool),
                 'arguments': self.args.more,
                 'epoch': os.environ.get('SOURCE_DATE_EPOCH'),
                 'modules': self.modules and _tree_digest(self.modules)}
        parts.update({name: digest_of(path) for name, path
                      in self.files.items() if path})
        parts['lines'] = hashlib.sha256(self.settings().encode(
            errors='surrogateescape')).hexdigest()
        if not self.files['--kernel']:
            parts['blobs'] = _tree_digest(
                os.environ.get('NITRO_CLI_BLOBS') or BLOBS)
        return hashlib.sha256(json.dumps(parts, sort_keys=True)
                              .encode()).hexdigest()[:32]

    def settings(self):
        """Lines for the init: those that were given, and ours for keys that
        they do not have."""
        given = text_of(self.files['--settings'])
        lines = []
        if self.args.agent_port != AGENT_PORT \
                and not values_of('agent', given):
            lines.append(f'agent {self.args.agent_port}\n')
        if not values_of('output', given):
            lines.append(f'output {OUTPUT}\n')
        lines.append(network.settings(self.args, given))
        if given and not given.endswith('\n'):
            given += '\n'
        return given + ''.join(lines)

    def _write_settings(self, directory):
        path = directory / 'settings'
        path.write_text(self.settings(), encoding='utf-8',
                        errors='surrogateescape')
        return path

    def build(self, target):
        """Write it to @target; returns its registers, for the note."""
        files = {**self.files, '--modules': self.modules,
                 '--settings': self._write_settings(target.parent)}
        words = [self.tool, 'build', '--container', self.source, '--output',
                 target]
        for name, path in files.items():
            words += [name, path] if path else []
        words += ['--', *self.args.more] if self.args.more else []
        try:
            with progress(f'building an enclave image of {self.source}'):
                said = run_tool(words, 'cannot build an image of '
                                + self.source).stdout
        finally:
            files['--settings'].unlink()
        if _version(self.source) != self.version:
            # It would be kept as an image of what was there before
            raise RunError(f'{self.source} was replaced while an image of it'
                           ' was built', 'run it again')
        return known(said)


def registers(said):
    """PCR0.. in what qemu-eif has printed."""
    return {name: value for name, value
            in json.loads(said)['Measurements'].items()
            if name.startswith('PCR')}


def known(said):
    """What the store notes of it."""
    found = {'Measurements': registers(said)}
    minimum = json.loads(said).get(MINIMUM)
    return found if minimum is None else {**found, MINIMUM: minimum}


def described(path):
    """The same of an enclave image; nothing without qemu-eif."""
    tool = find_tool()
    if not os.path.exists(tool):
        return {}
    return known(run_tool([tool, 'describe', path],
                          f'cannot read {path}').stdout)


def check_additions(args):
    """Refuse what the image that is built would not take."""
    given = text_of(args.settings)
    lines = given.splitlines()
    for port in values_of('agent', given):
        if port != str(args.agent_port):
            raise RunError(
                f"--settings {args.settings} has 'agent {port}', but the"
                f' program is heard at port {args.agent_port}',
                'leave that line out, and choose the port with --agent-port')
    for variable in args.env:
        name = variable.partition('=')[0]
        if f'allow-env {name}' not in lines:
            raise RunError(
                f"--env {name}: what the image allows is measured, and this"
                ' one does not allow that', "give --settings FILE with a line"
                f" 'allow-env {name}'; the registers differ then")


def built(args, equipment):
    """The image of a container, in the store and held.

    @equipment: a function that returns Recipe's equipment; it may take long.
    """
    check_additions(args)
    recipe = Recipe(args, equipment())
    return Store().image(recipe.key(), recipe.build,
                         {'Source': args.source, 'Arguments': args.more})


def copied(path):
    """A copy of an enclave image, in the store and held."""
    def copy(target):
        shutil.copyfile(path, target)
        return described(target)

    return Store().image(digest_of(path)[:32], copy, {'Source': path})


def write_registers(note, path):
    """What an image leads to, as JSON in a file."""
    if 'Measurements' not in note:
        raise RunError(f'--pcrs: cannot run {TOOL}', f'install {TOOL}')
    try:
        Path(path).write_text(json.dumps(note['Measurements'], indent=2)
                              + '\n')
    except OSError as error:
        raise RunError(f'cannot write {path}: {error.strerror}',
                       'name another file with --pcrs') from error


def name_of(source):
    """A short name for an enclave of it."""
    last = TRANSPORT.sub('', source).rstrip('/').rpartition('/')[2]
    return re.sub(r'[^\w.-].*', '', Path(last).stem or last) or 'container'
