# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run selftest: launches and refusals on the device of this instance.

Takes what is free, ends what it launches, and leaves the enclaves of others
alone.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path

from . import selftest_compare, selftest_refusals
from .common import RunError, complain, stopping, tell
from .doctor import Instance, qemu_version
from .driver import DEVICE, error_name
from .options import QEMU
from .scenario import FAILED, PASSED, SKIPPED
from .selftest_image import Images

NOTHING, FAILURES = 1, 3    # exit status
DMI = 'sys/class/dmi/id/'


def require_device(instance):
    """A clear refusal where no enclave can be."""
    remedy = 'see what is missing: nitro-run doctor'
    if not os.path.exists(DEVICE):
        raise RunError(f'there is no {DEVICE}: this is not an instance with'
                       ' enclaves, or its driver is not loaded', remedy)
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise RunError(f'cannot open {DEVICE}: this user may not', remedy)
    if not instance.pool():
        raise RunError('no CPUs are reserved for enclaves', remedy)


def machine(args, instance, images):
    """What a report says of the machine; the pool is named by its size."""
    return {
        'Instance': ' '.join(filter(None, (
            instance.read(DMI + name) for name in
            ('sys_vendor', 'product_name')))) or 'unknown',
        'Architecture': os.uname().machine,
        'Kernel': os.uname().release,
        'QEMU': qemu_version(args.qemu),
        'PoolCPUs': len(instance.pool()),
        'ThreadsPerCore': instance.threads(),
        'HugePages': instance.pages('nr_hugepages'),
        'EnclaveKernel': images.origin,
    }


def _launches():
    """Imported when it is used: it alone needs QEMU's Python package."""
    from . import selftest_launches
    return selftest_launches


def plan(args, bench):
    """Scenarios to run; the driver's come first."""
    every = [*selftest_refusals.scenarios(bench.threads),
             *_launches().scenarios(bench.threads)]
    return [scenario for scenario in every
            if scenario.quick or not args.quick]


def show(row):
    """One line of what has come of a scenario."""
    more = [f'errno {row["Errno"]} {error_name(row["Errno"])}'] \
        if 'Errno' in row else []
    more += [f'{name.lower()} {row[name]}' for name in ('Status', 'Boot')
             if name in row]
    more += [str(row['Reason'])] if 'Reason' in row else []
    print(f'{row["Outcome"]:<8}{row["Name"]:<36}{row["Seconds"]:7.1f} s  '
          + ', '.join(more), flush=True)


@contextlib.contextmanager
def _writing(path):
    try:
        yield
    except OSError as error:
        raise RunError(f'cannot write {path}: {error.strerror}',
                       'name another file with --report') from error


@contextlib.contextmanager
def report_file(path):
    """A function that writes the report there, if it is to go anywhere.

    Opened ahead of the scenarios, which take minutes.  A file, also one
    behind a link, is replaced as a whole or not at all; a device is written.
    """
    given = Path(path or os.devnull)
    device = given.exists() and not given.is_file()
    target = given if device else given.resolve()
    place = target if device else target.with_name(target.name + '.partial')

    def write(report):
        with _writing(path):
            with file:
                file.write(json.dumps(report, indent=1) + '\n')
            if not device:
                place.replace(target)

    with _writing(path):
        file = open(place, 'w', encoding='utf-8')
    try:
        yield write
    finally:
        file.close()
        if not device:
            place.unlink(missing_ok=True)


def run_all(args):
    """All scenarios on this machine; returns the report."""
    instance = Instance()
    require_device(instance)
    with stopping(), tempfile.TemporaryDirectory(
            prefix='nitro-selftest-') as top:
        tell('nitro-run: preparing the image')
        images = Images(top, args)
        images.image()
        rows = []
        with _launches().Bench(args, images, instance,
                               Path(top, 'run')) as bench:
            for scenario in plan(args, bench):
                rows.append(scenario.outcome(bench))
                show(rows[-1])
        return {'Report': selftest_compare.FORMAT,
                'Machine': machine(args, instance, images),
                'Launches': bench.launches, 'Scenarios': rows}


def conclude(report):
    """Totals; returns the exit status."""
    outcomes = [row['Outcome'] for row in report['Scenarios']]
    print(', '.join(f'{outcomes.count(outcome)} {outcome}'
                    for outcome in (PASSED, FAILED, SKIPPED))
          + f'; {report["Launches"]} enclaves launched')
    if FAILED in outcomes:
        return FAILURES
    if report['Launches']:
        return 0
    complain(RunError('no enclave was launched, so this device has not been'
                      ' tried out', 'the skipped scenarios have the reason;'
                      ' see also nitro-run doctor'))
    return NOTHING


# Options of a run, which a comparison of two reports is not
OF_A_RUN = ('quick', 'report', 'eif', 'kernel', 'modules', 'qemu')


def check_options(args):
    """Refuse what would be ignored."""
    names = args.compare or []
    if len(names) > 2:
        raise RunError('--compare takes one report or two', 'compare two of'
                       ' them at a time', status=2)
    given = [name for name in OF_A_RUN
             if getattr(args, name) not in (None, False)]
    if len(names) == 2 and given:
        raise RunError(f'--{given[0]} is for a run, and two reports are'
                       ' compared without one', f'leave --{given[0]} or one'
                       ' of the reports out', status=2)
    if args.eif is not None and args.modules is not None:
        raise RunError('--modules goes into an image that is built, --eif'
                       ' names one', 'leave one of them out', status=2)


def selftest(args):
    """The command."""
    check_options(args)
    args.qemu = args.qemu or QEMU
    names = args.compare or []
    others = [selftest_compare.read(name) for name in names]
    if len(others) == 2:
        return selftest_compare.compare(*others)
    with report_file(args.report) as write:
        report = run_all(args)
        status = conclude(report)
        write(report)
    if others:
        differ = selftest_compare.compare(report, others[0])
        status = status or differ
    return status
