# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A small blocking QMP client over a socket, or over a job in the guest."""

import json
import socket
import time

from .config import LabError
from .patience import PATIENCE


class SocketStream:
    """Lines of a unix socket."""

    def __init__(self, path, alive=lambda: True, timeout=PATIENCE):
        """@alive: whether it is worth waiting for the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + timeout
        while True:
            try:
                self.sock.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end or not alive():
                    raise
                time.sleep(0.02)
        self.data = b''

    def write(self, data):
        """Send bytes."""
        self.sock.sendall(data)

    def line(self, timeout):
        """One line; None when the peer is gone."""
        self.sock.settimeout(timeout)
        while b'\n' not in self.data:
            block = self.sock.recv(65536)
            if not block:
                return None
            self.data += block
        line, self.data = self.data.split(b'\n', 1)
        return line


class JobStream:
    """Lines of a program in the guest."""

    def __init__(self, job):
        self.job, self.at = job, 0

    def write(self, data):
        """Send bytes."""
        self.job.send(data)

    def line(self, timeout):
        """One line; None when the program has ended."""
        job = self.job
        with job.changed:
            if not job.changed.wait_for(
                    lambda: job.output.find(b'\n', self.at) >= 0
                    or job.status is not None, timeout):
                raise TimeoutError
            end = job.output.find(b'\n', self.at)
            if end < 0:
                return None
            line, self.at = bytes(job.output[self.at:end]), end + 1
            return line


class QmpError(LabError):
    """QEMU refused a command; the text is QEMU's."""


class Qmp:
    """Negotiated QMP session."""

    def __init__(self, stream, timeout=PATIENCE):
        self.stream, self.timeout, self.events = stream, timeout, []
        self._message()
        self.command('qmp_capabilities')

    def _message(self, timeout=None):
        line = self.stream.line(timeout or self.timeout)
        if line is None:
            raise EOFError('QEMU has gone')
        return json.loads(line)

    def command(self, name, **arguments):
        """Run a command; underscores in argument names become dashes."""
        arguments = {k.replace('_', '-'): v for k, v in arguments.items()}
        self.stream.write(json.dumps({'execute': name,
                                      'arguments': arguments}).encode()
                          + b'\n')
        while True:
            message = self._message()
            if 'event' in message:
                self.events.append(message)
            elif 'error' in message:
                raise QmpError(message['error']['desc'])
            else:
                return message.get('return')

    def human(self, line):
        """Run a line of the human monitor; returns what it prints."""
        return self.command('human-monitor-command', command_line=line)

    def get(self, path, name):
        """A QOM property."""
        return self.command('qom-get', path=path, property=name)

    def set(self, path, name, value):
        """Set a QOM property."""
        self.command('qom-set', path=path, property=name, value=value)

    def wait_event(self, name, timeout=PATIENCE):
        """Wait for an event, also one that has come already."""
        end = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event['event'] == name:
                    self.events.remove(event)
                    return event
            left = end - time.monotonic()
            if left <= 0:
                raise LabError('no event %s within %g s' % (name, timeout))
            message = self._message(left)
            if 'event' in message:
                self.events.append(message)
