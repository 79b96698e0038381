# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-lab bench: speed and memory, as tables and JSON."""

import sys
from pathlib import Path

from . import (accel, bench_build, bench_console, bench_documents,
               bench_launch, bench_network, bench_platform, bench_reset,
               bench_traffic, images)
from .bench_host import ahead_of_others, describe
from .bench_images import BENCH
from .bench_stats import Targets, compare, load, save, show
from .config import LabError

def _chosen(text):
    parts = text.replace(',', ' ').split() or list(PARTS)
    for part in parts:
        if part not in PARTS:
            raise LabError('BENCH=%s is not a part of the benchmark' % part,
                           'use: ' + ', '.join(PARTS))
    return parts


def _stored(path, accelerator):
    """Figures to compare with, read before anything is measured."""
    try:
        return load(Path(path), accelerator) if path else None
    except (OSError, ValueError) as error:
        raise LabError('BASELINE=%s cannot be used: %s' % (path, error),
                       'give a file that make bench has written with the'
                       ' same accelerator (ACCEL=kvm or tcg)') from error


def _print(title, lines):
    print('\n%s\n\n%s' % (title, '\n'.join(lines)), flush=True)


def _launch(args, figures, targets):
    with ahead_of_others():
        bench_launch.measure(figures, images.launcher(), '', args.runs)
        bench_reset.measure(figures, images.launcher(), args.runs)
    bench_launch.check(figures, targets)
    bench_reset.check(figures, targets)


def _console(args, figures, targets):
    with ahead_of_others():
        bench_console.measure(figures, images.launcher(), args.runs)
    bench_console.check(figures, targets)


def _network(args, figures, targets):
    with ahead_of_others():
        bench_network.measure(figures, images.launcher(), args.runs)
    bench_network.check(figures, targets)
    bench_traffic.measure(figures, args.runs)
    bench_traffic.check(figures, targets)


def _platform(args, figures, _targets):
    bench_platform.measure(figures, args.mem, args.runs)


def _documents(args, figures, targets):
    bench_documents.measure(figures, args.mem, args.runs)
    bench_documents.check(figures, targets)


def _build(args, figures, targets):
    with ahead_of_others():
        bench_build.measure(figures, args.runs)
    bench_build.check(figures, targets)


def _large(_args, figures, _targets):
    bench_build.measure_large(figures)


PARTS = {'launch': _launch, 'console': _console, 'network': _network,
         'platform': _platform, 'documents': _documents, 'build': _build,
         'large': _large}


def _measure(args, parts, figures, targets):
    """What fails does not keep the rest from being measured."""
    failed = 0
    for part in parts:
        try:
            PARTS[part](args, figures, targets)
        except LabError as error:
            failed += 1
            print('%s: %s' % (part, error), file=sys.stderr)
            print(error.hint or '', file=sys.stderr)
    return failed


def _measure_peer(args):
    figures = {}
    with ahead_of_others():
        bench_launch.measure(figures, args.peer, args.peer_args, args.runs,
                             is_peer=True)
    return figures


def bench(args):
    """Measure, print, compare, and write JSON."""
    parts = _chosen(args.parts)
    accelerator = accel.chosen()
    stored = _stored(args.baseline, accelerator)
    peer = _measure_peer(args) if args.peer and 'launch' in parts else None
    machine = dict(describe(), accelerator=accelerator)
    figures, targets = {}, Targets()
    failed = _measure(args, parts, figures, targets)
    _print('%(cpu)s, %(cpus)d CPUs, %(memory_mib)d MiB, Linux %(kernel)s, '
           'load %(load).1f, accelerator %(accelerator)s' % machine,
           show(figures))
    if targets.show():
        _print('Targets', targets.show())
    if peer:
        _print('Beside %s' % args.peer,
               compare(figures, peer, ('ours', 'peer')))
        save(BENCH / 'peer.json', dict(machine, program=args.peer), peer)
    if stored:
        _print('Beside %s' % args.baseline, compare(figures, stored))
    target = BENCH / ('%s.json' % '-'.join(parts))
    save(target, machine, figures)
    print('\nwritten to %s' % target)
    return 1 if failed else 0
