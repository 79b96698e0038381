# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Boot images: the parent's kernel and initramfs, and the demo enclave."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import eif, kernels, packages
from .arch import FOREIGN, GUEST, HOST, PROGRAM
from .config import (BUILD, HERE, LAB, LabError, OUT, describe_inputs,
                     making, overlay)
from .cpio import Cpio
from .kernel import extract_vmlinux

PARENT_MODULES = ('vmw_vsock_virtio_transport', 'vsock_loopback', 'vsock_diag',
                  'nitro_enclaves')
# Further ones, for modprobe
LOADABLE_MODULES = ('virtio_blk', 'virtio_net', 'overlay', 'loop', 'squashfs',
                    'tun')
ENCLAVE_MODULES = ('virtio_mmio', 'nsm', 'vmw_vsock_virtio_transport')
# Kernels older than 6.8 lack it
MAY_LACK = 'nsm'

AWS_BLOBS = Path('/usr/share/nitro_enclaves/blobs')
AWS_CMDLINE = ('reboot=k panic=30 pci=off nomodules console=ttyS0'
               ' random.trust_cpu=on')

DEMO_CMDLINE = 'console=ttyS0 quiet loglevel=3 panic=-1 reboot=t'

# Prefix of the tools that make programs for the guests
TOOLS = GUEST.name + '-linux-gnu-' if FOREIGN else ''

CFLAGS = ('-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror',
          '-Wno-unused-parameter', '-static', '-s')


def _compiler():
    return TOOLS + 'gcc' if FOREIGN else os.environ.get('CC', 'gcc')


def _compile(target, directory, more=(), libraries=None):
    """One static program out of all C files of a directory, and more files.

    @libraries: name -> package that has it.
    """
    sources = sorted((HERE / directory).glob('*.[ch]'))
    sources += [HERE / name for name in more]
    libraries = libraries or {}
    stamp = describe_inputs(sources, ' '.join([*CFLAGS, *libraries]))
    with making(target, stamp) as new:
        run = new and subprocess.run(
            [_compiler(), *CFLAGS, '-o', new,
             *(s for s in sources if s.suffix == '.c'),
             *('-l' + name for name in libraries)],
            text=True, stderr=subprocess.PIPE, check=False)
        if run and run.returncode:
            raise LabError('compiling %s failed:\n%s'
                           % (directory, run.stderr),
                           'static libraries are needed: '
                           + ', '.join({'libc6-dev', *libraries.values()}))
    return target


def guest_tool():
    """The static tool of the parent guest."""
    return _compile(LAB / 'lab-tool', 'guest')


def parent_kernel():
    """The parent's kernel; on x86 the ELF file, which boots faster."""
    kernel = kernels.of_parent()
    if GUEST.name != 'x86_64':
        return kernel.image
    target = kernel.place() / 'parent-kernel'
    stamp = describe_inputs([kernel.image])
    with making(target, stamp) as new:
        if new:
            new.write_bytes(extract_vmlinux(kernel.image.read_bytes()))
    return target


def modules_directory():
    """Where the modules of demo enclaves' kernel are."""
    return kernels.current().directory


def kernel_modules():
    """All modules of demo enclaves' kernel."""
    return kernels.current().modules()


def _built(program, command='make'):
    if not program.exists():
        raise LabError('no %s' % program, command)
    return program


def emulator():
    """QEMU of this machine, which runs the parent."""
    return _built(OUT / PROGRAM)


def launcher():
    """The QEMU under test, which runs in the parent."""
    return _built(BUILD / 'arm64' / PROGRAM, 'make arm64') if FOREIGN \
        else emulator()


def enclave_init():
    """Process 1 of enclaves that run a program."""
    return _compile(LAB / 'nitro-init', '../nitro-init') if FOREIGN \
        else _built(OUT / 'contrib/nitro-init/nitro-init')


def aws_shaped_init():
    """Process 1 of images of the layout aws."""
    shared = ['../nitro-init/%s.%s' % (name, suffix) for suffix in 'ch'
              for name in ('log', 'module', 'mount', 'vsock')]
    return _compile(LAB / 'aws-shaped-init', 'enclave-aws', shared)


def demo_init():
    """The only program of the demo enclave."""
    return _compile(LAB / 'demo-init', 'enclave') if FOREIGN \
        else _built(OUT / 'contrib/nitro-lab/enclave/nitro-demo-init')


def image_tool():
    """The tool that makes enclave images."""
    return _built(OUT / 'tools/eif/qemu-eif')


def document_tool():
    """The tool that verifies attestation documents."""
    return _built(OUT / 'tools/nsm/qemu-nsm')


def hypervisor():
    """The process that plays the Nitro hypervisor."""
    return _built(OUT / 'contrib/nitro-hypervisor/nitro-hypervisor')


def guest_hypervisor():
    """The same for a machine of the guest's architecture."""
    return _built(BUILD / 'arm64/contrib/nitro-hypervisor/nitro-hypervisor',
                  'make arm64') if FOREIGN else hypervisor()


def _foreign_libraries(program):
    script = str(overlay('cross-arm64'))
    env = dict(os.environ, BUILD=str(BUILD))
    root, listed = (subprocess.run(
        [script, *words], env=env, text=True, check=True,
        stdout=subprocess.PIPE).stdout.split()
        for words in (['root'], ['libraries', program]))
    return {path.removeprefix(root[0]): path for path in listed}


def shared_libraries(program):
    """Files a program is linked with, and the loader: guest path -> path."""
    if FOREIGN:
        return _foreign_libraries(program)
    run = subprocess.run(['ldd', program], text=True, check=True,
                         stdout=subprocess.PIPE)
    missing = re.findall(r'^\s*(\S+) => not found', run.stdout, re.M)
    if missing:
        raise LabError('%s lacks %s' % (program, ', '.join(missing)))
    return {path: path for path in re.findall(r'(/\S+) \(0x', run.stdout)}


def _stripped(program):
    with tempfile.NamedTemporaryFile(dir=LAB) as target:
        subprocess.run([TOOLS + 'strip', '-o', target.name, program],
                       check=True)
        return Path(target.name).read_bytes()


def add_modules(archive, modules, directory, names):
    """Module files below @directory; returns their paths in load order."""
    paths = []
    for name, data in modules.closure(names):
        paths.append('%s/%s.ko' % (directory, name))
        archive.file(paths[-1], data)
    return paths


def _add_parent_modules(archive):
    """All modules of the parent; /lab/modules lists what is loaded at once."""
    directory = 'lib/modules/' + kernels.of_parent().release
    modules = kernels.of_parent().modules()
    loaded = add_modules(archive, modules, directory, PARENT_MODULES)
    add_modules(archive, modules, directory, LOADABLE_MODULES)
    archive.file('lab/modules', ''.join('/%s\n' % path for path in loaded)
                 .encode())
    archive.file(directory + '/modules.dep', ''.join(
        '%s.ko: %s\n' % (name, ' '.join(
            other + '.ko' for other in modules.needed(name)))
        for name, _ in modules.closure([*PARENT_MODULES, *LOADABLE_MODULES])
    ).encode())


def applets():
    """Names under which busybox is a program."""
    run = subprocess.run([packages.busybox(HOST), '--list'], text=True,
                         check=True, stdout=subprocess.PIPE)
    return [name for name in run.stdout.split() if name != 'busybox']


PASSWD = b'''root:x:0:0:root:/lab:/bin/sh
ec2-user:x:1000:990::/home/ec2-user:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
'''
# Group ne has the number that nitro-cli's packages give it
GROUP = b'''root:x:0:
tty:x:5:
ne:x:990:
nogroup:x:65534:
'''
# Starts the agent where systemd is the first program of another root
AGENT_SERVICE = b'''[Service]
ExecStart=/lab/system/bin/lab agent
WorkingDirectory=/lab
KillMode=process
'''
DIRECTORIES = ('proc', 'sys', 'dev', 'tmp', 'run', 'var/run', 'var/log',
               'var/tmp', 'etc', 'mnt', 'home/ec2-user')


def _inside(program, libraries):
    """A script that runs a program of this root inside another one."""
    loader = next(path for path in libraries if '/ld-linux' in path)
    places = sorted({'/lab/system' + os.path.dirname(path)
                     for path in libraries})
    return ('#!/bin/sh\nexec /lab/system%s --library-path %s /lab/system%s'
            ' "$@"\n' % (loader, ':'.join(places), program)).encode()


def _parent_root(tool, program, libraries):
    archive = Cpio()
    for name in DIRECTORIES:
        archive.directory(name)
    archive.device('dev/console', 5, 1)
    archive.device('dev/null', 1, 3, 0o666)
    archive.file('etc/passwd', PASSWD)
    archive.file('etc/group', GROUP)
    archive.file('init', HERE / 'parent/init', 0o755)
    archive.file('bin/busybox', packages.busybox(), 0o755)
    for applet in applets():
        archive.link('bin/' + applet, 'busybox')
    archive.link('sbin/modprobe', '../bin/busybox')     # for the kernel
    archive.file('bin/lab', tool, 0o755)
    archive.link('lab/bin/lab', '/lab/system/bin/lab')
    archive.file('lab/agent.service', AGENT_SERVICE)
    _add_parent_modules(archive)
    for name, path in libraries.items():
        archive.file(name, open(path, 'rb').read(), 0o755)
    archive.file('bin/' + program.name, _stripped(program), 0o755)
    archive.file('lab/bin/' + program.name, _inside(
        '/bin/' + program.name, libraries), 0o755)
    return archive


def parent_initramfs():
    """The parent's root: busybox, modules, tools and the QEMU under test."""
    target = kernels.of_parent().place() / 'parent.cpio'
    tool, program = guest_tool(), launcher()
    libraries = shared_libraries(program)
    stamp = describe_inputs([tool, program, HERE / 'parent/init',
                             packages.busybox(), *libraries.values(),
                             Path(__file__)], kernels.of_parent().release)
    with making(target, stamp) as new:
        if new:
            _parent_root(tool, program, libraries).write(new)
    return target


def demo_initramfs():
    """The demo enclave's only ramdisk: init and the modules it loads."""
    kernel = kernels.current()
    target = kernel.place() / 'demo.cpio'
    init = demo_init()
    stamp = describe_inputs([init], kernel.release, *ENCLAVE_MODULES)
    with making(target, stamp) as new:
        if new:
            archive, modules = Cpio(), kernel.modules()
            modules = add_modules(archive, modules, 'lib', [
                name for name in ENCLAVE_MODULES
                if name != MAY_LACK or modules.has(name)])
            _finish_demo(archive, init, modules)
            archive.write(new)
    return target


def _finish_demo(archive, init, modules):
    archive.directory('dev')
    archive.device('dev/console', 5, 1)
    archive.file('init', init, 0o755)
    archive.file('modules', ''.join('/%s\n' % m for m in modules).encode())


def demo_tool_initramfs():
    """The same with the parent's tool, which the demo enclave runs, too."""
    target = kernels.current().place() / 'demo-tool.cpio'
    base, tool = demo_initramfs(), guest_tool()
    stamp = describe_inputs([base, tool])
    with making(target, stamp) as new:
        if new:
            _with_files(base, new, {'lab': tool})
    return target


def key_client():
    """The client of the key service, a static program for enclaves."""
    if FOREIGN:
        raise LabError('the client of the key service cannot be made for %s'
                       ' here: the cross compiler has no OpenSSL' % GUEST.name,
                       'leave ARCH out, or do this on such a machine')
    return _compile(LAB / 'kms-client', 'enclave-kms', ['enclave/nsm.c'],
                    {'ssl': 'libssl-dev', 'crypto': 'libssl-dev'})


def key_client_image(target, ca):
    """An EIF of the demo enclave with a client of the key service.

    @ca: file with the CA (PEM) that the client trusts.
    """
    ramdisk = target.with_name(target.name + '.cpio')
    _with_files(demo_initramfs(), ramdisk, {'lab': key_client(),
                                            'ca.pem': ca})
    target.write_bytes(eif.build(
        demo_kernel().read_bytes(), demo_cmdline(), [ramdisk.read_bytes()],
        arch=GUEST.image_flag, name='key-client'))
    ramdisk.unlink()


def _with_files(base, target, files):
    """A ramdisk with further files, name -> path, that can be run."""
    archive = Cpio()
    for name, path in files.items():
        archive.file(name, path, 0o755)
    archive.write(target)
    target.write_bytes(base.read_bytes() + target.read_bytes())


def aws_demo_image(*words):
    """The demo enclave for real hardware, with AWS's kernel.

    The distribution's kernel finds its devices by ACPI only, which enclaves
    on EC2 do not have.
    """
    kernel, module = AWS_BLOBS / GUEST.aws_kernel, AWS_BLOBS / 'nsm.ko'
    if not (kernel.exists() and module.exists()):
        raise LabError('no kernel for a demo enclave in %s' % AWS_BLOBS,
                       'give EIF=FILE, or install'
                       ' aws-nitro-enclaves-cli-devel')
    init, target = demo_init(), LAB / 'demo-aws.eif'
    cmdline = ' '.join([AWS_CMDLINE, *words])
    with making(target, describe_inputs([kernel, module, init],
                                        cmdline)) as new:
        if new:
            archive = Cpio()
            archive.file('nsm.ko', module)
            _finish_demo(archive, init, ['nsm.ko'])
            new.write_bytes(eif.build(kernel.read_bytes(), cmdline,
                                      [archive.bytes()],
                                      arch=GUEST.image_flag))
    return target


def demo_kernel():
    """The demo enclave's kernel: the distribution's, unchanged."""
    return kernels.current().image


def demo_cmdline(*words):
    """Kernel command line of a demo enclave."""
    return ' '.join([DEMO_CMDLINE, *words])


def demo_image(name='demo', *words, ramdisks=()):
    """An EIF of the demo enclave with further command line words."""
    target = kernels.current().place() / (name + '.eif')
    kernel, ramdisk = demo_kernel(), demo_initramfs()
    cmdline = demo_cmdline(*words)
    stamp = describe_inputs([kernel, ramdisk], cmdline, repr(ramdisks),
                            repr(os.stat(eif.__file__).st_mtime_ns))
    with making(target, stamp) as new:
        if new:
            new.write_bytes(eif.build(kernel.read_bytes(), cmdline,
                                      [ramdisk.read_bytes(), *ramdisks],
                                      arch=GUEST.image_flag, name=name))
    return target


def build_all():
    """Everything the lab boots."""
    LAB.mkdir(parents=True, exist_ok=True)
    parent_kernel()
    parent_initramfs()
    demo_image()
    enclave_init()


def fingerprint():
    """What differs when a parent would be made of other programs."""
    inputs = describe_inputs([emulator(), hypervisor(), parent_kernel(),
                              parent_initramfs()])
    return hashlib.sha256(inputs.encode()).hexdigest()


def remove_all():
    """Forget what was built; packages stay."""
    shutil.rmtree(LAB, ignore_errors=True)
