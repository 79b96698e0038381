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
from nitro_lab import application

IMAGE = '/lab/net.eif'
SERVED, PCAP = '/run/served', '/tmp/net.pcap'
HTTP, FORWARD, ENDLESS = 8080, 8081, 8007
# slirp's names for the parent, and for the enclave
HOST, GUEST_ADDRESS = '10.0.2.2', '10.0.2.15'
NAME = 'parent.lab'

# What the program reports, as lines NAME=VALUE; then it serves what it got
PROGRAM = r'''
echo "address=$(ip -4 -o addr show eth0 | awk '{print $4}')"
echo "static=$(ip -6 addr show eth0 | grep -c fec1::15/64)"
echo "route=$(ip route | grep -c 'default via 10.0.2.2 dev eth0')"
echo "mac=$(cat /sys/class/net/eth0/address)"
echo "mtu=$(cat /sys/class/net/eth0/mtu)"
echo "resolv=$(cat /etc/resolv.conf)"
mkdir /srv
nslookup -type=a parent.lab > /tmp/found 2>&1
echo "name=$(awk '/^Address: / {print $2}' /tmp/found)"
nslookup other.lab > /dev/null 2>&1 || echo "other=unknown"
wget -q -O /srv/data http://parent.lab:8080/data
echo "hash=$(sha256sum < /srv/data | cut -d' ' -f1)"
until ip -6 addr show eth0 | grep -q 'inet6 fec0::'; do sleep 0.1; done
httpd -p 80 -h /srv
nc -ll -p 7 -e yes &
echo ready=yes
wait
'''


class Net(StreamTest):
    """nitro-net and the TAP device of nitro-init."""

    parent_mib = 640

    @classmethod
    def parent_files(cls):
        """The image."""
        return dict(super().parent_files(), **{IMAGE: application.image(
            'init-net', ['sh', '-c', PROGRAM], net='dhcp',
            net_mac='02:00:00:00:00:0a', net_address='fec1::15/64',
            net_mtu=1400)})

    def serve(self):
        """A name server and a web server of the parent; returns a hash."""
        data = random.Random(16).randbytes(4 << 20)
        self.parent.run(['mkdir', '-p', SERVED])
        self.parent.put(SERVED + '/data', data)
        self.parent.put('/etc/resolv.conf', b'nameserver 127.0.0.1\n')
        self.parent.spawn(['lab', 'dns', NAME, HOST]).wait_for('listening')
        self.parent.spawn(['httpd', '-f', '-p', '127.0.0.1:%d' % HTTP, '-h',
                           SERVED])
        return hashlib.sha256(data).hexdigest()

    def launch(self):
        """An enclave with a card."""
        forwards = ''.join(',hostfwd=tcp:127.0.0.1:%d-:%d' % pair
                           for pair in ((FORWARD, 80), (ENDLESS, 7)))
        return self.boot(
            '-netdev', 'user,id=net0' + forwards,
            '-device', 'nitro-net,netdev=net0,id=card',
            '-object', 'filter-dump,id=dump,netdev=net0,file=' + PCAP,
            '-chardev', 'file,id=out,path=' + LOG,
            '-device', 'nitro-agent,stdout=out', image=IMAGE,
            debug='off')

    def await_ready(self, times):
        """Wait until so many enclaves have reported; returns the lines."""
        self.wait_until(lambda: self.parent.get(LOG).count('ready=') >= times,
                        'the program to be ready')
        return dict(re.findall(r'^(\w+)=(.*)$', self.parent.get(LOG), re.M))

    def fetch(self):
        """Hash of what the enclave serves."""
        return self.parent.check(
            ['sh', '-c', 'wget -q -O- http://127.0.0.1:%d/data | sha256sum'
             % FORWARD]).split()[0]

    def network(self, launch):
        """What QEMU knows of the card."""
        return self.query(launch)['network']

    def end_in_traffic(self, launch):
        """Launch the enclave anew while it sends without end."""
        reader = self.parent.spawn(
            ['sh', '-c', 'exec nc 127.0.0.1 %d > /dev/null' % ENDLESS])
        before = self.network(launch)['sent']
        self.wait_until(lambda: self.network(launch)['sent'] > before + 500,
                        'traffic')
        launch.qmp.command('system_reset')
        self.await_ready(2)
        reader.signal(signal.SIGKILL)
        reader.wait()

    def test_network(self):
        """DNS, transfers of both directions, a server behind a forwarded
        port; another enclave after the first was ended in traffic."""
        expected = self.serve()
        launch = self.launch()
        self.assertEqual(self.await_ready(1), {
            'address': GUEST_ADDRESS + '/24', 'static': '1', 'route': '1',
            'mac': '02:00:00:00:00:0a', 'mtu': '1400',
            'resolv': 'nameserver 10.0.2.3', 'name': HOST,
            'other': 'unknown', 'hash': expected, 'ready': 'yes'})
        self.assertEqual(self.fetch(), expected)
        card = self.network(launch)
        self.assertEqual(
            (card['id'], card['netdev'], card['connected'],
             card['connections'], card['faults'], card['dropped']),
            ('card', 'net0', True, 1, 0, 0))
        text = launch.qmp.command('human-monitor-command',
                                  **{'command-line': 'info network'})
        self.assertIn('cid=%d' % launch.cid, text)
        self.assertGreater(int(self.parent.check(
            ['stat', '-c', '%s', PCAP])), len(expected))
        self.end_in_traffic(launch)
        self.assertEqual(self.fetch(), expected)
        card = self.network(launch)
        self.assertEqual((card['connections'], card['faults']), (1, 0))
        self.assertEqual(self.stop(launch), 0)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
