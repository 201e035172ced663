// SPDX-License-Identifier: GPL-2.0
/*
 * Threads of the current process that work for a call which it has made: see helpers.h.
 *
 * They are made like those of vhost. Being threads of the process, they are charged, limited,
 * placed, given their turn and killed as it is, by every control group and limit that there is.
 * For kernel threads that borrow its memory each of these would have to be seen to here.
 *
 * As threads of a process they also stop for SIGSTOP, and for a freezer. So whoever calls waits
 * only for work that has begun. A thread that is not needed any more ends itself (end_alone()),
 * and whoever called has nothing to do with that.
 */

#include <linux/bitops.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/refcount.h>
#include <linux/sched/deadline.h>
#include <linux/sched/rt.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/workqueue.h>

#include "helpers.h"

#define TAKEN 0

struct iommufd_worker {
	refcount_t users;		/* who called, and the thread */
	struct vhost_task *task;
	void (*work)(void *data);
	void *data;
	int node;			/* where the thread is that it works for */
	unsigned long flags;		/* TAKEN: it works or has worked, or never will */
	struct completion has_worked;
	struct work_struct clean_up;
};

/* Cleans up behind threads that exit; waits for moments only. */
static struct workqueue_struct *cleaner;

int iommufd_init_workers(void)
{
	cleaner = alloc_workqueue("iommufd", WQ_UNBOUND, 0);
	return cleaner ? 0 : -ENOMEM;
}

void iommufd_exit_workers(void)
{
	/* There are no threads, but one that has put the module may not be through yet. */
	destroy_workqueue(cleaner);
}

unsigned int iommufd_worker_cpus(void)
{
	/* A thread that is about to exit gets no others, and one of the kernel is in no process. */
	if (!IS_ENABLED(CONFIG_VHOST_TASK) ||
	    current->flags & (PF_KTHREAD | PF_USER_WORKER | PF_EXITING))
		return 0;
	/* What has a realtime policy would keep whole processors from others. */
	if (rt_or_dl_task_policy(current))
		return 1;
	return cpumask_weight_and(cpumask_of_node(numa_node_id()), current->cpus_ptr);
}

/* Memory comes from where it is first used: that is to be the same as without workers. */
static void stay_on(int node)
{
	cpumask_var_t cpus;

	if (nr_online_nodes == 1 || !alloc_cpumask_var(&cpus, GFP_KERNEL))
		return;
	if (cpumask_and(cpus, cpumask_of_node(node), current->cpus_ptr))
		set_cpus_allowed_ptr(current, cpus);
	free_cpumask_var(cpus);
}

static void put(struct iommufd_worker *worker)
{
	if (refcount_dec_and_test(&worker->users))
		kfree(worker);
}

static void clean_up(struct work_struct *work)
{
	struct iommufd_worker *worker = container_of(work, struct iommufd_worker, clean_up);

	/* It has got as far as exiting(), so that nothing stops it on its way out. */
	vhost_task_stop(worker->task);
	put(worker);
	module_put(THIS_MODULE);
}

/*
 * Ends the current thread, as exec does with all but one. vhost_task_stop() alone would wait
 * for it as long as the process is stopped or frozen. A debugger's trap goes, as there: it
 * cannot be taken any more, and with it the thread would never come to its end.
 */
static void end_alone(void)
{
	spin_lock_irq(&current->sighand->siglock);
	sigaddset(&current->pending.signal, SIGKILL);
	current->jobctl &= ~JOBCTL_TRAP_MASK;
	recalc_sigpending();
	spin_unlock_irq(&current->sighand->siglock);
}

static bool run(void *data)
{
	struct iommufd_worker *worker = data;

	__set_current_state(TASK_RUNNING);
	if (!test_and_set_bit(TAKEN, &worker->flags)) {
		stay_on(worker->node);
		worker->work(worker->data);
		complete(&worker->has_worked);
	}
	end_alone();
	return true;
}

/* Called once in every thread that was started, for it is killed in the end. */
static void exiting(void *data)
{
	struct iommufd_worker *worker = data;

	/* The accounting of processes does not have to know. */
	current->flags &= ~PF_SIGNALED;
	queue_work(cleaner, &worker->clean_up);
}

/* Signals that are not fatal wait until the call is over, and refuse no thread until then. */
static struct vhost_task *create_thread(struct iommufd_worker *worker)
{
	struct vhost_task *task;
	sigset_t most, before;

	siginitsetinv(&most, sigmask(SIGKILL) | sigmask(SIGSTOP));
	sigprocmask(SIG_BLOCK, &most, &before);
	task = vhost_task_create(run, exiting, worker, "iommufd-fill");
	sigprocmask(SIG_SETMASK, &before, NULL);
	return task;
}

struct iommufd_worker *iommufd_start_worker(void (*work)(void *data), void *data)
{
	struct iommufd_worker *worker;

	if (!IS_ENABLED(CONFIG_VHOST_TASK))
		return NULL;
	worker = kzalloc_obj(*worker);
	if (!worker)
		return NULL;
	refcount_set(&worker->users, 2);
	worker->work = work;
	worker->data = data;
	worker->node = numa_node_id();
	init_completion(&worker->has_worked);
	INIT_WORK(&worker->clean_up, clean_up);
	worker->task = create_thread(worker);
	if (IS_ERR(worker->task)) {
		kfree(worker);
		return NULL;
	}
	/* For the thread: it may be stopped for long before it comes to its end. */
	__module_get(THIS_MODULE);
	vhost_task_start(worker->task);
	return worker;
}

void iommufd_end_worker(struct iommufd_worker *worker)
{
	if (!IS_ENABLED(CONFIG_VHOST_TASK))
		return;
	if (test_and_set_bit(TAKEN, &worker->flags))
		wait_for_completion(&worker->has_worked);
	put(worker);
}
