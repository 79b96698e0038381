#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Scenarios: 'nitro-lab parent' and 'run' with all that they can be given.

One parent serves all that other terminals do: with another root, files, a
shared directory, a disk, cores of one thread and two NUMA nodes.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from nitro_parent import (DEMO, DEMO_MIB, POOL, ScopedTest, config, cpu_list,
                          eif, images, only_wanted, packages)

from nitro_lab import release
from nitro_lab.arch import GUEST, PROGRAM
from nitro_lab.patience import PATIENCE

LAB = config.TREE / 'contrib' / 'nitro-lab' / 'nitro-lab'
NAME = 'equipped-%d' % os.getpid()

# Starts an image that cannot boot
LAUNCHER = '''echo "$@"
cat /etc/release
%s -accel nitro,debug-mode=on -M nitro -nographic -smp "$3" -m "$2M" \\
    -kernel "$1"
exit 7
''' % PROGRAM


# What AWS's allocator service does as its host boots, with the same tools.
# Its script itself is not part of this distribution.
ALLOCATOR = r"""#!/bin/bash -e
export LC_ALL=C
config=/etc/nitro_enclaves/allocator.yaml
pool=/sys/module/nitro_enclaves/parameters/ne_cpus
nodes=/sys/devices/system/node
cpus=/sys/devices/system/cpu
value()
{
    grep -E "^$1:" $config | sed 's/[^:]*: *//; s/ *#.*//'
}
memory=$(value memory_mib)
count=$(value cpu_count)
modprobe nitro_enclaves

# CPUs of a former pool come back
if ! error=$( { echo > $pool; } 2>&1); then
    [[ $error != *"not permitted"* ]] || { echo "enclave running"; exit 1; }
fi
lscpu --parse=CPU,NODE | awk -F, '/^[0-9]/ { print $2, $1 }' > /tmp/cpus
threads=$(lscpu | awk -F: '/^Thread\(s\) per core/ { print $2 + 0 }')
(( count > 0 && count <= $(nproc) && count % threads == 0 ))

# Whole cores of a node, without that of CPU 0
cores_of()
{
    local siblings
    for cpu in $(awk -v node="$1" '$1 == node { print $2 }' /tmp/cpus); do
        siblings=$(< $cpus/cpu$cpu/topology/thread_siblings_list)
        [[ $siblings =~ ^0($|[,-]) ]] || echo "$siblings"
    done | sort -u | head -n $(( count / threads ))
}

# As many pages as fit, the largest first, the rest in smaller ones
reserve()
{
    local left=$(( memory * 1024 )) size file
    for file in "$nodes"/node"$1"/hugepages/*/nr_hugepages; do
        echo 0 > "$file"
    done
    for size in $(ls "$nodes"/node"$1"/hugepages |
            grep -o '[0-9]*' | sort -rn); do
        file=$nodes/node$1/hugepages/hugepages-${size}kB/nr_hugepages
        echo $(( left / size )) > "$file"
        left=$(( left - size * $(cat "$file") ))
    done
    (( left <= 0 ))
}

for node in $(awk '{ print $1 }' /tmp/cpus | sort -rnu); do
    mapfile -t cores < <(cores_of "$node")
    if (( ${#cores[@]} * threads == count )) && reserve "$node"; then
        list=$(IFS=,; echo "${cores[*]}")
        echo "$list" > $pool
        echo "node $node, CPUs $list"
        exit 0
    fi
done
echo "no node has $count CPUs and $memory MiB"
exit 1
"""
ALLOCATOR_CONFIG = """---
# Memory of all enclaves
memory_mib: 1280
cpu_count: 2
"""
NODE_PAGES = '/sys/devices/system/node/node1/hugepages'
RUN_ALLOCATOR = 'PATH=/usr/sbin:/usr/bin bash -e /tmp/allocator'
# Runs a command while a part of an enclave is there
WHILE_HELD = '''mkfifo /tmp/hold
lab ne create vcpu 0 hold < /tmp/hold > /tmp/held &
exec 3> /tmp/hold
until grep -q holding /tmp/held; do sleep 0.1; done
%s
status=$?
exec 3>&-
wait
exit $status
'''
# What scripts of an instance use
TOOLS = ('bash', 'coreutils', 'gawk', 'grep', 'kmod', 'sed', 'util-linux')
PROGRAMS = {'bash': ('bash',), 'gawk': ('gawk',), 'grep': ('grep',),
            'sed': ('sed',), 'util-linux': ('lscpu',), 'kmod': ('kmod',),
            'coreutils': ('cat', 'head', 'ls', 'nproc', 'sort')}


def make_tools(root):
    """The distribution's own tools, where its packages have them."""
    debian = release.Release('trixie', TOOLS, ())
    programs = ['usr/bin/' + name for names in PROGRAMS.values()
                for name in names]
    files = {name: debian.path(name) for name in programs}
    files.update(debian.libraries(list(files.values())))
    for name, path in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (root / 'usr/bin/awk').symlink_to('gawk')
    (root / 'usr/sbin').mkdir()
    for name in ('depmod', 'modprobe'):
        (root / 'usr/sbin' / name).symlink_to('../bin/kmod')
    (root / 'bin/bash').symlink_to('../usr/bin/bash')


def make_root(root):
    """A small root: a shell, and who is who."""
    for name in ('bin', 'etc', 'lib', 'usr'):
        (root / name).mkdir(parents=True)
    shutil.copy(packages.busybox(), root / 'bin' / 'busybox')
    for applet in images.applets():
        (root / 'bin' / applet).symlink_to('busybox')
    (root / 'etc' / 'passwd').write_text('root:x:0:0:root:/:/bin/sh\n')
    (root / 'etc' / 'group').write_text('root:x:0:\nne:x:123:\n')
    (root / 'etc' / 'release').write_text('another root\n')


def lab_words(*words, status=0):
    """Run the lab; what it printed, on both outputs."""
    run = subprocess.run([LAB, *words], stdin=subprocess.DEVNULL, check=False,
                         capture_output=True, text=True, errors='replace',
                         timeout=PATIENCE)
    if run.returncode != status:
        raise AssertionError('%s: status %d\n%s' % (
            words, run.returncode, (run.stdout + run.stderr)[-2000:]))
    return run.stdout, run.stderr


def lab(*words, **options):
    """Run the lab; what it printed."""
    return lab_words(*words, **options)[0]


def inside(script, **options):
    """Run a shell command in the parent."""
    return lab('exec', '--name', NAME, '--', 'sh', '-c', script, **options)


class Equipped(ScopedTest):
    """A parent that has everything."""

    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.top.cleanup)
        top = Path(cls.top.name)
        make_root(top / 'root')
        make_tools(top / 'root')
        (top / 'shared').mkdir()
        (top / 'shared' / 'from-host').write_text('hello\n')
        (top / 'disk').write_bytes(b'first bytes'.ljust(1 << 20, b'\0'))
        (top / 'given' / 'empty').mkdir(parents=True)
        (top / 'given' / 'link').symlink_to('program')
        (top / 'given' / 'program').write_text('#!/bin/sh\necho run\n')
        (top / 'given' / 'program').chmod(0o700)
        cls.parent = subprocess.Popen([
            LAB, 'parent', '--name', NAME, '--root', top / 'root',
            '--file', '%s:/etc/lab/' % __file__,
            '--file', '%s:/srv/tree' % (top / 'given'),
            '--share', '%s:/srv/shared' % (top / 'shared'),
            '--disk', top / 'disk', '--threads', '1', '--nodes', '2',
            '--mem', '256', '--gigantic', '1', '--',
            '-device', 'virtio-net-pci'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        cls.addClassCleanup(cls.end)
        # Its shell says when it is there
        cls.parent.stdin.write(b'echo ready\n')
        cls.parent.stdin.flush()
        if cls.parent.stdout.readline() != b'ready\n':
            raise AssertionError(cls.parent.stderr.read().decode())

    @classmethod
    def end(cls):
        """Whatever has become of it."""
        cls.parent.kill()
        cls.parent.communicate()

    def test_root(self):
        """Another root; nothing is written to it."""
        self.assertEqual(inside('cat /etc/release; touch /etc/new'
                                ' && ls /etc/new'),
                         'another root\n/etc/new\n')
        self.assertFalse(Path(self.top.name, 'root', 'etc', 'new').exists())
        self.assertEqual(inside('stat -c "%U %G %a" /dev/nitro_enclaves'),
                         'root ne 660\n')
        self.assertEqual(inside('readlink /dev/stdin'), 'fd/0\n')

    def test_file(self):
        """A file is where it was wanted."""
        self.assertEqual(inside('cat /etc/lab/' + Path(__file__).name),
                         Path(__file__).read_text())
        self.assertEqual(inside('cd /srv/tree && ./link && ls'
                                ' && stat -c %a program empty'),
                         'run\nempty\nlink\nprogram\n700\n755\n')

    def test_share(self):
        """Both sides see what the other writes."""
        self.assertEqual(inside('cd /srv/shared && cat from-host'
                                ' && echo hi > from-parent'), 'hello\n')
        self.assertEqual(Path(self.top.name, 'shared', 'from-parent')
                         .read_text(), 'hi\n')

    def test_disk(self):
        """A disk can be read and written; the network has its driver."""
        self.assertEqual(inside('head -c 11 /dev/vda; printf second |'
                                ' dd of=/dev/vda conv=notrunc 2> /dev/null;'
                                ' sync'), 'first bytes')
        self.assertTrue(Path(self.top.name, 'disk').read_bytes()
                        .startswith(b'second'))
        self.assertIn('eth0', inside('ls /sys/class/net'))

    def test_layout(self):
        """One thread for each core; pool and huge pages on the second node."""
        pool = cpu_list(inside('cat ' + POOL))
        node = '/sys/devices/system/node/node1/'
        self.assertEqual(len(pool), 2)
        self.assertLessEqual(pool, cpu_list(inside(
            'cat /sys/devices/system/cpu/offline')))
        self.assertEqual(inside('cat %shugepages/hugepages-1048576kB/'
                                'nr_hugepages' % node), '1\n')
        for cpu in (0, 1):
            self.assertEqual(inside('cat /sys/devices/system/cpu/cpu%d/'
                                    'topology/thread_siblings_list' % cpu),
                             '%d\n' % cpu)
        self.assertEqual(inside('cat %shugepages/hugepages-2048kB/'
                                'nr_hugepages' % node), '128\n')

    def reserved_pages(self):
        """Size in KiB -> huge pages of the second node."""
        return {int(kib): int(n) for kib, n in re.findall(
            r'hugepages-(\d+)kB.*:(\d+)', inside(
                'cd %s; grep . */nr_hugepages' % NODE_PAGES))}

    def restore_pages(self):
        """As parent/init has reserved them."""
        inside('cd %s; for f in */nr_hugepages; do case $f in *-1048576kB*);;'
               ' *) echo 0 > $f;; esac; done;'
               ' echo 128 > hugepages-2048kB/nr_hugepages' % NODE_PAGES)

    def test_allocator(self):
        """The steps of AWS's allocator service, with bash and lscpu."""
        top = Path(self.top.name)
        for name, text in (('allocator', ALLOCATOR),
                           ('allocator.yaml', ALLOCATOR_CONFIG)):
            (top / name).write_text(text)
            lab('put', '--name', NAME, top / name, '/tmp/' + name)
        inside('mkdir -p /etc/nitro_enclaves; cp /tmp/allocator.yaml'
               ' /etc/nitro_enclaves')
        pool = inside('cat ' + POOL)
        self.addCleanup(self.restore_pages)
        self.assertEqual(inside(RUN_ALLOCATOR), 'node 1, CPUs 2,3\n')
        self.assertEqual(cpu_list(inside('cat ' + POOL)), cpu_list(pool))
        # arm64 has sizes between the two
        pages = self.reserved_pages()
        self.assertEqual(sum(kib * n for kib, n in pages.items()), 1280 << 10)
        self.assertEqual(pages[1 << 20], 1)
        self.assertEqual(inside('nproc'), '2\n')
        # Nothing is taken from an enclave
        self.assertEqual(inside(WHILE_HELD % RUN_ALLOCATOR, status=1),
                         'enclave running\n')

    def test_program(self):
        """Input, both outputs and status are those of the program."""
        run = subprocess.run(
            [LAB, 'exec', '--name', NAME, 'sh', '-c', 'cat; echo no >&2;'
             ' exit 3'], input=b'\0words\n' * 30000, check=False,
            capture_output=True)
        self.assertEqual((run.returncode, run.stderr), (3, b'no\n'))
        self.assertEqual(run.stdout, b'\0words\n' * 30000)
        lab('exec', '--name', NAME, 'sh', '-c', 'kill -9 $$', status=137)

    def test_lost_streams(self):
        """Without input, and with an output that nobody takes, which ends
        the program."""
        for words, redirection, status, said in (
                ('cat', '<&-', 0, ''), ('ls /', '>&-', 1, 'nitro-lab: cannot'
                                        ' write the output: Bad file'
                                        ' descriptor\n'),
                ('cat /dev/zero', '> /dev/full', 1, 'No space left'),
                ('yes', '| head -n 1 > /dev/null', 0, '')):
            run = subprocess.run(
                ['sh', '-c', '"$0" exec --name "$1" -- %s %s'
                 % (words, redirection), LAB, NAME], check=False, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, timeout=PATIENCE)
            self.assertEqual(run.returncode, status, run.stderr)
            self.assertIn(said, run.stderr)
            self.assertNotIn('Traceback', run.stderr)
        inside('while pidof yes; do sleep 0.2; done')

    def test_copies(self):
        """Files and directories, there and back."""
        top = Path(self.top.name)
        source = top / 'tree'
        (source / 'below').mkdir(parents=True)
        (source / 'below' / 'file').write_bytes(os.urandom(3 << 20))
        (source / 'program').write_text('#!/bin/sh\n')
        (source / 'program').chmod(0o755)
        lab('put', '--name', NAME, source, '/tmp/tree')
        lab('put', '--name', NAME, source / 'program', '/tmp')
        self.assertEqual(inside('test -x /tmp/program && /tmp/tree/program'
                                ' && ls /tmp/tree'), 'below\nprogram\n')
        lab('get', '--name', NAME, '/tmp/tree', top / 'back')
        lab('get', '--name', NAME, '/tmp/tree/below/file', top / 'single')
        for copy in (top / 'back' / 'below' / 'file', top / 'single'):
            self.assertEqual(copy.read_bytes(),
                             (source / 'below' / 'file').read_bytes())
        # Into a directory by its own name, whatever way leads to it
        into = top / 'into'
        into.mkdir()
        lab('get', '--name', NAME, '/tmp/tree/below/..', into)
        self.assertEqual([path.name for path in into.iterdir()], ['tree'])
        for source in '/', '..':
            _, errors = lab_words('get', '--name', NAME, source, status=1)
            self.assertIn('get: %s has no name of its own' % source, errors)
        _, errors = lab_words('get', '--name', NAME, '/none', top / 'none',
                              status=1)
        self.assertIn('no readable file /none', errors)
        self.assertFalse((top / 'none').exists())
        lab('get', '--name', NAME, '/tmp/tree/program', top / 'program')
        self.assertEqual((top / 'program').stat().st_mode & 0o777, 0o755)
        _, errors = lab_words('get', '--name', NAME, '/tmp/tree/below/file',
                              '/dev/full', status=1)
        self.assertIn('get: cannot write: No space left', errors)

    def test_enclave(self):
        """An enclave launched there is in the status, with connections."""
        launch = subprocess.Popen(
            [LAB, 'exec', '--name', NAME, PROGRAM, '-accel',
             'nitro,debug-mode=on', '-M', 'nitro', '-nographic', '-smp', '2',
             '-m', '%dM' % DEMO_MIB, '-kernel', DEMO],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(launch.communicate)
        self.addCleanup(launch.kill)
        while 'serving' not in (line := launch.stdout.readline()):
            self.assertNotEqual(line, '', 'no enclave has booted')
        report, = json.loads(lab('status', '--name', NAME, '--json'))
        self.assertEqual([(e['memory_mib'], e['vcpus'], e['connections'])
                          for e in report['enclaves']], [(DEMO_MIB, 2, 1)])
        self.assertEqual({p['size']: p['all'] - p['free']
                          for p in report['pages'] if p['all']},
                         {'2048kB': DEMO_MIB // 2, '1048576kB': 0})
        self.assertIn('CID %d: ' % report['enclaves'][0]['cid'],
                      lab('status', '--name', NAME))
        # The program ends with the terminal that has started it
        launch.kill()
        inside('while pidof %s; do sleep 0.2; done' % PROGRAM)
        self.assertIn('enclave   none', lab('status', '--name', NAME))

    def test_name(self):
        """A name is that of one parent."""
        _, errors = lab_words('parent', '--name', NAME, status=1)
        self.assertIn('a parent %s runs already' % NAME, errors)

    def test_zz_stop(self):
        """The last one: the parent ends, and is not listed any more."""
        self.assertIn(NAME, lab('ps'))
        lab('stop', '--name', NAME)
        self.parent.communicate()
        self.assertEqual(self.parent.returncode, 128 + 15)
        self.assertNotIn(NAME, lab('ps'))
        lab('exec', '--name', NAME, 'true', status=1)


class Kept(ScopedTest):
    """'nitro-lab run --keep': the next run is in the same parent."""

    def setUp(self):
        super().setUp()
        self.top = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.name = 'kept-%d' % os.getpid()
        self.addCleanup(self.end)

    def end(self):
        """Whatever became of it."""
        if self.name in lab('ps'):
            lab('stop', '--name', self.name)

    def words(self, content, *words):
        """A run that shows its image in place of launching it."""
        image = self.top / content / 'app'
        image.parent.mkdir(exist_ok=True)
        image.write_text(content)
        return ('run', '--keep', '--name', self.name, '--eif', image,
                '--launcher', 'cat {eif}; echo; ls /mnt/kept', *words)

    def process(self):
        """What runs the parent."""
        return json.loads(lab('status', '--name', self.name, '--json')
                          )[0]['process']

    def test_again(self):
        """Each run has its own files, and leaves none; what does not fit
        does not end what others do there."""
        first = lab(*self.words('first'))
        process = self.process()
        second = lab(*self.words('second'))
        self.assertEqual(self.process(), process)
        self.assertTrue(first.startswith('first\nrun-'), first)
        self.assertTrue(second.startswith('second\nrun-'), second)
        self.assertEqual(second.count('run-'), 1, second)
        job = subprocess.Popen([LAB, 'exec', '--name', self.name, '--', 'sh',
                                '-c', 'echo here; exec sleep 1000'],
                               stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE)
        self.addCleanup(job.communicate)
        self.addCleanup(job.kill)
        job.stdout.readline()
        _, errors = lab_words(*self.words('third', '--mem', '8192'), status=1)
        self.assertIn('parent %s has 1024 MiB and 4 CPUs for enclaves, this'
                      ' one needs 8192 MiB and 2 CPUs; programs or enclaves'
                      ' run in it' % self.name, errors)
        self.assertIn('nitro-lab stop --name ' + self.name, errors)
        _, errors = lab_words(*self.words('third', '--nodes', '2'), status=1)
        self.assertIn('a parent that is kept has no options', errors)
        self.assertEqual(self.process(), process)


class Launched(ScopedTest):
    """'nitro-lab run' with another launcher, in a parent with a root of its
    own on a disk."""

    def test_launcher(self):
        """It has what it needs; its status, and why its enclave ended."""
        with tempfile.TemporaryDirectory() as directory:
            top = Path(directory)
            make_root(top / 'root')
            subprocess.run(['mke2fs', '-q', '-t', 'ext4', '-d', top / 'root',
                            top / 'image', '16M'], check=True,
                           capture_output=True)
            # Of no known kind: our launcher warns, the hypervisor says why it
            # ends
            (top / 'tiny').write_bytes(eif.build(b'\1' + b'K' * 4095, 'a=b',
                                                 [b'R' * 4096],
                                                 arch=GUEST.image_flag))
            (top / 'launch').write_text(LAUNCHER)
            output, errors = lab_words(
                'run', '--eif', top / 'tiny', '--mem', '64', '--root',
                top / 'image', '--file', top / 'launch', '--launcher',
                'sh /lab/launch {eif} {mem} {cpus}', status=7)
        self.assertIn('/lab/tiny 64 2\nanother root\n', output)
        self.assertIn('launcher   status 7', output)
        self.assertIn('\nnitro-hypervisor: enclave with CID', errors)


load_tests = only_wanted

if __name__ == '__main__':
    ScopedTest.main()
