// SPDX-License-Identifier: GPL-2.0
/*
 * Each call has its first allocation fail, then its second, and so on until none is
 * left to fail. What fails must change nothing, and work when it is tried again.
 *
 * A new call is a struct sweep: a line for what it does, and one for its undoing.
 */
#include <pthread.h>

#include "failnth.h"
#include "hotplug.h"
#include "state.h"

/* Enough for several batches of pins, and for more than one table of the IOMMU. */
#define MANY_PAGES 2200
#define MANY_IOVA (IOVA + (1UL << 30) - 1024 * PAGE)

/* Where every call is made: a device, two spaces with something mapped, and memory. */
struct world {
	struct bound b;
	int other;		/* a second space */
	char *memory;		/* of MANY_PAGES pages, no two of them adjacent in the machine */
	int result;		/* of the call under test, for its undoing */
};

struct sweep {
	/* From the world to where the call is made; NULL if that is the same. */
	int (*prepare)(struct world *w);
	int (*run)(struct world *w);
	/* Back to before the call. */
	int (*undo)(struct world *w);
	/* The call ends with copying the answer, after what cannot be undone. */
	bool answers;
	/*
	 * The call takes a device off a domain. The kernel allocates on the way, and
	 * warns if that fails: a domain that is left cannot be stayed on.
	 */
	bool leaves;
};

#define SET_DOMAIN "__iommu_group_set_domain_internal"

/* --- the calls ----------------------------------------------------------------- */

static int do_open(struct world *w)
{
	w->result = open_iommufd();
	return w->result < 0 ? -errno : 0;
}

static int undo_open(struct world *w)
{
	return close(w->result);
}

static int do_alloc(struct world *w)
{
	w->result = ioasid_alloc(w->b.fd, 48);
	return w->result;
}

static int do_alloc_window(struct world *w)
{
	w->result = ioasid_alloc_window(w->b.fd, IOVA, IOVA + PAGE - 1);
	return w->result;
}

static int undo_alloc(struct world *w)
{
	return ioasid_free(w->b.fd, w->result);
}

static int map_many(struct world *w, int ioasid)
{
	return ioasid_map(w->b.fd, ioasid, w->memory, MANY_IOVA, MANY_PAGES * PAGE, IOASID_RW);
}

static int unmap_many(struct world *w, int ioasid)
{
	int64_t ret = unmap(w->b.fd, ioasid, MANY_IOVA, MANY_PAGES * PAGE);

	return ret < 0 ? ret : ret == MANY_PAGES * PAGE ? 0 : -ENODATA;
}

static int do_map(struct world *w)
{
	return map_many(w, w->b.ioasid);
}

static int undo_map(struct world *w)
{
	return unmap_many(w, w->b.ioasid);
}

static int do_map_other(struct world *w)
{
	return map_many(w, w->other);
}

static int undo_map_other(struct world *w)
{
	return unmap_many(w, w->other);
}

static int map_rest(struct world *w)
{
	int ret = ioasid_map(w->b.fd, w->b.ioasid, w->memory, IOVA, PAGE, IOASID_RW);

	return ret ? ret : ioasid_map(w->b.fd, w->b.ioasid, w->memory + PAGE, IOVA + PAGE, PAGE,
				      IOASID_READ);
}

static int do_unmap_all(struct world *w)
{
	int64_t ret = unmap_all(w->b.fd, w->b.ioasid);

	return ret < 0 ? ret : 0;
}

static int do_free(struct world *w)
{
	return ioasid_free(w->b.fd, w->other);
}

static int undo_free(struct world *w)
{
	return ioasid_alloc(w->b.fd, 64) == w->other ? do_map_other(w) : -EBADSLT;
}

static int do_get_info(struct world *w)
{
	struct iommu_device_info *info;
	int ret = device_get_info(w->b.fd, w->b.id, &info);

	free(info);
	return ret;
}

static int nothing(struct world *w)
{
	(void)w;
	return 0;
}

static int close_device(struct world *w)
{
	edu_close(&w->b.edu);
	return 0;
}

static int do_open_device(struct world *w)
{
	return edu_open(&w->b.edu);
}

static int open_unbound(struct world *w)
{
	edu_close(&w->b.edu);
	return edu_open(&w->b.edu);
}

static int do_bind(struct world *w)
{
	int id = vfio_bind(w->b.edu.fd, w->b.fd);

	return id < 0 ? id : id == w->b.id ? 0 : -EBADSLT;
}

static int do_attach(struct world *w)
{
	return vfio_attach(w->b.edu.fd, w->b.ioasid);
}

static int do_move(struct world *w)
{
	return vfio_attach(w->b.edu.fd, w->other);
}

static int do_detach(struct world *w)
{
	return vfio_detach(w->b.edu.fd);
}

static int return_device(struct world *w)
{
	int ret = edu_open(&w->b.edu);

	ret = ret ? ret : do_bind(w);
	return ret ? ret : do_attach(w);
}

/* Everything is closed: what is open is another context, and empty. */
static int do_close(struct world *w)
{
	close(w->b.fd);
	edu_close(&w->b.edu);
	return 0;
}

static int make_spaces(struct world *w)
{
	int ret;

	w->b.fd = open_iommufd();
	w->b.ioasid = ioasid_alloc(w->b.fd, 64);
	w->other = ioasid_alloc(w->b.fd, 64);
	if (w->b.fd < 0 || w->b.ioasid < 0 || w->other < 0)
		return -EIO;
	ret = map_rest(w);
	if (!ret)
		ret = edu_open(&w->b.edu);
	w->b.id = ret ? ret : vfio_bind(w->b.edu.fd, w->b.fd);
	return w->b.id < 0 ? w->b.id : do_attach(w);
}

static void *remove_soon(void *data)
{
	struct world *w = data;

	edu_sleep_ms(50);
	edu_close(&w->b.edu);
	return NULL;
}

/* The device is asked for while it is in use; whoever uses it lets go a little later. */
static int do_unplug(struct world *w)
{
	pthread_t closer;
	int ret = -pthread_create(&closer, NULL, remove_soon, w);

	if (ret)
		return ret;
	ret = hotplug_remove(&w->b.edu);
	pthread_join(closer, NULL);
	return ret;
}

static int undo_unplug(struct world *w)
{
	int ret = hotplug_restore(&w->b.edu);

	return ret ? ret : return_device(w);
}

FIXTURE_VARIANT(failnth)
{
	struct sweep sweep;
};

FIXTURE(failnth)
{
	struct world world;
	int faults;
	long pins;
};

FIXTURE_VARIANT_ADD(failnth, open)
{
	.sweep = { NULL, do_open, undo_open },
};

FIXTURE_VARIANT_ADD(failnth, alloc)
{
	.sweep = { NULL, do_alloc, undo_alloc },
};

FIXTURE_VARIANT_ADD(failnth, alloc_window)
{
	.sweep = { NULL, do_alloc_window, undo_alloc },
};

FIXTURE_VARIANT_ADD(failnth, free)
{
	.sweep = { do_map_other, do_free, undo_free },
};

FIXTURE_VARIANT_ADD(failnth, map)
{
	.sweep = { NULL, do_map, undo_map },
};

FIXTURE_VARIANT_ADD(failnth, map_without_device)
{
	.sweep = { NULL, do_map_other, undo_map_other },
};

FIXTURE_VARIANT_ADD(failnth, unmap)
{
	.sweep = { do_map, undo_map, do_map, .answers = true },
};

FIXTURE_VARIANT_ADD(failnth, unmap_without_device)
{
	.sweep = { do_map_other, undo_map_other, do_map_other, .answers = true },
};

FIXTURE_VARIANT_ADD(failnth, unmap_all)
{
	.sweep = { NULL, do_unmap_all, map_rest, .answers = true },
};

FIXTURE_VARIANT_ADD(failnth, get_info)
{
	.sweep = { NULL, do_get_info, nothing },
};

FIXTURE_VARIANT_ADD(failnth, get_info_detached)
{
	.sweep = { do_detach, do_get_info, nothing },
};

FIXTURE_VARIANT_ADD(failnth, open_device)
{
	.sweep = { close_device, do_open_device, close_device },
};

FIXTURE_VARIANT_ADD(failnth, bind)
{
	.sweep = { open_unbound, do_bind, open_unbound },
};

FIXTURE_VARIANT_ADD(failnth, attach)
{
	.sweep = { do_detach, do_attach, do_detach },
};

FIXTURE_VARIANT_ADD(failnth, move)
{
	.sweep = { do_map_other, do_move, do_attach },
};

FIXTURE_VARIANT_ADD(failnth, detach)
{
	.sweep = { NULL, do_detach, do_attach, .leaves = true },
};

FIXTURE_VARIANT_ADD(failnth, close_device)
{
	.sweep = { NULL, close_device, return_device, .leaves = true },
};

FIXTURE_VARIANT_ADD(failnth, close)
{
	.sweep = { NULL, do_close, make_spaces, .leaves = true },
};

FIXTURE_VARIANT_ADD(failnth, unplug)
{
	.sweep = { NULL, do_unplug, undo_unplug, .leaves = true },
};

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

FIXTURE_SETUP(failnth)
{
	struct world *w = &self->world;

	ASSERT_OK(failnth_prepare("iommufd", SET_DOMAIN, variant->sweep.leaves))
		TH_LOG("needs a kernel that can fail on request");
	self->faults = failnth_open();
	ASSERT_LE(0, self->faults);
	ASSERT_OK(edu_find(&w->b.edu, getenv("EDU")));
	w->memory = scattered_pages(MANY_PAGES);
	ASSERT_NE(NULL, w->memory);
	self->pins = held_pins();
	ASSERT_OK(make_spaces(w));
	if (variant->sweep.prepare)
		ASSERT_OK(variant->sweep.prepare(w));
}

FIXTURE_TEARDOWN(failnth)
{
	bound_close(&self->world.b);
	expect_nothing_left(_metadata, self->pins);
}

static bool is_expected(int ret)
{
	return ret == -ENOMEM || ret == -EFAULT;
}

static void expect_same(struct __test_metadata *_metadata, struct world *w,
			const struct state *before, unsigned int nth, const char *when)
{
	static struct state now;
	const char *changed;

	state_take(&now, w->b.fd, &w->b.edu);
	changed = state_compare(before, &now);
	EXPECT_EQ(NULL, changed)
		TH_LOG("with number %u failing, %s is not the same %s", nth, changed, when);
}

/* An answer that got lost is a failure that came too late to undo anything. */
static bool got_lost(const struct sweep *sweep, struct world *w, const struct state *done, int ret)
{
	static struct state now;

	if (!sweep->answers || ret != -EFAULT)
		return false;
	state_take(&now, w->b.fd, &w->b.edu);
	return !state_compare(done, &now);
}

TEST_F_TIMEOUT(failnth, sweep, 120)
{
	static struct state before, done;
	struct world *w = &self->world;
	unsigned int nth, failed = 0;
	bool happened;
	int ret;

	state_take(&before, w->b.fd, &w->b.edu);
	ASSERT_LE(0, variant->sweep.run(w));
	state_take(&done, w->b.fd, &w->b.edu);
	ASSERT_OK(variant->sweep.undo(w));
	expect_same(_metadata, w, &before, 0, "after undoing");
	for (nth = 1, happened = true; happened; nth++) {
		failnth_set(self->faults, nth);
		ret = variant->sweep.run(w);
		happened = failnth_happened(self->faults);
		if (ret < 0 && !got_lost(&variant->sweep, w, &done, ret)) {
			failed++;
			EXPECT_TRUE(happened && is_expected(ret))
				TH_LOG("with number %u failing: %s", nth, strerror(-ret));
			expect_same(_metadata, w, &before, nth, "after the failure");
			ASSERT_LE(0, variant->sweep.run(w));
		}
		expect_same(_metadata, w, &done, nth, "after success");
		ASSERT_OK(variant->sweep.undo(w));
		expect_same(_metadata, w, &before, nth, "after undoing");
		ASSERT_TRUE(__test_passed(_metadata));
	}
	TH_LOG("%u of %u made the call fail", failed, nth - 2);
}

TEST_HARNESS_MAIN
