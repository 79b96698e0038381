# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Images of the selftest: a kernel and the demo enclave, built on the spot.

On EC2 the kernel has to be AWS's: a distribution's finds its devices by ACPI,
which enclaves do not have there.  The emulated parent boots both.
"""

import gzip
import json
import lzma
import os
import shlex
import stat
import subprocess
from pathlib import Path

from .common import RunError

TREE = Path(__file__).resolve().parents[3]
INIT = 'contrib/nitro-lab/enclave/nitro-demo-init'
# In the package, in the tree, and as 'make install' does
INITS = (TREE / 'out' / INIT, TREE / 'build' / 'out' / INIT,
         TREE.parent / 'libexec' / 'nitro-demo-init')
BLOBS = Path('/usr/share/nitro_enclaves/blobs')
BLOB_KERNELS = {'x86_64': 'bzImage', 'aarch64': 'Image'}
MODULES = ('virtio_mmio', 'nsm', 'vmw_vsock_virtio_transport')
AWS_WORDS = ('reboot=k panic=30 pci=off nomodules console=ttyS0'
             ' random.trust_cpu=on')
OUR_WORDS = 'console=ttyS0 quiet loglevel=3 panic=-1 reboot=t'
CONSOLE = os.makedev(5, 1)


def cpio(files, devices=()):
    """A newc archive of (name, bytes), and of character devices."""
    entries = [('dev', stat.S_IFDIR | 0o755, b'', 0),
               *((name, stat.S_IFCHR | 0o600, b'', number)
                 for name, number in devices),
               *((name, stat.S_IFREG | 0o755, data, 0)
                 for name, data in files), ('TRAILER!!!', 0, b'', 0)]
    out = bytearray()
    for inode, (name, mode, data, number) in enumerate(entries, 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, os.major(number),
                  os.minor(number), len(name) + 1, 0)
        out += b'070701' + b''.join(b'%08X' % field for field in fields)
        for part in (name.encode() + b'\0', data):
            out += part
            out += bytes(-len(out) % 4)
    return bytes(out)


def unpacked(path):
    """Bytes of a module, whatever it is packed with."""
    if path.suffix == '.xz':
        return lzma.decompress(path.read_bytes())
    if path.suffix == '.gz':
        return gzip.decompress(path.read_bytes())
    if path.suffix == '.zst':
        return tool('zstd', '-dcq', path)
    return path.read_bytes()


def module_files(directory):
    """Files of the modules that an enclave needs, in load order."""
    known, wanted = {}, []
    for line in (directory / 'modules.dep').read_text().splitlines():
        path, _, more = line.partition(':')
        name = Path(path).name.partition('.ko')[0].replace('-', '_')
        known[name] = [directory / word for word in
                       (*reversed(more.split()), path)]
    builtin = (directory / 'modules.builtin').read_text().replace('-', '_')
    for name in MODULES:
        if name in known:
            wanted += known[name]
        elif f'/{name}.ko' not in builtin:
            raise RunError(f'{directory} has no module {name}',
                           'name another kernel with --kernel and --modules')
    return list(dict.fromkeys(wanted))


def tool(*words):
    """Run a program; its output as bytes."""
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, check=True,
                              capture_output=True).stdout
    except FileNotFoundError:
        raise RunError(f'cannot run {words[0]}', 'install the package'
                       ' qemu-nitro, or put build/out/tools/eif in PATH'
                       if words[0] == 'qemu-eif' else
                       f'install {words[0]}') from None
    except subprocess.CalledProcessError as error:
        raise RunError(shlex.join(map(str, words)) + ': ' + error.stderr
                       .decode(errors='replace').strip()) from error


def existing(paths, what, remedy):
    """The first of these files that can be read."""
    for path in paths:
        if os.access(path, os.R_OK):
            return Path(path)
    raise RunError(f'cannot read {what}: ' + ', '.join(map(str, paths)),
                   remedy)


class Images:
    """Images of the demo enclave, of different command lines."""

    def __init__(self, place, args):
        """@place: directory for them; @args: eif, kernel, modules."""
        self.place, self.made = Path(place), {}
        if args.eif is not None:
            self._take_apart(args.eif)
        else:
            self._gather(args)

    def _take_apart(self, image):
        """The parts of an image that was given."""
        parts = self.place / 'parts'
        tool('qemu-eif', 'extract', '--output-dir', parts, image)
        self.kernel = parts / 'kernel'
        self.words = (parts / 'cmdline').read_text().rstrip('\0')
        self.disks = sorted(parts.glob('ramdisk-*'))
        self.made[''] = Path(image)
        self.origin = str(image)

    def _gather(self, args):
        """Kernel and ramdisk of this machine."""
        release = os.uname().release
        blob = BLOBS / BLOB_KERNELS.get(os.uname().machine, 'bzImage')
        self.kernel = existing(
            [args.kernel] if args.kernel is not None else
            [blob, f'/boot/vmlinuz-{release}'],
            'a kernel for enclaves', 'name one with --kernel, best that of'
            ' aws-nitro-enclaves-cli-devel')
        self.origin = str(self.kernel)
        files = [('init', existing(INITS, 'the demo enclave',
                                   'build it with make').read_bytes())]
        if self.kernel == blob:
            self.words, modules = AWS_WORDS, [BLOBS / 'nsm.ko']
        else:
            self.words = OUR_WORDS
            modules = module_files(Path(
                f'/lib/modules/{release}' if args.modules is None
                else args.modules))
        for path in modules:
            files.append((path.name.partition('.ko')[0] + '.ko',
                          unpacked(path)))
        files.append(('modules', ''.join(
            f'/{name}\n' for name, _ in files[1:]).encode()))
        self.disks = [self.place / 'demo.cpio']
        self.disks[0].write_bytes(cpio(files, [('dev/console', CONSOLE)]))

    def image(self, *words):
        """An image whose command line has more words."""
        more = ' '.join(words)
        if more not in self.made:
            path = self.place / f'image-{len(self.made)}.eif'
            disks = [word for disk in self.disks for word in ('-i', disk)]
            tool('qemu-eif', 'build', '-k', self.kernel, *disks, '-c',
                 f'{self.words} {more}'.strip(), '-n', 'selftest', '-o', path)
            self.made[more] = path
        return self.made[more]

    def registers(self):
        """PCR0 to PCR2 of the image without further words."""
        told = json.loads(tool('qemu-eif', 'describe', self.image()))
        return [told['Measurements'][f'PCR{n}'] for n in range(3)]

    def broken(self):
        """An image whose last byte differs, and a text file."""
        data = bytearray(self.image().read_bytes())
        data[-1] ^= 1
        damaged, text = self.place / 'damaged.eif', self.place / 'text.eif'
        damaged.write_bytes(data)
        text.write_text('#!/bin/sh\n' * 9)
        return damaged, text
