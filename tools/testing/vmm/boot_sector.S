/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a drive begins with: if this gets to run, the firmware has read it by way of
 * the drive's DMA.
 */
	.code16
	.globl start
start:
	xor %ax, %ax
	mov %ax, %ds
	mov $text, %si
1:	lodsb
	test %al, %al
	jz 2f
	outb %al, $0xe9
	jmp 1b
2:	hlt
	jmp 2b
text:
	.asciz "booted from the drive\nverdict: good\n"
	.org 510
	.short 0xaa55
	.section .note.GNU-stack, "", @progbits
