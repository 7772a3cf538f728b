/* SPDX-License-Identifier: MIT */
/*
 * From the machine's first instruction for us to main(): 32-bit protected mode without paging, as a PVH entry leaves it,
 * to 64-bit mode with the first 16 GiB of physical memory mapped where they are.
 *
 * PVH is how a virtual machine monitor starts an ELF file directly: a note names a 32-bit entry point, and ebx holds the
 * address of the start info (machine.c reads it). Interrupts stay off for good, so there is no interrupt table: a fault
 * becomes a triple fault, which ends the machine.
 */
#define MAPPED_GIB 16
#define PAGE 4096

#define PRESENT_WRITABLE 0x3
#define LARGE_PAGE 0x83 /* present, writable, 2 MiB */

	.section .note.pvh, "a", @note
	.balign 4
	.long 4		/* bytes of the name */
	.long 8		/* bytes of the value */
	.long 18	/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad entry

	.section .bss
	.balign PAGE
level4:
	.skip PAGE
level3:
	.skip PAGE
level2:
	.skip PAGE * MAPPED_GIB
	.skip PAGE * 16
stack_top:

	.section .rodata
	.balign 8
descriptors:
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad 0x00cf93000000ffff	/* 0x10: data */
descriptors_pointer:
	.word . - descriptors - 1
	.long descriptors

	.text
	.code32
	.globl entry
entry:
	cli
	cld
	/* Nobody promises that .bss is zero. */
	mov $bss_start, %edi
	mov $bss_end, %ecx
	sub %edi, %ecx
	xor %eax, %eax
	rep stosb
	mov $stack_top, %esp

	/* One entry of level 4, an entry of level 3 per GiB, and all the 2 MiB pages below them. */
	movl $level3 + PRESENT_WRITABLE, level4
	mov $level2 + PRESENT_WRITABLE, %eax
	xor %ecx, %ecx
1:	mov %eax, level3(, %ecx, 8)
	add $PAGE, %eax
	inc %ecx
	cmp $MAPPED_GIB, %ecx
	jne 1b
	xor %ecx, %ecx
2:	mov %ecx, %eax
	shl $21, %eax
	or $LARGE_PAGE, %eax
	mov %eax, level2(, %ecx, 8)
	mov %ecx, %eax
	shr $11, %eax
	mov %eax, level2 + 4(, %ecx, 8)
	inc %ecx
	cmp $MAPPED_GIB * 512, %ecx
	jne 2b
	mov $level4, %eax
	mov %eax, %cr3

	/* PAE; and SSE, which the compiler uses for copies of structures. */
	mov %cr4, %eax
	or $0x620, %eax
	mov %eax, %cr4
	/* EFER.LME, and paging on: long mode. */
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	and $~0x4, %eax
	or $0x80000003, %eax
	mov %eax, %cr0
	lgdt descriptors_pointer
	ljmp $0x08, $long_mode

	.code64
long_mode:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %ebx, %edi
	call machine_main
	ud2

	.section .note.GNU-stack, "", @progbits
