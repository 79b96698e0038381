# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Options of run-enclave: command line, or JSON file."""

import argparse
import json
import os
import re

from .common import RunError

AGENT_PORT = 9001       # of nitro-init, unless it is configured otherwise
LEAST_MIB, TIMES = 128, 4

# Members of a --config file: option, type, what it is called there
CONFIG = {'enclave_name': str, 'cpu_count': int, 'cpu_ids': list,
          'memory_mib': int, 'eif_path': str, 'enclave_cid': int,
          'debug_mode': bool, 'attach_console': bool}


def memory_mib(text):
    """Memory as nitro-cli takes it: MiB, or with a suffix M, G or T."""
    found = re.fullmatch(r'(\d+)([MGTmgt]?)', text)
    if not found:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no size of memory: use MiB, or a suffix M, G or T")
    return int(found[1]) << {'G': 10, 'T': 20}.get(found[2].upper(), 0)


def cpu_numbers(text):
    """CPU numbers separated by commas."""
    if not re.fullmatch(r'\d+(,\d+)*', text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no list of CPU numbers: use for instance 2,3")
    return [int(word) for word in text.split(',')]


def read_config(path):
    """Options of a --config file."""
    try:
        with open(path, encoding='utf-8') as f:
            config = json.load(f)
    except (OSError, ValueError) as error:
        raise RunError(f'cannot read {path}: {error}',
                       'give a JSON file') from error
    if not isinstance(config, dict):
        raise RunError(f'{path} holds no JSON object')
    for name, value in config.items():
        if name not in CONFIG:
            raise RunError(f"{path} has the unknown member '{name}'",
                           'known are ' + ', '.join(CONFIG))
        # To Python a truth value is a number
        if value is not None and type(value) is not CONFIG[name]:
            raise RunError(f"{path}: '{name}' is {json.dumps(value)}, "
                           f'expected is a {CONFIG[name].__name__}')
    if not all(type(cpu) is int for cpu in config.get('cpu_ids') or []):
        raise RunError(f"{path}: 'cpu_ids' is no list of numbers")
    return config


def complete(args):
    """Options of the command line, or those of --config."""
    args.qemu_options = args.more
    given = [name for name in CONFIG if getattr(args, name)
             not in (None, False)]
    if args.config:
        if given:
            raise RunError('--config cannot be used with --'
                           + given[0].replace('_', '-').replace('-mib', ''),
                           'give all options in one place')
        for name, value in read_config(args.config).items():
            setattr(args, name, value)
    elif args.cpu_ids:
        args.cpu_ids = sum(args.cpu_ids, [])
    if not args.eif_path or not args.memory_mib:
        raise RunError('an image and its memory are needed',
                       'use --eif-path FILE --memory MIB')
    if bool(args.cpu_ids) == bool(args.cpu_count):
        raise RunError('give either a number of CPUs or their list',
                       'use --cpu-count NUMBER, or --cpu-ids LIST')
    args.debug_mode = bool(args.debug_mode or args.attach_console)
    return args


def complete_run(args):
    """Options of run: memory for the image, when none is given."""
    args.qemu_options = []
    if args.memory_mib is None:
        try:
            size = os.stat(args.eif_path).st_size
        except OSError as error:
            raise RunError(f'cannot read {args.eif_path}: {error.strerror}',
                           'give an image of qemu-eif build') from error
        args.memory_mib = max(LEAST_MIB, -(-size * TIMES >> 20))
    return args
