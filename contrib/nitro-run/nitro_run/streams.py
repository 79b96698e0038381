# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Standard input and outputs that are closed, full, or not read any more.

All programs of the project run their main function by this, also those beside
nitro-run.
"""

import errno
import io
import os
import signal
import sys
import threading

# Status of a program that SIGPIPE ended, which is what a shell expects
READER_GONE = 128 + signal.SIGPIPE


class OutputLost(Exception):
    """An output cannot be written; run() ends the program."""


class _Output(io.FileIO):
    """A standard output.

    The first write that fails raises OutputLost, which no handler of OSError
    takes for something else.  Later ones do nothing: the program is ending.
    """

    error = None

    def write(self, data):
        """Write some of @data; returns how much."""
        if self.error:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise OutputLost(error.strerror) from error


def _occupy_closed():
    """Give the numbers of closed ones away, so that no file gets them."""
    for fd, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            # Nothing to read; stdout refuses, stderr swallows what comes
            new = os.open(os.devnull, os.O_WRONLY if fd == 2 else os.O_RDONLY)
            if new != fd:
                os.dup2(new, fd)
                os.close(new)
            os.set_inheritable(fd, True)


def _replace(stream, fd):
    """(file, text) in place of what Python has opened, if it has."""
    raw = _Output(fd, 'w', closefd=False)
    options = {'line_buffering': True}
    if stream:
        options = {'encoding': stream.encoding, 'errors': stream.errors,
                   'line_buffering': stream.line_buffering
                   or stream.write_through}
    return raw, io.TextIOWrapper(io.BufferedWriter(raw), **options)


def _take_standard_files():
    """Returns the two outputs."""
    _occupy_closed()
    if sys.stdin is None:
        sys.stdin = open(0, encoding='utf-8', closefd=False)
    out, sys.stdout = _replace(sys.stdout, 1)
    err, sys.stderr = _replace(sys.stderr, 2)
    return out, err


def _thread_failed(failure):
    """A thread that cannot write ends the program, as SIGTERM does."""
    if failure.exc_type is OutputLost:
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        threading.__excepthook__(failure)


def _status(name, main):
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except OutputLost:
        return 1
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code


def run(name, main):
    """End the process with the status that main() returns or exits with.

    @name: of the program, for a message.  When an output cannot be written,
    main() sees OutputLost once, or SIGTERM if that happens in a thread, and
    the status is 1; it is READER_GONE, without a message, when nobody reads.
    """
    outputs = _take_standard_files()
    threading.excepthook = _thread_failed
    try:
        status = _status(name, main)
    except OutputLost:          # while another failure was reported
        status = 1
    errors = [output.error for output in outputs if output.error]
    if errors:
        status = 1
        if errors[0].errno == errno.EPIPE:
            status = READER_GONE
        elif not outputs[1].error:
            print(f'{name}: cannot write the output: {errors[0].strerror}',
                  file=sys.stderr)
    sys.exit(status)
