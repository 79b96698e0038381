# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The security module of a demo enclave, asked from its parent.

The enclave passes requests on (see ../enclave/nsm.h).  Requests and replies
are CBOR; the few kinds of items in them are read and written here.
"""

import signal
import struct

PORT = 5008


def _head(major, number):
    """Head of an item, in its shortest form."""
    if number < 24:
        return bytes([major << 5 | number])
    for info, form in ((24, '>B'), (25, '>H'), (26, '>I'), (27, '>Q')):
        if number < 1 << 8 * struct.calcsize(form):
            return bytes([major << 5 | info]) + struct.pack(form, number)
    raise ValueError(number)


def encode(value):
    """CBOR of None, an integer, bytes, a text, or a list or map of these."""
    if value is None:
        return b'\xf6'
    if isinstance(value, int):
        return _head(0, value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b''.join(map(encode, value))
    return _head(5, len(value)) + b''.join(
        encode(key) + encode(item) for key, item in value.items())


class _Reader:
    """Takes CBOR apart."""

    SIMPLE = {20: False, 21: True, 22: None}

    def __init__(self, data):
        self.data, self.at = data, 0

    def _take(self, size):
        part = self.data[self.at:self.at + size]
        if len(part) < size:
            raise ValueError('CBOR ends too early')
        self.at += size
        return part

    def _items(self, count):
        """The items of a container; of one without a length until its end."""
        while count is None or count > 0:
            if count is None and self.data[self.at:self.at + 1] == b'\xff':
                self.at += 1
                return
            yield self.item()
            count = None if count is None else count - 1

    def item(self):
        """The next item."""
        major, info = divmod(self._take(1)[0], 32)
        if info == 31:
            number = None
        elif info < 24:
            number = info
        else:
            number = int.from_bytes(self._take(1 << info - 24), 'big')
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major in (2, 3):
            text = self._take(number)
            return text.decode() if major == 3 else text
        if major == 4:
            return list(self._items(number))
        if major == 5:
            flat = list(self._items(None if number is None else 2 * number))
            return dict(zip(flat[::2], flat[1::2]))
        if major == 7 and number in self.SIMPLE:
            return self.SIMPLE[number]
        raise ValueError('unexpected item of kind %d' % major)


def decode(data):
    """The one item some bytes are."""
    reader = _Reader(data)
    item = reader.item()
    if reader.at != len(data):
        raise ValueError('%d bytes after the item' % (len(data) - reader.at))
    return item


class Module:
    """The security module of an enclave that serves port 5008."""

    def __init__(self, parent, cid):
        self.job = parent.spawn(['lab', 'vsock', 'connect', cid, PORT])
        self.taken = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.job.signal(signal.SIGKILL)
        self.job.wait()

    def _take(self, size, timeout=60):
        self.job.wait_until(
            lambda: len(self.job.output) >= self.taken + size, timeout,
            'reply')
        self.taken += size
        return bytes(self.job.output[self.taken - size:self.taken])

    def raw(self, request):
        """Error number and reply of the driver, as bytes."""
        self.job.send(struct.pack('>H', len(request)) + request)
        number, size = struct.unpack('>HH', self._take(4))
        return number, self._take(size)

    def ask(self, request):
        """Reply to a request, which is bytes or a value to be encoded."""
        number, reply = self.raw(request if isinstance(request, bytes)
                                 else encode(request))
        if number:
            raise OSError(number, 'the driver of the module refused')
        return decode(reply)

    def random(self):
        """Random bytes as the kernel gets them from the module."""
        return self.raw(b'')[1]

    def document(self, user_data=None, nonce=None, public_key=None):
        """An attestation document."""
        return self.ask({'Attestation': {
            'user_data': user_data, 'nonce': nonce,
            'public_key': public_key}})['Attestation']['document']
