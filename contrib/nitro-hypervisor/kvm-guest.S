/*
 * A guest that shows whether KVM runs guests at native speed
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writes "k" to the first serial port, works for about 0.02 s of a real CPU,
 * leaves to the hypervisor some times, writes "vm" and a newline, and ends.
 * The work is what tells KVM on a real CPU from one that emulates each
 * instruction.  Nothing is relocated: the code is data of nitro-hypervisor.
 */

#define LOOPS 20000000
#define EXITS 64

    .section .rodata
    .balign 16
    .globl nhv_kvm_guest
nhv_kvm_guest:

#if defined(__x86_64__)

/*
 * The last page of the firmware: machine q35 has it below 4 GiB, where the CPU
 * begins, and below 1 MiB.
 */
#define PAGE        0xff000
#define OFFSET      0xf000          /* of that page, in the first segment */
#define AT(label)   (label - nhv_kvm_guest)
#define CODE32      8
#define DATA        16
#define CODE64      24
#define PML4        0x1000
#define PDPT        0x2000
#define PD          0x3000
#define PRESENT     0x3             /* and writable */
#define LARGE_PAGE  0x83
#define CR0_PE      1
#define CR0_PG      0x80000000
#define CR0_CACHES  0x9fffffff      /* without CD and NW */
#define CR4_PAE     0x20
#define EFER        0xc0000080
#define EFER_LME    0x100
#define COM1        0x3f8

    .code16
real:
    lgdtl %cs:(OFFSET + AT(gdt_register))
    mov %cr0, %eax
    or $CR0_PE, %eax
    mov %eax, %cr0
    ljmpl $CODE32, $(PAGE + AT(protected))

    .code32
protected:
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %ss
    movl $(PDPT + PRESENT), PML4
    movl $(PD + PRESENT), PDPT
    movl $LARGE_PAGE, PD
    mov $PML4, %eax
    mov %eax, %cr3
    mov $CR4_PAE, %eax
    mov %eax, %cr4
    mov $EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    mov %cr0, %eax
    and $CR0_CACHES, %eax
    or $CR0_PG, %eax
    mov %eax, %cr0
    ljmp $CODE64, $(PAGE + AT(long))

    .code64
long:
    mov $COM1, %edx
    mov $'k', %al
    out %al, %dx
    mov $LOOPS, %ecx
1:  dec %ecx
    jnz 1b
    mov $EXITS, %esi
2:  xor %eax, %eax
    cpuid
    dec %esi
    jnz 2b
    mov $COM1, %edx
    mov $'v', %al
    out %al, %dx
    mov $'m', %al
    out %al, %dx
    mov $'\n', %al
    out %al, %dx
    /* A fault without a table to handle it: -no-reboot ends QEMU */
    lidt no_table(%rip)
    ud2

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff        /* accessed already: this is ROM */
    .quad 0x00cf93000000ffff
    .quad 0x00af9b000000ffff
gdt_end:
gdt_register:
    .word gdt_end - gdt - 1
    .long PAGE + AT(gdt)
no_table:
    .word 0
    .quad 0

    .code16
    .org 0xff0
    jmp real
    .org 0x1000

#elif defined(__aarch64__)

/* Loaded as a kernel of machine virt */
#define UART        0x09000000
#define UART_FR     0x18
#define UART_CR     0x30
#define CR_ENABLE   0x301           /* with receiver and transmitter */
#define SYSTEM_OFF_HIGH 0x8400      /* PSCI's function 0x84000008 */
#define SYSTEM_OFF_LOW  0x0008

    mov x9, #UART
    mov w1, #CR_ENABLE
    str w1, [x9, #UART_CR]
    mov w0, #'k'
    str w0, [x9]
    movz w2, #(LOOPS & 0xffff)
    movk w2, #(LOOPS >> 16), lsl #16
1:  subs w2, w2, #1
    b.ne 1b
    mov w2, #EXITS
2:  ldr w0, [x9, #UART_FR]
    subs w2, w2, #1
    b.ne 2b
    mov w0, #'v'
    str w0, [x9]
    mov w0, #'m'
    str w0, [x9]
    mov w0, #'\n'
    str w0, [x9]
    movz w0, #SYSTEM_OFF_LOW
    movk w0, #SYSTEM_OFF_HIGH, lsl #16
    hvc #0
3:  b 3b

#endif

guest_end:
    .balign 8
    .globl nhv_kvm_guest_size
nhv_kvm_guest_size:               /* 0 on other hosts */
    .quad guest_end - nhv_kvm_guest
    .section .note.GNU-stack, "", %progbits
