# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The EC2 instance that an emulated parent is."""

import contextlib
import os
import re
import secrets
import tempfile
from pathlib import Path

from . import words
from .arch import GUEST
from .config import LAB, LabError

VENDOR = 'Amazon EC2'
# In the form of an instance type; reports of a real instance name another one
PRODUCT = 'lab.xlarge'
FORM = re.compile(r'i-[0-9a-f]{8}([0-9a-f]{9})?')


def instance_id():
    """An id that is made up once per lab directory."""
    place = LAB / 'instance-id'
    if not place.exists():
        LAB.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile('w', dir=LAB) as made:
            made.write('i-%s\n' % secrets.token_hex(9)[:17])
            made.flush()
            # Of two labs at once the first has made it
            with contextlib.suppress(FileExistsError):
                os.link(made.name, place)
    return Path(place).read_text().strip()


def add_options(parser):
    """Options of a command about the parent."""
    env = os.environ.get
    parser.add_argument('--instance-id', type=words.text,
                        default=env('INSTANCE_ID') or None, metavar='ID',
                        help='instance id of the parent, which is in PCR4 (one'
                        ' made up for this lab)')
    parser.add_argument('--role', default=env('ROLE') or None,
                        type=words.text, metavar='ARN',
                        help='IAM role of the parent, which is in PCR3'
                        ' (none)')


def chosen(args):
    """What those options say, for a Parent."""
    if args.instance_id and not FORM.fullmatch(args.instance_id):
        raise LabError("'%s' is not an instance id" % args.instance_id,
                       'write i- and 17 hexadecimal digits')
    return {'instance_id': args.instance_id, 'role': args.role}


def dmi_options(name):
    """QEMU's options for what the firmware says of an instance.

    An arm64 parent boots without firmware, and has no DMI.
    """
    if GUEST.name != 'x86_64':
        return []
    return ['-smbios', 'type=0,vendor=' + VENDOR,
            '-smbios', 'type=1,manufacturer=%s,product=%s' % (VENDOR,
                                                              PRODUCT),
            '-smbios', 'type=2,manufacturer=%s,asset=%s' % (VENDOR, name),
            '-smbios', 'type=3,manufacturer=%s,asset=%s' % (VENDOR, VENDOR)]
