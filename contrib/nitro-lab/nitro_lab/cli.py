# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Command line of the lab."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from . import (accel, bench, boots, check, fitting, foreign, images, instance,
               kernels, load, packages, shell, soak, visit, words)
from .arch import GUEST
from .config import LAB, PKI, TREE, LabError
from .kms import options as kms
from .run import run

sys.path.append(str(TREE / 'contrib/nitro-run'))
from nitro_run import streams                       # noqa: E402
from nitro_run.once import OnceParser               # noqa: E402
from nitro_run.options import memory_mib            # noqa: E402

EQUIPPED = ('parent', 'run')


def _fetch(args):
    packages.fetch(args.refresh)
    if args.launchers:
        foreign.write(Path(args.launchers))
        print('launchers are in %s: --file %s:%s puts them into a parent'
              % (args.launchers, args.launchers, foreign.PLACE))
        return 0
    print('kernel %s' % packages.kernel_release())
    if not packages.slot_faults_are_safe():
        print('this kernel frees memory twice when a slot is refused;'
              ' nitro-lab fetch --refresh may find a newer one')
    return 0


def _image(args):
    packages.fetch()
    images.build_all()
    if args.json:
        print(json.dumps({
            'Tool': str(images.image_tool()),
            'Kernel': str(images.demo_kernel()),
            'Modules': str(images.modules_directory()),
            'Init': str(images.enclave_init())}, indent=1))
    else:
        print('boot images are in %s' % LAB)
    return 0


def _pki(args):
    """Root and region of the lab, by the program that uses them."""
    LAB.mkdir(parents=True, exist_ok=True)
    return subprocess.call([images.hypervisor(), '--pki-dir', PKI,
                            '--pki', args.action])


def _parser():
    parser = OnceParser(
        prog='nitro-lab', description='An emulated EC2 parent instance:'
        ' boots a virtual machine with the real Nitro Enclaves driver and'
        ' launches enclaves in it.')
    parser.add_argument('--kernel', metavar='PACKAGE|FILE', dest='lab_kernel',
                        help='kernel of parent and demo enclave: a package'
                        ' such as linux-image-cloud-%s/trixie-backports, or'
                        ' DIR/boot/vmlinuz-RELEASE' % GUEST.debian)
    commands = parser.add_subparsers(dest='command', required=True)

    fetch = commands.add_parser('fetch', help='fetch kernel and tools')
    fetch.add_argument('--refresh', action='store_true',
                       help='look for newer versions')
    fetch.add_argument('--launchers', metavar='DIR', type=words.text,
                       help='write launchers of others there: the QEMU of'
                       ' Debian\'s backports, and the sample program of the'
                       ' kernel')
    fetch.set_defaults(main=_fetch)

    image = commands.add_parser('image', help='build the boot images')
    image.add_argument('--json', action='store_true', help='print with what'
                       ' images of containers are built: Tool, Kernel,'
                       ' Modules, Init')
    image.set_defaults(main=_image)

    launch = commands.add_parser(
        'run', help='boot an enclave, show its console and a summary',
        description='Without an image the demo enclave is booted.  The'
        ' defaults of all options come from the environment variables EIF,'
        ' IMAGE, PORT, KERNEL, INITRD, APPEND, MEM, CPUS and DEBUG.')
    env = os.environ.get
    launch.add_argument('--eif', default=env('EIF') or None, type=words.text,
                        help='enclave image')
    launch.add_argument('--image', default=env('IMAGE') or None,
                        type=words.text, help='container image, as qemu-eif'
                        ' build --container takes it')
    launch.add_argument('--port', default=env('IMAGE') and env('PORT')
                        or None, type=words.text,
                        help='ports of the container, run by nitro-run run;'
                        ' syntax as for its -p')
    launch.add_argument('--kernel', default=env('KERNEL') or None,
                        type=words.text, help='kernel to boot directly')
    launch.add_argument('--initrd', default=env('INITRD') or None,
                        type=words.text)
    launch.add_argument('--append', default=env('APPEND') or None,
                        help='kernel command line')
    launch.add_argument('--mem', default=env('MEM') or None, type=memory_mib,
                        metavar='SIZE', help='memory of the enclave in MiB, or'
                        ' with a suffix M or G (256; 512 for an image of'
                        ' yours)')
    launch.add_argument('--cpus', type=words.some, default=env('CPUS') or 2,
                        help='vCPUs of the enclave (2)')
    launch.add_argument('--debug', type=words.switch, metavar='on|off',
                        default=env('DEBUG') or 'on',
                        help='debug mode, which has a console (on)')
    instance.add_options(launch)
    launch.add_argument('--launcher', metavar='COMMAND', type=words.text,
                        help='shell command that launches in place of QEMU;'
                        ' {eif}, or {kernel} {initrd} {append}, stand for'
                        ' files and words in the parent, {mem} for MiB,'
                        ' {cpus} for vCPUs')
    launch.add_argument('--keep', action='store_true', help='leave the parent'
                        ' running, and use one that an earlier run has left;'
                        ' nitro-lab stop ends it',
                        default=bool(env('KEEP')))
    fitting.add_options(launch)
    launch.set_defaults(main=run)

    parent = commands.add_parser('parent', help='open a shell in the parent')
    parent.add_argument('--mem', type=memory_mib, default=env('MEM') or '512',
                        metavar='SIZE', help='memory for enclaves in MiB, or'
                        ' with a suffix M or G (512)')
    parent.add_argument('--cpus', type=words.some, default=env('CPUS') or 2,
                        help='CPUs for enclaves (2)')
    parent.add_argument('--keep', nargs='?', const=shell.FULL,
                        choices=(shell.FULL, shell.BARE), help='no shell: it'
                        " prints 'ready', runs until nitro-lab stop, and"
                        ' contains nitro-run and Python, unless bare')
    instance.add_options(parent)
    fitting.add_options(parent)
    parent.set_defaults(main=shell.parent_shell)
    _add_visits(commands)

    tests = commands.add_parser('check', help='run the functional tests')
    tests.add_argument('--summary', metavar='FILE',
                       help='write the totals there, as JSON')
    tests.add_argument('--jobs', type=words.any_number, default=0, metavar='N',
                       help='test files at once (2, on one CPU 1)')
    tests.add_argument('only', nargs='*', help='test methods (all)')
    tests.set_defaults(main=check.check)

    speed = commands.add_parser(
        'bench', help='measure speed and memory',
        description='Parts: launch (from exec to START, no parent), console,'
        ' network (the card), platform (the emulated parent), documents'
        ' (attestation), build (images of containers), large (one of 1 GB,'
        ' which boots).  The'
        ' defaults of all options come from the environment variables BENCH,'
        ' BASELINE, PEER, PEER_ARGS and RUNS.')
    speed.add_argument('--parts', default=env('BENCH') or '',
                       help='what to measure (all)')
    speed.add_argument('--baseline', default=env('BASELINE'), metavar='FILE',
                       help='figures of another run to compare with')
    speed.add_argument('--peer', default=env('PEER'), metavar='PROGRAM',
                       help='another QEMU, whose launches are measured, too')
    speed.add_argument('--peer-args', default=env('PEER_ARGS') or '',
                       metavar='OPTIONS', help='more options for that')
    speed.add_argument('--runs', type=words.some, default=env('RUNS') or 5,
                       help='rounds (5)')
    speed.add_argument('--mem', type=memory_mib, default='256',
                       metavar='SIZE', help='memory of enclaves in the parent'
                       ' in MiB, or with a suffix M or G (256)')
    speed.set_defaults(main=bench.bench)

    wear = commands.add_parser(
        'soak', help='launch and end many enclaves, look for leftovers',
        description='The defaults of LAUNCHES and SEED come from the'
        ' environment variables of that name; without a seed one is drawn,'
        ' and printed.')
    wear.add_argument('--launches', type=words.some, metavar='LAUNCHES',
                      default=env('LAUNCHES') or 200, help='how many (200)')
    wear.add_argument('--seed', type=int, default=env('SEED') or None,
                      help='repeat a run with this seed')
    wear.add_argument('--at-once', type=words.some, default=4, metavar='N',
                      help='launches side by side (4)')
    wear.set_defaults(main=soak.soak)
    _add_load(commands)
    _add_boots(commands)
    _add_pki(commands)
    kms.add_commands(commands)
    return parser


def _add_boots(commands):
    parents = commands.add_parser(
        'boots', help='boot parents of all kinds, many times',
        description='Keeps the logs of those that did not boot at their first'
        ' attempt.')
    parents.add_argument('--boots', type=words.some, metavar='N', default=100,
                         help='how many (100)')
    parents.add_argument('--at-once', type=words.some, metavar='N',
                         default=os.cpu_count(),
                         help='side by side (as many as there are CPUs)')
    parents.add_argument('kinds', nargs='*', metavar='KIND',
                         help='bare, small, usual, large, many, gigantic,'
                         ' nodes, on Arm gicv2m (all)')
    parents.set_defaults(main=boots.boots)


def _add_pki(commands):
    keys = commands.add_parser(
        'pki', help='keys of the certificates in attestation documents',
        description='The root of this lab is not AWS.  show: root and region'
        ' with their dates and fingerprints.  export: certificate of the'
        ' root, for those who verify.  renew: another region.  issue: key'
        ' and chain of an instance, for -object nitro-nsm-signer of an'
        ' enclave machine without a parent.')
    keys.add_argument('action', choices=('show', 'export', 'renew', 'issue'))
    keys.set_defaults(main=_pki)


def _add_visits(commands):
    """What reaches a parent that runs already."""
    def visit_command(name, main, text):
        parser = commands.add_parser(name, help=text)
        parser.add_argument('--name', type=words.text,
                            help='which parent (the only one)')
        parser.set_defaults(main=main)
        return parser

    execute = visit_command('exec', visit.execute,
                            'run a program in a running parent')
    execute.add_argument('--terminal', '-t', action='store_true',
                         help='give it a terminal')
    execute.add_argument('--forward', action='append', default=[],
                         metavar='RULE', type=words.text, help='forward a'
                         ' port of this machine to the parent while the'
                         ' program runs: tcp:127.0.0.1:8080:80 or udp:...;'
                         ' the parent needs --net; may be repeated')
    execute.add_argument('command', nargs=argparse.REMAINDER,
                         metavar='PROGRAM ...')
    put = visit_command('put', visit.put, 'copy files into a running parent')
    put.add_argument('source', metavar='FILE|DIR')
    put.add_argument('target', metavar='GUEST')
    get = visit_command('get', visit.get, 'copy files out of a running parent')
    get.add_argument('source', metavar='GUEST')
    get.add_argument('target', nargs='?', metavar='FILE|DIR')
    commands.add_parser('ps', help='list running parents').set_defaults(
        main=visit.processes)
    status = visit_command('status', visit.status, 'show running parents,'
                           ' enclaves, memory and connections')
    status.add_argument('--json', action='store_true')
    visit_command('stop', visit.stop, 'end a running parent')


def _add_load(commands):
    env = os.environ.get
    echo = commands.add_parser(
        'load', help='many enclaves echo, some are killed all the time',
        description='The defaults of ENCLAVES, SECONDS and SEED come from the'
        ' environment variables of that name.')
    echo.add_argument('--enclaves', type=words.some, metavar='ENCLAVES',
                      default=env('ENCLAVES') or 8, help='how many (8)')
    echo.add_argument('--seconds', type=words.some, metavar='SECONDS',
                      default=env('SECONDS') or 120, help='how long (120)')
    echo.add_argument('--kill', type=words.any_number, default=2, metavar='N',
                      help='so many are killed and launched again (2)')
    echo.add_argument('--every', type=words.some, default=5, metavar='SECONDS',
                      help='as often as that (5)')
    echo.add_argument('--seed', type=int, default=env('SEED') or None,
                      help='for the same choice of those killed')
    echo.set_defaults(main=load.load)


def _stop(number, _frame):
    """SIGTERM and SIGHUP tear everything down as Ctrl-C does."""
    raise SystemExit(128 + number)


def _more_words(text):
    try:
        return shlex.split(text)
    except ValueError as error:
        raise LabError("ARGS='%s': %s" % (text, error),
                       'quote as in a shell') from error


def _command(line):
    """The first word that is no option of all commands, in a list."""
    if line and line[0] == '--kernel':
        return line[2:3]
    return line[1:2] if line and line[0].startswith('--kernel=') \
        else line[:1]


def _words():
    """The command line, with ARGS of the environment (make parent ARGS=)."""
    line = sys.argv[1:]
    if any(word in EQUIPPED for word in _command(line)):
        line += _more_words(os.environ.get('ARGS') or '')
        split = line.index('--') if '--' in line else len(line)
        return line[:split], line[split + 1:]
    return line, []


def main():
    """Run one command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        line, more = _words()
        args = _parser().parse_args(line)
        args.more = more
        accel.wanted()
        if args.lab_kernel is not None:
            kernels.choose(args.lab_kernel)
        sys.exit(args.main(args))
    except LabError as error:
        print('\nnitro-lab: %s' % error, file=sys.stderr)
        if error.hint:
            print('nitro-lab: %s' % error.hint, file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print('\nnitro-lab: %s' % error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        # What it has started, which is nothing for exec and its like
        print('\nnitro-lab: interrupted, what this command started is taken'
              ' down', file=sys.stderr)
        sys.exit(130)
