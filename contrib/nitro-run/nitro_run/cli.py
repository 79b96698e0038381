# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Command line: the commands of nitro-cli."""

import argparse
import importlib
import sys

from . import build_enclave, network
from .common import RunError, complain
from .once import OnceParser
from .options import (AGENT_PORT, QEMU, STOP_SECONDS, cid, cpu_count,
                      cpu_numbers, fine_seconds, memory_mib, seconds,
                      vsock_port, wanted_cid)

# Commands that pass on what follows --
PASSING = ('run', 'run-enclave')


def later(module, command):
    """A command, by the name of its function; its module is imported when
    it is used, as not all of them need QEMU's Python package."""
    def call(args):
        return getattr(importlib.import_module('.' + module, __package__),
                       command)(args)
    return call


def add_choice(parser, everything=False):
    """Options that choose an enclave."""
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument('--enclave-id', metavar='ID')
    choice.add_argument('--enclave-name', metavar='NAME')
    if everything:
        choice.add_argument('--all', action='store_true',
                            help='all that this user runs')


def add_qemu(parser, default=QEMU):
    """Which QEMU."""
    parser.add_argument('--qemu', default=default, metavar='PROGRAM',
                        help=f'QEMU ({QEMU})')


def add_program(commands):
    """Options of run."""
    run_it = commands.add_parser(
        'run', help='run a program in an enclave, in the foreground',
        usage='%(prog)s [options] SOURCE [-- WORD...]',
        description='Builds an enclave image from a container image, if it'
        ' does not exist yet, and launches it; on a machine without a device'
        ' for enclaves, in the emulated parent of the lab.  Shows the output'
        ' of the program, stops it on SIGINT and SIGTERM, and has its exit'
        ' status.', epilog='Words behind -- replace the arguments of a'
        ' container image; behind an enclave image with nitro-init they are'
        ' added to its arguments, if it allows that.')
    run_it.add_argument('source', metavar='SOURCE', help='container image, as'
                        ' qemu-eif build --container takes it, or an enclave'
                        ' image')
    run_it.add_argument('-d', '--detach', action='store_true', help='return'
                        ' when the enclave has booted; see logs, stop, wait,'
                        ' ps, inspect and rm')
    # In the lab: what the image was made of
    run_it.add_argument('--origin', help=argparse.SUPPRESS)
    run_it.add_argument('--cpus', '--cpu-count', type=cpu_count,
                        dest='cpu_count', metavar='NUMBER', default=2,
                        help='(%(default)s)')
    run_it.add_argument('--memory', type=memory_mib, dest='memory_mib',
                        metavar='SIZE', help='MiB, or with a suffix M, G or'
                        ' T (what the image needs to boot, and 128 MiB)')
    run_it.add_argument('-e', '--env', action='append', default=[],
                        metavar='NAME=VALUE', help='a variable; can be'
                        ' repeated; the image has to allow it')
    run_it.add_argument('--env-file', metavar='FILE',
                        help='the same, NAME=VALUE on each line')
    run_it.add_argument('--name', '--enclave-name', dest='enclave_name',
                        metavar='NAME', help='name (name of the image)')
    run_it.add_argument('--debug', '--debug-mode', dest='debug_mode',
                        action='store_true',
                        help='with a console; attests zeros')
    run_it.add_argument('--agent-port', type=vsock_port, metavar='PORT',
                        default=AGENT_PORT, help='at which the output'
                        ' arrives; the programs of a user share it'
                        ' (%(default)s)')
    network.add_options(run_it)
    run_it.add_argument('--pcrs', metavar='FILE', help='write the registers'
                        ' there, as JSON')
    add_qemu(run_it)
    add_recipe(run_it)
    run_it.set_defaults(main=later('commands', 'run'), enclave_cid=None,
                        cpu_ids=None)


def add_recipe(parser):
    """Options for an image that is built."""
    group = parser.add_argument_group('of a container image')
    group.add_argument('--settings', metavar='FILE', help='further lines for'
                       " nitro-init, such as 'allow-env NAME'")
    group.add_argument('--kernel', metavar='FILE', help="kernel (AWS's"
                       " package; in the lab the distribution's)")
    group.add_argument('--modules', metavar='DIR', help='of that kernel')
    group.add_argument('--signing-certificate', metavar='FILE',
                       help='sign the image, as qemu-eif build does')
    group.add_argument('--private-key', metavar='FILE', help='its key')


def add_store(commands):
    """Images that run has built, and the lab."""
    have = commands.add_parser('images', help='list images that run built')
    have.add_argument('--json', action='store_true', help='for programs')
    have.set_defaults(main=later('images', 'images'))
    remove = commands.add_parser('prune', help='remove images that run built')
    remove.set_defaults(main=later('images', 'prune'))
    place = commands.add_parser(
        'lab', help="the lab's parent, in which run launches where this"
        ' machine has no device')
    place.add_argument('action', choices=('status', 'stop'))
    place.set_defaults(main=later('lab', 'lab'))


def add_detached(commands):
    """Programs that run detached."""
    command = commands.add_parser('ps', help='list programs of run -d')
    command.add_argument('--json', action='store_true', help='for programs')
    command.set_defaults(main=later('detached', 'ps'))
    command = commands.add_parser('logs', help='show the output of one')
    command.add_argument('-f', '--follow', action='store_true',
                         help='until it ends')
    command.add_argument('name', metavar='NAME')
    command.set_defaults(main=later('detached', 'logs'))
    command = commands.add_parser('wait', help='wait for the end of one, and'
                                  ' return its exit status')
    command.add_argument('name', metavar='NAME')
    command.set_defaults(main=later('detached', 'wait'))
    for name, main, text in (
            ('stop', 'stop', 'send them their stop signal'),
            ('inspect', 'inspect', 'show details as JSON'),
            ('rm', 'remove', 'remove ended ones')):
        command = commands.add_parser(name, help=text)
        command.add_argument('names', nargs='+', metavar='NAME')
        command.set_defaults(main=later('detached', main))
        if name == 'stop':
            command.add_argument(
                '--time', type=seconds, default=STOP_SECONDS,
                metavar='SECONDS', help='then the enclave is ended'
                ' (%(default)s)')


def add_relay(commands):
    """Programs in enclaves of other launchers."""
    attach = commands.add_parser(
        'relay', help="output, stop and status of a program whose enclave"
        ' another launcher runs',
        description='Shows the output of a program under nitro-init, stops'
        ' it on SIGINT and SIGTERM, and has its exit status.  The enclave'
        ' may have been launched by nitro-cli or any other launcher; the'
        ' output that its init has kept comes first.')
    choice = attach.add_mutually_exclusive_group(required=True)
    choice.add_argument('--enclave-cid', type=cid, metavar='CID')
    choice.add_argument('--enclave-id', metavar='ID', help='of nitro-cli or'
                        ' nitro-run run-enclave')
    attach.add_argument('--agent-port', type=vsock_port, metavar='PORT',
                        default=AGENT_PORT, help="of the image's"
                        ' configuration (%(default)s)')
    attach.set_defaults(main=later('attached', 'attach'))
    # The process that has the port; not for users
    share = commands.add_parser('share-port')
    share.add_argument('port', type=vsock_port)
    share.add_argument('sockets', type=int, nargs=3)
    share.set_defaults(main=later('relay', 'share_port'))


def add_run(commands):
    """Options of run-enclave."""
    launch = commands.add_parser(
        'run-enclave', help='launch an enclave',
        usage='%(prog)s [options] [-- OPTION_OF_QEMU...]',
        epilog='Options behind -- are passed on to QEMU.')
    launch.add_argument('--eif-path', metavar='FILE', help='enclave image')
    cpus = launch.add_mutually_exclusive_group()
    cpus.add_argument('--cpu-count', type=cpu_count, metavar='NUMBER')
    cpus.add_argument('--cpu-ids', type=cpu_numbers, nargs='+',
                      metavar='LIST', help='CPUs of the pool, e.g. 2,3')
    launch.add_argument('--memory', type=memory_mib, dest='memory_mib',
                     metavar='SIZE', help='MiB, or with a suffix M, G or T')
    launch.add_argument('--enclave-cid', type=wanted_cid, metavar='CID',
                     help='vsock CID (chosen by the hypervisor)')
    launch.add_argument('--enclave-name', metavar='NAME',
                     help='name (name of the image file)')
    launch.add_argument('--debug-mode', action='store_true',
                     help='with a console; attests zeros')
    launch.add_argument('--attach-console', action='store_true',
                     help='debug mode, and show the console')
    launch.add_argument('--config', metavar='FILE',
                     help='all options as JSON')
    add_qemu(launch)
    launch.set_defaults(main=later('commands', 'run_enclave'), agent_port=None)


def add_doctor(commands):
    """Options of doctor."""
    examine = commands.add_parser(
        'doctor', help='what this instance has and lacks for enclaves',
        description='Each line is ok, warn or fail; a command that fixes it'
        ' follows.  Changes nothing.  Status 1 when a line is fail.')
    examine.add_argument('--json', action='store_true',
                         help='for programs')
    add_qemu(examine)
    examine.set_defaults(main=later('doctor', 'doctor'))


def add_selftest(commands):
    """Options of selftest."""
    test = commands.add_parser(
        'selftest', help="test this instance's device, and report",
        description='Launches enclaves, ends them, and makes requests that'
        ' have to be refused, on the device of this instance.  Uses free CPUs'
        ' of the pool and free huge pages; leaves nothing behind.',
        epilog='Status: 0 all is well; 1 it cannot run here; 3 a scenario'
        ' failed; of a comparison: 4 another result, 5 a scenario ran in one'
        ' report only, 6 only the machines differ.')
    test.add_argument('--quick', action='store_true',
                      help='a part that takes seconds')
    test.add_argument('--report', metavar='FILE', help='write it as JSON')
    test.add_argument('--compare', nargs='+', metavar='REPORT',
                      help="run and compare with a report, or compare two;"
                      " 'parent' is the emulated parent's report")
    image = test.add_mutually_exclusive_group()
    image.add_argument('--eif', metavar='FILE',
                       help='image of the demo enclave (built)')
    image.add_argument('--kernel', metavar='FILE', help="of the enclaves"
                       " (AWS's package's, or this machine's)")
    test.add_argument('--modules', metavar='DIR', help='of that kernel'
                      ' (modules of this machine)')
    # Given or not makes a difference there
    add_qemu(test, default=None)
    test.set_defaults(main=later('selftest', 'selftest'))


def parser():
    """Command line."""
    top = OnceParser(
        prog='nitro-run', description='Run, list and end Nitro enclaves with'
        ' QEMU: commands, options and output of nitro-cli.')
    top.add_argument('--runtime-dir', metavar='DIR',
                     help='where sockets are; private'
                     ' ($XDG_RUNTIME_DIR/nitro-run, or /run/nitro-run)')
    commands = top.add_subparsers(required=True, metavar='COMMAND',
                                  dest='command')
    add_run(commands)
    add_program(commands)
    describe = commands.add_parser('describe-enclaves', help='list enclaves')
    describe.set_defaults(main=later('commands', 'describe_enclaves'))
    end = commands.add_parser('terminate-enclave', help='end an enclave')
    add_choice(end, everything=True)
    end.set_defaults(main=later('commands', 'terminate_enclave'))
    look = commands.add_parser('console', help='show the debug console')
    add_choice(look)
    look.add_argument('--disconnect-timeout', type=fine_seconds,
                      metavar='SECONDS',
                      help='stop reading after this time')
    look.set_defaults(main=later('commands', 'console'))
    add_doctor(commands)
    add_selftest(commands)
    add_store(commands)
    add_detached(commands)
    add_relay(commands)
    build_enclave.add_options(commands)
    return top


def main(words=None):
    """Run one command; returns the exit status."""
    words = sys.argv[1:] if words is None else words
    split = words.index('--') if '--' in words else len(words)
    top = parser()
    args = top.parse_args(words[:split])
    args.more = words[split + 1:]
    if args.more and args.command not in PASSING:
        top.error(f'{args.command} takes nothing behind --')
    try:
        return args.main(args)
    except RunError as error:
        complain(error)
        return error.status
    except KeyboardInterrupt:
        return 130
