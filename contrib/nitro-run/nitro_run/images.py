# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""nitro-run images and prune: what run has built."""

import time

from .common import print_json
from .store import MIB, Store

ID_DIGITS = 12


def images(args):
    """List them, the last used first."""
    found = [image.info() for image in Store().images()]
    if args.json:
        print_json(found)
        return 0
    print(f'{"ID":<{ID_DIGITS}}  {"LAST USED":<16}  {"MIB":>6}  SOURCE')
    for info in found:
        used = time.strftime('%Y-%m-%d %H:%M',
                             time.localtime(info['LastUsed']))
        words = [str(info.get('Source')), *map(str, info.get('Arguments')
                                               or [])]
        print(f'{info["ID"][:ID_DIGITS]}  {used}  '
              f'{-(-info["Size"] // MIB):>6}  {" ".join(words)}')
    return 0


def prune(_args):
    """Remove those that are not being launched or run."""
    number, size = Store().prune()
    print(f'{number} images removed, {-(-size // MIB)} MiB')
    return 0
