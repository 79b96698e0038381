# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""How requests arrive: HTTP as AWS has it, in TLS, on loopback and a unix
socket.

Requests are bounded, and so is the number of connections and how long one may
be silent.  What a client gets wrong costs its own connection.
"""

import contextlib
import http.server
import json
import logging
import re
import socketserver
import ssl
import threading
import time
import uuid

from ..patience import PATIENCE
from .errors import Refusal, internal
from .operations import printable
from .policy import Principal
from .request import Request
from .sockets import CONNECTIONS_MAX

LOG = logging.getLogger('nitro-lab-kms')
JSON_TYPE = 'application/x-amz-json-1.1'
TARGET = 'TrentService.'
BODY_MAX = 512 * 1024
HANDSHAKE_SECONDS = 60      # until TLS has begun
QUEUE_SECONDS = 0.5         # until the next look whether to go on
CREDENTIAL = re.compile(r'AWS4-HMAC-SHA256 .*?\bCredential=(\w{1,128})/')


class Sparing:
    """Lines that strangers cause: some in a minute, then their number."""

    MOST, SECONDS = 10, 60

    def __init__(self):
        self.lock = threading.Lock()
        self.begun, self.lines, self.left_out = time.monotonic(), 0, 0

    def say(self, text):
        """A line of the log, unless there were many."""
        with self.lock:
            if time.monotonic() - self.begun >= self.SECONDS:
                self._begin()
            self.lines += 1
            if self.lines > self.MOST:
                self.left_out += 1
                return
        LOG.info('%s', printable(text))

    def _begin(self):
        if self.left_out:
            LOG.info('%d more lines about connections', self.left_out)
        self.begun, self.lines, self.left_out = time.monotonic(), 0, 0


SPARING = Sparing()


def _why(error):
    """Why TLS did not begin."""
    if getattr(error, 'reason', None) == 'HTTP_REQUEST':
        return 'plain HTTP; give the client an endpoint with https://'
    return 'no TLS: %s' % error


class Callers:
    """Who a client is: what it calls itself, as nothing is verified."""

    def __init__(self, account, arns):
        """@arns: access key ID -> ARN; others are users of the account."""
        self.account = account
        self.known = {key: Principal(arn) for key, arn in arns.items()}

    def principal(self, authorization):
        """Of an Authorization header."""
        found = CREDENTIAL.match(authorization or '')
        if not found:
            raise Refusal('MissingAuthenticationTokenException',
                          'Missing Authentication Token', 'it is not signed'
                          ' as AWS4-HMAC-SHA256 Credential=...')
        key = found.group(1)
        return self.known.get(key) or Principal(
            'arn:aws:iam::%s:user/%s' % (self.account, key))


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = 'HTTP/1.1'
    timeout = PATIENCE

    def setup(self):
        """TLS first: here, so that a client that is slow holds up nobody."""
        self.request.settimeout(HANDSHAKE_SECONDS)
        self.request = self.server.context.wrap_socket(
            self.request, server_side=True, do_handshake_on_connect=False)
        try:
            self.request.do_handshake()
        except OSError as error:
            SPARING.say('a connection failed: ' + _why(error))
            self.request.close()
            raise
        super().setup()         # sets the timeout of requests

    def finish(self):
        """Say so in TLS: clients take a mere end for an attack."""
        try:
            super().finish()
            self.request.setblocking(False)
            with contextlib.suppress(OSError):
                self.request.unwrap()       # does not wait for their answer
        finally:
            self.request.close()

    def do_POST(self):      # pylint: disable=invalid-name
        """A request, its answer."""
        try:
            status, answer = 200, self._answer()
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body()
        except OSError:
            raise
        except Exception:       # pylint: disable=broad-except
            LOG.exception('internal error')
            status, answer = 500, internal('').body()
        self._send(status, answer)

    def _answer(self):
        target = self.headers.get('X-Amz-Target', '')
        try:
            request, principal = self._request(target)
        except Refusal as refusal:
            LOG.info('%s', printable("'%s' refused, %s: %s" % (
                target[:64], refusal.code, refusal.reason)))
            raise
        return self.server.service.call(target.removeprefix(TARGET), request,
                                        principal)

    def _request(self, target):
        """What is asked, and by whom."""
        body = self._body()
        if self.path != '/':
            raise Refusal('UnknownOperationException', None, "the path is '%s'"
                          ", not '/'" % self.path[:64])
        if not target.startswith(TARGET):
            raise Refusal('UnknownOperationException', None, 'X-Amz-Target'
                          ' does not begin with ' + TARGET)
        principal = self.server.callers.principal(
            self.headers.get('Authorization'))
        return Request.parse(body), principal

    def _body(self):
        length = self.headers.get('Content-Length', '')
        if not re.fullmatch(r'\d{1,9}', length):
            self.close_connection = True
            raise Refusal('SerializationException', 'Content-Length is needed',
                          status=411)
        if int(length) > BODY_MAX:
            self.close_connection = True
            raise Refusal('RequestEntityTooLargeException', 'a request has at'
                          ' most %d bytes' % BODY_MAX, status=413)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError('the request ended early')
        return body

    def _send(self, status, answer):
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header('x-amzn-RequestId', str(uuid.uuid4()))
        self.send_header('Content-Type', JSON_TYPE)
        self.send_header('Content-Length', str(len(data)))
        if self.close_connection:
            self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(data)

    def send_error(self, code, message=None, explain=None):
        """What is no call at all, such as a GET."""
        SPARING.say('not a POST as AWS has it: status %d: %s'
                    % (code, message or ''))
        super().send_error(code, message, explain)

    def version_string(self):
        """The Server header."""
        return 'nitro-lab-kms'

    def log_message(self, format, *args):   # pylint: disable=redefined-builtin
        """The operations log calls; this is about broken HTTP."""
        LOG.debug('%s', printable(format % args))


class _Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Serves a socket that listens; a thread for each connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener, service, callers, context):
        super().__init__(listener.getsockname(), Handler)
        self.socket, self.service = listener, service
        self.callers, self.context = callers, context
        self.most, self.full = CONNECTIONS_MAX, False
        self.free = threading.BoundedSemaphore(self.most)

    def fileno(self):
        """For serve_forever()."""
        return self.socket.fileno()

    def get_request(self):
        """The next connection; more than there may be wait in the queue."""
        if not self.free.acquire(timeout=QUEUE_SECONDS):
            if not self.full:
                SPARING.say('%d connections are open, the most that there may'
                            ' be here; others wait' % self.most)
            self.full = True
            raise BlockingIOError
        self.full = False
        try:
            return self.socket.accept()
        except BaseException:
            self.free.release()
            raise

    def process_request_thread(self, request, client_address):
        """In the thread of the connection, until its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def close_request(self, request):
        """After the last answer."""
        request.close()

    def handle_error(self, request, client_address):
        """A connection broke, or was not TLS: no affair of others."""
        LOG.debug('a connection ended early', exc_info=True)

    def server_close(self):
        """Listen no longer."""
        self.socket.close()


class Server:
    """All sockets of a service; use as a context manager."""

    def __init__(self, service, callers, context, listeners):
        self.servers = [_Server(listener, service, callers, context)
                        for listener in listeners]
        self.threads = [threading.Thread(target=server.serve_forever,
                                         daemon=True)
                        for server in self.servers]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()
