# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run doctor: what this instance has for enclaves, and what it lacks.

All of it is read from /dev, /proc and /sys.  Nothing is written or loaded, and
no device is opened.
"""

import collections
import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

from .common import print_json

OK, WARN, FAIL = 'ok', 'warn', 'fail'

# @command mends it; None when no command can
Finding = collections.namedtuple('Finding', 'check grade text command')

# PCI function of the hypervisor, see include/hw/nitro/enclaves-abi.h
PCI_IDS = ('0x1d0f', '0xe4c1')
GROUP = 'ne'
# The driver takes no less for an enclave
ENCLAVE_MIB = 64
# What the commands reserve
WANTED_MIB = 512
# No archive has the package: it is built by make deb
PACKAGE = 'apt-get install ./qemu-nitro_*.deb'
PAGE_KIB = 2048
# Files by which a process holds the driver, or an enclave
HELD = ('/dev/nitro_enclaves', 'anon_inode:ne-vm')


def user_name():
    """Name of the user, or the number of one without a name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def numbers(text):
    """Numbers in a list of the kernel: "1,3-5"."""
    found = []
    for part in filter(None, text.split(',')):
        first, _, last = part.partition('-')
        found += range(int(first), int(last or first) + 1)
    return found


class Instance:
    """The files of an instance; @root is / but in tests."""

    def __init__(self, root='/'):
        self.root = Path(root)

    def path(self, name):
        """A file, by its name without the first slash."""
        return self.root / name

    def read(self, name):
        """Text of a file; empty if it cannot be read."""
        try:
            return self.path(name).read_text().strip()
        except OSError:
            return ''

    def pool(self):
        """CPUs that the driver has for enclaves."""
        return numbers(self.read('sys/module/nitro_enclaves/parameters/'
                                 'ne_cpus'))

    def nodes(self):
        """Directories of NUMA nodes, by number."""
        return {int(path.name[4:]): path for path in sorted(self.path(
            'sys/devices/system/node').glob('node[0-9]*'))}

    def threads(self):
        """Threads of a core."""
        return len(numbers(self.read('sys/devices/system/cpu/cpu0/topology/'
                                     'thread_siblings_list'))) or 1

    def pages(self, name):
        """A number of the huge pages of the usual size, on the pool's
        node."""
        return int(self.read(f'sys/devices/system/node/node'
                             f'{self.pool_node()}/hugepages/'
                             f'hugepages-{PAGE_KIB}kB/{name}') or 0)

    def pool_node(self):
        """NUMA node of the CPU pool; of CPU 0 when there is no pool."""
        cpu = 'cpu%d' % (self.pool() or [0])[0]
        return next((number for number, path in self.nodes().items()
                     if (path / cpu).exists()), 0)


def check_device(instance):
    """The PCI function, which AWS adds when an instance is launched."""
    for path in sorted(instance.path('sys/bus/pci/devices').glob('*')):
        if tuple((path / name).read_text().strip()
                 for name in ('vendor', 'device')) == PCI_IDS:
            tag = instance.read('sys/class/dmi/id/board_asset_tag')
            yield Finding('instance', OK, f'{tag or "it"} has the Nitro'
                          f' Enclaves device, {path.name}', None)
            return
    yield Finding('instance', FAIL, 'there is no Nitro Enclaves device, which'
                  ' an instance gets when it is launched',
                  'aws ec2 run-instances --enclave-options Enabled=true')


def check_driver(instance):
    """The kernel's module."""
    release = instance.read('proc/sys/kernel/osrelease')
    if instance.path('sys/module/nitro_enclaves').exists():
        yield Finding('driver', OK, f'nitro_enclaves of Linux {release}', None)
    else:
        yield Finding('driver', FAIL, f'Linux {release} has not loaded'
                      ' nitro_enclaves', 'modprobe nitro_enclaves')


def _rights_commands(path):
    """What gives the user the device: its group, then membership."""
    info, commands = path.stat(), []
    try:
        group = grp.getgrnam(GROUP)
    except KeyError:
        commands.append(f'groupadd -r {GROUP}')
        group = None
    if not group or info.st_gid != group.gr_gid or \
            info.st_mode & 0o060 != 0o060:
        commands.append(f'chgrp {GROUP} /dev/nitro_enclaves')
        commands.append('chmod 660 /dev/nitro_enclaves')
    if not group or group.gr_gid not in (os.getegid(), *os.getgroups()):
        commands.append(f'usermod -aG {GROUP} {user_name()}')
    return ' && '.join(commands)


def check_rights(instance):
    """The driver's device file."""
    path = instance.path('dev/nitro_enclaves')
    if not path.exists():
        yield Finding('rights', FAIL, 'there is no /dev/nitro_enclaves',
                      'modprobe nitro_enclaves')
    elif os.access(path, os.R_OK | os.W_OK):
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Finding('rights', OK, 'this user can open /dev/nitro_enclaves'
                      f' (mode {mode:o})', None)
    else:
        yield Finding('rights', FAIL, f'user {user_name()} cannot open'
                      ' /dev/nitro_enclaves', _rights_commands(path))


def _spare_core(instance):
    """CPUs of the last core, but not CPU 0's."""
    cpus = instance.path('sys/devices/system/cpu')
    cores = [numbers(path.read_text().strip()) for path in cpus.glob(
        'cpu[0-9]*/topology/thread_siblings_list')]
    return max((core for core in cores if 0 not in core), default=None)


def check_pool(instance):
    """CPUs for enclaves."""
    pool = instance.pool()
    if pool:
        text = ','.join(map(str, pool))
        yield Finding('CPU pool', OK, f'{len(pool)} CPUs for enclaves:'
                      f' {text}', None)
        return
    core = _spare_core(instance)
    yield Finding('CPU pool', FAIL, 'no CPUs are reserved for enclaves' + (
        '' if core else ", and the only core is CPU 0's"),
        core and 'echo ' + ','.join(map(str, core)) +
        ' > /sys/module/nitro_enclaves/parameters/ne_cpus')


def _more_pages(instance, node):
    place = f'sys/devices/system/node/node{node}/hugepages/' \
        f'hugepages-{PAGE_KIB}kB/nr_hugepages'
    have = int(instance.read(place) or 0)
    return f'echo {have + WANTED_MIB * 1024 // PAGE_KIB} > /{place}'


def _node_pages(path):
    """(KiB, free, all) of each size of which a node has huge pages."""
    for pages in sorted(path.glob('hugepages/hugepages-*kB')):
        free, every = (int((pages / name).read_text()) for name in
                       ('free_hugepages', 'nr_hugepages'))
        if every:
            yield int(pages.name.split('-')[1][:-2]), free, every


def _judge_pages(node, pages, command):
    """What the pages of the enclaves' node are enough for, if that is little.

    An enclave has pages of one size, of 2 MiB or more.
    """
    free = {kib: kib * free >> 10 for kib, free, _ in pages
            if kib >= PAGE_KIB}
    small = max((mib for kib, mib in free.items()
                 if kib <= ENCLAVE_MIB << 10), default=0)
    large = [kib >> 10 for kib, mib in free.items()
             if kib > ENCLAVE_MIB << 10 and mib]
    if small >= ENCLAVE_MIB:
        return
    text = f'node {node}, where the CPUs for enclaves are, has {small} MiB' \
        f' free; an enclave needs {ENCLAVE_MIB} MiB or more'
    if large:
        text += f', and takes multiples of {large[0]} MiB in its larger pages'
    used = any(free < every for _, free, every in pages)
    yield Finding('huge pages', WARN if used or large else FAIL, text,
                  command)


def check_pages(instance):
    """Huge pages of each node and size; an enclave needs those of the node
    that its CPUs are on."""
    wanted = instance.pool_node()
    for node, path in instance.nodes().items():
        for kib, free, every in _node_pages(path):
            yield Finding('huge pages', OK, f'node {node}: {free} of'
                          f' {every} of {kib} KiB are free', None)
    place = instance.nodes().get(wanted)
    yield from _judge_pages(wanted, list(_node_pages(place)) if place else [],
                            _more_pages(instance, wanted))


def check_fragmentation(instance):
    """Could more huge pages be reserved?"""
    page, total = os.sysconf('SC_PAGE_SIZE'), 0
    for line in instance.read('proc/buddyinfo').splitlines():
        for order, count in enumerate(line.split()[4:]):
            size = page << order
            total += size * int(count) if size >= PAGE_KIB << 10 else 0
    few = total >> 20 < ENCLAVE_MIB
    yield Finding('free memory', WARN if few else OK,
                  f'{total >> 20} MiB could become huge pages',
                  'echo 1 > /proc/sys/vm/compact_memory' if few else None)


def check_vsock(instance):
    """The channel between instance and enclaves."""
    if not instance.path('dev/vsock').exists() or not instance.path(
            'sys/module/vmw_vsock_virtio_transport').exists():
        yield Finding('vsock', FAIL, 'this kernel has no vsock over virtio',
                      'modprobe vmw_vsock_virtio_transport')
    elif not os.access(instance.path('dev/vsock'), os.R_OK):
        yield Finding('vsock', WARN, 'this user cannot open /dev/vsock, which'
                      ' some programs want', 'chmod 666 /dev/vsock')
    else:
        yield Finding('vsock', OK, 'vsock over virtio is there', None)


def _holders(instance):
    """Processes of enclaves, as far as this user may see them."""
    for files in instance.path('proc').glob('[0-9]*/fd'):
        try:
            if any(os.readlink(file) in HELD for file in files.iterdir()):
                name = (files.parent / 'comm').read_text().strip()
                yield f'{name} ({files.parent.name})'
        except OSError:
            continue        # it has ended, or is another user's


def check_launchers(instance):
    """Who else runs enclaves here."""
    found = sorted(_holders(instance))
    if shutil.which('nitro-cli'):
        found.append('nitro-cli is installed')
    yield Finding('launchers', OK, ', '.join(found) or
                  'no process that this user can see has an enclave', None)


def _output(program, *words):
    try:
        return subprocess.run([program, *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=False,
                              stderr=subprocess.DEVNULL,
                              errors='replace').stdout
    except OSError:
        return ''


def qemu_version(program):
    """The first line of what it says of itself; empty if it cannot be run."""
    return _output(program, '--version').partition('\n')[0]


def _install():
    """What installs QEMU: this tree, or the package."""
    tree = Path(__file__).resolve().parents[3]
    if (tree / 'overlay' / 'job').exists():
        return f'make -C {shlex.quote(str(tree))} install'
    return PACKAGE


def check_qemu(program):
    """QEMU, and whether it has the accelerator."""
    version = qemu_version(program)
    if not version:
        yield Finding('QEMU', FAIL, f'{program} cannot be run',
                      _install())
    elif 'nitro' not in _output(program, '-accel', 'help').split():
        yield Finding('QEMU', FAIL, f'{version} at'
                      f' {shutil.which(program)} lacks the accelerator nitro',
                      _install())
    else:
        yield Finding('QEMU', OK, version, None)


CHECKS = (check_device, check_driver, check_rights, check_pool, check_pages,
          check_fragmentation, check_vsock, check_launchers)


def examine(instance, program):
    """All findings, in the order in which they should be mended."""
    for check in CHECKS:
        yield from check(instance)
    yield from check_qemu(program)


def doctor(args):
    """The command: 1 when something fails."""
    findings = list(examine(Instance(), args.qemu))
    failed = any(finding.grade == FAIL for finding in findings)
    if args.json:
        print_json([{'Check': check, 'Grade': grade, 'Text': text,
                     'Command': command}
                    for check, grade, text, command in findings])
        return int(failed)
    for check, grade, text, command in findings:
        print(f'{grade:<5} {check:<12} {text}')
        if command:
            print(f'{"":<18} mend: {command}')
    return int(failed)
