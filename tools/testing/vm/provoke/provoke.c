// SPDX-License-Identifier: GPL-2.0
/*
 * Misbehave on request, so that the harness can prove that it notices:
 *
 *   insmod provoke.ko kind=warn
 */
#include <linux/irqflags.h>
#include <linux/kmemleak.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>

static char *kind = "";
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind, "what to do wrong");

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static void provoke_warn(void)
{
	WARN(1, "provoked\n");
}

static void provoke_oops(void)
{
	WRITE_ONCE(*(int *)8, 1);
}

static void provoke_soft_lockup(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
}

static void provoke_hard_lockup(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static void provoke_rcu_stall(void)
{
	rcu_read_lock();
	for (;;)
		cond_resched();
}

static void provoke_hung_task(void)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	for (;;)
		schedule();
}

/* Nobody waits for anybody here: only lockdep can see what may happen. */
static void provoke_lock_order(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static void provoke_use_after_free(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	if (!p)
		return;
	kfree(p);
	WRITE_ONCE(p[8], 1);
}

static void provoke_leak(void)
{
	int i;

	/* Several, in case a stale pointer to one of them is left somewhere. */
	for (i = 0; i < 16; i++)
		memset(kmalloc(200, GFP_KERNEL | __GFP_NOFAIL), i, 200);
}

static void provoke_sleep_in_atomic(void)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
}

/* Two processors that count together, without asking each other. */
static int counted;

static void count_for_a_while(void *unused)
{
	unsigned int i;

	for (i = 0; i < 500000; i++) {
		counted++;
		barrier();
	}
}

static void provoke_data_race(void)
{
	on_each_cpu(count_for_a_while, NULL, 1);
	pr_info("counted to %d\n", counted);
}

static void provoke_undefined(void)
{
	static int bits = 40;

	pr_info("shifted: %d\n", 1 << READ_ONCE(bits));
}

static const struct {
	const char *kind;
	void (*run)(void);
} provocations[] = {
	{ "warn", provoke_warn },
	{ "oops", provoke_oops },
	{ "soft-lockup", provoke_soft_lockup },
	{ "hard-lockup", provoke_hard_lockup },
	{ "rcu-stall", provoke_rcu_stall },
	{ "hung-task", provoke_hung_task },
	{ "lock-order", provoke_lock_order },
	{ "use-after-free", provoke_use_after_free },
	{ "leak", provoke_leak },
	{ "sleep-in-atomic", provoke_sleep_in_atomic },
	{ "undefined", provoke_undefined },
	{ "data-race", provoke_data_race },
};

static int __init provoke_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(provocations); i++) {
		if (strcmp(kind, provocations[i].kind))
			continue;
		provocations[i].run();
		return 0;
	}
	return -EINVAL;
}
module_init(provoke_init);

static void __exit provoke_exit(void)
{
}
module_exit(provoke_exit);

MODULE_DESCRIPTION("misbehaves on request");
MODULE_LICENSE("GPL");
