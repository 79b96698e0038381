# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A program whose enclave another launcher runs, as if in the foreground."""

import contextlib
import json
import shutil
import socket
import subprocess
import time

from . import relay
from .agent import Agent
from .common import RunError, stopping, tell
from .enclaves import Enclaves
from .foreground import SUDDEN, Foreground, remark, write

NITRO_CLI = 'nitro-cli'
# The init connects again each second; its end breaks the connection
LOST_SECONDS, PAUSE = 60, 1


class Attached(Foreground):
    """From an enclave's connection to the exit status of its program."""

    def __init__(self, cid, line, agent):
        """@line: a relay.Line that has claimed @cid."""
        super().__init__(None, line, agent)
        self.cid, self.left = cid, False
        self.since = None           # when there was reason to end

    def run(self):
        """Until the enclave has ended; returns the program's status."""
        nothing, other = socket.socketpair()
        with nothing, other, stopping(self._signalled):
            try:
                while not self._over():
                    self._step(nothing, self.since and PAUSE)
            finally:
                self._disconnect()
        return self._status()

    def _over(self):
        if self.left or self.agent.ended and not self.sock:
            return True
        return self.since is not None and \
            time.monotonic() > self.since + LOST_SECONDS

    def _feed(self, data):
        super()._feed(data)
        # The program has ended; what remains is the enclave's end
        if self.agent.ended and self.since is None:
            self.since = time.monotonic()

    def _connect(self):
        super()._connect()
        if self.sock:
            self.since = None

    def _disconnect(self):
        if self.sock:
            self.since = time.monotonic()
        super()._disconnect()

    def _interrupted(self, number):
        """The enclave is not ours to end."""
        if self.stopped or not self.sock:
            self.left = True
        else:
            self.agent.stop()
        self.stopped = self.stopped or number

    def _silence(self):
        lost = (f'the enclave with CID {self.cid} has ended, or is not'
                f' connected for {LOST_SECONDS} s, ')
        if self.agent.heard:
            return RunError(lost + SUDDEN, 'launch it in debug mode, and look'
                            ' at its console', status=self.agent.status)
        return RunError(lost + 'without reporting how its program ended',
                        "its init has to be nitro-init, with the configured"
                        " 'agent' port", status=self.agent.status)


def _ids(args):
    """Pairs of ID and CID: of nitro-run, then of nitro-cli."""
    for enclave in Enclaves(args.runtime_dir).known():
        if enclave.id and enclave.info:
            yield enclave.id, enclave.info['cid']
    if shutil.which(NITRO_CLI):
        listed = subprocess.run([NITRO_CLI, 'describe-enclaves'], check=False,
                                stdout=subprocess.PIPE)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            for info in json.loads(listed.stdout):
                yield info['EnclaveID'], int(info['EnclaveCID'])


def _cid(args):
    """Which enclave."""
    if args.enclave_id is None:
        return args.enclave_cid
    for name, cid in _ids(args):
        if name == args.enclave_id:
            return cid
    raise RunError(f'no enclave {args.enclave_id} runs here',
                   'name it by --enclave-cid')


def attach(args):
    """The command relay."""
    cid = _cid(args)
    enclaves = Enclaves(args.runtime_dir)
    with contextlib.closing(relay.Line(enclaves, args.agent_port)) as line:
        line.claim(cid)
        tell(f'nitro-run: serving the enclave with CID {cid} at vsock port'
             f' {args.agent_port}')
        return Attached(cid, line, Agent(write, remark)).run()
