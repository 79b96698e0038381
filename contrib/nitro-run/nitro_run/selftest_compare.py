# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Reports of the selftest: read, and compared in all but times."""

import json
import os
import re
from pathlib import Path

from .common import RunError

FORMAT = 1
# Comes with nitro-run: of the emulated parent
PARENT = 'parent'
PARENT_REPORT = Path(__file__).with_name('selftest-parent.json')
# Of a scenario: what has to be the same everywhere
COMPARED = ('Outcome', 'Errno', 'Status', 'Bytes', 'Registers')
SKIPPED = 'skipped'
MAX_BYTES = 1 << 20
NUMBER = re.compile(r'\b(0x)?[0-9a-fA-F]*\d[0-9a-fA-F]*')
# Exit status by the gravest cause
SAME, RESULTS, RAN, MACHINES = 0, 4, 5, 6


def read(name):
    """A report, by the name of its file or by 'parent'."""
    path = PARENT_REPORT if name == PARENT else Path(name)
    remedy = "give a file that 'nitro-run selftest --report FILE' has written"
    try:
        # The end of a FIFO may be far
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK),
                  encoding='utf-8') as file:
            report = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f'cannot read the report {path}: {error}',
                       remedy) from error
    if not isinstance(report, dict) or 'Report' not in report:
        raise RunError(f'{path} is not a report of the selftest', remedy)
    if report['Report'] != FORMAT:
        raise RunError(f'{path} has version {plain(report["Report"])} of the'
                       f' report, this program reads version {FORMAT}',
                       'compare with the nitro-run that has written it')
    if not _sound(report):
        raise RunError(f'{path} is damaged', remedy)
    return report


def plain(value):
    """As text for a terminal: a report may come from a stranger."""
    return ''.join(char if char.isprintable() else ascii(char)[1:-1]
                   for char in str(value))


def _sound(report):
    rows = report.get('Scenarios')
    return isinstance(report.get('Machine'), dict) and \
        isinstance(rows, list) and all(
            isinstance(row, dict) and isinstance(row.get('Name'), str)
            and isinstance(row.get('Outcome'), str) for row in rows) and \
        len(_rows(report)) == len(rows)     # each scenario counts


def _rows(report):
    return {row['Name']: row for row in report['Scenarios']}


def _told(row):
    """What a scenario has come to, in words."""
    if row is None:
        return 'not in the report'
    more = [f'{name.lower()} {row[name]}' for name in COMPARED[1:]
            if row.get(name) is not None]
    if 'Reason' in row:
        more.append(str(row['Reason']))
    return ': '.join([row['Outcome'], ', '.join(more)]) if more \
        else row['Outcome']


def _reason(row):
    """Why it did not pass, without numbers: those that count are compared
    by themselves, the others are free CPUs, addresses and times."""
    return NUMBER.sub('N', str(row.get('Reason')))


def _differing(first, second):
    """Cause for which two rows differ, SAME if they do not."""
    if first is None or second is None:
        return RAN
    if SKIPPED in (first['Outcome'], second['Outcome']):
        if first['Outcome'] != second['Outcome']:
            return RAN
        # It is the machine that lacks something else
        return SAME if _reason(first) == _reason(second) else MACHINES
    same = all(first.get(name) == second.get(name) for name in COMPARED) \
        and _reason(first) == _reason(second)
    return SAME if same else RESULTS


def differences(first, second):
    """(cause, name, first, second) of all that differs."""
    ours, theirs = _rows(first), _rows(second)
    for name in dict.fromkeys([*ours, *theirs]):
        pair = ours.get(name), theirs.get(name)
        cause = _differing(*pair)
        if cause:
            yield cause, name, _told(pair[0]), _told(pair[1])
    facts = first['Machine'], second['Machine']
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        one, two = (machine.get(name) for machine in facts)
        if one != two:
            yield MACHINES, name, one, two


def compare(first, second):
    """Print what differs; returns the exit status."""
    found = sorted(differences(first, second), key=lambda item: item[0])
    titles = {RESULTS: 'another result', RAN: 'ran in one of them only',
              MACHINES: 'another machine'}
    for cause, name, one, two in found:
        print(f'{titles[cause]}: {plain(name)}')
        print(f'  first   {plain(one)}')
        print(f'  second  {plain(two)}')
    counts = [f'{sum(item[0] == cause for item in found)} {title}'
              for cause, title in titles.items()]
    print('compared: ' + ', '.join(counts))
    return min((item[0] for item in found), default=SAME)
