// SPDX-License-Identifier: GPL-2.0
/*
 * Each call has its first allocation fail, then its second, and so on until none is
 * left to fail. What fails must change nothing, and work when it is tried again. Where
 * there are thousands, behind the first ones a sample of them will do.
 *
 * A new call is a struct sweep: a line for what it does, and one for its undoing.
 */
#include "failnth_bars.h"
#include "failnth_domains.h"
#include "failnth_ioasid.h"
#include "failnth_mock.h"
#include "failnth_native.h"
#include "failnth_vfio.h"

/* --- the sweep ------------------------------------------------------------------ */

/* Memory whose pages came in an order that leaves few neighbours. */
static char *scattered_pages(unsigned int count)
{
	char *memory = pages(count);
	unsigned int i, step = 7;

	if (!memory)
		return NULL;
	madvise(memory, count * PAGE, MADV_NOHUGEPAGE);
	for (i = 0; i < count; i++)
		memory[(unsigned long)i * step % count * PAGE] = 1;
	return memory;
}

/* The same of a memory file. */
static int scattered_file(unsigned int count)
{
	int file = memfd_create("failnth", MFD_CLOEXEC);
	unsigned int i, step = 7;

	if (file < 0 || ftruncate(file, count * PAGE))
		return -1;
	for (i = 0; i < count; i++)
		if (pwrite(file, "", 1, (unsigned long)i * step % count * PAGE) != 1)
			return -1;
	return file;
}

/* Found once, before each test has a process of its own. */
static struct failnth_code code;

__attribute__((constructor)) static void find_code(void)
{
	failnth_find(&code, "iommufd", SET_DOMAIN);
}

static void set_up(struct __test_metadata *_metadata, struct trial *trial,
		   const struct sweep *sweep)
{
	struct world *w = &trial->world;

	ASSERT_OK(failnth_prepare(&code, sweep->leaves))
		TH_LOG("needs a kernel that can fail on request");
	trial->faults = failnth_open();
	ASSERT_LE(0, trial->faults);
	ASSERT_OK(find_device(w));
	/* What is charged and not given back shows, for then there is soon none left. */
	ASSERT_OK(be_limited(4 * MANY_PAGES * PAGE));
	w->group = -1;
	w->access = -1;
	w->queue.fd = -1;
	w->memory = scattered_pages(MANY_PAGES);
	ASSERT_NE(NULL, w->memory);
	w->file = scattered_file(MANY_PAGES);
	ASSERT_LE(0, w->file);
	trial->pins = held_pins();
	ASSERT_OK(make_spaces(w));
	if (sweep->prepare)
		ASSERT_OK(sweep->prepare(w));
}

static void tear_down(struct __test_metadata *_metadata, struct trial *trial)
{
	bound_close(&trial->world.b);
	close(trial->world.group);
	close(trial->world.access);
	close(trial->world.queue.fd);
	close(trial->world.file);
	expect_nothing_left(_metadata, trial->pins);
}

static bool is_expected(int ret)
{
	return ret == -ENOMEM || ret == -EFAULT;
}

static void take(struct state *state, const struct sweep *sweep, struct world *w)
{
	state_take(state, w->b.fd, &w->b.edu);
	if (sweep->look)
		state->more = sweep->look(w);
}

static void expect_same(struct __test_metadata *_metadata, const struct sweep *sweep,
			struct world *w, const struct state *before, unsigned int nth,
			const char *when)
{
	static struct state now;
	const char *changed;

	take(&now, sweep, w);
	changed = state_compare(before, &now);
	EXPECT_EQ(NULL, changed)
		TH_LOG("with number %u failing, %s is not the same %s", nth, changed, when);
}

/* An answer that got lost is a failure that came too late to undo anything. */
static bool got_lost(const struct sweep *sweep, struct world *w, const struct state *done, int ret)
{
	static struct state now;

	if (ret != -EFAULT || !(sweep->answers || (sweep->moves && w->is_mock)))
		return false;
	take(&now, sweep, w);
	return !state_compare(done, &now);
}

static unsigned int after(const struct sweep *sweep, unsigned int nth)
{
	return nth + (nth > FIRST_ONES && sweep->stride ? sweep->stride : 1);
}

static void sweep_all(struct __test_metadata *_metadata, struct trial *trial,
		      const struct sweep *sweep)
{
	static struct state before, done;
	struct world *w = &trial->world;
	unsigned int nth, tries = 0, failed = 0;
	bool happened;
	int ret;

	take(&before, sweep, w);
	ASSERT_LE(0, sweep->run(w));
	take(&done, sweep, w);
	ASSERT_OK(sweep->undo(w));
	expect_same(_metadata, sweep, w, &before, 0, "after undoing");
	for (nth = 1, happened = true; happened; nth = after(sweep, nth), tries++) {
		failnth_set(trial->faults, nth);
		ret = sweep->run(w);
		happened = failnth_happened(trial->faults);
		if (ret < 0 && !got_lost(sweep, w, &done, ret)) {
			failed++;
			EXPECT_TRUE(happened && is_expected(ret))
				TH_LOG("with number %u failing: %s", nth, strerror(-ret));
			expect_same(_metadata, sweep, w, &before, nth, "after the failure");
			ASSERT_LE(0, sweep->run(w));
		}
		expect_same(_metadata, sweep, w, &done, nth, "after success");
		ASSERT_OK(sweep->undo(w));
		expect_same(_metadata, sweep, w, &before, nth, "after undoing");
		ASSERT_TRUE(__test_passed(_metadata));
	}
	TH_LOG("%u of %u made the call fail", failed, tries - 1);
}

FIXTURE_SETUP(failnth)
{
	set_up(_metadata, &self->trial, &variant->sweep);
}

FIXTURE_TEARDOWN(failnth)
{
	tear_down(_metadata, &self->trial);
}

TEST_F_TIMEOUT(failnth, sweep, 300)
{
	sweep_all(_metadata, &self->trial, &variant->sweep);
}

FIXTURE_SETUP(failnth_vfio)
{
	set_up(_metadata, &self->trial, &variant->sweep);
}

FIXTURE_TEARDOWN(failnth_vfio)
{
	tear_down(_metadata, &self->trial);
}

TEST_F_TIMEOUT(failnth_vfio, sweep, 300)
{
	sweep_all(_metadata, &self->trial, &variant->sweep);
}

FIXTURE_SETUP(failnth_mock)
{
	set_up(_metadata, &self->trial, &variant->sweep);
}

FIXTURE_TEARDOWN(failnth_mock)
{
	tear_down(_metadata, &self->trial);
}

TEST_F_TIMEOUT(failnth_mock, sweep, 300)
{
	sweep_all(_metadata, &self->trial, &variant->sweep);
}

TEST_HARNESS_MAIN
