# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Which scenarios do not apply to a parent of some architecture, and why.

All others run on every architecture.  What is listed here, one scenario or a
whole class, is reported as skipped, with the reason; nitro-lab check lists it
once more at its end.
"""

from nitro_lab.arch import FOREIGN, GUEST

LONG = ('all launchers take long in an emulated arm64 parent, where ours has'
        ' other scenarios')
DAEMON = ('libvirtd takes minutes in an emulated arm64 parent; an arm64 domain'
          ' is validated in the other one, and its command line launched here')
UNIT = 'the unit is the same everywhere'
# Left out only where the architecture is not the machine's own
ALIKE = 'it depends on no architecture, and this machine tests its own'

NOT_ON = {
    'aarch64': {
        'AtOnce': ALIKE,
        'Boot.test_dmi':
            'an arm64 parent boots without firmware',
        'Boot.test_kernel_without_acpi':
            'its kernel enters the PVH way; arm64 enclaves have a device'
            ' tree, from which the demo enclave boots in every scenario',
        'Console.test_flood_block': ALIKE, 'Console.test_flood_drop': ALIKE,
        'Debian12': DAEMON, 'Debian13': DAEMON, 'Examples': DAEMON,
        'DebianQemu': LONG, 'NitroRun': LONG, 'OurQemu': LONG,
        'Page': LONG, 'Sample': LONG,
        'Device.test_ordinary_codes': ALIKE,
        'Driver.test_half_core':
            'a core of this parent has one thread',
        'Enclave': ALIKE,
        'Foreign.test_foreign':
            'launchers of others are tried in an x86_64 parent',
        'Foreign.test_relay':
            'launchers of others are tried in an x86_64 parent',
        'Hypervisor': ALIKE,
        'Laptop.test_run':
            'it builds and launches for this machine, which the lab emulates',
        'Kept.test_again':
            'the lab keeps parents of each architecture alike',
        'Kernel.test_vmlinux':
            'the arm64 kernel is an Image, which boots unchanged',
        'Manual.test_commands': ALIKE,
        'NewerKernel':
            "make check-launchers runs on this machine's architecture",
        'Proxied': ALIKE,
        'Ready': UNIT, 'Services': UNIT, 'Units': UNIT,
        'Run.test_detached': ALIKE, 'Run.test_pod': ALIKE,
        'Run.test_two': ALIKE,
        'Run.test_selftest':
            'qemu-eif, which makes its images, is not built for this parent',
        'Secrets.test_secret':
            'its client needs a static OpenSSL, which the cross-build lacks',
        'Soak.test_load': ALIKE,
        'Reboot.test_words_acpi':
            'an arm64 enclave boots without ACPI tables',
    },
    'x86_64': {
        'Gicv2m.test_both_vectors':
            'an x86 machine has APICs',
        'Service':
            'class Services has all of its scenarios',
        'Pool.test_single_cpus':
            'a core of this parent has two threads, and belongs to an'
            ' enclave with both',
        'HugePages.test_32m':
            'an x86 CPU has no pages of this size',
        'HugePages.test_contiguous':
            'an x86 CPU has no pages of this size',
    },
}

if not FOREIGN:
    NOT_ON[GUEST.name] = {name: reason for name, reason
                          in NOT_ON[GUEST.name].items() if reason != ALIKE}
