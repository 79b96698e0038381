# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Options of run-enclave: command line, or JSON file."""

import argparse
import json
import os
import re

from .common import RunError

AGENT_PORT = 9001       # of nitro-init, unless it is configured otherwise
# The init kills a program after its grace period; this is for one that hangs
STOP_SECONDS = 120
# Of an enclave: for its program, beside what the image needs to boot; where
# that is not known, so many times the image
LEAST_MIB, PROGRAM_MIB, TIMES = 128, 128, 4
QEMU = 'qemu-system-' + os.uname().machine

# Options of QEMU that it cannot have from the user
TAKEN = {'-daemonize': 'run-enclave returns by itself once the enclave has'
                       ' booted',
         '-pidfile': 'nitro-run has one to find the process; run-enclave'
                     ' prints ProcessID'}

# Members of a --config file: option, type, what it is called there
CONFIG = {'enclave_name': str, 'cpu_count': int, 'cpu_ids': list,
          'memory_mib': int, 'eif_path': str, 'enclave_cid': int,
          'debug_mode': bool, 'attach_console': bool}


def number(what, least, most=None, also=(), why=''):
    """A type of option: whole numbers from @least to @most.

    @what: "'0' is not " comes before it; @also: numbers that are good, too;
    @why: behind the range.
    """
    span = f'{least} to {most}' if most else f'{least} or more'
    use = ''.join([f'use {span}', *(f', or {one}' for one in also), why])

    def parse(text):
        # Neither signs, nor 4_0, nor digits of other scripts
        found = re.fullmatch(r'[0-9]{1,18}', text) and int(text)
        if found is None or found not in also and not (
                least <= found and (most is None or found <= most)):
            raise argparse.ArgumentTypeError(f"'{text}' is not {what}: {use}")
        return found

    return parse


# The numbers of vsock end at 2^32 - 2; the one behind stands for any
LAST = 0xfffffffe
RESERVED = f' (0 to 3 and {LAST + 1} are reserved)'
cid = number('a CID of an enclave', 4, LAST, why=RESERVED)
wanted_cid = number('a CID of an enclave', 4, LAST, [0],
                    ' for one that the hypervisor chooses')
vsock_port = number('a vsock port', 1, LAST)
cpu_count = number('a number of CPUs of an enclave', 1)
mebibytes = number('a size of memory in MiB', 1)


def memory_mib(text):
    """Memory as nitro-cli takes it: MiB, or with a suffix M, G or T."""
    found = re.fullmatch(r'([0-9]+)([MGTmgt]?)', text)
    if not found:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a size of memory: use MiB, or a suffix M, G or T")
    return mebibytes(found[1]) << {'G': 10, 'T': 20}.get(found[2].upper(), 0)


def _seconds(text, pattern):
    if not re.fullmatch(pattern, text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a number of seconds: use for instance 10")
    return text


def seconds(text):
    """A time to wait."""
    return int(_seconds(text, r'[0-9]{1,6}'))


def fine_seconds(text):
    """The same, also with a fraction."""
    return float(_seconds(text, r'[0-9]{1,6}(\.[0-9]*)?'))


def cpu_numbers(text):
    """CPU numbers separated by commas."""
    if not re.fullmatch(r'[0-9]{1,9}(,[0-9]{1,9})*', text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a list of CPU numbers: use for instance 2,3")
    return [int(word) for word in text.split(',')]


def _members(pairs):
    """A JSON object, in which an option is given once as well."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError('it has more than one '
                         + next(repr(n) for n in names if names.count(n) > 1))
    return found


def read_config(path):
    """Options of a --config file."""
    try:
        with open(path, encoding='utf-8') as f:
            config = json.load(f, object_pairs_hook=_members)
    except (OSError, ValueError) as error:
        raise RunError(f'cannot read {path}: {error}',
                       'give a JSON file') from error
    if not isinstance(config, dict):
        raise RunError(f'the content of {path} is not a JSON object')
    for name, value in config.items():
        if name not in CONFIG:
            raise RunError(f"{path} has the unknown member '{name}'",
                           'known are ' + ', '.join(CONFIG))
        # To Python a truth value is a number
        if value is not None and type(value) is not CONFIG[name]:
            raise RunError(f"{path}: '{name}' is {json.dumps(value)}, "
                           f'expected is a {CONFIG[name].__name__}')
    cpus = config.get('cpu_ids') or []
    if not all(type(cpu) is int for cpu in cpus):
        raise RunError(f"{path}: 'cpu_ids' is not a list of numbers")
    for name, numbers, check in (
            ('cpu_ids', cpus, cpu_numbers),
            ('memory_mib', [config.get('memory_mib')], mebibytes),
            ('enclave_cid', [config.get('enclave_cid')], wanted_cid)):
        for one in numbers:
            _check_member(path, name, one, check)
    return config


def _check_member(path, name, value, check):
    """Refuse a number that the option would not take."""
    try:
        if value is not None:
            check(str(value))
    except argparse.ArgumentTypeError as error:
        cause, _, remedy = str(error).partition(': ')
        raise RunError(f"{path}: '{name}': {cause}", remedy) from error


def qemu_options(words):
    """Those after --, without what would make QEMU slip away."""
    for word in words:
        reason = TAKEN.get(word.replace('--', '-', 1))
        if reason:
            raise RunError(f'{word} cannot be passed on to QEMU: {reason}',
                           f'leave {word} out')
    return words


def complete(args):
    """Options of the command line, or of --config."""
    args.qemu_options = qemu_options(args.more)
    given = [name for name in CONFIG if getattr(args, name)
             not in (None, False)]
    if args.config is not None:
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
    if (args.cpu_ids is None) == (args.cpu_count is None):
        raise RunError('give either a number of CPUs or their list',
                       'use --cpu-count NUMBER, or --cpu-ids LIST')
    number = len(args.cpu_ids or ()) if args.cpu_count is None \
        else args.cpu_count
    if number < 1:
        raise RunError(f'an enclave cannot have {number} CPUs',
                       'use --cpu-count with 1 or more')
    args.debug_mode = bool(args.debug_mode or args.attach_console)
    return args


def default_memory(path, minimum):
    """MiB for an image that boots with @minimum, and its program."""
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise RunError(f'cannot read {path}: {error.strerror}',
                       'give an image of qemu-eif build') from error
    return max(LEAST_MIB, minimum + PROGRAM_MIB if minimum
               else -(-size * TIMES >> 20))


def values_of(key, lines):
    """What lines of nitro-init's configuration give a key, in their order."""
    return re.findall(rf'(?m)^{key} (.*)$', lines)


def complete_run(args, minimum=None):
    """Options of run: memory for the image, when none is given.

    @minimum: MiB with which it boots, if that is known.
    """
    args.qemu_options = []      # those of the card come at the launch
    if args.memory_mib is None:
        args.memory_mib = default_memory(args.eif_path, minimum)
    elif minimum and args.memory_mib < minimum:
        raise RunError(f'--memory {args.memory_mib} is too little: the image'
                       f' needs {minimum} MiB to boot', 'give more, or leave'
                       ' --memory out')
    return args
