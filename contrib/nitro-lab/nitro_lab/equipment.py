# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What a parent gets beside its CPUs and memory: files, shared directories,
disks, another root, and how its CPUs and memory are laid out.

parent/init reads the words of the kernel command line that are made here.
"""

import os
import re
import stat
from pathlib import Path

from . import virtiofs
from .arch import GUEST
from .config import LabError

QCOW2_MAGIC = b'QFI\xfb'
# Tag (virtiofs) or serial number (disk) of another root
ROOT = 'root'
SHARE_PLACE = '/mnt/'
# A place is part of a word of the kernel's command line, between commas
UNFIT = re.compile(r'[\s,"\']')
# What the kernel takes of a node beside what is for enclaves
NODE_MIB = 192
GIGANTIC_MIB = 1024
# The card's network, another one than QEMU has by default: enclaves in the
# parent may have that
NET = 'net=10.0.3.0/24,ipv6=off'
NET_WORDS = '10.0.3.15/24,10.0.3.2,10.0.3.3'
CARD = 'net'


def _guest_path(text, option):
    if not text.startswith('/'):
        raise LabError("%s: '%s' is not an absolute path of the parent"
                       % (option, text), 'begin it with /')
    if UNFIT.search(text):
        raise LabError("%s: '%s' has a space, quote or comma"
                       % (option, text), 'choose another place in the parent,'
                       ' after a colon')
    # The kernel's unpacker takes another spelling for another file
    return os.path.normpath(text).replace('//', '/', 1)


def _two_parts(text, option, default):
    """HOST:GUEST; the part of the parent may be left out."""
    host, colon, guest = text.rpartition(':')
    if not colon:
        host, guest = text, default + Path(text).absolute().name
    elif guest.endswith('/') and option == '--file':
        guest += Path(host).absolute().name
    if not host:
        raise LabError("%s: '%s' names nothing of this machine"
                       % (option, text), 'write %s HOST:GUEST' % option)
    return Path(host), _guest_path(guest, option)


def _readable(path, option):
    if not os.access(path, os.R_OK):
        raise LabError('%s: %s cannot be read' % (option, path),
                       'check its permissions' if path.exists()
                       else 'check its name')
    return path


class Copy:
    """What is at a path, for the archive: a file, a directory or a link, with
    its mode."""

    def __init__(self, path, follow=False):
        """@follow: to where a link leads."""
        self.path, info = path, path.stat() if follow else path.lstat()
        self.kind, self.mode = stat.S_IFMT(info.st_mode), info.st_mode & 0o7777
        if self.kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise LabError('--file: %s is neither a file nor a directory'
                           % path, 'use --share or --disk')
        if self.kind != stat.S_IFLNK:
            _readable(path, '--file')

    def is_dir(self):
        """Is it one?"""
        return self.kind == stat.S_IFDIR

    def add(self, archive, place):
        """Put it into an archive."""
        if self.is_dir():
            archive.directory(place, self.mode)
        elif self.kind == stat.S_IFLNK:
            archive.link(place, os.readlink(self.path))
        else:
            archive.file(place, self.path, self.mode)


def _refuse_unread(error):
    raise LabError('--file: %s cannot be read: %s'
                   % (error.filename, error.strerror),
                   'check its permissions')


def _below(path):
    """All that is in a directory, a directory ahead of what is in it."""
    for top, directories, names in os.walk(path, onerror=_refuse_unread):
        directories.sort()
        for name in sorted(directories + names):
            if '\n' in name:
                raise LabError("--file: '%s' has a line break in its name"
                               % name, 'rename it')
            yield Path(top, name)


def _copies(path, target):
    """Guest path -> Copy, of one --file.

    A directory's own mode counts for what is in it alone: its place may be
    /etc, which keeps its mode.
    """
    _readable(path, '--file')
    top = Copy(path, follow=True)
    if not top.is_dir():
        return {target: top}
    top.mode = 0o755
    return {target: top, **{
        os.path.join(target, below.relative_to(path)): Copy(below)
        for below in _below(path)}}


def files(words, others=()):
    """Guest path -> Copy, of --file HOST:GUEST; directories with all that is
    in them.  @others: what the parent gets besides; it is in the result."""
    found = dict(others)
    for word in words:
        more = _copies(*_two_parts(word, '--file', '/lab/'))
        _refuse_twice('--file', [
            place for place in more if place in found
            and not (_is_dir(found[place]) and more[place].is_dir())])
        found.update(more)
    _refuse_below_files(found)
    return found


def _is_dir(data):
    return isinstance(data, Copy) and data.is_dir()


def _refuse_below_files(found):
    for place in found:
        for above in map(str, Path(place).parents):
            if above in found and not _is_dir(found[above]):
                raise LabError('--file: %s would be a file in the parent, and'
                               ' have %s in it' % (above, place),
                               'write --file HOST:GUEST, with different'
                               ' GUEST')


def _refuse_twice(option, places):
    for place in places:
        raise LabError('%s: two things would be %s in the parent'
                       % (option, place), 'write %s HOST:GUEST, with'
                       ' different GUEST' % option)


class Share:
    """A directory of this machine in the parent, by virtiofs."""

    def __init__(self, directory, tag, place, options='rw'):
        self.directory, self.tag = Path(directory).absolute(), tag
        self.place, self.options = place, options
        option = '--root' if tag == ROOT else '--share'
        if not _readable(self.directory, option).is_dir():
            raise LabError('%s: %s is not a directory' % (option, directory),
                           'use --file or --disk')

    @classmethod
    def parse(cls, number, word):
        """--share DIR[:GUEST]"""
        host, guest = _two_parts(word, '--share', SHARE_PLACE)
        return cls(host, 'share%d' % number, guest)

    def words(self):
        """For parent/init."""
        return ['lab.share=%s,%s,%s' % (self.tag, self.place, self.options)]

    def arguments(self, sockets):
        """Of the parent's QEMU."""
        return ['-chardev', 'socket,id=%s,path=%s/%s' % (
            self.tag, sockets, self.tag),
            '-device', 'vhost-user-fs-pci,chardev=%s,tag=%s' % (
                self.tag, self.tag)]


class Disk:
    """A file as a virtio disk of the parent."""

    def __init__(self, path, serial, read_only=False):
        self.path, self.serial = Path(path).absolute(), serial
        self.read_only = read_only
        option = '--root' if serial == ROOT else '--disk'
        if _readable(self.path, option).is_dir():
            raise LabError('%s: %s is a directory' % (option, path),
                           'use --share')
        # To open a FIFO may take for ever
        if not (self.path.is_file() or self.path.is_block_device()):
            raise LabError('%s: %s is neither a file nor a disk'
                           % (option, path), 'make an image of it first')

    def format(self):
        """By the first bytes of the file."""
        with open(self.path, 'rb') as f:
            return 'qcow2' if f.read(4) == QCOW2_MAGIC else 'raw'

    def arguments(self, _sockets):
        """Of the parent's QEMU."""
        return ['-drive', 'if=none,id=%s,format=%s,read-only=%s,file=%s' % (
            self.serial, self.format(), 'on' if self.read_only else 'off',
            str(self.path).replace(',', ',,')),
            '-device', 'virtio-blk-pci,drive=%s,serial=%s' % (
                self.serial, self.serial)]


class Equipment:
    """All of it; the default is a parent that has nothing more."""

    def __init__(self, shares=(), disks=(), root=None, threads=None, nodes=1,
                 gigantic=0, net=False):
        """@shares, @disks, @root: as on the command line of the lab.

        @threads: of a core; by default as many as the architecture has.
        @nodes: NUMA nodes; of two, enclaves get CPUs and memory of the second.
        @gigantic: pages of 1 GiB for enclaves.
        @net: a network card that leads to this machine's network.
        """
        self.gigantic, self.net = gigantic, net
        self.threads, self.nodes = threads or GUEST.threads, nodes
        self.shares = [Share.parse(*pair) for pair in enumerate(shares)]
        places = [share.place for share in self.shares]
        _refuse_twice('--share', {place for place in places
                                  if places.count(place) > 1})
        self.disks = [Disk(path, 'disk%d' % number)
                      for number, path in enumerate(disks)]
        self.root = root and self._add_root(Path(root))

    def check_hidden(self, places):
        """Refuse shared directories that would lie above files."""
        for share in self.shares:
            hidden = [place for place in places if share.tag != ROOT and (
                share.place == place or Path(share.place) in
                Path(place).parents)]
            if hidden:
                raise LabError('--share: %s in the parent would hide %s'
                               % (share.place, hidden[0]), 'write --share'
                               ' DIR:GUEST, with another GUEST')

    def _add_root(self, path):
        """Nothing is written to it: parent/init puts memory above it."""
        if path.is_dir():
            if not any(os.path.lexists(path / directory / 'sh')
                       for directory in ('bin', 'usr/bin')):
                raise LabError('--root: %s has no bin/sh' % path,
                               'make a root with mmdebstrap trixie DIR')
            self.shares.append(Share(path, ROOT, '/root.low', 'ro'))
            return ROOT + ',share'
        self.disks.append(Disk(path, ROOT, read_only=True))
        return ROOT + ',disk'

    def words(self):
        """Words of the kernel command line."""
        words = [word for share in self.shares if share.tag != ROOT
                 for word in share.words()]
        if self.root:
            words.append('lab.root=' + self.root)
        if self.net:
            words.append('lab.net=' + NET_WORDS)
        if self.nodes > 1:
            words.append('lab.node=%d' % (self.nodes - 1))
        if self.gigantic:
            words += ['hugepagesz=1G', 'hugepages=%d:%d' % (
                self.nodes - 1, self.gigantic)]
        return words

    def arguments(self, sockets):
        """Arguments of the parent's QEMU."""
        return [word for part in (*self.shares, *self.disks)
                for word in part.arguments(sockets)] + (
                    ['-netdev', 'user,id=%s,%s' % (CARD, NET), '-device',
                     'virtio-net-pci,romfile=,netdev=' + CARD]
                    if self.net else [])

    def servers(self, sockets):
        """Name -> command line of processes that serve the parent."""
        return {share.tag: virtiofs.command(share, sockets / share.tag)
                for share in self.shares}


def cpus_and_memory(equipment, cores, ram_mib, enclave_mib):
    """Arguments of QEMU: CPUs, memory that others can map, and nodes.

    With two nodes CPUs 0 and 1 and the parent's own memory are on the first,
    the other CPUs and the memory for enclaves on the second.
    """
    threads = equipment.threads
    last = cores * threads - 1
    if equipment.gigantic:
        # They are aligned; the kernel itself is in the first of memory
        more = (equipment.gigantic + 1) * GIGANTIC_MIB
        ram_mib, enclave_mib = ram_mib + more, enclave_mib + more
    sizes = [ram_mib]
    if equipment.nodes == 2:
        sizes = [ram_mib - enclave_mib, enclave_mib + NODE_MIB]
    argv = ['-smp', '%d,sockets=1,cores=%d,threads=%d'
            % (last + 1, cores, threads), '-m', '%dM' % sum(sizes)]
    for node, size in enumerate(sizes):
        argv += ['-object', 'memory-backend-memfd,id=ram%d,size=%dM,share=on'
                 % (node, size)]
    if equipment.nodes == 1:
        return [*argv, '-machine', 'memory-backend=ram0']
    for node, cpus in enumerate(('0-1', '2-%d' % last)):
        argv += ['-numa', 'node,nodeid=%d,cpus=%s,memdev=ram%d'
                 % (node, cpus, node)]
    return argv
