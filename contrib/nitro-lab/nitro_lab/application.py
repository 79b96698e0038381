# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Images in which nitro-init starts an application, and its agent's peer."""

import re
import struct

from . import eif, images, packages
from .arch import GUEST
from .cpio import Cpio

AGENT_PORT = 9001
ROOT = 'rootfs'

# contrib/nitro-init/agent.h
HEAD = struct.Struct('>B3xI')
HELLO, STATE, OUTPUT, REFUSED = range(1, 5)
ENV, ARG, FILE, GO, STOP, SIGNAL, TAKEN, END = range(16, 24)
BOOTING, RUNNING, EXITED, SIGNALLED, FATAL = range(5)
STDOUT, STDERR = 1, 2


def escape(text):
    """A value as the configuration file has it."""
    return text.replace('\\', '\\\\').replace('\n', '\\n')


def configuration(command, modules=(), **settings):
    """Text of /nitro/config; lists and None are allowed as values.

    Underscores in names stand for dashes, "exec" and "arg" come from
    @command.
    """
    lines = ['root /' + ROOT] + ['module /' + name for name in modules]
    lines += [('arg ' if number else 'exec ') + escape(word)
              for number, word in enumerate(command)]
    for key, values in settings.items():
        for value in values if isinstance(values, list) else [values]:
            lines.append('%s %s' % (key.replace('_', '-'),
                                    escape(str(value))))
    return '\n'.join(lines) + '\n'


def busybox_tree():
    """A root file system: busybox and its names, two users."""
    tree = Cpio()
    tree.file(ROOT + '/bin/busybox', packages.busybox(), 0o755)
    for applet in images.applets():
        tree.link('%s/bin/%s' % (ROOT, applet), 'busybox')
    tree.file(ROOT + '/etc/passwd', b'root:x:0:0::/root:/bin/sh\n'
              b'web:x:1000:1001::/srv:/bin/sh\n')
    tree.file(ROOT + '/etc/group', b'root:x:0:\nweb:x:1001:\n'
              b'data:x:1005:web\n')
    return tree


def image(name, command, tree=None, text=None, **settings):
    """An EIF file with nitro-init, its configuration, and @tree.

    @text replaces the configuration that the other arguments describe.
    """
    images.LAB.mkdir(parents=True, exist_ok=True)
    packages.fetch()
    boot = Cpio()
    boot.directory('dev')
    boot.device('dev/console', 5, 1)
    boot.file('init', images.enclave_init(), 0o755)
    modules = images.add_modules(boot, 'nitro/modules',
                                 images.ENCLAVE_MODULES)
    boot.file('nitro/config', (
        text or configuration(command, modules, **settings)).encode())
    target = images.LAB / (name + '.eif')
    target.write_bytes(eif.build(
        images.demo_kernel().read_bytes(), images.demo_cmdline(),
        [boot.bytes(), (tree or busybox_tree()).bytes()],
        arch=GUEST.image_flag, name=name))
    return target


class AgentPeer:
    """The parent's end of an agent's connection.

    @job is a process of the parent that carries the bytes: its output is
    what the init sends, its input goes to the init.
    """

    def __init__(self, job):
        self.job, self.used = job, 0
        self.state, self.value, self.text = None, None, ''
        self.output = []                # (position, stream, bytes)
        self.refused, self.hello = [], None

    def send(self, kind, payload=b''):
        """One frame to the init."""
        self.job.send(HEAD.pack(kind, len(payload)) + payload)

    def addition(self, kind, text):
        """A variable or an argument."""
        self.send(kind, text.encode())

    def file(self, name, content):
        """A file's content."""
        name = name.encode()
        self.send(FILE, struct.pack('>H', len(name)) + name + content)

    def work(self):
        """Read what has come."""
        data = bytes(self.job.output)
        while len(data) - self.used >= HEAD.size:
            kind, size = HEAD.unpack_from(data, self.used)
            end = self.used + HEAD.size + size
            if len(data) < end:
                return
            self._frame(kind, data[self.used + HEAD.size:end])
            self.used = end

    def _frame(self, kind, payload):
        if kind == HELLO:
            self.hello = struct.unpack('>HH', payload)
        elif kind == STATE:
            self.state, self.value = struct.unpack_from('>BI', payload)
            self.text = payload[5:].decode()
        elif kind == OUTPUT:
            position, stream = struct.unpack_from('>QB', payload)
            self.output.append((position, stream, payload[9:]))
            self.send(TAKEN, struct.pack('>Q', position + len(payload) - 9))
        elif kind == REFUSED:
            self.refused.append(payload.decode())
        else:
            raise ValueError('frame of type %d' % kind)
        if self.state is not None and self.state >= EXITED:
            self.send(END)

    def stream(self, number):
        """All bytes of one of the application's streams, as text."""
        return b''.join(data for _, stream, data in self.output
                        if stream == number).decode()

    def lines(self):
        """NAME=VALUE lines of the standard output."""
        return dict(re.findall(r'^(\w+)=(.*)$', self.stream(STDOUT), re.M))
