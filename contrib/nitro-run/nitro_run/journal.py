# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Output of a program that nobody watches: two files of bounded size.

A file is a sequence of records: the position of the data in the whole output,
the stream, the length, the data.  When a file is full it replaces the older
one.
"""

import contextlib
import os
import struct
import time

LIMIT = 8 << 20
NEW, OLD = 'output', 'output.old'
RECORD = struct.Struct('>QBI')
PAUSE = 0.1


class Journal:
    """Takes the output; there is one writer."""

    def __init__(self, place, limit=LIMIT):
        """@place: directory; @limit: bytes that both files take."""
        self.place, self.half = place, limit // 2
        self.position = self.size = 0
        self.file = self._new()

    def _new(self):
        return open(self.place / NEW, 'xb', buffering=0)

    def _turn(self):
        """Begin another file."""
        (self.place / NEW).rename(self.place / OLD)
        self.file.close()
        self.file, self.size = self._new(), 0

    def write(self, stream, data):
        """Keep it; without room on the disk it is lost, as its positions
        show."""
        record = RECORD.pack(self.position, stream, len(data)) + data
        self.position += len(data)
        with contextlib.suppress(OSError):
            if self.size and self.size + len(record) > self.half:
                self._turn()
            if self.file.write(record) == len(record):
                self.size += len(record)
            else:
                os.ftruncate(self.file.fileno(), self.size)
                self.file.seek(self.size)

    def remark(self, text):
        """Something that the program did not say itself."""
        self.write(2, f'nitro-run: {text}\n'.encode())


class Reader:
    """Reads what is kept, also while more comes."""

    def __init__(self, place, write, remark):
        """@write: called with a stream and bytes; @remark: with a text."""
        self.place, self.write, self.remark = place, write, remark
        self.position, self.file = 0, None

    def read(self, goes_on):
        """Until @goes_on() is false and all has been read."""
        more = True
        while more:
            more = goes_on()
            self._read_files()
            if more:
                time.sleep(PAUSE)
        if self.file:
            self.file.close()

    def _read_files(self):
        self.file = self.file or self._open(OLD) or self._open(NEW)
        while self.file:
            self._drain()
            later = self._later()
            if later is None:
                break
            self._drain()               # it was full by then
            self.file.close()
            self.file = later

    def _open(self, name):
        with contextlib.suppress(FileNotFoundError):
            return open(self.place / name, 'rb')
        return None

    def _is(self, name):
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self.file.fileno()),
                                    (self.place / name).stat())
        return False

    def _later(self):
        """The file after this one, or None."""
        if self._is(NEW):
            return None
        return self._open(NEW) if self._is(OLD) else self._open(OLD)

    def _drain(self):
        while True:
            begin = self.file.tell()
            head = self.file.read(RECORD.size)
            if len(head) == RECORD.size:
                position, stream, length = RECORD.unpack(head)
                data = self.file.read(length)
            if len(head) < RECORD.size or len(data) < length:
                self.file.seek(begin)
                return
            self._take(position, stream, data)

    def _take(self, position, stream, data):
        if position > self.position:
            self.remark(f'{position - self.position} bytes of output are not'
                        ' kept any more')
        self.write(stream, data)
        self.position = position + len(data)
