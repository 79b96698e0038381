# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab run: one enclave, its console live, a summary."""

import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

from . import accel, application, images, kept, kernels, packages
from .arch import FOREIGN, GUEST, PROGRAM
from .config import HERE, LAB, LabError, Progress
from .fitting import fitted, is_wanted
from .launch import Host, Launch
from .warnings import Warnings

DEVICE = Path('/dev/nitro_enclaves')
BOOT_SECONDS = 60
HEARTBEAT_EVENT = 'nitro_heartbeat_received'
DEMO_MIB, USER_MIB = 256, 512
# In the command of --launcher
WORD = re.compile(r'\{(eif|kernel|initrd|append|mem|cpus)\}')


def _existing(path):
    path = Path(path)
    if not path.is_file():
        raise LabError('%s: no such file' % path)
    return path


def _on_host():
    return DEVICE.exists() and not FOREIGN


def _demo():
    LAB.mkdir(parents=True, exist_ok=True)
    words = ('demo.mode=poweroff', 'demo.seconds=0')
    if _on_host():
        return images.aws_demo_image(*words)
    packages.fetch()
    return images.demo_image('demo-run', *words)


def _container(source):
    """An EIF file of a container image, whose output is on the console."""
    if _on_host():
        raise LabError('IMAGE= adds the distribution\'s kernel, which boots in'
                       ' an emulated parent only',
                       'make the image with qemu-eif build --container and'
                       ' another kernel; give it as EIF=')
    return application.container_image(source, agent='off')


class Order:
    """What to boot, out of the command line."""

    def __init__(self, args, top='/lab'):
        """@top: the parent's directory for its files."""
        self.top = top
        self.demo = not (args.eif or args.kernel or args.image)
        self.cpus, self.debug = args.cpus, args.debug
        self.memory = args.mem or (DEMO_MIB if self.demo else USER_MIB)
        self.files, self.arguments = {}, []
        self.launcher = args.launcher
        self.words = {'mem': self.memory, 'cpus': self.cpus}
        if bool(args.eif) + bool(args.kernel) + bool(args.image) > 1:
            raise LabError('more than one of EIF, IMAGE and KERNEL is given',
                           'choose one')
        if args.kernel:
            self._add_kernel(args)
        elif args.initrd or args.append is not None:
            raise LabError('INITRD and APPEND go with KERNEL')
        else:
            self._option('-kernel', args.eif or (
                _container(args.image) if args.image else _demo()), 'eif')
        if self.launcher:
            self.launcher_command()     # refuses what it cannot have

    def _add_kernel(self, args):
        append = 'console=' + GUEST.console if args.append is None \
            else args.append
        self._option('-kernel', args.kernel, 'kernel')
        if args.initrd:
            self._option('-initrd', args.initrd, 'initrd')
        self.arguments += ['-append', append]
        self.words['append'] = append

    def _option(self, option, path, name):
        """@name: for the command of --launcher."""
        path = _existing(path)
        target = '%s/%s' % (self.top, path.name)
        if target in self.files:
            target = '%s/%s/%s' % (self.top, name, path.name)
        self.files[target] = path
        self.arguments += [option, target]
        self.words[name] = target

    def _word(self, found):
        """What a name in braces stands for, as a word of the shell."""
        name = found.group(1)
        if name not in self.words:
            raise LabError('--launcher: this enclave has no {%s}' % name,
                           'it has ' + ' '.join(
                               '{%s}' % word for word in self.words))
        return shlex.quote(str(self.words[name]))

    def launcher_command(self):
        """What is run in the parent in place of QEMU."""
        return ['sh', '-c', WORD.sub(self._word, self.launcher)]

    def for_host(self):
        """The arguments with paths of this machine."""
        return [str(self.files.get(word, word)) for word in self.arguments]

    def command(self, arguments):
        """The launcher's whole command line."""
        return ['-accel', 'nitro,debug-mode=' + self.debug, '-M', 'nitro',
                '-nographic', '-smp', self.cpus, '-m', '%dM' % self.memory,
                *arguments]


class Console:
    """Shows what comes from the enclave and counts lines."""

    def __init__(self):
        self.lines = 0

    def __call__(self, data):
        self.lines += data.count(b'\n')
        sys.stdout.buffer.write(data.replace(b'\r', b''))
        sys.stdout.buffer.flush()


def _watch(launch, order, trace):
    """Until the end; the demo enclave gets a bounded time."""
    problem = None
    if launch.connect():
        try:
            launch.wait_booted(BOOT_SECONDS)
        except LabError as error:
            problem = str(error).split('\n', maxsplit=1)[0]
            launch.job.signal(signal.SIGTERM)
    limit = BOOT_SECONDS if order.demo else float('inf')
    launch.watch(time.monotonic() + limit)
    if launch.job.status is None:
        launch.job.wait(BOOT_SECONDS)
    if launch.booted is None and HEARTBEAT_EVENT in launch.place.get(trace):
        # It ended before the next look at it
        launch.booted = launch.job.ended - launch.begun
    elif problem:
        print('nitro-lab: ' + problem, file=sys.stderr)


def _traced(arguments, log):
    return [*arguments, '-D', log, '-d', 'trace:' + HEARTBEAT_EVENT]


def _seconds(value):
    return 'never' if value is None else '%.1f s' % value


def _summary(order, launch, console, up, total, guests):
    job = launch.job
    end = 'killed by signal %d' % -job.status if job.status < 0 else (
        'status %d' % job.status)
    print('\n'.join([
        '',
        '  enclave    CID %s, %d vCPUs, %d MiB, debug mode %s' % (
            launch.cid or 'none', order.cpus, order.memory, order.debug),
        '  heartbeat  %s' % ('received' if launch.booted is not None
                             else 'not received'),
        '  guests     %s' % guests,
        '  console    %d lines' % console.lines,
        '  exit       %s' % end,
        '  seconds    parent up %s, launch %s, boot %s, total %.1f s' % (
            _seconds(up), _seconds(launch.started),
            _seconds(launch.booted), total)]))


def _conclude(order, launch, console, up, begun, guests):
    _summary(order, launch, console, up, time.monotonic() - begun, guests)
    return 0 if launch.booted is not None and launch.job.status == 0 else 1


def _run_on_host(order, begun):
    print('nitro-lab: this machine has %s, using it' % DEVICE,
          file=sys.stderr)
    LAB.mkdir(parents=True, exist_ok=True)
    console = Console()
    trace = LAB / ('trace-%d' % os.getpid())
    trace.touch()
    launch = Launch(Host, _traced(order.command(order.for_host()), trace),
                    socket=LAB / ('qmp-%d' % os.getpid()),
                    emulator=images.emulator(), follow=console)
    try:
        _watch(launch, order, trace)
    finally:
        if launch.job.status is None:
            launch.job.signal(signal.SIGTERM)
        trace.unlink()
    return _conclude(order, launch, console, 0.0, begun, 'of this instance')


def _build_images(progress):
    progress.step('boot images')
    packages.fetch()
    images.build_all()
    progress.done()
    progress.step('parent')


def _boot_parent(args, order, progress):
    """The parent, not booted yet."""
    _build_images(progress)
    return fitted(args, order.cpus, order.memory, order.files,
                  acpi=os.environ.get('ACPI') or 'auto')


def _run_other(order, parent):
    """Another launcher, whatever it is: its output and status."""
    command = order.launcher_command()
    print(file=sys.stderr)
    job = parent.spawn(command, follow=Console())
    job.end_input()
    status = job.wait(timeout=None)
    print('\n  launcher   status %d' % status)
    return status if status >= 0 else 128 - status


def _run_ours(order, parent, up, begun, tag='enclave'):
    """@tag: in the names of files, which other runs may have, too."""
    console = Console()
    trace = '/run/%s-trace' % tag
    parent.put(trace, b'')
    print(file=sys.stderr)
    launch = Launch(parent, _traced(order.command(order.arguments), trace),
                    socket='/run/%s-qmp' % tag, follow=console)
    _watch(launch, order, trace)
    return _conclude(order, launch, console, up, begun,
                     accel.NAMES[parent.accelerator])


def _launch(order, parent, progress, begun, **options):
    up = time.monotonic() - begun
    progress.done('up with Linux ' + kernels.of_parent().release)
    progress.step('launch: ' + ' '.join(str(word) for word in (
        order.launcher_command() if order.launcher else
        [PROGRAM, *order.command(order.arguments)])))
    status = (_run_other(order, parent) if order.launcher
              else _run_ours(order, parent, up, begun, **options))
    if status:
        print('  logs       %s' % parent.dir)
    return status


def _run_kept(args, begun):
    """In a parent that stays."""
    name, args.name = args.name or kept.NAME, None
    if is_wanted(args):
        raise LabError('a parent that is kept has no options but --name',
                       'start one that has them, and then run in it: nitro-lab'
                       ' parent --keep --name %s ...' % name)
    progress = Progress(3)
    with kept.Place() as place:
        order = Order(args, place.there)
        place.add(order.files)
        _build_images(progress)
        parent = kept.ensure(name, order.memory, order.cpus, args.lab_kernel)
        with Warnings(parent, old=False):
            try:
                return _launch(order, parent, progress, begun, tag=place.tag)
            finally:
                parent.run(['sh', '-c', 'rm -f /run/"$0"-*', place.tag])


def _publish(args):
    """Have nitro-run run a container whose ports lead here; never returns."""
    if not args.image:
        raise LabError('--port goes with --image', 'give a container image')
    words = [HERE.parent / 'nitro-run' / 'nitro-run', 'run', '--cpus',
             args.cpus, *(['--memory', args.mem] if args.mem else [])]
    for port in args.port.split():
        words += ['--publish', port]
    os.execv(words[0], [str(word) for word in (*words, args.image)])


def run(args):
    """Boot what is asked for; 0 when it has booted and ended well."""
    begun = time.monotonic()
    if args.port:
        _publish(args)
    if args.keep:
        return _run_kept(args, begun)
    order = Order(args)
    if _on_host() and not (order.launcher or is_wanted(args)):
        return _run_on_host(order, begun)
    progress = Progress(3)
    with _boot_parent(args, order, progress) as parent, Warnings(parent):
        return _launch(order, parent, progress, begun)
