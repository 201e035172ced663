// SPDX-License-Identifier: GPL-2.0
/*
 * Callers that do everything wrong, or too much of it. Whatever they do has a
 * documented outcome, and leaves nothing pinned.
 */
#include <signal.h>
#include <sys/time.h>

#include "ioasid_utils.h"

#define SPACE_PAGES 64

FIXTURE(abuse)
{
	struct bound b;
	char *memory;
	long pins;
};

FIXTURE_VARIANT(abuse)
{
	bool attached;
};

FIXTURE_VARIANT_ADD(abuse, no_device)
{
	.attached = false,
};

FIXTURE_VARIANT_ADD(abuse, device)
{
	.attached = true,
};

FIXTURE_SETUP(abuse)
{
	int ret;

	if (variant->attached) {
		ret = bound_open(&self->b);
		if (ret == -ENODEV)
			SKIP(return, NO_DEVICE);
		ASSERT_OK(ret);
		ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	} else {
		self->b.edu.fd = -1;
		self->b.fd = open_iommufd();
		if (self->b.fd < 0)
			SKIP(return, "cannot open " IOMMU_NODE);
		self->b.ioasid = ioasid_alloc(self->b.fd, 64);
		ASSERT_LT(0, self->b.ioasid);
	}
	self->memory = pages(SPACE_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(abuse)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* One valid argument of each call that takes a pointer. */
struct sample {
	const char *name;
	unsigned long request;
	unsigned int size;
	union {
		struct iommu_device_info info;
		struct iommu_ioasid_alloc alloc;
		struct ioasid_map map;
		struct ioasid_unmap unmap;
		__s32 id;
		uint32_t words[16];
	};
};

#define SAMPLES 5

static void make_samples(struct bound *b, void *memory, struct sample samples[SAMPLES])
{
	const struct sample valid[SAMPLES] = {
		{ "DEVICE_GET_INFO", IOMMU_DEVICE_GET_INFO, sizeof(struct iommu_device_info),
		  .info = { .argsz = 32, .dev_cookie = b->id } },
		{ "IOASID_ALLOC", IOMMU_IOASID_ALLOC, sizeof(struct iommu_ioasid_alloc),
		  .alloc = { .argsz = 32, .type = 1, .addr_width = 48 } },
		{ "IOASID_FREE", IOMMU_IOASID_FREE, sizeof(__s32), .id = 1000 },
		{ "MAP_DMA", IOMMU_MAP_DMA, sizeof(struct ioasid_map),
		  .map = map_arg(b->ioasid, memory, IOVA, PAGE) },
		{ "UNMAP_DMA", IOMMU_UNMAP_DMA, sizeof(struct ioasid_unmap),
		  .unmap = unmap_arg(b->ioasid, IOVA, PAGE) },
	};

	memcpy(samples, valid, sizeof(valid));
}

static bool is_documented(int ret)
{
	static const int errnos[] = {
		E2BIG, EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP, EOVERFLOW,
	};
	unsigned int i;

	if (ret >= 0)
		return true;
	for (i = 0; i < ARRAY_SIZE(errnos); i++)
		if (ret == -errnos[i])
			return true;
	return false;
}

/* --- pointers ---------------------------------------------------------------- */

TEST_F(abuse, bad_pointers)
{
	char *nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Below a page two of the calls are VFIO's, with a number. */
	void *pointers[] = { NULL, (void *)PAGE, (void *)(PAGE + 8), (void *)-1, (void *)-8,
			     (void *)-PAGE, (void *)LONG_MAX, (void *)LONG_MIN, nothing,
			     nothing + 8 };
	struct sample samples[SAMPLES];
	unsigned int i, j;

	make_samples(&self->b, self->memory, samples);
	for (i = 0; i < SAMPLES; i++) {
		for (j = 0; j < ARRAY_SIZE(pointers); j++) {
			EXPECT_ERRNO(EFAULT, call(self->b.fd, samples[i].request, pointers[j]))
				TH_LOG("%s at %p", samples[i].name, pointers[j]);
		}
	}
}

/* Arguments that are cut off by the end of memory, after each number of bytes. */
TEST_F(abuse, half_an_argument)
{
	char *end = pages(2) + PAGE;
	struct sample samples[SAMPLES];
	unsigned int i, size;

	ASSERT_OK(munmap(end, PAGE));
	make_samples(&self->b, self->memory, samples);
	for (i = 0; i < SAMPLES; i++) {
		for (size = 0; size < samples[i].size; size++) {
			memcpy(end - size, samples[i].words, size);
			EXPECT_ERRNO(EFAULT, call(self->b.fd, samples[i].request, end - size))
				TH_LOG("%s after %u bytes", samples[i].name, size);
		}
	}
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(abuse, read_only_arguments)
{
	struct sample samples[SAMPLES];
	unsigned int i;
	char *memory = pages(1);

	make_samples(&self->b, self->memory, samples);
	for (i = 0; i < SAMPLES; i++)
		memcpy(memory + 64 * i, samples[i].words, 64);
	ASSERT_OK(mprotect(memory, PAGE, PROT_READ));
	EXPECT_ERRNO(variant->attached ? EFAULT : ENOENT,
		     call(self->b.fd, samples[0].request, memory));
	EXPECT_LT(0, call(self->b.fd, samples[1].request, memory + 64));
	EXPECT_ERRNO(ENOENT, call(self->b.fd, samples[2].request, memory + 128));
	EXPECT_OK(call(self->b.fd, samples[3].request, memory + 192));
	EXPECT_ERRNO(EFAULT, call(self->b.fd, samples[4].request, memory + 256));
	EXPECT_EQ(PAGE, unmap(self->b.fd, self->b.ioasid, IOVA, PAGE));
}

/* --- values ------------------------------------------------------------------- */

static const uint32_t odd_words[] = { 0, 1, 2, 4, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff };

/* Undo whatever an accepted call did. */
static void tidy(struct bound *b, const struct sample *sample, int ret)
{
	if (sample->request == IOMMU_IOASID_ALLOC && ret > 0)
		ioasid_free(b->fd, ret);
	unmap_all(b->fd, b->ioasid);
}

TEST_F(abuse, odd_values_in_every_word)
{
	struct sample samples[SAMPLES], sample;
	unsigned int i, word, value;
	int ret;

	make_samples(&self->b, self->memory, samples);
	for (i = 0; i < SAMPLES; i++) {
		for (word = 0; word < samples[i].size / 4; word++) {
			for (value = 0; value < ARRAY_SIZE(odd_words); value++) {
				sample = samples[i];
				sample.words[word] = odd_words[value];
				ret = call(self->b.fd, sample.request, sample.words);
				EXPECT_TRUE(is_documented(ret))
					TH_LOG("%s, word %u 0x%x: %d", sample.name, word,
					       odd_words[value], ret);
				tidy(&self->b, &sample, ret);
			}
		}
	}
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(abuse, the_same_in_all_words)
{
	struct sample samples[SAMPLES];
	unsigned int i, byte;
	char *memory = pages(1);

	make_samples(&self->b, self->memory, samples);
	for (i = 0; i < SAMPLES; i++) {
		for (byte = 0; byte < 256; byte++) {
			memset(memory, byte, PAGE);
			EXPECT_GT(0, call(self->b.fd, samples[i].request, memory))
				TH_LOG("%s full of 0x%02x", samples[i].name, byte);
		}
	}
	EXPECT_EQ(0, pinned_pages());
}

static const unsigned long long edges[] = {
	0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 1ULL << 31, 1ULL << 32, (1ULL << 32) - PAGE,
	1ULL << 47, 1ULL << 48, (1ULL << 63) - PAGE, 1ULL << 63, TOP_PAGE - PAGE, TOP_PAGE,
	TOP_PAGE + 1, UINT64_MAX,
};

static bool wraps(uint64_t start, uint64_t size)
{
	return start + size - 1 < start;
}

/*
 * What MAP says by itself, and of memory that is @needed; what attached devices can use
 * comes on top of that.
 */
static int expected_map(uint64_t memory, uint64_t vaddr, uint64_t iova, uint64_t size,
			bool needed)
{
	if (!size)
		return -EINVAL;
	if (wraps(iova, size) || wraps(vaddr, size))
		return -EOVERFLOW;
	if ((vaddr | iova | size) % PAGE)
		return -EINVAL;
	if (needed && (vaddr < memory || vaddr - memory + size > SPACE_PAGES * PAGE))
		return -EFAULT;
	return 0;
}

TEST_F(abuse, edges_of_map)
{
	uint64_t vaddrs[] = { (uintptr_t)self->memory, (uintptr_t)self->memory + 1, 0, TOP_PAGE };
	struct ioasid_map arg;
	unsigned int v, i, s;
	int ret, expected;

	for (v = 0; v < ARRAY_SIZE(vaddrs); v++) {
		for (i = 0; i < ARRAY_SIZE(edges); i++) {
			for (s = 0; s < ARRAY_SIZE(edges); s++) {
				expected = expected_map(vaddrs[0], vaddrs[v], edges[i], edges[s],
							variant->attached);
				arg = map_arg(self->b.ioasid, NULL, edges[i], edges[s]);
				arg.map.vaddr = vaddrs[v];
				ret = call(self->b.fd, IOMMU_MAP_DMA, &arg);
				/* Too much memory may be found out before it is not there. */
				if (expected == -EFAULT && ret == -ENOMEM)
					ret = expected;
				if (variant->attached && expected != -EOVERFLOW && ret == -EINVAL)
					ret = expected;
				EXPECT_EQ(expected, ret)
					TH_LOG("iova 0x%llx, size 0x%llx, vaddr %u",
					       edges[i], edges[s], v);
				unmap_all(self->b.fd, self->b.ioasid);
			}
		}
	}
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(abuse, edges_of_unmap)
{
	unsigned long long iova, size;
	unsigned int i, s;
	int expected;

	for (i = 0; i < ARRAY_SIZE(edges); i++) {
		for (s = 0; s < ARRAY_SIZE(edges); s++) {
			iova = edges[i];
			size = edges[s];
			expected = iova % PAGE || !size || size % PAGE ? -EINVAL :
				   wraps(iova, size) ? -EOVERFLOW : 0;
			EXPECT_EQ(expected, unmap(self->b.fd, self->b.ioasid, iova, size))
				TH_LOG("iova 0x%llx, size 0x%llx", iova, size);
		}
	}
}

/* --- at random ------------------------------------------------------------------ */

static unsigned int choose(unsigned int count)
{
	return random() % count;
}

TEST_F(abuse, random_arguments)
{
	unsigned int seed = time(NULL), i, changes;
	struct sample samples[SAMPLES], sample;
	int ret;

	srandom(seed);
	make_samples(&self->b, self->memory, samples);
	for (i = 0; i < scaled(20000, 500); i++) {
		sample = samples[choose(SAMPLES)];
		for (changes = choose(4); changes; changes--)
			sample.words[choose(sample.size / 4)] =
				choose(2) ? odd_words[choose(ARRAY_SIZE(odd_words))] :
					    (uint32_t)random();
		ret = call(self->b.fd, sample.request, sample.words);
		EXPECT_TRUE(is_documented(ret))
			TH_LOG("%s: %d in round %u with seed %u", sample.name, ret, i, seed);
		if (ret >= 0)
			tidy(&self->b, &sample, ret);
	}
	EXPECT_EQ(0, pinned_pages());
}

/* The address space as it should be: which mapping each page belongs to, or 0. */
struct model {
	unsigned int owner[SPACE_PAGES + 2];	/* a page of nothing at either end */
	unsigned int pages;
};

static int model_map(struct model *model, unsigned int at, unsigned int count, unsigned int id)
{
	unsigned int i;

	for (i = at; i < at + count; i++)
		if (model->owner[i])
			return -EEXIST;
	for (i = at; i < at + count; i++)
		model->owner[i] = id;
	model->pages += count;
	return 0;
}

static int64_t model_unmap(struct model *model, unsigned int at, unsigned int count)
{
	unsigned int *owner = model->owner, last = at + count - 1, i, unmapped = 0;

	if ((owner[at] && owner[at] == owner[at - 1]) ||
	    (owner[last] && owner[last] == owner[last + 1]))
		return -EINVAL;
	for (i = at; i <= last; i++) {
		unmapped += !!owner[i];
		owner[i] = 0;
	}
	model->pages -= unmapped;
	return unmapped * (int64_t)PAGE;
}

TEST_F(abuse, random_mappings_against_a_model)
{
	unsigned int seed = time(NULL), round, at, count;
	struct model model = { };
	int64_t expected, ret;
	uint64_t iova;

	srandom(seed);
	for (round = 1; round <= scaled(5000, 300); round++) {
		at = 1 + choose(SPACE_PAGES);
		count = 1 + choose(choose(4) ? 6 : SPACE_PAGES);
		if (count > SPACE_PAGES + 1 - at)
			count = SPACE_PAGES + 1 - at;
		iova = IOVA + at * PAGE;
		if (choose(2)) {
			expected = model_map(&model, at, count, round);
			ret = ioasid_map(self->b.fd, self->b.ioasid, self->memory, iova,
					 count * PAGE, IOASID_RW);
		} else {
			expected = model_unmap(&model, at, count);
			ret = unmap(self->b.fd, self->b.ioasid, iova, count * PAGE);
		}
		ASSERT_EQ(expected, ret) TH_LOG("round %u, seed %u", round, seed);
		ASSERT_EQ(variant->attached ? model.pages : 0, pinned_pages())
			TH_LOG("round %u, seed %u", round, seed);
	}
	EXPECT_EQ(model.pages * PAGE, unmap_all(self->b.fd, self->b.ioasid));
}

/* --- signals ------------------------------------------------------------------------ */

/* With a device, for without one a MAP takes no time. */
FIXTURE(interrupted)
{
	struct bound b;
	long pins;
};

FIXTURE_SETUP(interrupted)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->pins = held_pins();
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
}

FIXTURE_TEARDOWN(interrupted)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

static void do_nothing(int signal)
{
	(void)signal;
}

#define LARGE (scaled(65536, 4096) * PAGE)

/* Memory of small pages, all of them there already. */
static void *large_memory(void)
{
	char *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t offset;

	if (memory == MAP_FAILED)
		return NULL;
	keep_small(memory, LARGE);
	for (offset = 0; offset < LARGE; offset += PAGE)
		memory[offset] = 1;
	return memory;
}

/* Signals that do not kill do not disturb a MAP, however long it takes. */
TEST_F(interrupted, signals_during_map)
{
	suseconds_t pause = 1000 * slowness_factor;
	struct itimerval often = { { 0, pause }, { 0, pause } }, never = { };
	struct sigaction action = { .sa_handler = do_nothing };
	char *memory = large_memory();

	ASSERT_NE(NULL, memory);
	ASSERT_OK(sigaction(SIGALRM, &action, NULL));
	ASSERT_OK(setitimer(ITIMER_REAL, &often, NULL));
	EXPECT_OK(ioasid_map(self->b.fd, self->b.ioasid, memory, IOVA, LARGE, IOASID_RW));
	EXPECT_EQ(LARGE, unmap(self->b.fd, self->b.ioasid, IOVA, LARGE));
	ASSERT_OK(setitimer(ITIMER_REAL, &never, NULL));
}

/* How far a child process has got, in memory that its parent sees. */
struct progress {
	volatile enum { PREPARING, MAPPING, MAPPED } stage;
	double seconds;		/* that the MAP took */
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void map_large(struct bound *b, struct progress *progress)
{
	char *memory = large_memory();
	double start = now();

	progress->stage = MAPPING;
	if (!ioasid_map(b->fd, b->ioasid, memory, IOVA, LARGE, IOASID_RW))
		progress->stage = MAPPED;
	progress->seconds = now() - start;
}

/* Have a process killed when a MAP of it is a quarter done. False if it was late. */
static bool kill_mapper(struct __test_metadata *_metadata, struct bound *b,
			struct progress *progress)
{
	pid_t child;

	progress->stage = PREPARING;
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		map_large(b, progress);
		pause();
	}
	while (progress->stage == PREPARING)
		edu_sleep_ms(1);
	edu_sleep_ms(progress->seconds * 1000 / 4);
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	return progress->stage == MAPPING;
}

/* One that kills ends it before it is done, and nothing of it stays. */
TEST_F(interrupted, killed_during_map)
{
	struct progress *progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int tries = 10;
	int64_t left;
	bool late;

	ASSERT_NE(MAP_FAILED, progress);
	IN_CHILD() {
		map_large(&self->b, progress);
	}
	ASSERT_EQ(MAPPED, progress->stage);
	ASSERT_EQ(LARGE, unmap_all(self->b.fd, self->b.ioasid));
	/* If the MAP was done, the process may have had no time left to say so. */
	do {
		late = !kill_mapper(_metadata, &self->b, progress);
		left = unmap_all(self->b.fd, self->b.ioasid);
		ASSERT_TRUE(left == (int64_t)LARGE || (!left && !late))
			TH_LOG("0x%llx bytes stayed", (long long)left);
	} while (left && --tries);
	EXPECT_EQ(0, left)
		TH_LOG("the MAP always went on to its end");
}

/* --- in quantity ---------------------------------------------------------------------- */

TEST_F(abuse, many_spaces)
{
	unsigned int i, count = scaled(20000, 400);
	int id, top = 0;

	for (i = 0; i < count; i++) {
		id = ioasid_alloc(self->b.fd, 64);
		ASSERT_LT(0, id);
		top = id;
		if (i % 100 == 0)
			ASSERT_OK(ioasid_map(self->b.fd, id, self->memory, IOVA, PAGE, IOASID_RW));
	}
	EXPECT_OK(ioasid_free(self->b.fd, top));
	EXPECT_EQ(top, ioasid_alloc(self->b.fd, 64));
}

TEST_HARNESS_MAIN
