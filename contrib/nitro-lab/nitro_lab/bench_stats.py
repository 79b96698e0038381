# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Figures of a benchmark: medians, tables, comparison with another run.

A result is a dictionary: name -> {'unit': ..., 'runs': [numbers]}, in the
order in which it is to be shown.
"""

import json
import statistics

# Units of which more is better; of all others less is
RATES = ('MiB/s', 'GiB/s', 'MB/s', 'Gbit/s', 'documents/s', '% of vsock')

# A change of the median that is worth a word, if the runs do not overlap
NOTABLE = 0.05


def add(result, name, unit, value):
    """Add one measurement."""
    result.setdefault(name, {'unit': unit, 'runs': []})['runs'].append(value)


def median(result, name):
    """Median of the runs of a figure; None without any."""
    runs = result.get(name, {}).get('runs')
    return statistics.median(runs) if runs else None


def digits(value):
    """A number with as many decimals as it needs."""
    size = abs(value)
    return '%.*f' % (0 if size >= 1000 else 1 if size >= 10 else 2, value)


def _row(name, unit, runs):
    return ['%s, %s' % (name, unit), digits(statistics.median(runs)),
            digits(min(runs)), digits(max(runs)), str(len(runs))]


def table(rows):
    """Lines: the first column to the left, all others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  '.join([row[0].ljust(widths[0])]
                      + [cell.rjust(width) for cell, width
                         in zip(row[1:], widths[1:])]).rstrip()
            for row in rows]


def show(result):
    """Lines of a table of all figures."""
    return table([['', 'median', 'min', 'max', 'runs']]
                 + [_row(name, entry['unit'], entry['runs'])
                    for name, entry in result.items() if entry['runs']])


def verdict(unit, now, then):
    """'faster', 'slower' or '': whether two lists of runs really differ.

    They do when not even the best of one reaches the worst of the other, and
    the medians are apart by a notable part.
    """
    old, new = statistics.median(then), statistics.median(now)
    if abs(new - old) <= NOTABLE * abs(old):
        return ''
    if min(now) > max(then):
        return 'faster' if unit in RATES else 'slower'
    if max(now) < min(then):
        return 'slower' if unit in RATES else 'faster'
    return ''


def _ratio(new, old):
    return '%.2f' % (new / old) if old else '-'


def compare(now, then, titles=('now', 'then')):
    """Lines of a table of all figures that both have."""
    rows = [['', titles[0], titles[1], 'ratio', '']]
    for name, entry in now.items():
        other = then.get(name)
        if other and other['unit'] == entry['unit'] and entry['runs'] \
                and other['runs']:
            new = statistics.median(entry['runs'])
            old = statistics.median(other['runs'])
            rows.append(['%s, %s' % (name, entry['unit']), digits(new),
                         digits(old), _ratio(new, old),
                         verdict(entry['unit'], entry['runs'],
                                 other['runs'])])
    return table(rows) if len(rows) > 1 else ['nothing that both have']


class Targets:
    """What figures should be: at most, or at least for rates."""

    def __init__(self):
        self.rows = [['target', 'is', 'wanted', '']]
        self.missed = 0

    def limit(self, name, unit, value, limit):
        """One figure; a @value of None was not measured."""
        if value is None or limit is None:
            return
        met = value >= limit if unit in RATES else value <= limit
        self.missed += not met
        self.rows.append(['%s, %s' % (name, unit), digits(value),
                          ('>= ' if unit in RATES else '<= ') + digits(limit),
                          'met' if met else 'missed'])

    def show(self):
        """Lines of a table."""
        return table(self.rows) if len(self.rows) > 1 else []


def save(path, machine, result):
    """Write a run, to compare later ones with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'machine': machine, 'figures': result},
                               indent=1) + '\n')


def load(path, accelerator):
    """Figures of a stored run with the same accelerator.

    Runs of before the lab had a choice were emulated.
    """
    stored = json.loads(path.read_text())
    figures = stored.get('figures') if isinstance(stored, dict) else None
    if not isinstance(figures, dict):
        raise ValueError('%s holds no figures' % path)
    machine = stored.get('machine')
    theirs = machine.get('accelerator', 'tcg') \
        if isinstance(machine, dict) else 'tcg'
    if theirs != accelerator:
        raise ValueError('its guests had accelerator %s, those of this run'
                         ' have %s' % (theirs, accelerator))
    return figures
