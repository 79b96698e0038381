# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The emulated parent: hypervisor process, virtual machine, commands in it."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import accel, directories, images, instance, packages
from .arch import GUEST, HOST
from .agent import Agent
from .config import LabError, PKI, RUN
from .cpio import Cpio
from .equipment import Copy, Equipment, cpus_and_memory
from .guest import Guest
from .patience import PATIENCE, POLL_SECONDS, Silence
from .proxy import Proxy
from .qmp import Qmp, QmpError, SocketStream
from .server import Server
from .warnings import HYPERVISOR, PARENT

PORT_NAME = 'org.qemu.nitro-lab'
# Tests of ciphers take a third of the time until an emulated kernel is up
PARENT_CMDLINE = ('console=%s panic=-1 reboot=t cryptomgr.notests'
                  % GUEST.console)
BASE_MEMORY_MIB = 640
HUGE_PAGE_MIB = 2
# Between two looks whether KVM runs the parent while it boots
CHECK_SECONDS = 2
NE_DEVICE = '/machine/peripheral/ne'
# In QEMU's log, before a dump of registers
KVM_REASON = re.compile(r'.*\bKVM\b.*', re.I)
PANIC = re.compile(r'Kernel panic|\bBUG\b|Oops|Internal error')


def clock_words():
    """Spare guests the calibration of their clock, which a busy host spoils.

    The time stamp counter of an emulated CPU is the host's own; KVM has a
    clock for guests.
    """
    found = re.search(r'^bogomips\s*:\s*([\d.]+)',
                      Path('/proc/cpuinfo').read_text(), re.M)
    if not found or GUEST is not HOST or GUEST.name != 'x86_64':
        return ''
    khz = int(float(found.group(1)) * 500)
    return ' tsc_early_khz=%d tsc=reliable lpj=%d' % (khz, khz * 4)


# Even a lab that is killed leaves nothing running
LEASH = ('setpriv', '--pdeathsig', 'KILL', '--')


def _mode(data):
    """Everybody may run programs, and read other files."""
    if isinstance(data, Path):
        return data.stat().st_mode & 0o111 | 0o644
    return 0o755 if data[:2] == b'#!' else 0o644


class CannotRun(LabError):
    """The accelerator cannot run the parent, at whatever attempt."""


class Process:
    """A program on the host with its log; ends with its owner."""

    def __init__(self, name, argv, log):
        self.name, self.log = name, log
        with open(log, 'ab') as out:
            self.popen = subprocess.Popen(
                [str(word) for word in (*LEASH, *argv)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True)

    def running(self):
        """Is it still there?"""
        return self.popen.poll() is None

    def check(self):
        """Raise when it has ended."""
        if not self.running():
            raise LabError('%s ended (status %d): %s'
                           % (self.name, self.popen.returncode,
                              self.tail() or 'no output'), 'see %s' % self.log)

    def tail(self, size=1000):
        """The last words of its log; None: all."""
        text = self.log.read_text(errors='replace').strip()
        return text[-size:] if size else text

    def stop(self, patience=60):
        """SIGTERM, then SIGKILL."""
        if self.running():
            self.popen.terminate()
            try:
                self.popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Parent(Guest):
    """One parent with its hypervisor; use as a context manager."""

    words = ''      # more of them for the kernel
    cpu = None      # its -cpu; None: the architecture's
    attempts = 3    # to boot, see _emulator_failed()

    def __init__(self, cpus=2, memory_mib=256, files=None, devices=True,
                 acpi='auto', machine=None, directory=None,
                 qemu_args=(), enclave_args=(), equipment=None,
                 instance_id=None, role=None, proxied=None, accelerator=None):
        """@cpus and @memory_mib: what enclaves may take altogether.

        @files: guest path -> Path, bytes, Link or Copy, put into the
        initramfs.
        @machine: the parent's -M, by default the architecture's.
        @equipment: see there.  @accelerator: kvm or tcg, by default as ACCEL
        says.
        @instance_id: of EC2, by default the lab's; @role: ARN, or none.
        @proxied: vsock port -> function that connects to what it leads to.
        """
        self.equipment = equipment or Equipment()
        self.servers = []
        self.cpus, self.memory_mib, self.files = cpus, memory_mib, files or {}
        self.devices, self.acpi, self._machine = devices, acpi, machine
        self._accelerator = accelerator
        self.qemu_args, self.enclave_args = qemu_args, enclave_args
        self.instance_id = instance_id or instance.instance_id()
        self.role, self.proxied = role, proxied or {}
        RUN.mkdir(parents=True, exist_ok=True)
        self.dir = Path(directory) if directory else Path(
            tempfile.mkdtemp(prefix='parent-', dir=RUN))
        self.dir.mkdir(parents=True, exist_ok=True)
        self.name, self.server = self.dir.name.removeprefix('parent-'), None
        self._lock = directories.occupy(self.dir)
        # Names of unix sockets must stay short
        self.sockets = Path(tempfile.mkdtemp(prefix='nitro-lab-'))
        directories.announce(self.dir, self.sockets)
        self.console = self.dir / 'parent-console.log'
        self.cpu_log = self.dir / 'parent-cpu.log'
        self.hypervisor_log = self.dir / 'hypervisor.log'
        self._initramfs_with_files = self.dir / 'parent.cpio'
        self.hypervisor = self.vm = self.agent = self._qmp = None
        self.boot_seconds, self.retries = None, 0
        self.made_of = None     # see images.fingerprint()
        self._next_check = 0

    @property
    def accelerator(self):
        """kvm or tcg, for the parent and its enclaves."""
        if self._accelerator is None:
            self._accelerator = accel.chosen()
        return self._accelerator

    @property
    def machine(self):
        """Its -M."""
        return self._machine or accel.machine(self.accelerator)

    # Starting and stopping

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Boot; returns when commands can be run."""
        begun = time.monotonic()
        self.made_of = images.fingerprint()
        if self.devices:
            self._start_hypervisor()
        self._boot_patiently(self._command_line())
        self._start_proxies()
        self.server = Server(self)
        self.boot_seconds = time.monotonic() - begun
        self._initramfs_with_files.unlink(missing_ok=True)

    def _boot_patiently(self, command):
        while True:
            try:
                self._boot(command)
                return
            except LabError as error:
                if isinstance(error, CannotRun) or \
                        self.retries + 1 == self.attempts or \
                        not self._emulator_failed():
                    raise
                self._keep_logs()
                print('# parent: booted again: %s' % error, file=sys.stderr,
                      flush=True)

    def _keep_logs(self):
        """Logs of a failed attempt stay, under names of their own."""
        self.vm.stop()
        self._qmp = None
        self.retries += 1
        for log in (self.console, self.vm.log, self.cpu_log):
            if log.exists():
                log.rename('%s.%d' % (log, self.retries))

    def _boot(self, command):
        address = self.sockets / 'agent'
        address.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(address))
        listener.listen(1)
        self._start_servers()
        self.vm = Process('parent VM', command, self.dir / 'parent-qemu.log')
        silence = Silence(self.vm.popen.pid, self.console)
        self.agent = Agent(self._accept(listener, silence))
        self._wait_hello(silence)

    def _emulator_failed(self):
        """Did the machine hang, or reset itself without a reason?

        A panic would be on the console, as what its init says before it ends
        the machine; an error of QEMU is in its exit status.
        """
        status, said = self.vm.popen.poll(), self.console_text()
        if PANIC.search(said):
            return False
        return status is None or status == 0 and not PARENT.search(said)

    def _accept(self, listener, silence):
        with listener:
            listener.settimeout(POLL_SECONDS)
            while True:
                try:
                    return listener.accept()[0]
                except TimeoutError:
                    self._check_boot(silence)

    def _wait_hello(self, silence):
        while not self.agent.hello.wait(POLL_SECONDS):
            self._check_boot(silence)
        if self.agent.gone.is_set():
            self.vm.popen.wait(PATIENCE)
            self._check_running()

    def _check_running(self):
        """Raise when the machine has ended, with what its init has said."""
        if self.vm.popen.poll() == 0:
            said = PARENT.findall(self.console_text())
            if said:
                raise LabError('the parent ended: ' + said[-1],
                               'see %s' % self.console)
        self.vm.check()

    def _check_boot(self, silence):
        self._check_running()
        self._check_accelerator()
        if silence.look():
            raise LabError('the parent hung while it booted: %s\n%s'
                           % (silence, self.console_text()[-2000:]),
                           'see %s' % self.dir)

    def _check_accelerator(self):
        """Raise when KVM cannot go on: QEMU stays, with the guest paused."""
        now = time.monotonic()
        if self.accelerator != 'kvm' or now < self._next_check or \
                not (self.sockets / 'qmp').exists():
            return
        self._next_check = now + CHECK_SECONDS
        try:
            status = self.qmp.command('query-status')['status']
        except (EOFError, OSError, QmpError):
            return              # it has just ended
        if status == 'internal-error':
            reason = KVM_REASON.search(self.vm.tail(None))
            raise CannotRun('KVM cannot run the parent: '
                            + (reason.group() if reason else status),
                            'have it emulated: ACCEL=tcg')

    def reset(self):
        """Reset the machine, whatever it does; returns when it has booted."""
        self.agent.hello.clear()
        self.qmp.command('set-action', reboot='reset')
        self.qmp.command('system_reset')
        self._wait_hello(Silence(self.vm.popen.pid, self.console))
        self._start_proxies()

    def _start_proxies(self):
        for port, connect in self.proxied.items():
            Proxy(self, port, connect)

    def hypervisor_command(self):
        """Command line of the hypervisor process."""
        argv = [images.hypervisor(), '--runtime-dir', self.sockets,
                GUEST.hypervisor_option, images.emulator(),
                '--accel', accel.OPTION[self.accelerator],
                '--acpi', self.acpi, '--parent-id', self.instance_id,
                '--pki-dir', PKI]
        if self.role:
            argv += ['--parent-role', self.role]
        for path in packages.firmware_directories():
            argv += ['--firmware-dir', path]
        for arg in self.enclave_args:
            argv += ['--qemu-arg', arg]
        return argv

    def _start_hypervisor(self):
        self.hypervisor = Process('nitro-hypervisor',
                                  self.hypervisor_command(),
                                  self.hypervisor_log)
        self._wait_sockets(self.hypervisor, 'control.sock',
                           'parent-vsock.sock')

    def _start_servers(self):
        """What serves the parent's shared directories, for one machine."""
        self._stop_servers()
        for name, argv in self.equipment.servers(self.sockets).items():
            server = Process(name, argv, self.dir / (name + '.log'))
            self.servers.append(server)
            self._wait_sockets(server, name)

    def _stop_servers(self):
        while self.servers:
            server = self.servers.pop()
            server.stop()
            (self.sockets / server.name).unlink(missing_ok=True)

    def _wait_sockets(self, process, *names):
        end = time.monotonic() + PATIENCE
        while not all((self.sockets / name).exists() for name in names):
            process.check()
            if time.monotonic() > end:
                raise LabError('%s opened no sockets' % process.name,
                               'see %s' % process.log)
            time.sleep(0.01)

    def stop(self):
        """Take everything down; the logs stay."""
        if self.server:
            self.server.close()
        if self.vm:
            self.vm.stop()
        self._stop_servers()
        if self.hypervisor:
            self.hypervisor.stop()
            for log in self.sockets.glob('*.log'):
                shutil.copy(log, self.dir)
        self._initramfs_with_files.unlink(missing_ok=True)
        shutil.rmtree(self.sockets, ignore_errors=True)
        self._lock.close()

    def forget(self):
        """Remove the logs: nobody will want them."""
        shutil.rmtree(self.dir, ignore_errors=True)

    def complaints(self):
        """Warnings and errors of the hypervisor process."""
        if not self.hypervisor:
            return []
        return HYPERVISOR.findall(
            self.hypervisor.log.read_text(errors='replace'))

    # The virtual machine

    def _initramfs(self):
        base = images.parent_initramfs()
        if not self.files:
            return base
        extra, target = Cpio(), self.dir / 'initramfs'
        for path, data in self.files.items():
            if isinstance(data, Copy):
                data.add(extra, path)
            else:
                extra.file(path, data, _mode(data))
        if self.equipment.root:
            extra.file('lab/files', ''.join(
                name + '\n' for name in self.files
                if not name.startswith('/lab/')).encode())
        extra.write(target)
        combined = self._initramfs_with_files
        with open(combined, 'wb') as out:
            for part in (base, target):
                with open(part, 'rb') as data:
                    shutil.copyfileobj(data, out)
        target.unlink()
        return combined

    def page_words(self):
        """Words for the kernel: huge pages for enclaves."""
        return 'lab.hugepages=%d' % (self.memory_mib // HUGE_PAGE_MIB)

    def cores(self):
        """Cores: one for the parent, others for enclaves."""
        threads = self.equipment.threads
        return (self.cpus + 2 + threads - 1) // threads

    def cpu_words(self, last):
        """Words for the kernel: CPUs for enclaves, up to the last of all."""
        return 'lab.cpus=2-%d' % last

    def _accelerator_words(self):
        """Words for the kernel, by the accelerator.

        On an emulated CPU it speaks from its first step on.  With KVM each
        byte on the console is a way through QEMU, so it says what matters.
        """
        return ' quiet' if self.accelerator == 'kvm' else \
            ' ' + GUEST.parent_words + clock_words()

    def _command_line(self):
        initramfs = self._initramfs()
        threads, cores = self.equipment.threads, self.cores()
        ram = BASE_MEMORY_MIB + self.memory_mib + 2 * (
            initramfs.stat().st_size >> 20)
        words = [PARENT_CMDLINE + self._accelerator_words(),
                 *self.equipment.words(),
                 self.page_words(),
                 self.cpu_words(cores * threads - 1),
                 'lab.instance=' + self.instance_id]
        argv = [images.emulator(), '-accel', accel.OPTION[self.accelerator],
                '-M', self.machine,
                '-cpu', self.cpu or accel.cpu(self.accelerator),
                *cpus_and_memory(self.equipment, cores, ram, self.memory_mib),
                '-nodefaults', '-no-user-config', '-display', 'none',
                '-no-reboot', '-kernel', images.parent_kernel(),
                '-initrd', initramfs, '-append', ' '.join(words) + self.words,
                '-serial', 'file:%s' % self.console,
                # Where a CPU was that reset the machine
                '-d', 'cpu_reset', '-D', self.cpu_log,
                '-qmp', 'unix:%s/qmp,server=on,wait=off' % self.sockets,
                '-chardev', 'socket,id=agent,path=%s/agent' % self.sockets,
                '-device', 'virtio-serial-pci',
                '-device', 'virtserialport,chardev=agent,name=' + PORT_NAME]
        argv += instance.dmi_options(self.instance_id)
        for path in packages.firmware_directories():
            argv += ['-L', path]
        if self.devices:
            argv += ['-chardev', 'socket,id=ne,path=%s/control.sock'
                     % self.sockets,
                     '-device', 'nitro-enclaves-pci,id=ne,chardev=ne',
                     '-chardev', 'socket,id=vs,path=%s/parent-vsock.sock'
                     % self.sockets,
                     '-device', 'vhost-user-vsock-pci,chardev=vs']
        argv += self.equipment.arguments(self.sockets)
        return argv + list(self.qemu_args)

    def console_text(self):
        """What the parent's kernel and init have printed."""
        try:
            return self.console.read_text(errors='replace')
        except FileNotFoundError:
            return ''

    @property
    def qmp(self):
        """QMP of the parent VM itself."""
        if self._qmp is None:
            self._qmp = Qmp(SocketStream(self.sockets / 'qmp',
                                         self.vm.running))
        return self._qmp

    def interrupt(self):
        """Let go at once, for a second Ctrl-C."""
        for process in (self.vm, self.hypervisor):
            if process and process.running():
                process.popen.send_signal(signal.SIGKILL)
