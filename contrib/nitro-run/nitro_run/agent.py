# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The parent's end of the connection of nitro-init.

contrib/nitro-init/README.md has the protocol.  The enclave may send anything:
a frame is refused unless it is well-formed, and what waits is bounded.
"""

import enum
import struct

from .common import RunError

HEAD = struct.Struct('>B3sI')
HELLO, STATE, OUTPUT = (struct.Struct(layout) for layout in
                        ('>HH', '>BI', '>QB'))
MAX_PAYLOAD = 64 * 1024
WAITS_FOR_GO = 1
POSITIONS = 1 << 64
# Status of docker and podman when the program could not be run
NOT_RUN = 125


class Kind(enum.IntEnum):
    """Types of frames."""

    HELLO, STATE, OUTPUT, REFUSED = 1, 2, 3, 4
    ENV, ARG, FILE, GO, STOP, SIGNAL, TAKEN, END = range(16, 24)


class Phase(enum.IntEnum):
    """What the init reports of the program."""

    BOOTING, RUNNING, EXITED, SIGNALLED, FATAL = range(5)


def printable(payload):
    """A text of the enclave, without what could control a terminal."""
    text = payload.decode(errors='replace')
    return ''.join(c if c.isprintable() else '?' for c in text)


def frame(kind, payload=b''):
    """A frame to the init."""
    if len(payload) > MAX_PAYLOAD:
        raise RunError(f'an addition has {len(payload)} bytes, at most '
                       f'{MAX_PAYLOAD} fit in a frame')
    return HEAD.pack(kind, b'\0\0\0', len(payload)) + payload


def additions(variables, arguments):
    """Frames with environment variables and arguments."""
    return [frame(kind, text.encode(errors='surrogateescape'))
            for kind, texts in ((Kind.ENV, variables), (Kind.ARG, arguments))
            for text in texts]


class Agent:
    """One enclave's program: what has come of it, what it is to do.

    Bytes go in and out; the caller has the connection.
    """

    def __init__(self, write, remark, added=()):
        """@write: called with a stream (1, 2) and bytes; @added: frames."""
        self.write, self.remark, self.added = write, remark, list(added)
        self.phase, self.value, self.text = Phase.BOOTING, 0, ''
        self.heard = False          # has an init said anything?
        self.position = 0           # output before it was written
        self.partial = bytearray()  # of a frame
        self.out = bytearray()      # to be sent

    @property
    def ended(self):
        """Whether the program has ended."""
        return self.phase >= Phase.EXITED

    @property
    def status(self):
        """Exit status of the program, as a shell has it."""
        return {Phase.EXITED: self.value & 255,
                Phase.SIGNALLED: 128 + (self.value & 127)}.get(
                    self.phase, NOT_RUN)

    def connected(self):
        """A connection begins; what the one before has left is void."""
        self.partial.clear()
        self.out.clear()

    def stop(self):
        """End the program, by its stop signal first."""
        self.out += frame(Kind.STOP)

    def feed(self, data):
        """Take bytes of the init."""
        self.partial += data
        while len(self.partial) >= HEAD.size:
            kind, zeros, length = HEAD.unpack_from(self.partial)
            if any(zeros) or length > MAX_PAYLOAD:
                raise RunError(f'the enclave sent a frame of type {kind} with'
                               f' {length} bytes, which is not of the'
                               ' protocol of nitro-init')
            end = HEAD.size + length
            if len(self.partial) < end:
                return
            payload = bytes(self.partial[HEAD.size:end])
            del self.partial[:end]
            self._take(kind, payload)

    def _take(self, kind, payload):
        take = {Kind.HELLO: self._hello, Kind.STATE: self._state,
                Kind.OUTPUT: self._output, Kind.REFUSED: self._refused}
        try:
            take[kind](payload)
        except (KeyError, ValueError, struct.error) as error:
            raise RunError(f'the enclave sent a frame of type {kind} that is'
                           ' not of the protocol of nitro-init') from error
        self.heard = True

    def _hello(self, payload):
        _version, flags = HELLO.unpack_from(payload)
        if flags & WAITS_FOR_GO:
            for part in self.added:
                self.out += part
            self.out += frame(Kind.GO)
        elif self.added and self.phase == Phase.BOOTING:
            raise RunError(
                'the image allows neither variables nor arguments',
                "build it with lines such as 'allow-env NAME' or 'allow-args"
                " yes' in the configuration of nitro-init")

    def _state(self, payload):
        phase, value = STATE.unpack_from(payload)
        self.phase, self.value = Phase(phase), value
        self.text = printable(payload[STATE.size:])
        if self.ended:
            self.out += frame(Kind.END)

    def _output(self, payload):
        begin, stream = OUTPUT.unpack_from(payload)
        data = payload[OUTPUT.size:]
        end = begin + len(data)
        if stream not in (1, 2) or end >= POSITIONS:
            raise ValueError
        if begin > self.position:
            self.remark(f'{begin - self.position} bytes of output were'
                        ' dropped in the enclave')
        # What was not confirmed comes again on the next connection
        fresh = data[max(0, self.position - begin):]
        if fresh:
            self.write(stream, fresh)
        self.position = max(self.position, end)
        self.out += frame(Kind.TAKEN, struct.pack('>Q', self.position))

    def _refused(self, payload):
        raise RunError('the enclave refused an addition: '
                       + printable(payload))
