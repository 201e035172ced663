/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a loader of the multiboot kind looks for, and where it jumps to.
 */
	.section .multiboot, "a"
	.long 0x1badb002, 0, -0x1badb002
	.text
	.globl start
start:
	mov $stack_end, %esp
	call main
1:	hlt
	jmp 1b
	.bss
	.skip 4096
stack_end:
	.section .note.GNU-stack, "", @progbits
