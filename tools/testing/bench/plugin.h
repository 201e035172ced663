/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What count.c needs of QEMU's interface for plugins, in the version of QEMU 11.1: Debian has
 * no package with its header. See docs/devel/tcg-plugins.rst in QEMU's source.
 */
#ifndef TOOLS_TESTING_BENCH_PLUGIN_H
#define TOOLS_TESTING_BENCH_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define PLUGIN_VERSION 7
#define NO_REGISTERS 0
#define EXPORTED __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;

typedef void (*translated_fn)(struct qemu_plugin_tb *tb, void *data);
typedef void (*executed_fn)(unsigned int vcpu, void *data);
typedef void (*exit_fn)(void *data);

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t size);

/* Each calls back with @data; @registers says what of the processor's state that looks at. */
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated_fn call, void *data);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, executed_fn call,
					  int registers, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, executed_fn call,
					    int registers, void *data);
void qemu_plugin_register_atexit_cb(uint64_t id, exit_fn call, void *data);

#endif /* TOOLS_TESTING_BENCH_PLUGIN_H */
