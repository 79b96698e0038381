#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Containers' images by qemu-eif, as other programs see them.

cpio and bsdtar list its ramdisks, umoci unpacks the same container, skopeo
makes another kind of archive of it; another user builds it elsewhere.
"""

import collections
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

from qemu_test import QemuBaseTest
from nitro_parent import only_wanted

from nitro_lab import application, bench_images, images, packages
from nitro_lab.application import tar_entry
from nitro_lab.arch import GUEST
from nitro_lab.config import OUT, TREE

EIF = OUT / 'tools' / 'eif' / 'qemu-eif'
PROGRAM = TREE / 'contrib' / 'nitro-run' / 'nitro-run'
BUILD_EIF = TREE / 'contrib' / 'kubernetes' / 'build-eif'
TAG = 'odd'
CONFIG = {'Entrypoint': ['/bin/app'], 'Env': ['A=1'], 'User': '7',
          'Labels': {'org.example.a': 'b'}, 'ExposedPorts': {'80/tcp': {}}}
NOBODY = 65534

# Of a file in a tree; hard links have the first of their names as target
File = collections.namedtuple('File', 'mode uid gid time size target')


def entry(name, mode=0o644, kind=tarfile.REGTYPE, link='', **more):
    """What precedes a file's content in a layer, with a time and more."""
    info = tar_entry(name, mode, kind, link)
    info.mtime = 1234567890
    for key, value in more.items():
        setattr(info, key, value)
    return info


def directory(name, mode=0o755, **more):
    """The same of a directory."""
    return entry(name, mode, tarfile.DIRTYPE, **more)


LOWER = [(directory('bin'), None), (entry('bin/app', 0o4755, uid=5), b'app'),
         (entry('bin/same', kind=tarfile.LNKTYPE, link='bin/app'), None),
         (directory('dir', 0o1777), None), (entry('dir/gone'), b'gone'),
         (entry('dir/kept', mtime=1), b'kept'), (directory('hidden'), None),
         (entry('hidden/below'), b'below'), (directory('was-dir'), None),
         (entry('was-dir/file'), b''), (entry('was-file'), b'file'),
         (entry('a name with spaces', uid=70000, gid=70001), b'x' * 5000),
         (entry('\u00fcber/' + 'long' * 40, 0o600), b'long'),
         (entry('link', 0o777, tarfile.SYMTYPE, 'dir/../bin/app'), None),
         (entry('pipe', 0o620, tarfile.FIFOTYPE), None)]
UPPER = [(entry('dir/.wh.gone'), None), (directory('hidden', 0o700), None),
         (entry('hidden/.wh..wh..opq'), None), (entry('hidden/new'), b'new'),
         (entry('was-dir'), b'a file now'), (directory('was-file'), None),
         (entry('was-file/file'), b'below'),
         (entry('second', kind=tarfile.LNKTYPE, link='dir/kept'), None)]


def parse(archive):
    """Name -> (header's numbers, content) of a cpio archive, in order."""
    at, found = 0, []
    while archive[at:at + 6] == b'070701':
        numbers = [int(archive[at + 6 + 8 * i:at + 14 + 8 * i], 16)
                   for i in range(13)]
        end = at + 110 + numbers[11]
        name = archive[at + 110:end - 1].decode()
        at = -(-end // 4) * 4
        content = archive[at:at + numbers[6]]
        at = -(-(at + numbers[6]) // 4) * 4
        if name == 'TRAILER!!!':
            return found
        found.append((name, numbers, content))
    raise ValueError('no cpio archive at %d' % at)


def unpacked(archive, prefix):
    """Name -> (File, content) of what is below a directory of a ramdisk."""
    files, names = {}, {}
    for name, numbers, content in parse(archive):
        if name.startswith(prefix + '/'):
            name = name[len(prefix) + 1:]
            inode, mode, uid, gid, links, time, size = numbers[:7]
            first = names.setdefault(inode, name)
            target = content.decode() if stat.S_ISLNK(mode) else ''
            if first != name:
                target, size, content = first, files[first][0].size, b''
            files[name] = (File(mode, uid, gid, time, size, target),
                           content if stat.S_ISREG(mode) else b'')
            assert links == 2 or not stat.S_ISDIR(mode), name
    return files


def _file(path, root, names):
    info = path.lstat()
    name = str(path.relative_to(root))
    first = names.setdefault(info.st_ino, name)
    target = os.readlink(path) if path.is_symlink() else ''
    size = 0 if path.is_dir() and not target else info.st_size
    return name, File(info.st_mode, info.st_uid, info.st_gid,
                      int(info.st_mtime), size,
                      target if first == name else first)


def on_disk(root):
    """The same of a directory."""
    files, names = {}, {}
    for path in sorted(root.rglob('*'), key=lambda path: path.parts):
        name, file = _file(path, root, names)
        content = b''
        if stat.S_ISREG(file.mode) and not file.target:
            content = path.read_bytes()
        files[name] = (file, content)
    return files


LINE = re.compile(r'^(\S{10})\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+(?:,\s*\d+)?)\s+'
                  r'(\w+\s+\d+\s+[\d:]+)\s(.*)$')


def listing(text):
    """Mode, links, owner, group, size and name of each line of a listing."""
    found = []
    for line in text.splitlines():
        mode, links, uid, gid, size, _date, name = LINE.match(line).groups()
        name = name.split(' link to ')[0].split(' -> ')[0].rstrip('/')
        found.append((mode, int(links), int(uid), int(gid),
                      int(size) if size.isdigit() else 0, name))
    return found


def expected_listing(archive):
    """The same by the reader above."""
    return [(stat.filemode(numbers[1]), numbers[4], numbers[2], numbers[3],
             numbers[6], name.rstrip('/'))
            for name, numbers, _content in parse(archive)]


load_tests = only_wanted


class ContainerTest(QemuBaseTest):
    """One container with odd files."""

    # pylint: disable=invalid-name; this is the framework's name
    def setUp(self):
        super().setUp()
        self.top = Path(self.workdir)
        self.layout = self.top / 'layout'
        application.write_layout(self.layout, [LOWER, UPPER], CONFIG, TAG)
        self.blobs = self.top / 'blobs'
        self.blobs.mkdir()
        shutil.copy(bench_images.kernel(GUEST), self.blobs / GUEST.aws_kernel)
        self.init = images.enclave_init()
        (self.blobs / 'nsm.ko').write_bytes(b'module')
        (self.blobs / 'cmdline').write_text('console=ttyS0\n')

    def need(self, *programs):
        """Skip without these programs."""
        for program in programs:
            if not shutil.which(program):
                self.skipTest('%s is not installed' % program)

    def run_tool(self, *words, **options):
        """Output of a program."""
        run = subprocess.run([str(word) for word in words], check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             **options)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def build(self, *words, layout='native', source=None, output=None,
              **options):
        """An image of the container."""
        image = output or self.top / 'image.eif'
        words += ('--module', self.init) if layout == 'native' else ()
        self.run_tool(EIF, 'build', '--blobs', self.blobs, '--init', self.init,
                      '--container', source or self.layout, '--output', image,
                      '--layout', layout, '--arch', GUEST.name, *words,
                      **options)
        return image

    def ramdisk(self, image, number):
        """Bytes of a ramdisk of an image."""
        part = self.top / 'part'
        self.run_tool(EIF, 'extract', '--section=ramdisk-%d' % number,
                      '--output', part, image)
        return part.read_bytes()


class Readers(ContainerTest):
    """Who else reads the container, and the images of it."""

    def test_listings(self):
        """cpio and bsdtar find in the ramdisks what is in there."""
        self.need('cpio', 'bsdtar')
        environment = dict(os.environ, LC_ALL='C.UTF-8')
        for layout in 'native', 'aws':
            image = self.build(layout=layout)
            for number in 0, 1:
                archive = self.ramdisk(image, number)
                wanted = expected_listing(archive)
                for words in (['cpio', '-itv', '--quiet', '-n'],
                              ['bsdtar', '-tvf', '-', '--numeric-owner']):
                    text = self.run_tool(*words, input=archive,
                                         env=environment).decode()
                    self.assertEqual(listing(text), wanted,
                                     (layout, number, words[0]))

    def test_umoci(self):
        """umoci unpacks the same files."""
        self.need('umoci')
        rootless = ['--rootless'] if os.getuid() else []
        self.run_tool('umoci', 'unpack', *rootless, '--image',
                      '%s:%s' % (self.layout, TAG), self.top / 'bundle')
        theirs = on_disk(self.top / 'bundle/rootfs')
        ours = unpacked(self.ramdisk(self.build(), 1), 'rootfs')
        self.assertEqual(list(ours), list(theirs))
        for name, (file, content) in ours.items():
            other, other_content = theirs[name]
            # The layers say nothing of some directories
            if stat.S_ISDIR(file.mode):
                other = other._replace(time=file.time)
            if rootless:
                other = other._replace(uid=file.uid, gid=file.gid)
            self.assertEqual((file, content), (other, other_content), name)

    def test_metadata(self):
        """An image says what container it is of, and when that was made."""
        environment = dict(os.environ, SOURCE_DATE_EPOCH='86400')
        image = self.run_tool(EIF, 'describe', self.build())
        found = json.loads(image)
        index = json.loads((self.layout / 'index.json').read_text())
        digest = index['manifests'][0]['digest'].split(':')[1]
        manifest = json.loads(
            (self.layout / 'blobs/sha256' / digest).read_text())
        self.assertEqual(found['ImageName'], 'layout')
        self.assertEqual(found['Metadata']['DockerInfo'], {
            'Id': manifest['config']['digest'], 'Os': 'linux',
            'Architecture': GUEST.debian, 'Created': application.CREATED,
            'Config': CONFIG})
        self.assertEqual(found['Metadata']['BuildTime'],
                         '2024-05-06T07:08:09+00:00')
        image = self.run_tool(EIF, 'describe', self.build(env=environment))
        self.assertEqual(json.loads(image)['Metadata']['BuildTime'],
                         '1970-01-02T00:00:00+00:00')

    def test_saved(self):
        """An archive that skopeo has made gives the same registers."""
        self.need('skopeo')
        saved = self.top / 'layout.tar'
        self.run_tool('skopeo', '--insecure-policy', 'copy',
                      'oci:%s:%s' % (self.layout, TAG),
                      'docker-archive:%s:app:1' % saved)
        registers = [self.run_tool(EIF, 'pcr', self.build(source=source))
                     for source in (self.layout, saved)]
        self.assertEqual(registers[0], registers[1])

    def test_same_image(self):
        """Neither place, user, time zone nor umask make a difference."""
        there = self.top / 'there'
        shutil.copytree(self.layout, there / 'layout')
        os.chmod(there, 0o777)
        other = {'umask': 0o077, 'env': dict(os.environ, TZ='Asia/Tokyo',
                                             LC_ALL='C', HOME='/nowhere')}
        if not os.getuid() and not subprocess.run(
                ['test', '-x', EIF, '-a', '-w', there], check=False,
                user=NOBODY).returncode:
            other.update(user=NOBODY, group=NOBODY, extra_groups=[])
        kinds = [('native', 'cpio'), ('aws', 'cpio')]
        if shutil.which('tar2sqfs'):
            kinds.append(('native', 'squashfs'))
        for layout, root in kinds:
            here = self.build('--root', root, layout=layout)
            again = self.build('--root', root, layout=layout,
                               source=there / 'layout',
                               output=there / (layout + root), **other)
            self.assertEqual(here.read_bytes(), again.read_bytes(),
                             (layout, root))


# A RUN would need a range of user numbers in /etc/subuid
RECIPE = """FROM scratch
COPY busybox /bin/busybox
COPY file /srv/file
ENV A=1
ENTRYPOINT ["/bin/busybox", "true"]
"""


class Recipe(ContainerTest):
    """contrib/kubernetes/build-eif: from a Containerfile, by buildah."""

    def setUp(self):
        super().setUp()
        self.need('buildah', 'setpriv')
        self.user = [] if os.getuid() else [
            'setpriv', '--reuid', NOBODY, '--regid', NOBODY, '--clear-groups']
        self.place = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.place)
        self.place.chmod(0o777)
        if subprocess.run([*map(str, self.user), 'unshare', '--user',
                           '--map-root-user', '--mount', 'test', '-x', EIF],
                          check=False, capture_output=True).returncode:
            self.skipTest('a user cannot have namespaces here')

    def recipe(self, name):
        """A directory with a Containerfile."""
        directory = self.place / name
        directory.mkdir()
        shutil.copy(packages.busybox(), directory / 'busybox')
        (directory / 'file').write_text('content')
        (directory / 'Containerfile').write_text(RECIPE)
        return directory

    def build_recipe(self, name):
        """Registers, and the files of the container."""
        shutil.copytree(self.blobs, self.place / 'blobs', dirs_exist_ok=True)
        image = self.place / (name + '.eif')
        told = json.loads(self.run_tool(
            *self.user, BUILD_EIF, self.recipe(name), image,
            '--arch', GUEST.name, '--blobs',
            self.place / 'blobs', '--init', self.init, '--module', self.init,
            env={**os.environ, 'QEMU_EIF': str(EIF), 'HOME': '/none',
                 'TMPDIR': str(self.place),
                 'PLATFORM': 'linux/' + GUEST.debian}))
        self.assertTrue(b'\nexec /bin/busybox\narg true\n'
                        in image.read_bytes())
        return told['Measurements'], unpacked(self.ramdisk(image, 1),
                                              'rootfs')

    def test_unprivileged(self):
        """Without privileges, and each time the same."""
        registers, files = self.build_recipe('one')
        self.assertEqual((files['srv/file'][1], files['srv/file'][0].uid),
                         (b'content', 0))
        self.assertEqual(self.build_recipe('two')[0], registers)
        self.assertEqual(sorted(path.name for path in self.place.iterdir()),
                         ['blobs', 'one', 'one.eif', 'two', 'two.eif'])

    def test_refused(self):
        """What is missing is said, and what buildah refuses."""
        for words, text in ((('/none', 'x'), "no directory '/none'"),
                            ((self.place,), 'no name for the image'),
                            ((self.place, 'x'), 'Containerfile')):
            run = subprocess.run([BUILD_EIF, *words], check=False, text=True,
                                 capture_output=True)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(text, run.stderr)


class BuildEnclave(ContainerTest):
    """nitro-run build-enclave: options and output of nitro-cli."""

    def setUp(self):
        super().setUp()
        self.bin = self.top / 'bin'
        self.bin.mkdir()
        (self.bin / 'qemu-eif').symlink_to(EIF)
        shutil.copytree(self.blobs, self.top / 'all-blobs')
        shutil.copy(self.init, self.top / 'all-blobs' / 'init')
        self.calls = self.top / 'log'

    def script(self, name, text):
        """A program in front of those that are installed."""
        path = self.bin / name
        path.write_text('#!/bin/sh\necho "%s $*" >> "%s"\n%s\n'
                        % (name, self.calls, text))
        path.chmod(0o755)

    def run_command(self, *words, **environment):
        """The command's result."""
        return subprocess.run(
            [PROGRAM, 'build-enclave', '--output-file', self.top / 'a.eif',
             *words], check=False, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=dict(
                os.environ, NITRO_CLI_BLOBS=str(self.top / 'all-blobs'),
                PATH='%s:/usr/bin:/bin' % self.bin, **environment))

    def assert_built(self, result):
        """The registers are those of qemu-eif."""
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(result.stdout)['Measurements']
        image = self.build(layout='aws')
        lines = self.run_tool(EIF, 'pcr', image).decode().splitlines()
        self.assertEqual(found.pop('HashAlgorithm'), 'Sha384 { ... }')
        self.assertEqual(['%s %s' % pair for pair in found.items()], lines)

    def test_archive(self):
        """A file, with all that nitro-cli says of it."""
        metadata = self.top / 'metadata'
        metadata.write_text('{"a": 1}')
        result = self.run_command('--docker-uri', self.layout, '--name',
                                  'name', '--version', '7', '--metadata',
                                  metadata)
        self.assert_built(result)
        self.assertIn('Start building the Enclave Image...\n', result.stderr)
        self.assertIn('have no effect in the layout aws', result.stderr)
        self.assertIn('Enclave Image successfully created.\n', result.stderr)
        found = json.loads(self.run_tool(EIF, 'describe',
                                         self.top / 'a.eif'))
        self.assertEqual((found['ImageName'], found['ImageVersion'],
                          found['Metadata']['a']), ('name', '7', 1))

    def test_places(self):
        """A daemon that does not have the image is not the end."""
        self.script('podman', '')
        self.script('skopeo', 'case $7 in docker://example/app:latest) '
                    'cp -r "%s"/* "$(echo "$8" | sed "s/oci:\\(.*\\):'
                    'image/\\1/")";; *) exit 1;; esac' % self.layout)
        result = self.run_command('--docker-uri', 'example/app',
                                  DOCKER_HOST='unix:///nowhere')
        self.assert_built(result)
        self.assertEqual(
            [line.split()[7] for line in self.calls.read_text().splitlines()],
            ['docker-daemon:example/app:latest',
             'containers-storage:example/app:latest',
             'docker://example/app:latest'])
        found = json.loads(self.run_tool(EIF, 'describe',
                                         self.top / 'a.eif'))
        self.assertEqual(found['ImageName'], 'example/app')

    def test_directory(self):
        """A Dockerfile is built by what is there."""
        self.script('docker', 'echo no result; exit 3')
        result = self.run_command('--docker-uri', 'app:1', '--docker-dir',
                                  self.top)
        self.assertEqual((result.returncode, result.stdout), (1, ''))
        self.assertIn('docker cannot build %s: status 3' % self.top,
                      result.stderr)
        self.script('docker', '')
        self.script('skopeo', 'exit 1')
        result = self.run_command('--docker-uri', 'app:1', '--docker-dir',
                                  self.top)
        self.assertIn('skopeo cannot copy docker-daemon:app:1',
                      result.stderr)
        self.assertIn('docker build -t app:1 %s\n' % self.top,
                      self.calls.read_text())

    def test_refused(self):
        """An error is that of qemu-eif."""
        result = self.run_command('--docker-uri', self.top)
        self.assertEqual((result.returncode, result.stdout), (1, ''))
        self.assertIn('neither an OCI layout', result.stderr)
        self.assertFalse((self.top / 'a.eif').exists())


if __name__ == '__main__':
    QemuBaseTest.main()
