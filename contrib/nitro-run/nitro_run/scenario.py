# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""A scenario of the selftest: what it needs, and what has come of it."""

import time
from dataclasses import dataclass

from .driver import error_name

PASSED, FAILED, SKIPPED = 'passed', 'failed', 'skipped'


class Failure(Exception):
    """It went otherwise than it should; found may have Errno or Status."""

    def __init__(self, reason, **found):
        super().__init__(reason)
        self.found = found


class Skip(Exception):
    """It cannot run here, and why."""


@dataclass
class Scenario:
    """@run: called with the bench, returns what was found, as a dict.

    @cpus, @mib: of the pool, free.  @quick: belongs to the quick part.
    """

    name: str
    run: object
    cpus: int = 0
    mib: int = 0
    quick: bool = True

    def outcome(self, bench):
        """Run it: a row of the report."""
        begun, reason = time.monotonic(), None
        try:
            bench.require(self.cpus, self.mib)
            found, what = self.run(bench) or {}, PASSED
        except Skip as skip:
            found, what, reason = {}, SKIPPED, str(skip)
        except Failure as failure:
            found, what, reason = failure.found, FAILED, str(failure)
        except Exception as error:      # pylint: disable=broad-except
            # Whatever it is, it must not cost the rest of the report
            found, what, reason = {}, FAILED, describe(error)
        row = {'Name': self.name, 'Outcome': what, **found,
               'Seconds': round(time.monotonic() - begun, 3)}
        return row if reason is None else {**row, 'Reason': reason}


def describe(error):
    """An exception in one line."""
    if isinstance(error, OSError) and error.errno is not None:
        return f'{error_name(error.errno)} (error {error.errno})'
    return f'{type(error).__name__}: ' + ' '.join(str(error).split())
