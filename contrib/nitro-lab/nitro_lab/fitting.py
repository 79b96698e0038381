# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Options that 'nitro-lab parent' and 'run' have in common, and the parent
that they make."""

from . import directories, equipment, instance, words
from .kms import place as kms
from .parent import Parent


def add_options(parser):
    """What a parent may have."""
    group = parser.add_argument_group(
        'the parent', 'What follows -- are options of its QEMU.')
    group.add_argument('--name', type=words.text,
                       help='for other terminals (made up)')
    group.add_argument('--file', action='append', default=[],
                       metavar='HOST[:GUEST]', help='copy a file or a'
                       ' directory into it (below /lab); may be repeated')
    group.add_argument('--share', action='append', default=[],
                       metavar='DIR[:GUEST]', help='share a directory with'
                       ' it, by virtiofs (below /mnt); may be repeated')
    group.add_argument('--disk', action='append', default=[], metavar='FILE',
                       type=words.text, help='a virtio disk, raw or qcow2;'
                       ' may be repeated')
    group.add_argument('--root', metavar='DIR|IMAGE', type=words.text,
                       help='root of a distribution in place of the lab\'s;'
                       ' it is not written to')
    group.add_argument('--threads', type=int, choices=(1, 2),
                       help='threads of a core (2; on arm64 1)')
    group.add_argument('--nodes', type=int, choices=(1, 2), default=1,
                       help='NUMA nodes (1); enclaves are on the last')
    group.add_argument('--gigantic', type=words.any_number, default=0,
                       metavar='N', help='huge pages of 1 GiB, in addition to pages'
                       ' of 2 MiB (0)')
    group.add_argument('--net', action='store_true', help="a network card"
                       " with access to this machine's network; exec --forward"
                       ' opens ports in the other direction')
    group.add_argument('--kms', action='store_true', help='connect its vsock port %d'
                       ' to the key service of the lab (nitro-lab kms)'
                       % kms.VSOCK_PORT)


def is_wanted(args):
    """Do the options ask for a parent that is not this machine?"""
    return bool(args.name or args.file or args.share or args.disk or args.root
                or args.threads or args.nodes > 1 or args.gigantic or args.net
                or args.kms or args.more or args.instance_id or args.role)


def fitted(args, cpus, memory_mib, files, **options):
    """The parent that the options ask for; not yet booted."""
    parts = equipment.Equipment(args.share, args.disk, args.root,
                                args.threads, args.nodes, args.gigantic,
                                args.net)
    files = equipment.files(args.file, files)
    parts.check_hidden(files)
    directories.clear()
    return Parent(
        cpus, memory_mib, files,
        directory=directories.named(args.name) if args.name else None,
        qemu_args=args.more, equipment=parts,
        proxied={kms.VSOCK_PORT: kms.connect} if args.kms else {},
        **instance.chosen(args), **options)
