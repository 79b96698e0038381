# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A program of the distribution's python3: HTTP that is served in an enclave.

It runs as a container's program, and knows nothing of vsock.  Each answer is an
attestation document that has the request's path as its nonce.  A UDP port sends
back what it gets.
"""

import ctypes
import fcntl
import http.server
import socketserver
import struct
import threading

NSM_REQUEST = 0xc0200a00
ANSWER_BYTES = 16384
MESSAGE = struct.Struct('QQQQ')
PORT, ECHO_PORT = 80, 7
# How a document begins: four parts, the first of which says ES384
BEGIN = b'\x84\x44\xa1\x01\x38\x22'


def text(word):
    """A short text as CBOR."""
    return bytes([0x60 + len(word)]) + word


def attest(nonce):
    """A document of the security module; the last part of its answer."""
    request = (b'\xa1' + text(b'Attestation') + b'\xa3' + text(b'user_data')
               + b'\xf6' + text(b'nonce') + bytes([0x40 + len(nonce)]) + nonce
               + text(b'public_key') + b'\xf6')
    question = ctypes.create_string_buffer(request, len(request))
    answer = ctypes.create_string_buffer(ANSWER_BYTES)
    message = bytearray(MESSAGE.pack(
        ctypes.addressof(question), len(request), ctypes.addressof(answer),
        ANSWER_BYTES))
    with open('/dev/nsm', 'r+b', buffering=0) as module:
        fcntl.ioctl(module, NSM_REQUEST, message)
    data = answer.raw[:MESSAGE.unpack(message)[3]]
    return data[data.index(BEGIN):]


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self):       # pylint: disable=invalid-name; that of the class
        """The document."""
        data = attest(self.path.encode()[:23])
        self.send_response(200)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Echo(socketserver.BaseRequestHandler):
    """Answers one packet."""

    def handle(self):
        """The same."""
        data, sock = self.request
        sock.sendto(data, self.client_address)


if __name__ == '__main__':
    echo = socketserver.UDPServer(('', ECHO_PORT), Echo)
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    with socketserver.TCPServer(('', PORT), Answer) as server:
        print('serving', flush=True)
        server.serve_forever()
