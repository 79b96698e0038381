# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""What stays in the background, for nitro-run and nitro-lab: a parent of the
lab, and what forwards ports to it."""

import subprocess

READY = b'ready\n'      # of nitro-lab parent --keep


def start(command, environment, log, stdin=subprocess.DEVNULL):
    """Run a command that stays; returns the process, a Popen, once it has said
    that it is ready, else None.

    @log: file for its errors.  Without a process it has ended.
    """
    with open(log, 'wb') as errors:
        process = subprocess.Popen(
            command, env=environment, stdin=stdin,
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
        return None
    return process
