# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The commands of nitro-cli, and run."""

import contextlib
import functools
import os
import re
import socket
from pathlib import Path

from . import build, keeper, lab, network, relay, store
from .agent import Agent
from .common import RunError, complain, print_json, stopping, tell
from .console import connect_console, copy_console
from .driver import DEVICE
from .enclaves import Enclaves, State
from .foreground import Foreground, added, env_file, remark, write
from .launch import Launch
from .options import QEMU, complete, complete_run

# The agent of the lab takes no more
MOST_WORDS = 200


def run_enclave(args):
    """Launch; returns when the enclave has booted."""
    complete(args)
    enclave, log = Enclaves(args.runtime_dir).new(
        args.enclave_name or Path(args.eif_path).stem)
    tell('Start allocating memory...')
    with stopping():
        launch = Launch(args, enclave, log)
        try:
            launch.start(args.attach_console)
        except BaseException:
            launch.abandon()
            raise
    if launch.said():
        tell(launch.said())
    launch.close()
    told = enclave.run_info()
    tell(f'Started enclave with enclave-cid: {told["EnclaveCID"]}, memory: '
         f'{told["MemoryMiB"]} MiB, cpu-ids: {told["CPUIDs"]}')
    print_json(told)
    if launch.console:
        copy_console(launch.console)
    return 0


def in_lab(args, is_built):
    """Have the lab's parent launch, and be that launch."""
    if args.qemu != QEMU:
        raise RunError(f'--qemu {args.qemu}: there is no {DEVICE}, and the'
                       ' lab has a QEMU of its own', 'leave --qemu out')
    tell(f'nitro-run: there is no {DEVICE}, so the lab is used')
    parent = lab.Lab(store.directory())
    image = build.built(args, parent.equipment) if is_built \
        else build.copied(args.source)
    finish(args, is_built, image.path, image.note())
    words = run_words(args, f'{lab.PLACE}/{image.path.name}')
    if len(words) > MOST_WORDS:
        raise RunError(f'{len(words)} words are too many for the lab, which'
                       f' takes {MOST_WORDS}')
    parent.ensure(args.memory_mib, args.cpu_count)
    if args.detach and args.publish:
        return parent.detach(args.publish, *words)
    return parent.become('run', *words, ports=args.publish)


def run_words(args, image):
    """The command line of run for an image that is there."""
    words = [image, '--memory', args.memory_mib, '--cpu-count',
             args.cpu_count, '--agent-port', args.agent_port, '--origin',
             args.source]
    if args.is_named:
        words += ['--enclave-name', args.enclave_name]
    for variable in args.env:
        words += ['--env', variable]
    words += ['--debug-mode'] if args.debug_mode else []
    if args.net != network.NONE:
        words += ['--net', args.net, '--listen', network.ANYWHERE]
    for port in args.publish:
        words += ['--publish', port.option()]
    if args.detach:
        words += ['--detach']
    return words + (['--', *args.more] if args.more else [])


def finish(args, is_built, path, note):
    """Options of run, once there is an image; @note: what is known of it."""
    args.eif_path = str(path)
    if is_built:
        args.more = []          # they are in the image
    complete_run(args, note.get(build.MINIMUM))
    if args.pcrs is not None:
        build.write_registers(note, args.pcrs)


def check_source(args):
    """Refuse what is for images that are built, and would be ignored.

    Returns whether an image has to be built.
    """
    if not build.is_enclave_image(args.source):
        build.check_local(args.source)
        return True
    for name in ('kernel', 'modules', 'settings', 'signing_certificate',
                 'private_key'):
        if getattr(args, name) is not None:
            raise RunError(f'--{name.replace("_", "-")} is for an image that'
                           f' is built, {args.source} is one already',
                           'leave it out, or give a container image')
    return False


def run(args):
    """Launch, and be the program in the enclave; returns its status."""
    args.env = env_file(args.env_file) + args.env
    added(args)
    is_built = check_source(args)
    network.check(args)
    if is_built:
        network.check_settings(args, build.text_of(args.settings))
    else:
        network.check_image(args)
    args.is_named = args.enclave_name is not None
    args.origin = args.origin or args.source
    args.enclave_name = args.enclave_name or build.name_of(args.origin)
    with stopping():
        if not os.path.exists(DEVICE):
            return in_lab(args, is_built)
        if is_built:
            # The store keeps it as long as @image is there
            image = build.built(args, dict)
            finish(args, is_built, image.path, image.note())
        else:
            # To look at a large image takes long
            finish(args, is_built, args.source, build.described(args.source)
                   if args.memory_mib is None or args.pcrs else {})
    return run_here(args)


def run_here(args):
    """The same with an image that is there."""
    frames, enclaves = added(args), Enclaves(args.runtime_dir)
    if args.detach:
        return keeper.detach(args, enclaves, functools.partial(
            attend, args, enclaves), frames)
    with stopping():
        return attend(args, enclaves, Agent(write, remark, frames))


def announce(_enclave):
    """Say to systemd, if it has started us, that the enclave has booted."""
    path = os.environ.get('NOTIFY_SOCKET')
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
            service.connect(re.sub('^@', '\0', path))
            service.send(b'READY=1')


def attend(args, enclaves, agent, booted=announce):
    """Launch, and attend to the program until its end; its status.

    @booted: called with the enclave when that has booted.
    """
    with contextlib.closing(relay.Line(enclaves, args.agent_port)) as line, \
            network.card(args) as (args.qemu_options, descriptors):
        enclave, log = enclaves.new(args.enclave_name)
        launch = Launch(args, enclave, log, True, descriptors)
        try:
            launch.start()
            booted(enclave)
            line.claim(enclave.info['cid'])
            launch.close()
            return Foreground(launch.process, line, agent).run()
        finally:
            launch.abandon()


def describe_enclaves(args):
    """List what runs; fails when one does not answer."""
    known = Enclaves(args.runtime_dir).known()
    print_json([enclave.describe_info() for enclave in known
                if enclave.state == State.UP])
    silent = [enclave for enclave in known if enclave.state == State.SILENT]
    for enclave in silent:
        complain(enclave.silence())
    return 1 if silent else 0


def terminate_enclave(args):
    """End one, or all; those that do not answer come last."""
    enclaves = Enclaves(args.runtime_dir)
    doomed = enclaves.known() if args.all else [enclaves.find(args)]
    doomed.sort(key=lambda enclave: enclave.state == State.SILENT)
    told, status = [], 0
    for enclave in doomed:
        try:
            told.append(enclave.terminate())
            tell('Successfully terminated enclave'
                 f' {enclave.id or enclave}.')
        except RunError as error:
            complain(error)
            status = error.status
    if args.all:
        print_json(told)
    elif told:
        print_json(told[0])
    return status


def console(args):
    """Show the console of an enclave."""
    enclave = Enclaves(args.runtime_dir).find(args)
    if enclave.state == State.SILENT:
        raise enclave.silence()
    if not enclave.info['debug-mode']:
        raise RunError(f'enclave {enclave.id} has no console, as debug mode'
                       ' is off', 'launch it with --debug-mode')
    for device in enclave.chardevs():
        if device['label'] == 'console' and not \
                device['filename'].startswith('disconnected:'):
            raise RunError(f'somebody reads the console of {enclave.id}'
                           ' already', 'end that reader first')
    copy_console(connect_console(enclave.place), args.disconnect_timeout)
    return 0
