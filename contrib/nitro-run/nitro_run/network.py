# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""The network of a program, and the ports at which it is reached: run --net
and -p.

The card is QEMU's nitro-net; the image asks for its other end.
"""

import argparse
import contextlib
import errno
import ipaddress
import mmap
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

from .common import RunError, die_with_parent, escaped
from .driver import DEVICE
from .options import values_of

NONE, USER, PASST, TAP = 'none', 'user', 'passt', 'tap='
LOOPBACK, ANYWHERE = '127.0.0.1', '0.0.0.0'
NET_PORT = 9002         # of nitro-init, unless it is configured otherwise
# QEMU's user network forwards the ports of -p to one of its addresses
USER_ADDRESS = '10.0.2.15/24'
USER_NETWORK = ipaddress.ip_network('10.0.2.0/24')
DEVICES = Path('/sys/class/net')
KINDS = {'tcp': socket.SOCK_STREAM, 'udp': socket.SOCK_DGRAM}
PORT = re.compile(r'(?:(?:(?P<address>[0-9.]+):)?(?P<outer>[0-9]{1,5}):)?'
                  r'(?P<inner>[0-9]{1,5})(?:/(?P<kind>tcp|udp))?', re.A)
# Header and name of a file in a ramdisk: the seventh number is its size
CONFIG = re.compile(b'07070[12](?:[0-9a-fA-F]{8}){6}([0-9a-fA-F]{8})'
                    b'(?:[0-9a-fA-F]{8}){6}nitro/config\0')
HINTS = {errno.EADDRINUSE: 'end what uses it (ss -lp), or choose another port',
         errno.EACCES: 'ports below 1024 are for root: choose another one',
         errno.EAFNOSUPPORT: 'allow AF_INET in the service, profile or'
                             ' container',
         errno.EADDRNOTAVAIL: 'give an address of this machine'}


class Port(NamedTuple):
    """A port of this machine that leads to one of the program."""

    address: str
    outer: int
    inner: int
    kind: str

    def __str__(self):
        return f'{self.address}:{self.outer}->{self.inner}/{self.kind}'

    def option(self):
        """The same as a value of -p."""
        return f'{self.address}:{self.outer}:{self.inner}/{self.kind}'

    def meets(self, other):
        """Would both listen at the same place?"""
        return (self.outer, self.kind) == (other.outer, other.kind) and (
            self.address == other.address
            or ANYWHERE in (self.address, other.address))

    def check_free(self):
        """Refuse one at which nobody can listen."""
        try:
            self._listen()
        except OSError as error:
            raise RunError(
                f'-p {self.option()}: cannot listen on {self.kind} port'
                f' {self.outer} of {self.address}: {error.strerror}',
                HINTS.get(error.errno)) from error

    def _listen(self):
        """As QEMU does it, and no longer."""
        with socket.socket(socket.AF_INET, KINDS[self.kind]) as sock:
            if self.kind == 'tcp':
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.address, self.outer))
            if self.kind == 'tcp':
                sock.listen()


def port(text):
    """A value of -p."""
    found = PORT.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a port: use PORT, HOSTPORT:PORT or"
            ' ADDRESS:HOSTPORT:PORT, with /udp behind if it is not tcp, one'
            ' port at a time; addresses are those of IPv4')
    address = found['address'] or LOOPBACK
    with contextlib.suppress(OSError):
        # Not inet_aton, which takes 127.1 as well
        socket.inet_pton(socket.AF_INET, address)
        made = Port(address, int(found['outer'] or found['inner']),
                    int(found['inner']), found['kind'] or 'tcp')
        if all(0 < number < 65536 for number in made[1:3]):
            return made
    raise argparse.ArgumentTypeError(
        f"'{text}': ports are 1 to 65535, addresses such as {LOOPBACK}")


def network(text):
    """A value of --net."""
    if text in (NONE, USER, PASST) or re.fullmatch(r'tap=[^/\s]{1,15}', text):
        return text
    raise argparse.ArgumentTypeError(
        f"'{text}' is not a network: use none, user, passt or tap=NAME")


def add_options(parser):
    """Options of run."""
    parser.add_argument('-p', '--publish', action='append', default=[],
                        type=port, metavar='[[ADDRESS:]PORT:]PORT[/udp]',
                        help='a port of this machine (of its loopback'
                        ' address) that leads to one of the program; can be'
                        ' repeated')
    parser.add_argument('--net', type=network, metavar='none|user|passt|'
                        'tap=NAME', help='network of the program (none; with'
                        ' -p user)')
    # In the lab: where its parent listens
    parser.add_argument('--listen', help=argparse.SUPPRESS)


def _check_tap(name):
    """Refuse a TAP device that this user cannot have."""
    place = DEVICES / name
    make = f'make it: ip tuntap add {name} mode tap user {os.getuid()}'
    if not (place / 'tun_flags').exists():
        what = 'is not a TAP device' if place.exists() else 'does not exist'
        raise RunError(f'--net tap={name}: {name} {what}', make)
    owner = int((place / 'owner').read_text())
    if os.getuid() not in (0, owner):
        raise RunError(f'--net tap={name}: {name} is not for user'
                       f' {os.getuid()}', 'remove it, and ' + make)


def check(args):
    """Complete the options, and refuse what cannot be, before anything is
    built or started."""
    ports = args.publish
    if args.net is None:
        args.net = USER if ports else NONE
    if ports and args.net not in (USER, PASST):
        raise RunError(f'-p needs a network of its own, not --net {args.net}',
                       'leave --net out')
    for number, one in enumerate(ports):
        if any(one.meets(other) for other in ports[:number]):
            raise RunError(f'-p {one.option()}: another -p has that port of'
                           ' this machine', 'choose another port')
    if not os.path.exists(DEVICE):
        if args.net not in (NONE, USER):
            raise RunError(f'--net {args.net}: there is no {DEVICE}, and the'
                           ' lab has --net user only', 'use that')
    elif args.net.startswith(TAP):
        _check_tap(args.net[len(TAP):])
    for one in ports:
        at(one, args).check_free()


def at(one, args):
    """A port at the address where this machine listens.

    The lab's parent has another one than the laptop around it.
    """
    return one._replace(address=args.listen or one.address)


def settings(args, given=''):
    """A line of nitro-init for the network, unless one was @given."""
    if args.net == NONE or values_of('net', given):
        return ''
    return 'net dhcp\n'


def _configuration(path):
    """Lines of nitro-init in an image; None for another init, or a ramdisk
    that is compressed."""
    with open(path, 'rb') as file, \
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = CONFIG.search(data)
        if not found:
            return None
        begin = found.start() - (found.start() - found.end()) // 4 * 4
        return data[begin:begin + int(found[1], 16)].decode(errors='replace')


def _last(key, lines, default):
    return (values_of(key, lines) or [default])[-1]


def _wish(args):
    """The option that asks for the card."""
    return f'-p {args.publish[0].option()}' if args.publish \
        else f'--net {args.net}'


def _addresses(lines):
    """What `net static` gives the enclave."""
    return values_of('net-address', lines) \
        if _last('net', lines, 'off') == 'static' else []


def _targets(args, lines):
    """Of these, those to which -p can lead."""
    for address in _addresses(lines):
        with contextlib.suppress(ValueError):
            host = ipaddress.IPv4Interface(address).ip
            if args.net != USER or host in USER_NETWORK:
                yield str(host)


def _check_addresses(args, lines, name, where):
    """Refuse -p where nothing has an address to which it leads."""
    addresses = _addresses(lines)
    if not args.publish or not addresses or any(_targets(args, lines)):
        return
    network = f' in {USER_NETWORK}' if args.net == USER else ''
    raise RunError(f'{name} has only the address {", ".join(addresses)}, so'
                   f' {_wish(args)}, which leads to an IPv4 address{network},'
                   ' leads nowhere', f"add a line 'net-address {USER_ADDRESS}'"
                   f" {where}, or have 'net dhcp' there")


def check_settings(args, given):
    """Refuse settings of the user, for an image that is built, with which it
    would not use the card; @given: their text."""
    if args.net == NONE:
        return
    name = f'{args.source} with --settings {args.settings}'
    if _last('net', given, '') == 'off':
        raise RunError(f"{name} has 'net off', so {_wish(args)} leads nowhere",
                       f"make that 'net dhcp' in {args.settings}, or leave"
                       f' {"-p" if args.publish else "--net"} out')
    _check_addresses(args, given, name, f'to {args.settings}')


def check_image(args):
    """Refuse an image that would not use the card."""
    if args.net == NONE:
        return
    lines = _configuration(args.source)
    if lines is None:
        return
    # In the lab's parent the source is a copy
    name = args.origin or args.source
    if _last('net', lines, 'off') == 'off':
        raise RunError(f'{name} has no network in its measured configuration,'
                       f' so {_wish(args)} leads nowhere',
                       "build it with a line 'net dhcp' (qemu-eif build"
                       ' --settings), or give the container image')
    _check_addresses(args, lines, name, 'to its settings (qemu-eif build'
                     ' --settings)')


def _backend(args, lines, descriptor):
    """Value of -netdev, for an image with these lines."""
    if args.net == USER:
        # Without an address it is the first one that DHCP gives
        guest = next(_targets(args, lines), '')
        return 'user,id=net0' + ''.join(
            f',hostfwd={one.kind}:{one.address}:{one.outer}'
            f'-{guest}:{one.inner}'
            for one in (at(one, args) for one in args.publish))
    if args.net == PASST:
        return f'stream,id=net0,server=off,addr.type=fd,addr.str={descriptor}'
    return ('tap,id=net0,script=no,downscript=no,ifname='
            + escaped(args.net[len(TAP):]))


def _passt(args, descriptor):
    """Start passt, which ends with its connection."""
    words = ['passt', '--foreground', '--quiet', '--fd', str(descriptor)]
    for kind in KINDS:
        rules = [f'{one.address}/{one.outer}:{one.inner}'
                 for one in args.publish if one.kind == kind]
        for rule in rules or ['none']:
            words += [f'-{kind[0]}', rule]
    try:
        return subprocess.Popen(
            words, pass_fds=[descriptor], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=die_with_parent)
    except OSError as error:
        raise RunError(f'--net passt: cannot run passt: {error.strerror}',
                       'install it (apt-get install passt), or use --net'
                       ' user') from error


@contextlib.contextmanager
def card(args):
    """Options of QEMU for the card, and descriptors that it needs."""
    if args.net == NONE:
        yield [], []
        return
    # The number is a part of the image
    lines = _configuration(args.eif_path) or ''
    port_number = _last('net-port', lines, NET_PORT)
    with contextlib.ExitStack() as stack:
        descriptors = []
        if args.net == PASST:
            ours, theirs = map(stack.enter_context, socket.socketpair())
            descriptors = [ours.fileno()]
            with theirs:
                helper = _passt(args, theirs.fileno())
            stack.callback(helper.wait)
            stack.callback(helper.terminate)
        device = f'nitro-net,netdev=net0,port={escaped(port_number)}'
        yield ['-netdev', _backend(args, lines, *descriptors or [0]), '-device',
               device], descriptors
