# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Installs packages in a clean root, runs them there, removes them.

The root has the distribution's own QEMU and systemd.  Commands run in it
without network, as the first process of their own.
"""

import glob
import os
import shutil
import subprocess

import tree

PATH = '/usr/sbin:/usr/bin:/sbin:/bin'
ENVIRONMENT = {'PATH': PATH, 'HOME': '/root', 'LC_ALL': 'C',
               'DEBIAN_FRONTEND': 'noninteractive'}
MACHINE = os.uname().machine
# Beside which ours are installed
THEIRS = {'x86_64': 'qemu-system-x86', 'aarch64': 'qemu-system-arm'}
# Names below which dpkg, apt and those who run programs keep notes
NOTES = ('/tmp', '/run', '/root', '/proc', '/var/lib/dpkg', '/var/log', '/var/cache',
         '/etc/group', '/etc/gshadow', '/etc/.pwd.lock')
LAB = 'root/.cache/nitro-lab/cache'

# What is taken for a bzImage
KERNEL = ("import sys; sys.stdout.buffer.write(bytes(0x1f1) + b'\\x01' + "
          "bytes(12) + b'\\x55\\xaa' + b'\\xeb\\x66HdrS' + b'\\x0f\\x02'"
          " + bytes(4000))")
# Commands and words in what they print
TRIES = (
    (f'qemu-system-{MACHINE} --version', '(Debian '),
    ('qemu-nitro-system-x86_64 --version', 'QEMU emulator version'),
    ('qemu-nitro-system-aarch64 --version', 'QEMU emulator version'),
    ('qemu-nitro-system-$(uname -m) -M nitro -accel help', 'nitro'),
    ('qemu-nitro-system-$(uname -m) -M help', 'nitro '),
    ('qemu-nitro-system-x86_64 -M q35 -device nitro-enclaves-pci,help',
     'nitro-enclaves-pci options'),
    (f'/usr/bin/python3 -c "{KERNEL}" > /tmp/kernel && '
     'qemu-eif build -k /tmp/kernel -o /tmp/a.eif -c quiet', 'PCR0'),
    ('qemu-eif describe /tmp/a.eif', 'PCR0'),
    ('qemu-nsm show /tmp/a.eif 2>&1 || true', 'not an attestation document'),
    ('qemu-nitro-system-$(uname -m) -accel nitro,device=/none -M nitro '
     '-display none -m 512M -kernel /tmp/a.eif || true',
     'cannot open /none'),
    ('nitro-run --help', 'run-enclave'),
    ('nitro-run selftest 2>&1 || true', 'there is no /dev/nitro_enclaves'),
    ('nitro-run selftest --compare parent parent', '0 another result'),
    ('. /usr/share/bash-completion/completions/nitro-run; complete -p '
     'nitro-run nitro-lab qemu-eif qemu-nsm', '_nitro_complete nitro-lab'),
    ('zgrep .TH /usr/share/man/man1/nitro-run.1.gz', 'NITRO-RUN'),
    ('grep -o "<title>.*</title>" /usr/share/doc/qemu-nitro-doc/html/'
     'system/nitro.html', 'Nitro'),
    ('getent group ne && ls -d /etc/nitro-enclaves /var/lib/nitro-enclaves',
     'ne:x:'),
    ('systemd-analyze verify --man=no --recursive-errors=no '
     'nitro-enclave@app.service && echo verified', 'verified'),
    ('nitro-lab run 2>&1', 'heartbeat  received'),
)


class Root:
    """A minimal Debian of this machine's release, made with debootstrap."""

    def __init__(self, path):
        if os.geteuid() != 0 or not shutil.which('debootstrap'):
            raise tree.TreeError(
                'a clean root is made by root, with debootstrap',
                'apt-get install debootstrap, and say as root: '
                'make deb TRY=1')
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        mirror = tree.say('apt-get', 'indextargets', '--format',
                          '$(REPO_URI)', 'Codename: ' + codename()).split()[0]
        tree.say('debootstrap', '--variant=minbase', codename(), path, mirror)

    def fetch(self, wanted):
        """Download packages and what they depend on; those not in wanted."""
        cache = os.path.join(self.path, 'var/cache/apt/archives')
        tree.say('apt-get', 'install', '--download-only', '-y',
                 '--no-install-recommends', '-o', 'APT::Sandbox::User=root',
                 '-o', f'Dir::State::status={self.path}/var/lib/dpkg/status',
                 '-o', f'Dir::Cache::archives={cache}', *wanted)
        return sorted(glob.glob(cache + '/*.deb'))

    def command(self, *words):
        """Words that run a command in it."""
        return ['unshare', '--net', '--mount', '--pid', '--fork',
                f'--mount-proc={self.path}/proc', 'chroot', self.path, *words]

    def say(self, *words):
        """Run a command in it; what it prints."""
        return tree.say(*self.command(*words), env=ENVIRONMENT)

    def install(self, paths):
        """Install packages, all at once."""
        for path in paths:
            shutil.copy(path, os.path.join(self.path, 'tmp'))
        inside = ['/tmp/' + os.path.basename(path) for path in paths]
        # What has to be configured first is found afterwards
        self.say('dpkg', '--unpack', '--force-depends', *inside)
        self.say('dpkg', '--configure', '--pending')
        odd = self.say('dpkg', '--audit')
        if odd:
            raise tree.TreeError(f'dpkg finds fault: {odd}',
                                 f'see in {self.path}')

    def names(self):
        """Names of all that is in it, but for notes."""
        found = set()
        for here, dirs, files in os.walk(self.path):
            inside = here[len(self.path):] + '/'
            found.update(inside + name for name in dirs + files)
        return {name for name in found if not name.startswith(NOTES)}


def codename():
    """Name of this machine's Debian release."""
    for line in tree.read('/etc/os-release').decode().splitlines():
        if line.startswith('VERSION_CODENAME='):
            return line.partition('=')[2]
    raise tree.TreeError('/etc/os-release names no release',
                         'try the packages on a Debian system')


def try_out(root):
    """Run what was installed."""
    for command, words in TRIES:
        run = subprocess.run(
            root.command('/bin/bash', '-c', command), check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=ENVIRONMENT)
        if run.returncode != 0 or words not in run.stdout:
            raise tree.TreeError(
                f'"{command}" ended with status {run.returncode}, without '
                f'"{words}": {run.stdout[-500:]}',
                f'look around: {root.path}')
        print(f'ok: {command}', flush=True)


def remove(root, names, before):
    """Purge packages; nothing of theirs may be left."""
    print(root.say('dpkg', '--purge', *names), end='')
    after = root.names()
    if after != before:
        raise tree.TreeError(
            f'removed, but not as before: {sorted(after ^ before)[:20]}',
            f'look around: {root.path}')
    print('ok: nothing is left')


def run(build, paths):
    """Everything, with packages that were built."""
    root = Root(os.path.join(build, 'deb-root'))
    needed = root.fetch([*paths, THEIRS[MACHINE], 'systemd', 'udev'])
    root.install(needed)
    before = root.names()
    # What the lab boots was fetched already
    shutil.copytree(os.path.join(build, 'cache', 'lab-packages'),
                    os.path.join(root.path, LAB, 'lab-packages'),
                    symlinks=True)
    root.install(paths)
    try_out(root)
    # Those that others depend on are last
    remove(root, [os.path.basename(path).partition('_')[0]
                  for path in paths], before)
