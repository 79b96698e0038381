# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Writer of newc cpio archives: the same input gives the same bytes."""

import io
import stat
from pathlib import Path

BLOCK = 512


class Link(str):
    """Target of a symbolic link, where a file's content may be given."""


class Cpio:
    """Collects entries, parents made on demand; owner is always root."""

    def __init__(self):
        self.entries = {}

    def directory(self, path, mode=None):
        """A directory, and those above it; @mode: 0755 unless it is there."""
        for part in [*reversed(Path(path.strip('/')).parents),
                     Path(path.strip('/'))]:
            if str(part) != '.':
                self.entries.setdefault(str(part), (stat.S_IFDIR | 0o755,
                                                    b'', 0))
        if mode is not None:
            self.entries[path.strip('/')] = (stat.S_IFDIR | mode, b'', 0)

    def _add(self, path, mode, data, device=0):
        self.directory(str(Path(path).parent))
        self.entries[path.strip('/')] = (mode, data, device)

    def file(self, path, data, mode=0o644):
        """A file with the bytes @data (or the content of a Path), or a Link."""
        if isinstance(data, Link):
            self.link(path, data)
            return
        if isinstance(data, Path):
            data = data.read_bytes()
        self._add(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        """A symbolic link."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor, mode=0o600):
        """A character device."""
        self._add(path, stat.S_IFCHR | mode, b'', (major, minor))

    def write(self, path):
        """Write the archive; entries in the order they were added."""
        with open(path, 'wb') as out:
            self._write(out)

    def bytes(self):
        """The archive."""
        out = io.BytesIO()
        self._write(out)
        return out.getvalue()

    def _write(self, out):
        for number, (name, entry) in enumerate(self.entries.items(), 1):
            _write_entry(out, number, name, *entry)
        _write_entry(out, 0, 'TRAILER!!!', 0, b'', 0)
        out.write(b'\0' * (-out.tell() % BLOCK))


def _write_entry(out, inode, name, mode, data, device):
    major, minor = device or (0, 0)
    links = 2 if stat.S_ISDIR(mode) else 1
    raw = name.encode() + b'\0'
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, major, minor,
              len(raw), 0)
    head = b'070701' + b''.join(b'%08X' % field for field in fields) + raw
    out.write(head + b'\0' * (-len(head) % 4))
    out.write(data)
    out.write(b'\0' * (-len(data) % 4))
