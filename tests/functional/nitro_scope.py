# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
"""Which scenarios do not apply to a parent of some architecture, and why.

All others run on every architecture.  What is listed here is reported as
skipped, with the reason; nitro-lab check lists it once more at its end.
"""

NOT_ON = {
    'aarch64': {
        'Boot.test_dmi':
            'an arm64 parent boots without firmware',
        'Boot.test_kernel_without_acpi':
            'its kernel enters the PVH way; arm64 enclaves have a device'
            ' tree, from which the demo enclave boots in every scenario',
        'Driver.test_half_core':
            'a core of this parent has one thread',
        'Foreign.test_foreign':
            'launchers of others are tried in an x86_64 parent',
        'Laptop.test_run':
            'it builds and launches for this machine, which the lab emulates',
        'Kept.test_again':
            'the lab keeps parents of each architecture alike',
        'Kernel.test_vmlinux':
            'the arm64 kernel is an Image, which boots unchanged',
        'Run.test_selftest':
            'qemu-eif, which makes its images, is not built for this parent',
        'Secrets.test_secret':
            'its client needs a static OpenSSL, which the cross-build lacks',
        'Reboot.test_words_acpi':
            'an arm64 enclave boots without ACPI tables',
    },
    'x86_64': {
        'Gicv2m.test_both_vectors':
            'an x86 machine has APICs',
        'Pool.test_single_cpus':
            'a core of this parent has two threads, and belongs to an'
            ' enclave with both',
        'HugePages.test_32m':
            'an x86 CPU has no pages of this size',
        'HugePages.test_contiguous':
            'an x86 CPU has no pages of this size',
    },
}
