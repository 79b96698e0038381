# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A security module without a guest: the bench is its driver, by -qtest.

QEMU does nothing but what is asked here, so the time between a notification
and its acknowledgement is the time for which a request holds the main loop.
"""

import contextlib
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from . import images
from .arch import GUEST
from .config import LabError
from .patience import PATIENCE

# Machine with virtio-mmio: options, first transport, start of RAM
MACHINES = {'x86_64': ('microvm', 0xfeb00000, 0),
            'aarch64': ('virt', 0x0a000000, 1 << 30)}
MIB = 1 << 20

# Registers of virtio-mmio, version 2
FEATURES, FEATURES_SEL, QUEUE_NUM, QUEUE_READY = 0x20, 0x24, 0x38, 0x44
NOTIFY, STATUS, DESC, AVAIL, USED = 0x50, 0x70, 0x80, 0x90, 0xa0
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8
VERSION_1 = 1 << 32 - 32        # in the second word of features
WRITE = 2                       # flag of a descriptor: the device writes

RESPONSE_SIZE = 0x3000


class Device:
    """QEMU with a module whose queue has two buffers, reused for ever."""

    def __init__(self, arguments):
        self.top = tempfile.TemporaryDirectory(prefix='nitro-nsm-')
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(self.top)
        machine, self.transport, ram = MACHINES[GUEST.name]
        self.base, self.count = ram + MIB, 0
        try:
            self._start(machine, [str(word) for word in arguments])
            self._start_queue()
        except BaseException:
            self.stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _start(self, machine, arguments):
        top = Path(self.top.name)
        (top / 'firmware').write_bytes(bytes(64 * 1024))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(top / 'qtest'))
            listener.listen(1)
            listener.settimeout(PATIENCE)
            self.qemu = subprocess.Popen([
                str(images.emulator()), '-M', machine, '-accel', 'qtest',
                '-display', 'none', '-nodefaults', '-m', '64M',
                '-bios', str(top / 'firmware'),
                '-qtest', 'unix:%s' % (top / 'qtest'),
                '-qtest-log', '/dev/null',
                '-global', 'virtio-mmio.force-legacy=off',
                # The write to the register is answered after the request
                '-global', 'virtio-mmio.ioeventfd=off', *arguments,
                '-device', 'virtio-nsm-device,bus=virtio-mmio-bus.0,'
                'module-id=i-0123456789abcdef0-enc0123456789abcdef,'
                'pcr0=' + 96 * '1'], stderr=subprocess.DEVNULL)
            self.stack.callback(self.qemu.wait)
            self.stack.callback(self.qemu.kill)
            self.socket = self.stack.enter_context(listener.accept()[0])
        self.replies = self.stack.enter_context(self.socket.makefile('rb'))

    def _ask(self, command):
        self.socket.sendall(command.encode() + b'\n')
        reply = self.replies.readline()
        if not reply.startswith(b'OK'):
            raise LabError('%s: %r' % (command, reply))
        return reply[3:].strip().decode()

    def _register(self, offset, value):
        self._ask('writel %#x %#x' % (self.transport + offset, value))

    def _write(self, offset, data):
        self._ask('write %#x %#x 0x%s' % (self.base + offset, len(data),
                                          data.hex()))

    def read(self, size):
        """The first bytes of the response."""
        return bytes.fromhex(self._ask('read %#x %#x' % (
            self.base + 0x4000, size))[2:])

    def _start_queue(self):
        for status in ACKNOWLEDGE, ACKNOWLEDGE | DRIVER:
            self._register(STATUS, status)
        self._register(FEATURES_SEL, 1)
        self._register(FEATURES, VERSION_1)
        self._register(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        self._register(QUEUE_NUM, 2)
        for register, offset in (DESC, 0), (AVAIL, 0x100), (USED, 0x200):
            self._register(register, (self.base + offset) & 0xffffffff)
        self._register(QUEUE_READY, 1)
        self._register(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        # Descriptor 0, then descriptor 1, of every pair
        self._write(0x100, struct.pack('<HHHH', 0, 0, 0, 1))

    def prepare(self, request):
        """Choose what ask() asks."""
        self._write(0x2000, request)
        self._write(0, struct.pack(
            '<QIHHQIHH', self.base + 0x2000, len(request), 0, 0,
            self.base + 0x4000, RESPONSE_SIZE, WRITE, 0))

    def ask(self):
        """Have one request answered; seconds it took, and those of a CPU."""
        self.count = (self.count + 2) & 0xffff
        self._write(0x102, struct.pack('<H', self.count))
        begun, cpu = time.monotonic(), self._cpu()
        self._register(NOTIFY, 0)
        took = time.monotonic() - begun, self._cpu() - cpu
        used = self._ask('readw %#x' % (self.base + 0x202))
        if int(used, 16) != self.count:
            raise LabError('the module did not answer')
        return took

    def _cpu(self):
        """CPU time of all threads: a clock of each process, see clock_gettime
        in the kernel."""
        return time.clock_gettime(~self.qemu.pid << 3 | 2)
