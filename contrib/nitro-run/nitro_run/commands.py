# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The commands of nitro-cli, and run."""

from pathlib import Path

from .common import RunError, complain, print_json, stopping, tell
from .console import connect_console, copy_console
from .enclaves import Enclaves, State
from .foreground import Foreground, added
from .launch import Launch
from .options import complete, complete_run


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


def run(args):
    """Launch, and be the program in the enclave; returns its status."""
    complete_run(args)
    frames = added(args)
    enclave, log = Enclaves(args.runtime_dir).new(
        args.enclave_name or Path(args.eif_path).stem)
    with stopping():
        launch = Launch(args, enclave, log)
        try:
            program = Foreground(launch.process, launch.place, frames)
            launch.start(connect=program.connect)
            launch.close()
            return program.run()
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
