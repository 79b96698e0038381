#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: the network of a program that knows nothing of enclaves."""

import hashlib
import random
import re
import signal

from nitro_parent import ScopedTest, only_wanted
from test_nitro_channels import LOG, StreamTest
from nitro_lab import application, images, passt
from nitro_lab.patience import PATIENCE

IMAGE, STATIC = '/lab/net.eif', '/lab/static.eif'
SERVED, PCAP = '/run/served', '/tmp/net.pcap'
HTTP, FORWARD, ENDLESS, ECHO, NAMES = 8080, 8081, 8007, 8009, 8053
# slirp's names for the parent, and for the enclave
HOST, HOST6, GUEST_ADDRESS = '10.0.2.2', 'fec0::2', '10.0.2.15'
NAME, OTHER_NAME, OTHER_ADDRESS = 'parent.lab', 'enclave.lab', '10.9.8.7'
# The network on a tap
OURS, THEIRS, OURS6, THEIRS6 = '10.9.0.1', '10.9.0.2', 'fd09::1', 'fd09::2'
LARGE_MTU = 65520
THEIR_MAC, CARDS_MAC = '02:00:00:00:00:0a', '52:54:00:12:34:56'
BYTES = 4 << 20
# One after another, and at once
CONNECTIONS, AT_ONCE = 450, 50
PASST_SOCKET = '/tmp/passt.sock'

# What the program reports, as lines NAME=VALUE; then it serves
PROGRAM = r'''
mtu=$(cat /sys/class/net/eth0/mtu)
echo "address=$(ip -4 -o addr show eth0 | awk '{print $4}')"
echo "static=$(ip -6 addr show eth0 | grep -c fec1::15/64)"
echo "route=$(ip route | awk '/^default/ {print $3}')"
echo "mac=$(cat /sys/class/net/eth0/address)"
echo "mtu=$mtu"
echo "resolv=$(cat /etc/resolv.conf)"
mkdir /srv

name()
{
    nslookup -type=a "$@" 2>&1 | awk '/^Address: / {print $2}'
}

slirp()
{
    echo "name=$(name parent.lab)"
    echo "direct=$(name parent.lab 10.0.2.2)"
    nslookup other.lab > /dev/null 2>&1 || echo "other=unknown"
    wget -q -O /srv/data http://parent.lab:8080/data
    until ip -6 addr show eth0 | grep -q 'inet6 fec0::'; do sleep 0.1; done
    echo "six=$(wget -q -O- 'http://[fec0::2]:8080/data' | sha256sum |
        cut -d' ' -f1)"
}

if [ "$mtu" = 1500 ]; then
    slirp
else
    head -c 4194304 /dev/urandom > /srv/data
fi
echo "hash=$(sha256sum < /srv/data | cut -d' ' -f1)"
lab dns enclave.lab 10.9.8.7 0.0.0.0 > /tmp/dns &
lab tcp serve 9 > /tmp/echo &
nc -ll -p 7 -e yes &
httpd -p 80 -h /srv
until [ -s /tmp/dns ] && [ -s /tmp/echo ]; do sleep 0.1; done
echo ready=yes
wait
'''


def tree():
    """The application: busybox, and the tool of the lab."""
    files = application.busybox_tree()
    files.file(application.ROOT + '/bin/lab', images.guest_tool(), 0o755)
    return files


class Net(StreamTest):
    """nitro-net and the TAP device of nitro-init."""

    parent_mib = 640

    @classmethod
    def parent_files(cls):
        """Images, and passt."""
        command = ['sh', '-c', PROGRAM]
        return {
            **super().parent_files(), **passt.files(),
            IMAGE: application.image(
                'init-net', command, tree(), net='dhcp',
                net_address='fec1::15/64', net_wait=PATIENCE),
            STATIC: application.image(
                'init-static', command, tree(), net='static',
                net_address=[THEIRS + '/24', THEIRS6 + '/64'],
                net_gateway=OURS, net_dns=OURS, net_mtu=LARGE_MTU,
                net_mac=THEIR_MAC)}

    # In the parent

    def serve(self):
        """A name server and a web server of the parent; returns a hash."""
        data = random.Random(16).randbytes(BYTES)
        self.parent.run(['mkdir', '-p', SERVED])
        self.parent.put(SERVED + '/data', data)
        self.parent.put('/etc/resolv.conf', b'nameserver 127.0.0.1\n')
        self.parent.spawn(['lab', 'dns', NAME, HOST]).wait_for('listening')
        for address in '127.0.0.1', '[::1]':
            self.parent.spawn(['httpd', '-f', '-h', SERVED, '-p',
                               '%s:%d' % (address, HTTP)])
        return hashlib.sha256(data).hexdigest()

    def launch(self, image, netdev, *more):
        """An enclave with a card."""
        self.parent.run(['rm', '-f', LOG])
        return self.boot(
            '-netdev', netdev + ',id=net0',
            '-device', 'nitro-net,netdev=net0,id=card',
            '-chardev', 'file,id=out,path=' + LOG,
            '-device', 'nitro-agent,stdout=out', *more, image=image,
            debug='off')

    def launch_user(self):
        """One behind slirp, with ports of the parent that lead to it."""
        forwards = [('tcp', FORWARD, 80), ('tcp', ENDLESS, 7),
                    ('tcp', ECHO, 9), ('udp', NAMES, 53)]
        return self.launch(IMAGE, 'user' + ''.join(
            ',hostfwd=%s:127.0.0.1:%d-:%d' % forward for forward in forwards),
            '-object', 'filter-dump,id=dump,netdev=net0,file=' + PCAP)

    def launch_tap(self):
        """One whose network is an interface of the parent."""
        self.parent.check(['modprobe', 'tun'])
        launch = self.launch(
            STATIC, 'tap,ifname=tap0,script=no,downscript=no')
        self.parent.check(
            'echo 0 > /proc/sys/net/ipv6/conf/tap0/accept_dad'
            ' && ip addr add %s/24 dev tap0 && ip addr add %s/64 dev tap0'
            ' && ip link set tap0 mtu %d up' % (OURS, OURS6, LARGE_MTU))
        return launch

    def launch_passt(self):
        """One behind passt, which ends with its connection."""
        self.parent.run(['rm', '-f', PASST_SOCKET])
        job = self.parent.spawn(passt.command(
            '--one-off', '--socket', PASST_SOCKET, '--tcp-ports',
            '%d:80' % FORWARD))
        job.wait_for('socket bound', errors=True)
        return job, self.launch(
            IMAGE, 'stream,addr.type=unix,addr.path=' + PASST_SOCKET)

    def await_ready(self):
        """Wait until the enclave has reported; returns the lines."""
        self.wait_until(lambda: 'ready=' in self.parent.get(LOG),
                        'the program to be ready')
        return dict(re.findall(r'^(\w+)=(.*)$', self.parent.get(LOG), re.M))

    def fetch(self, server='127.0.0.1:%d' % FORWARD):
        """Hash of what the enclave serves."""
        return self.parent.check(
            ['sh', '-c', 'wget -q -O- http://%s/data | sha256sum'
             % server]).split()[0]

    def network(self, launch):
        """What QEMU knows of the card."""
        return self.query(launch)['network']

    def assert_intact(self, launch):
        """One connection served all, and nothing of it was bad."""
        card = self.network(launch)
        self.assertEqual(
            (card['id'], card['netdev'], card['connected'],
             card['connections'], card['faults']),
            ('card', 'net0', True, 1, 0))

    # Parts of the scenario

    def use_user(self, launch, expected):
        """TCP and UDP from and to an enclave behind slirp."""
        self.assertEqual(self.await_ready(), {
            'address': GUEST_ADDRESS + '/24', 'static': '1', 'route': HOST,
            'mac': CARDS_MAC, 'mtu': '1500',
            'resolv': 'nameserver 10.0.2.3', 'name': HOST, 'direct': HOST,
            'other': 'unknown', 'six': expected, 'hash': expected,
            'ready': 'yes'})
        self.assertEqual(self.fetch(), expected)
        self.assertIn(OTHER_ADDRESS, self.parent.check(
            ['nslookup', '-type=a', OTHER_NAME, '127.0.0.1:%d' % NAMES]))
        for count, width in (CONNECTIONS, 1), (AT_ONCE, AT_ONCE):
            self.assertIn('%d of %d' % (count, count), self.parent.check(
                ['lab', 'tcp', 'many', '127.0.0.1', ECHO, count, width]))
        self.assert_intact(launch)
        self.assertEqual(self.network(launch)['dropped'], 0)
        text = launch.qmp.command('human-monitor-command',
                                  **{'command-line': 'info network'})
        self.assertIn('cid=%d' % launch.cid, text)
        self.assertGreater(int(self.parent.check(
            ['stat', '-c', '%s', PCAP])), 3 * BYTES)

    def relaunch(self, launch):
        """Another launch has the same address, to which ports lead."""
        launch.qmp.command('system_reset')
        self.wait_until(lambda: self.parent.get(LOG).count('ready=') > 1,
                        'the program to be ready again')
        said = self.parent.get(LOG).rpartition('address=')[2]
        self.assertEqual(said.split()[0], GUEST_ADDRESS + '/24')
        self.assertEqual(self.parent.check(
            ['lab', 'tcp', 'many', '127.0.0.1', ECHO, 1, 1]).split()[0], '1')

    def kill_in_traffic(self, launch):
        """SIGKILL of the launcher while the enclave sends without end."""
        reader = self.parent.spawn(
            ['sh', '-c', 'exec nc 127.0.0.1 %d > /dev/null' % ENDLESS])
        before = self.network(launch)['sent']
        self.wait_until(lambda: self.network(launch)['sent'] > before + 500,
                        'traffic')
        self.assertEqual(self.stop(launch, signal.SIGKILL), -signal.SIGKILL)
        reader.wait()

    def use_tap(self, launch):
        """Large packets of both families."""
        said = self.await_ready()
        self.assertEqual(
            [said[name]
             for name in ('address', 'route', 'mac', 'mtu', 'resolv')],
            [THEIRS + '/24', OURS, THEIR_MAC, str(LARGE_MTU),
             'nameserver ' + OURS])
        for address in THEIRS, THEIRS6:
            self.parent.check(['ping', '-c', '1', '-s', '60000', address])
        before = self.network(launch)['sent']
        self.assertEqual(self.fetch(THEIRS), said['hash'])
        # With 1500 bytes there would be 2,800 of them
        self.assertLess(self.network(launch)['sent'] - before, 1000)
        self.assertEqual(self.fetch('[%s]' % THEIRS6), said['hash'])
        self.assert_intact(launch)
        self.assertEqual(self.stop(launch), 0)

    def use_passt(self, launch, job):
        """What its DHCP server says is used, MTU included."""
        said = self.await_ready()
        self.assertEqual(said['mtu'], str(LARGE_MTU))
        self.assertIn(said['route'], job.text())
        self.assertEqual(self.fetch(), said['hash'])
        self.assert_intact(launch)
        self.assertEqual(self.stop(launch), 0)
        self.assertEqual(job.wait(), 0, job.text())

    def test_network(self):
        """Enclaves behind slirp, a tap and passt; the first one is killed in
        traffic."""
        expected = self.serve()
        launch = self.launch_user()
        self.use_user(launch, expected)
        self.relaunch(launch)
        self.kill_in_traffic(launch)
        self.use_tap(self.launch_tap())
        job, launch = self.launch_passt()
        self.use_passt(launch, job)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
