# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""An enclave's program, as if it ran in the foreground."""

import os
import select
import socket
import sys

from .agent import additions
from .common import RunError, complain, stopping, tell

PIECE = 64 * 1024
# Of an enclave whose init was heard, so that it has the right init and port
SUDDEN = ('before its init reported how the program ended: perhaps the program'
          ' rebooted or powered off the enclave, its kernel panicked, or'
          ' somebody ended it')


def write(stream, data):
    """Output of the program; both streams stay apart."""
    out = sys.stdout.buffer if stream == 1 else sys.stderr.buffer
    out.write(data)
    out.flush()


def remark(text):
    """Something about the program that it did not say itself."""
    tell('nitro-run: ' + text)


class Foreground:
    """From the start of a program to its exit status."""

    def __init__(self, process, line, agent):
        """@process: of QEMU, a Popen; @line: a relay.Line."""
        self.process, self.line, self.agent = process, line, agent
        self.sock = None
        self.stopped = 0            # number of the first signal
        self.wake, self._woken = socket.socketpair()

    def _signalled(self, number, _frame):
        """Signals are for the program, and may come at any time."""
        self._woken.send(bytes([number]))

    def run(self):
        """Until QEMU has ended; returns the program's status."""
        ended = os.pidfd_open(self.process.pid)
        try:
            with stopping(self._signalled):
                while not self._step(ended):
                    pass
        finally:
            os.close(ended)
            self._disconnect()
        self.process.wait()
        return self._status()

    def _step(self, ended, seconds=None):
        """Serve what there is; returns whether QEMU has ended.

        @seconds: longest wait.
        """
        # An init that does not read its answers gets no more of them
        heard = self.sock and len(self.agent.out) < PIECE
        reading = [ended, self.wake, self.line] + (
            [self.sock] if heard else [])
        writing = [self.sock] if self.sock and self.agent.out else []
        readable, writable, _ = select.select(reading, writing, [],
                                              seconds)
        if self.wake in readable:
            self._interrupted(self.wake.recv(1)[0])
        if self.line in readable:
            self._connect()
            return False
        if self.sock in writable:
            self._send()
        if self.sock and self.sock in readable:
            self._receive()
            return False        # its last words come before its end
        return ended in readable

    def _connect(self):
        """The init connects again when a connection was lost."""
        sock = self.line.take()
        if sock:
            self._disconnect()
            sock.setblocking(False)
            self.sock = sock
            self.agent.connected()

    def _send(self):
        try:
            del self.agent.out[:self.sock.send(self.agent.out)]
        except BlockingIOError:
            pass
        except OSError:
            self.agent.out.clear()      # there may still be output to read

    def _receive(self):
        try:
            data = self.sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if data:
            self._feed(data)
        else:
            self._disconnect()

    def _feed(self, data):
        self.agent.feed(data)

    def _disconnect(self):
        if self.sock:
            self.sock.close()
            self.sock = None

    def _interrupted(self, number):
        """The first time the program may end by itself."""
        if self.stopped or not self.sock:
            self.process.terminate()
        else:
            self.agent.stop()
        self.stopped = self.stopped or number

    def _status(self):
        agent = self.agent
        if agent.ended:
            if agent.text:
                complain(RunError(agent.text))
            return agent.status
        if self.stopped:
            return 128 + self.stopped
        raise self._silence()

    def _silence(self):
        if self.agent.heard:
            return RunError('the enclave ended ' + SUDDEN, 'to see its'
                            ' console, use nitro-run run --debug --name NAME,'
                            ' and meanwhile nitro-run console --enclave-name'
                            ' NAME', status=self.agent.status)
        return RunError('the enclave ended without reporting how its program'
                        ' ended', 'its init has to be nitro-init, with the'
                        " configured 'agent' port; look at the console with:"
                        ' nitro-run run-enclave --attach-console',
                        status=self.agent.status)


def env_file(path):
    """Variables in a file: NAME=VALUE lines, and comments."""
    if path is None:
        return []
    try:
        with open(path, encoding='utf-8', errors='surrogateescape') as file:
            lines = [line.rstrip('\r\n') for line in file]
    except OSError as error:
        raise RunError(f'cannot read {path}: {error.strerror}') from error
    found = [line for line in lines if line.strip()
             and not line.startswith('#')]
    for line in found:
        if not line.partition('=')[1] or line.startswith('='):
            raise RunError(f"{path}: '{line}' is not a variable",
                           'write NAME=VALUE on each line')
    return found


def added(args):
    """What the command line adds to the image."""
    for variable in args.env:
        if '=' not in variable:
            raise RunError(f"--env '{variable}' has no value",
                           'use --env NAME=VALUE')
    return additions(args.env, args.more)
