// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU's that counts which instructions are executed while the benchmark
 * maps, while it unmaps, and while it attaches (phase.h):
 *
 *	qemu-system-x86_64 -plugin count.so,out=FILE
 *
 * Each line of FILE is a straight piece of code: its address, how many instructions
 * it has, and how often it was executed in each phase.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phase.h"
#include "plugin.h"

EXPORTED int qemu_plugin_version = PLUGIN_VERSION;

/* The counts are those of the last series of maps and what comes behind it. */
struct piece {
	struct piece *next;
	uint64_t address, length;
	unsigned int series;
	uint64_t counts[PHASES];
};

static struct piece *pieces;
static uintptr_t current;
static unsigned int series;
static bool complete;
static const char *path;

static void executed(unsigned int vcpu, void *data)
{
	struct piece *piece = data;

	(void)vcpu;
	if (piece->series != series)
		memset(piece->counts, 0, sizeof(piece->counts));
	piece->series = series;
	piece->counts[current]++;
}

static void begun(unsigned int vcpu, void *data)
{
	(void)vcpu;
	current = (uintptr_t)data;
	if (current == PHASE_MAP && complete)
		series++;
	if (current != PHASE_OTHER)
		complete = current != PHASE_MAP;
}

/* Code is translated again now and then: an address can have several pieces. */
static void translated(struct qemu_plugin_tb *tb, void *data)
{
	struct piece *piece = calloc(1, sizeof(*piece));
	static const uint8_t nopl[] = { 0x0f, 0x1f, 0x80 };
	struct { uint8_t code[3]; uint32_t value; } __attribute__((packed)) mark;
	struct qemu_plugin_insn *insn;
	uintptr_t number;
	size_t i;

	(void)data;
	if (!piece)
		abort();
	piece->address = qemu_plugin_tb_vaddr(tb);
	piece->length = qemu_plugin_tb_n_insns(tb);
	piece->next = pieces;
	pieces = piece;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, piece);
	for (i = 0; i < piece->length; i++) {
		insn = qemu_plugin_tb_get_insn(tb, i);
		if (qemu_plugin_insn_data(insn, &mark, sizeof(mark)) != sizeof(mark) ||
		    memcmp(mark.code, nopl, sizeof(nopl)))
			continue;
		number = mark.value - PHASE_MARK;
		if (number < PHASES)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begun, NO_REGISTERS,
							       (void *)number);
	}
}

static void report(void *data)
{
	FILE *file = fopen(path, "w");
	struct piece *piece;

	(void)data;
	for (piece = pieces; file && piece; piece = piece->next)
		if (piece->series == series)
			fprintf(file, "%lx %lu %lu %lu %lu\n", piece->address, piece->length,
				piece->counts[PHASE_MAP], piece->counts[PHASE_UNMAP],
				piece->counts[PHASE_ATTACH]);
	if (!file || fclose(file))
		perror(path);
}

EXPORTED int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return -1;
	path = strdup(argv[0] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated, NULL);
	qemu_plugin_register_atexit_cb(id, report, NULL);
	return 0;
}
