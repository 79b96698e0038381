# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A parent of the lab in the background, for nitro-run and nitro-lab."""

import subprocess

READY = b'ready\n'      # of nitro-lab parent --keep


def start(command, environment, log):
    """Run a command that stays; returns whether it has said that it is ready.

    @log: file for its errors.  When it is not ready it has ended.
    """
    with open(log, 'wb') as errors:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
    try:
        with process.stdout:
            ready = process.stdout.readline() == READY
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if not ready:
        process.wait()
    return ready
