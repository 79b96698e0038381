#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: programs that know nothing of enclaves, under nitro-init."""

import tarfile
import tempfile
import time
from pathlib import Path

from nitro_parent import ScopedTest, only_wanted
from test_nitro_channels import LOG, SOCKET, StreamTest, channel
from nitro_lab import application, images, packages
from nitro_lab.application import (AGENT_PORT, ARG, ENV, EXITED, FATAL, GO,
                                   SIGNALLED, STDERR, STDOUT, STOP,
                                   AgentPeer)

AGENT = channel(AGENT_PORT, 'socket,path=%s,server=on,wait=off' % SOCKET,
                'direction=listen')

# What an application finds, as lines NAME=VALUE
LOOK = r'''
echo "user=$(id -u):$(id -g) $(id -G)"; echo "cwd=$(pwd)"
echo "home=$HOME"; echo "umask=$(umask)"; echo "files=$(ulimit -n)"
echo "name=$(hostname)"; echo "leader=$([ $$ = "$(cut -d' ' -f6 \
/proc/self/stat)" ] && echo yes)"
echo "lo=$(ifconfig lo | grep -c UP)"; echo "nics=$(ls /sys/class/net)"
echo "mounts=$(for d in /dev /proc /sys /run /tmp /dev/shm /dev/pts; do
grep -q " $d " /proc/mounts && echo -n "$d "; done)"
echo "tmp=$(stat -c %a /tmp)"; echo "fd=$(readlink /dev/stdout)"
echo "greeting=$GREETING"; date +time=%s
for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 1
echo "zombies=$(ps -o stat | grep -c Z)"
echo to-stderr >&2
exit 7
'''
# A day behind, before process 1 is nitro-init
YESTERDAY = '/busybox date -s @$(($(/busybox date +%s) - 86400))'
# More than ring and pipe hold, 10 bytes a line
FIRST, LINES = 100000000, 30000
FLOOD = 'echo begun > /dev/console; seq %d %d; echo flooded > /dev/console;' \
        ' echo end >&2; exec sleep 1000000' % (FIRST, FIRST + LINES - 1)
ALL = ''.join('%d\n' % (FIRST + number) for number in range(LINES))
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
# What a container's command finds
CONTAINER = 'echo "args=$0 $*"; echo "user=$(id -u)"; echo "cwd=$(pwd)"; ' \
            'echo "name=$(cat /etc/name)"; echo "gone=$(ls /etc/gone)"; ' \
            'echo "a=$A"; exit 9'


# What it finds in the layout aws
AWS_CONTAINER = 'echo "aws: a=$A user=$(id -u) root=$(ls -d /cmd /rootfs)' \
                ' hosts=$(grep -c ip6-all /etc/hosts)' \
                ' link=$(readlink /bin/busybox2)' \
                ' resolv=$(readlink /etc/resolv.conf)' \
                ' nsm=$(ls /dev/nsm)"'


def busybox_layer():
    """Entries of a layer: busybox and its names."""
    entry = application.tar_entry
    return [(entry('bin/busybox', 0o755), packages.busybox().read_bytes())] + [
        (entry('bin/' + name, 0o777, tarfile.SYMTYPE, 'busybox'), None)
        for name in images.applets() if name != 'busybox']


def container():
    """An image of a container with two layers, built by qemu-eif."""
    entry = application.tar_entry
    lower = busybox_layer()
    lower += [(entry('etc/name'), b'lower'), (entry('etc/gone'), b'')]
    upper = [(entry('etc/name'), b'upper'), (entry('etc/.wh.gone'), None),
             (entry('bin/busybox2', kind=tarfile.LNKTYPE,
                    link='bin/busybox'), None)]
    with tempfile.TemporaryDirectory(dir=images.LAB) as directory:
        layout = directory + '/layout'
        application.write_layout(layout, [lower, upper], {
            'Entrypoint': ['/bin/busybox2', 'sh', '-c', CONTAINER],
            'User': '1234', 'Cmd': ['replaced'], 'Env': ['A=two\nlines'],
            'WorkingDir': '/srv'})
        return application.container_image(layout, 'one', 'two words',
                                           name='init-container')


def aws_container():
    """An image with AWS's layout, whose init starts a container's command."""
    entry = application.tar_entry
    with tempfile.TemporaryDirectory(dir=images.LAB) as directory:
        blobs, layout = Path(directory) / 'blobs', directory + '/layout'
        blobs.mkdir()
        modules = application.aws_blobs(blobs)
        layer = busybox_layer() + [
            (entry('lib/modules/%02d-%s.ko' % (number, name)), data)
            for number, (name, data) in enumerate(modules)]
        layer += [(entry('etc/hosts'), b'replaced'),
                  (entry('bin/busybox2', kind=tarfile.LNKTYPE,
                         link='bin/busybox'), None)]
        application.write_layout(layout, [layer], {
            'Entrypoint': ['lost'], 'User': '1234', 'Env': ['A=two words'],
            'Cmd': ['busybox2', 'sh', '-c', AWS_CONTAINER]})
        return application.aws_image(layout, blobs)


# What it finds in a root that is a squashfs
SQUASHFS = 'echo "type=$(grep -c "^overlay / overlay" /proc/mounts)"; ' \
           'echo "root=$(stat -c %a:%u:%g /)"; ' \
           'echo "links=$(stat -c %h /bin/busybox)"; ' \
           'echo "su=$(stat -c %a /bin/su1)"; ' \
           'echo "old=$(cat /etc/old)"; echo new > /etc/old; ' \
           'rm /etc/gone; mkdir -p /a/b && touch /a/b/c; ' \
           'echo "new=$(cat /etc/old)"; echo "gone=$(ls /etc/gone)"; ' \
           'echo "made=$(ls /a/b)"; echo "user=$(id -u)"'


def squashfs_container():
    """An image whose files are in a squashfs."""
    entry = application.tar_entry
    root = entry('./', 0o751, tarfile.DIRTYPE, uid=7)
    layer = [(root, None)] + busybox_layer() + [
        (entry('bin/busybox2', kind=tarfile.LNKTYPE, link='bin/busybox'),
         None),
        (entry('bin/su1', 0o4755), b'su'), (entry('etc/old'), b'old'),
        (entry('etc/gone'), b'')]
    with tempfile.TemporaryDirectory(dir=images.LAB) as directory:
        layout = directory + '/layout'
        application.write_layout(layout, [layer], {
            'Cmd': ['/bin/sh', '-c', SQUASHFS]})
        return application.container_image(layout, name='init-squashfs',
                                           root='squashfs')


class Init(StreamTest):
    """nitro-init: what an application gets, and what its end looks like."""

    parent_mib = 640

    @classmethod
    def parent_files(cls):
        """The images of all scenarios."""
        aws, cls.aws_remarks = aws_container()
        plain = container()
        cls.container_mib = application.minimum_memory(plain)
        return dict(super().parent_files(), **{
            '/lab/look.eif': application.image(
                'init-look', ['sh', '-c', LOOK], user='web', cwd='/srv/www',
                umask='027', hostname='box', env='GREETING=hello world',
                allow_env='A', linger=1, before=YESTERDAY),
            '/lab/drop.eif': application.image(
                'init-drop', ['sh', '-c', FLOOD], console='off'),
            '/lab/block.eif': application.image(
                'init-block', ['sh', '-c', FLOOD], console='off',
                output='block'),
            '/lab/stubborn.eif': application.image(
                'init-stubborn', ['sh', '-c', STUBBORN], stop_grace=1),
            '/lab/added.eif': application.image(
                'init-added', ['sh', '-c', 'echo "a=$A"; echo "b=$B"; '
                               'echo "file=$(cat /etc/added)"; '
                               'echo "args=$*"; kill -USR1 $$', 'app'],
                allow_env='A', allow_file='/etc/added', allow_args='yes'),
            '/lab/container.eif': plain,
            '/lab/aws.eif': aws,
            '/lab/squashfs.eif': squashfs_container(),
            '/lab/missing.eif': application.image(
                'init-missing', ['/bin/missing']),
            '/lab/faulty.eif': application.image(
                'init-faulty', [], text='exec /bin/true\nexce /bin/true\n'),
            '/lab/typo.eif': application.image(
                'init-typo', ['/bin/true'], exce='/bin/true'),
        })

    def run_image(self, name, *more, **options):
        """Boot an image, and be the parent's end of its agent."""
        launch = self.boot(*AGENT, *more, image='/lab/%s.eif' % name,
                           **dict({'debug': 'off'}, **options))
        peer = AgentPeer(self.client())
        return launch, peer

    def await_state(self, peer, *wanted):
        """Wait until the agent has reported one of these states."""
        def look():
            peer.work()
            return peer.state in wanted
        self.wait_until(look, 'state %s of the application' % (wanted,))

    def test_size(self):
        """A program of less than 1 MiB, C library included."""
        self.assertLess(images.enclave_init().stat().st_size, 1 << 20)

    def test_surroundings(self):
        """User, directory, mounts, streams, exit status: in production.
        The parent's network is not there, as the image asks for none.  The
        clock, which was a day behind, is right."""
        begin = time.time()
        launch, peer = self.run_image('look', '-nic', 'user,model=nitro-net')
        peer.send(GO)
        self.await_state(peer, EXITED)
        self.assertEqual(peer.value, 7)
        found = peer.lines()
        zombies, now = found.pop('zombies'), int(found.pop('time'))
        self.assertEqual(found, {
            'user': '1000:1001 1001 1005', 'cwd': '/srv/www', 'home': '/srv',
            'umask': '0027', 'files': '65536', 'name': 'box',
            'leader': 'yes', 'lo': '1', 'nics': 'lo',
            'greeting': 'hello world',
            'mounts': '/dev /proc /sys /run /tmp /dev/shm /dev/pts ',
            'tmp': '1777', 'fd': '/proc/self/fd/1'})
        self.assertEqual(zombies, '0')
        self.assertTrue(begin - 5 < now < time.time() + 5, now - begin)
        self.assertEqual(peer.stream(STDERR), 'to-stderr\n')
        self.end(launch)

    def test_powerdown(self):
        """A program that ignores its stop signal is killed; nitro-agent has
        its output, and QEMU its status."""
        launch = self.boot('-chardev', 'file,id=out,path=' + LOG, '-device',
                           'nitro-agent,stdout=out,exit-status=app',
                           image='/lab/stubborn.eif', debug='off')
        self.wait_until(lambda: self.parent.get(LOG) == 'ready\n', 'output')
        application = self.query(launch)['application']
        self.assertEqual(
            (application['state'], application['stdout-bytes'],
             application['connected']), ('running', 6, True))
        launch.qmp.command('system_powerdown')
        data = launch.qmp.wait_event('NITRO_ENCLAVE_EXITED')['data']
        self.assertEqual((data['cause'], data['application']['state'],
                          data['application']['signal']),
                         ('ended', 'signalled', 9))
        self.end(launch, status=128 + 9)

    def test_additions(self):
        """What the parent adds is taken where the configuration allows it."""
        launch, peer = self.run_image('added')
        peer.addition(ENV, 'A=from the parent')
        peer.addition(ENV, 'B=not allowed')
        peer.file('/etc/added', b'content')
        peer.file('/etc/passwd', b'')
        peer.addition(ARG, 'one more')
        peer.send(GO)
        self.await_state(peer, SIGNALLED)
        self.assertEqual(peer.value, 10)
        self.assertEqual(peer.lines(), {
            'a': 'from the parent', 'b': '', 'file': 'content',
            'args': 'one more'})
        self.assertEqual([text.split(':')[0] for text in peer.refused],
                         ["'B'", "'/etc/passwd'"])
        self.end(launch)

    def test_missing_program(self):
        """A program that is not there is fatal, with the reason."""
        launch, peer = self.run_image('missing')
        self.await_state(peer, FATAL)
        self.assertIn("cannot run '/bin/missing': No such file", peer.text)
        self.end(launch)

    def test_container(self):
        """A container's command runs, in the memory that its image needs."""
        launch, peer = self.run_image('container', mib=self.container_mib)
        self.await_state(peer, EXITED)
        self.assertEqual(peer.value, 9)
        self.assertEqual(peer.lines(), {
            'args': 'one two words', 'user': '1234', 'cwd': '/srv',
            'name': 'upper', 'gone': '', 'a': 'two'})
        self.assertIn('lines\n', peer.stream(STDOUT))
        self.end(launch)

    def test_squashfs(self):
        """A root in a squashfs can be written to, and keeps what it has."""
        launch, peer = self.run_image('squashfs')
        self.await_state(peer, EXITED)
        self.assertEqual(peer.lines(), {
            'type': '1', 'root': '751:7:0', 'links': '2', 'su': '4755',
            'old': 'old', 'new': 'new', 'gone': '', 'made': 'c',
            'user': '0'})
        self.assertEqual(peer.value, 0)
        self.end(launch)

    def test_aws_layout(self):
        """AWS's layout boots with an init of the same shape as AWS's."""
        self.assertIn('Entrypoint is lost', self.aws_remarks)
        self.assertIn('User, WorkingDir and StopSignal', self.aws_remarks)
        launch = self.boot(image='/lab/aws.eif')
        self.console(launch, 'aws: a=two words user=0 root= hosts=2'
                     ' link=busybox resolv=/run/resolvconf/resolv.conf'
                     ' nsm=/dev/nsm')
        launch.job.wait()

    def late(self):
        """An agent's peer that comes now, without QEMU."""
        job = self.parent.spawn(['lab', 'vsock', 'listen', str(AGENT_PORT)])
        peer = AgentPeer(job)
        peer.used = job.wait_for(r'accepted cid \d+\n').end()
        return peer

    def check_order(self, peer, begin):
        """All from position @begin on, each byte once, in order; then the
        signal that ends the application."""
        def look():
            peer.work()
            return peer.stream(STDERR)
        self.wait_until(look, 'the last output')
        self.assertEqual(peer.output[0][0], begin)
        for position, stream, data in peer.output:
            self.assertEqual((position, stream), (
                begin, STDERR if begin >= len(ALL) else STDOUT))
            begin += len(data)
        self.assertEqual(begin, len(ALL) + len('end\n'))
        self.assertEqual(peer.stream(STDERR), 'end\n')
        self.assertTrue(ALL.endswith(peer.stream(STDOUT)))
        peer.send(STOP)
        self.await_state(peer, SIGNALLED)
        self.assertEqual(peer.value, 15)

    def test_dropped(self):
        """While nobody reads the oldest output goes, and is counted."""
        launch = self.boot(image='/lab/drop.eif')
        self.console(launch, 'flooded')
        peer = self.late()
        self.wait_until(lambda: peer.work() or peer.output, 'output')
        self.check_order(peer, peer.output[0][0])
        kept = len(peer.stream(STDOUT))
        self.assertTrue(100 << 10 < kept < 128 << 10, kept)
        self.end(launch)

    def test_blocked(self):
        """The application waits for a reader, who gets all of its output."""
        launch = self.boot(image='/lab/block.eif')
        self.console(launch, 'begun')
        self.assertNotIn('flooded', launch.job.text())
        self.check_order(self.late(), 0)
        self.console(launch, 'flooded')
        self.end(launch)

    def test_without_agent(self):
        """Without an agent's peer the application runs all the same."""
        launch = self.boot(image='/lab/look.eif')
        # More than a day on a machine without a clock of its own
        self.console(launch, r'nitro-init: clock stepped by \+\d{8,} ms')
        self.console(launch, "no word of the agent's peer within 5000 ms")
        self.console(launch, 'greeting=hello world')
        self.console(launch, 'nitro-init: the application has exited with'
                     ' status 7')
        self.end(launch)

    def test_faulty_configuration(self):
        """A mistake in the configuration names its line on the console."""
        launch = self.start(self.arguments(image='/lab/faulty.eif'))
        self.console(launch, "nitro-init: /nitro/config: line 2, 'exce':"
                     " unknown key")
        launch.job.wait()

    def test_faulty_in_production(self):
        """Without a console the agent's peer gets the mistake."""
        launch = self.start(self.arguments(*AGENT, image='/lab/typo.eif',
                                           debug='off'))
        peer = AgentPeer(self.client())
        self.await_state(peer, FATAL)
        self.assertRegex(peer.text, r"/nitro/config: line \d+, 'exce':"
                         ' unknown key')
        launch.job.wait()


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
