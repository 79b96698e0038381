# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Images in which nitro-init starts an application, and its agent's peer."""

import gzip
import hashlib
import io
import json
import re
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path

from . import eif, images, packages
from .arch import GUEST
from .config import LabError
from .cpio import Cpio

CREATED = '2024-05-06T09:08:09.123+02:00'
AGENT_PORT = 9001
ROOT = 'rootfs'

# contrib/nitro-init/agent.h
HEAD = struct.Struct('>B3xI')
HELLO, STATE, OUTPUT, REFUSED = range(1, 5)
ENV, ARG, FILE, GO, STOP, SIGNAL, TAKEN, END = range(16, 24)
BOOTING, RUNNING, EXITED, SIGNALLED, FATAL = range(5)
STDOUT, STDERR = 1, 2


def escape(text):
    """A value as the configuration file has it."""
    return text.replace('\\', '\\\\').replace('\n', '\\n')


def _settings(settings):
    lines = ''
    for key, values in settings.items():
        for value in values if isinstance(values, list) else [values]:
            lines += '%s %s\n' % (key.replace('_', '-'), escape(str(value)))
    return lines


def configuration(command, modules=(), **settings):
    """Text of /nitro/config; lists and None are allowed as values.

    Underscores in names stand for dashes, "exec" and "arg" come from
    @command.
    """
    lines = ['root /' + ROOT] + ['module /' + name for name in modules]
    lines += [('arg ' if number else 'exec ') + escape(word)
              for number, word in enumerate(command)]
    return '\n'.join(lines) + '\n' + _settings(settings)


def busybox_tree():
    """A root file system: busybox and its names, two users."""
    tree = Cpio()
    tree.file(ROOT + '/bin/busybox', packages.busybox(), 0o755)
    for applet in images.applets():
        tree.link('%s/bin/%s' % (ROOT, applet), 'busybox')
    tree.file(ROOT + '/etc/passwd', b'root:x:0:0::/root:/bin/sh\n'
              b'web:x:1000:1001::/srv:/bin/sh\n')
    tree.file(ROOT + '/etc/group', b'root:x:0:\nweb:x:1001:\n'
              b'data:x:1005:web\n')
    return tree


def _add_init(boot, before):
    """nitro-init as process 1, which it becomes after commands @before."""
    if before:
        boot.file('busybox', packages.busybox(), 0o755)
        boot.file('init', ('#!/busybox sh\n%s\nexec /nitro/init\n'
                           % before).encode(), 0o755)
    boot.file('nitro/init' if before else 'init', images.enclave_init(),
              0o755)


def image(name, command, tree=None, text=None, before=None, **settings):
    """An EIF file with nitro-init, its configuration, and @tree.

    @text replaces the configuration that the other arguments describe;
    @before are commands of a shell for what the init is to find.
    """
    images.LAB.mkdir(parents=True, exist_ok=True)
    packages.fetch()
    boot = Cpio()
    boot.directory('dev')
    boot.device('dev/console', 5, 1)
    _add_init(boot, before)
    wanted = images.ENCLAVE_MODULES + (('tun',) if 'net' in settings else ())
    modules = images.add_modules(boot, images.kernel_modules(),
                                 'nitro/modules', wanted)
    boot.file('nitro/config', (
        text or configuration(command, modules, **settings)).encode())
    target = images.LAB / (name + '.eif')
    target.write_bytes(eif.build(
        images.demo_kernel().read_bytes(), images.demo_cmdline(),
        [boot.bytes(), (tree or busybox_tree()).bytes()],
        arch=GUEST.image_flag, name=name))
    return target


def _native_words(directory, settings):
    """Options of qemu-eif; files that it needs go to @directory."""
    words = ['--kernel', images.demo_kernel(),
             '--init', images.enclave_init(),
             '--modules', images.modules_directory()]
    if settings:
        lines = directory / 'settings'
        lines.write_text(_settings(settings))
        words += ['--settings', lines]
    return words


def _run_image_tool(target, source, words, command):
    """Returns what it has to say, beside the registers."""
    made = subprocess.run(
        [images.image_tool(), 'build', '--container', source,
         '--output', target, *words, *(['--', *command] if command else [])],
        text=True, check=False, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL)
    if made.returncode:
        raise LabError('qemu-eif cannot make an image of %s:\n%s'
                       % (source, made.stderr.strip()))
    return made.stderr


def container_image(source, *command, name='container', root='cpio',
                    **settings):
    """An EIF file of a container image, by qemu-eif.

    @command replaces the image's arguments; @root is that option; @settings
    are further lines of the init's configuration.
    """
    images.LAB.mkdir(parents=True, exist_ok=True)
    packages.fetch()
    target = images.LAB / (name + '.eif')
    with tempfile.TemporaryDirectory(dir=images.LAB) as directory:
        _run_image_tool(target, source, [
            '--root', root, *_native_words(Path(directory), settings)],
            command)
    return target


def minimum_memory(image):
    """MiB that an enclave needs to boot an image, by qemu-eif."""
    described = subprocess.run([images.image_tool(), 'describe', image],
                               check=True, stdout=subprocess.PIPE)
    return json.loads(described.stdout)['MinimumMemoryMiB']


def aws_blobs(directory):
    """What nitro-cli calls blobs, with the distribution's kernel.

    Returns the modules that this kernel needs beside nsm.ko, as
    (name, bytes) in load order.
    """
    modules = dict(images.kernel_modules().closure(images.ENCLAVE_MODULES))
    (directory / 'nsm.ko').write_bytes(modules.pop('nsm'))
    (directory / 'cmdline').write_text(images.demo_cmdline() + '\n')
    (directory / 'init').symlink_to(images.aws_shaped_init())
    (directory / GUEST.aws_kernel).symlink_to(images.demo_kernel())
    return list(modules.items())


def aws_image(source, blobs, name='aws'):
    """An EIF file of the layout aws, and what qemu-eif remarks."""
    target = images.LAB / (name + '.eif')
    return target, _run_image_tool(target, source, [
        '--layout', 'aws', '--blobs', blobs], ())


def _layer(entries):
    """A layer: a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
        for info, data in entries:
            info.size = len(data or b'')
            tar.addfile(info, io.BytesIO(data or b''))
    return archive.getvalue()


def _config(layers, config):
    """A container's configuration as JSON."""
    return json.dumps({
        'os': 'linux', 'architecture': GUEST.debian, 'config': config,
        'created': CREATED,
        'rootfs': {'type': 'layers', 'diff_ids': [
            'sha256:' + hashlib.sha256(layer).hexdigest()
            for layer in layers]}}).encode()


def write_layout(directory, layers, config, tag=None):
    """An OCI layout: @layers are lists of (TarInfo, bytes or None)."""
    blobs = Path(directory) / 'blobs' / 'sha256'
    blobs.mkdir(parents=True)

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {'mediaType': 'application/vnd.oci.image.' + kind,
                'digest': 'sha256:' + digest, 'size': len(data)}

    plain = [_layer(entries) for entries in layers]
    manifest = {
        'schemaVersion': 2,
        'layers': [blob(gzip.compress(layer, mtime=0), 'layer.v1.tar+gzip')
                   for layer in plain],
        'config': blob(_config(plain, config), 'config.v1+json')}
    entry = blob(json.dumps(manifest).encode(), 'manifest.v1+json')
    if tag:
        entry['annotations'] = {'org.opencontainers.image.ref.name': tag}
    index = {'schemaVersion': 2, 'manifests': [entry]}
    (Path(directory) / 'index.json').write_text(json.dumps(index))
    (Path(directory) / 'oci-layout').write_text(
        '{"imageLayoutVersion": "1.0.0"}')


def write_saved(path, layers, config, tag='app:latest'):
    """An archive as 'docker save' writes it, of the same as a layout."""
    plain = [_layer(entries) for entries in layers]
    names = ['%d/layer.tar' % number for number in range(len(plain))]
    parts = [*zip(names, plain), ('config.json', _config(plain, config)),
             ('manifest.json', json.dumps([{
                 'Config': 'config.json', 'RepoTags': [tag],
                 'Layers': names}]).encode())]
    Path(path).write_bytes(_layer(
        [(tar_entry(name), data) for name, data in parts]))


def tar_entry(name, mode=0o644, kind=tarfile.REGTYPE, link='', uid=0):
    """What precedes a file's content in a layer."""
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.linkname, info.uid = mode, kind, link, uid
    return info


class AgentPeer:
    """The parent's end of an agent's connection.

    @job is a process of the parent that carries the bytes: its output is
    what the init sends, its input goes to the init.
    """

    def __init__(self, job):
        self.job, self.used = job, 0
        self.state, self.value, self.text = None, None, ''
        self.output = []                # (position, stream, bytes)
        self.refused, self.hello = [], None

    def send(self, kind, payload=b''):
        """One frame to the init."""
        self.job.send(HEAD.pack(kind, len(payload)) + payload)

    def addition(self, kind, text):
        """A variable or an argument."""
        self.send(kind, text.encode())

    def file(self, name, content):
        """A file's content."""
        name = name.encode()
        self.send(FILE, struct.pack('>H', len(name)) + name + content)

    def work(self):
        """Read what has come."""
        data = bytes(self.job.output)
        while len(data) - self.used >= HEAD.size:
            kind, size = HEAD.unpack_from(data, self.used)
            end = self.used + HEAD.size + size
            if len(data) < end:
                return
            self._frame(kind, data[self.used + HEAD.size:end])
            self.used = end

    def _frame(self, kind, payload):
        if kind == HELLO:
            self.hello = struct.unpack('>HH', payload)
        elif kind == STATE:
            self.state, self.value = struct.unpack_from('>BI', payload)
            self.text = payload[5:].decode()
        elif kind == OUTPUT:
            position, stream = struct.unpack_from('>QB', payload)
            self.output.append((position, stream, payload[9:]))
            self.send(TAKEN, struct.pack('>Q', position + len(payload) - 9))
        elif kind == REFUSED:
            self.refused.append(payload.decode())
        else:
            raise ValueError('frame of type %d' % kind)
        if self.state is not None and self.state >= EXITED:
            self.send(END)

    def stream(self, number):
        """All bytes of one of the application's streams, as text."""
        return b''.join(data for _, stream, data in self.output
                        if stream == number).decode()

    def lines(self):
        """NAME=VALUE lines of the standard output."""
        return dict(re.findall(r'^(\w+)=(.*)$', self.stream(STDOUT), re.M))
