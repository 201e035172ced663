// SPDX-License-Identifier: GPL-2.0
/*
 * Calls in any order with any arguments, each with the outcome that a model of the
 * documented behaviour foresees:
 *
 *   fuzz [--seed N] [--calls N] [--seconds N] [--input HEX]
 *
 * A series of calls is made from an input (fuzz_input.h). Without coverage from the
 * kernel, a seed repeats everything; an input that was printed repeats its series.
 *
 * A new call is a function that makes it, foresees its outcome, and changes the model;
 * and a line in the table of calls.
 */
#include <getopt.h>

#include "fuzz_input.h"
#include "fuzz_model.h"
#include "ioasid_utils.h"

#define CONTEXTS 2
#define RW_PAGES 64	/* memory that can be written, then some that can be read, then none */
#define RO_PAGES 4
#define NO_PAGES 4
#define MEMORY (1UL << 40)	/* where it is: nothing else is near, nor where odd offsets lead */

struct fuzz {
	struct input input;
	struct coverage coverage;
	struct input *corpus;
	unsigned int kept;

	int fds[CONTEXTS];
	struct context contexts[CONTEXTS];
	struct edu edu;
	bool has_device;	/* in this episode; it takes time to open */
	struct device device;
	char *memory;

	unsigned long calls, episodes;
	bool failed, verbose;
};

/* Compare what a call returned with what was foreseen. */
static bool foreseen(struct fuzz *f, const char *name, int64_t got, int64_t want)
{
	f->calls++;
	if (f->verbose)
		printf("# %s: %ld\n", name, got);
	if (got == want)
		return true;
	printf("# %s returned %ld, not %ld, as call %lu in episode %lu\n", name, got, want,
	       f->calls, f->episodes);
	f->failed = true;
	return false;
}

static unsigned int pick_context(struct fuzz *f)
{
	return pick(&f->input, CONTEXTS);
}

/* Mostly one that may be there. */
static int pick_id(struct fuzz *f)
{
	static const int odd[] = { 0, -1, 0x7fffffff, -0x7fffffff - 1, 25, 1000 };

	if (one_in(&f->input, 12))
		return odd[pick(&f->input, ARRAY_SIZE(odd))];
	return 1 + pick(&f->input, 6);
}

static uint64_t pick_odd(struct fuzz *f)
{
	static const uint64_t odd[] = {
		1, PAGE - 1, PAGE + 1, 1UL << 31, 1UL << 32, 1UL << 47, 1UL << 63,
		TOP_PAGE, UINT64_MAX, 0,
	};

	return odd[pick(&f->input, ARRAY_SIZE(odd))];
}

static uint64_t pick_iova(struct fuzz *f)
{
	const uint64_t bases[] = {
		0, IOVA, IOVA, IOVA, 0xfee00000 - 8 * PAGE, f->device.last + 1 - 8 * PAGE,
		TOP_PAGE - 8 * PAGE,
	};
	uint64_t base = bases[pick(&f->input, ARRAY_SIZE(bases))];

	if (one_in(&f->input, 20))
		return pick_odd(f);
	return base + pick(&f->input, 16) * PAGE;
}

static uint64_t pick_size(struct fuzz *f)
{
	if (one_in(&f->input, 20))
		return pick_odd(f);
	return (1 + pick(&f->input, 8)) * PAGE;
}

/* 0, or what any call says of such a range. */
static int check_range(uint64_t first, uint64_t size)
{
	return !size ? -EINVAL : first + size - 1 < first ? -EOVERFLOW : 0;
}

static const struct device *attached_to(struct fuzz *f, unsigned int c, int id)
{
	return f->device.context == (int)c && f->device.space == id ? &f->device : NULL;
}

/* --- calls on a context ---------------------------------------------------------- */

static void fuzz_extension(struct fuzz *f)
{
	unsigned int c = pick_context(f), number = pick(&f->input, 16);
	bool known = number == 1 || number == 2 || number == 4 || number == 9;

	foreseen(f, "CHECK_EXTENSION", iommu_check_extension(f->fds[c], number), known);
}

static void fuzz_unknown(struct fuzz *f)
{
	const unsigned long requests[] = { _IO(';', 99), _IO(';', 127), _IO('<', 100), 0, ~0U };
	unsigned long request = requests[pick(&f->input, ARRAY_SIZE(requests))];

	foreseen(f, "unknown", call(f->fds[pick_context(f)], request, f->memory), -ENOTTY);
}

/* The lowest id that is free: one may be that of the page table of an attached device. */
static int foresee_id(struct fuzz *f, unsigned int c, int got)
{
	int id = model_next_id(&f->contexts[c]), next = model_id_after(&f->contexts[c], id);

	return f->device.context == (int)c && f->device.space && got == next ? next : id;
}

static int foresee_alloc(struct fuzz *f, unsigned int c, const struct iommu_ioasid_alloc *arg,
			 int got)
{
	struct context *context = &f->contexts[c];
	struct range window = { 0, UINT64_MAX };
	int id = foresee_id(f, c, got);

	if (arg->argsz < 16 || arg->flags > 3 || arg->type != 1)
		return -EINVAL;
	if (arg->flags & IOMMU_IOASID_IOVA_WINDOW) {
		window = (struct range) { arg->iova_first, arg->iova_last };
		if (arg->argsz < 32 || arg->addr_width || window.first > window.last ||
		    window.first % PAGE || (window.last + 1) % PAGE)
			return -EINVAL;
	} else {
		if (!arg->addr_width || arg->addr_width > 64)
			return -EINVAL;
		window.last >>= 64 - arg->addr_width;
	}
	context->kinds[id] = SPACE;
	context->spaces[id] = (struct space) {
		.window = window,
		.enforce_snoop = arg->flags & IOMMU_IOASID_ENFORCE_SNOOP,
	};
	return id;
}

static void fuzz_alloc(struct fuzz *f)
{
	static const unsigned char widths[] = { 64, 48, 39, 32, 29, 12, 1, 0, 65, 255 };
	struct iommu_ioasid_alloc arg = { .argsz = 32, .type = 1 };
	unsigned int c = pick_context(f);
	int got;

	/* A page table may have another. */
	if (!model_id_after(&f->contexts[c], model_next_id(&f->contexts[c])))
		return;
	if (one_in(&f->input, 4)) {
		arg.flags = IOMMU_IOASID_IOVA_WINDOW;
		arg.iova_first = pick_iova(f);
		arg.iova_last = arg.iova_first + pick_size(f) - 1;
	} else {
		arg.addr_width = widths[pick(&f->input, one_in(&f->input, 4) ? 10 : 2)];
	}
	if (one_in(&f->input, 10))
		arg.flags ^= 1U << pick(&f->input, 32);
	if (one_in(&f->input, 20))
		arg.argsz = pick(&f->input, 33);
	if (one_in(&f->input, 30))
		arg.type = pick(&f->input, 4);
	got = call(f->fds[c], IOMMU_IOASID_ALLOC, &arg);
	foreseen(f, "ALLOC", got, foresee_alloc(f, c, &arg, got));
}

static void fuzz_free(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	int id = pick_id(f), want = 0;

	if (!model_space(&f->contexts[c], id))
		want = -ENOENT;
	else if (attached_to(f, c, id))
		want = -EBUSY;
	else
		f->contexts[c].kinds[id] = FREE_ID;
	foreseen(f, "FREE", ioasid_free(f->fds[c], id), want);
}

/* What is true of the memory of a MAP: it is there, and can be written if it has to be. */
static bool memory_is_good(struct fuzz *f, const struct vfio_iommu_type1_dma_map *map)
{
	unsigned int good = map->flags & VFIO_DMA_MAP_FLAG_WRITE ? RW_PAGES : RW_PAGES + RO_PAGES;
	uint64_t start = (uintptr_t)f->memory;

	return map->vaddr >= start && map->vaddr - start < good * PAGE &&
	       map->size <= good * PAGE - (map->vaddr - start);
}

static int foresee_map(struct fuzz *f, unsigned int c, const struct ioasid_map *arg)
{
	const struct vfio_iommu_type1_dma_map *map = &arg->map;
	struct space *space = model_space(&f->contexts[c], arg->op.ioasid);
	struct range range = { map->iova, map->iova + map->size - 1 };
	int ret;

	if (arg->op.argsz < sizeof(arg->op) || arg->op.flags || arg->op.padding)
		return -EINVAL;
	if (!space)
		return -ENOENT;
	if (map->argsz < sizeof(*map) || map->flags > 7)
		return -EINVAL;
	if (map->flags & VFIO_DMA_MAP_FLAG_VADDR)
		return -EOPNOTSUPP;
	ret = check_range(map->iova, map->size);
	if (!ret)
		ret = check_range(map->vaddr, map->size);
	if (ret)
		return ret;
	if (!map->flags || (map->iova | map->vaddr | map->size) % PAGE)
		return -EINVAL;
	return model_map(space, range, memory_is_good(f, map),
			 attached_to(f, c, arg->op.ioasid));
}

static void fuzz_map(struct fuzz *f)
{
	unsigned int c = pick_context(f), page = pick(&f->input, RW_PAGES + RO_PAGES + NO_PAGES);
	struct ioasid_map arg = map_arg(pick_id(f), f->memory + page * PAGE, pick_iova(f),
					pick_size(f));
	struct space *space = model_space(&f->contexts[c], arg.op.ioasid);
	int got, want;

	if (space && space->count == MODEL_AREAS)
		return;
	if (!one_in(&f->input, 3))
		arg.map.flags = pick(&f->input, one_in(&f->input, 8) ? 9 : 4);
	if (one_in(&f->input, 30))
		arg.map.vaddr += pick_odd(f);
	if (one_in(&f->input, 30))
		((uint32_t *)&arg)[pick(&f->input, 6)] ^= 1U << pick(&f->input, 32);
	/* What is behind a longer argument is another test's subject. */
	if (arg.op.argsz > sizeof(arg))
		arg.op.argsz = sizeof(arg);
	got = call(f->fds[c], IOMMU_MAP_DMA, &arg);
	want = foresee_map(f, c, &arg);
	/* Too much may be noticed before it is looked at. */
	if (got == -ENOMEM && want == -EFAULT && arg.map.size > (RW_PAGES + RO_PAGES) * PAGE)
		got = want;
	foreseen(f, "MAP", got, want);
}

static int64_t foresee_unmap(struct fuzz *f, unsigned int c, const struct ioasid_unmap *arg)
{
	const struct vfio_iommu_type1_dma_unmap *unmap = &arg->unmap;
	struct space *space = model_space(&f->contexts[c], arg->op.ioasid);
	struct range range = { unmap->iova, unmap->iova + unmap->size - 1 };
	int ret;

	if (arg->op.argsz < sizeof(arg->op) || arg->op.flags || arg->op.padding)
		return -EINVAL;
	if (!space)
		return -ENOENT;
	if (unmap->argsz < sizeof(*unmap) || unmap->flags > 7)
		return -EINVAL;
	if (unmap->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EOPNOTSUPP;
	if (unmap->flags) {
		if (unmap->iova || unmap->size)
			return -EINVAL;
		return model_unmap(space, (struct range) { 0, UINT64_MAX });
	}
	if ((unmap->iova | unmap->size) % PAGE)
		return -EINVAL;
	ret = check_range(unmap->iova, unmap->size);
	return ret ? ret : model_unmap(space, range);
}

static void fuzz_unmap(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct ioasid_unmap arg = unmap_arg(pick_id(f), pick_iova(f), pick_size(f)), before;
	int64_t got;

	if (one_in(&f->input, 6)) {
		arg.unmap.flags = pick(&f->input, 9);
		if (!one_in(&f->input, 4)) {
			arg.unmap.iova = 0;
			arg.unmap.size = 0;
		}
	}
	if (one_in(&f->input, 30))
		((uint32_t *)&arg)[pick(&f->input, 6)] ^= 1U << pick(&f->input, 32);
	if (arg.op.argsz > sizeof(arg))
		arg.op.argsz = sizeof(arg);
	before = arg;
	got = call(f->fds[c], IOMMU_UNMAP_DMA, &arg);
	if (!got)
		got = arg.unmap.size;
	foreseen(f, "UNMAP", got, foresee_unmap(f, c, &before));
}

/* --- calls with a device ----------------------------------------------------------- */

static void fuzz_info(struct fuzz *f)
{
	struct iommu_device_info arg = { .argsz = 32 };
	unsigned int c = pick_context(f);
	int want = -ENOENT;

	arg.dev_cookie = pick_id(f);
	if (f->device.context == (int)c && f->device.id == (int64_t)arg.dev_cookie)
		want = 0;
	if (one_in(&f->input, 10))
		arg.argsz = pick(&f->input, 33);
	if (arg.argsz < 32)
		want = -EINVAL;
	foreseen(f, "GET_INFO", call(f->fds[c], IOMMU_DEVICE_GET_INFO, &arg), want);
}

static void fuzz_bind(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	int id = model_next_id(&f->contexts[c]);

	if (!f->has_device || !id)
		return;
	if (f->device.context >= 0) {
		foreseen(f, "BIND again", vfio_bind(f->edu.fd, f->fds[c]), -EINVAL);
		return;
	}
	foreseen(f, "BIND", vfio_bind(f->edu.fd, f->fds[c]), id);
	f->device.context = c;
	f->device.id = id;
	f->contexts[c].kinds[id] = DEVICE;
}

static void fuzz_attach(struct fuzz *f)
{
	struct device *device = &f->device;
	struct space *space;
	int id = pick_id(f), want;

	if (!f->has_device)
		return;
	/* An id that the model does not know may be that of the device's page table. */
	if (device->space && id > 0 && id <= MODEL_IDS &&
	    f->contexts[device->context].kinds[id] == FREE_ID)
		return;
	space = device->context < 0 ? NULL : model_space(&f->contexts[device->context], id);
	if (device->context < 0)
		want = -EINVAL;
	else if (!space)
		want = -ENOENT;
	else
		want = device->space == id ? 0 : model_attach(space, device);
	if (!want)
		device->space = id;
	foreseen(f, "ATTACH", vfio_attach(f->edu.fd, id), want);
}

static void fuzz_detach(struct fuzz *f)
{
	if (!f->has_device)
		return;
	foreseen(f, "DETACH", vfio_detach(f->edu.fd), f->device.context < 0 ? -EINVAL : 0);
	f->device.space = 0;
}

static void close_device(struct fuzz *f)
{
	struct device *device = &f->device;

	edu_close(&f->edu);
	if (device->context >= 0)
		f->contexts[device->context].kinds[device->id] = FREE_ID;
	device->context = -1;
	device->id = 0;
	device->space = 0;
}

static void fuzz_reopen_device(struct fuzz *f)
{
	if (!f->has_device)
		return;
	close_device(f);
	foreseen(f, "open of the device", edu_open(&f->edu), 0);
}

/* In either order, if the device is bound to it. */
static void fuzz_reopen_context(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	bool first = one_in(&f->input, 2);

	if (first)
		close(f->fds[c]);
	if (f->device.context == (int)c)
		fuzz_reopen_device(f);
	if (!first)
		close(f->fds[c]);
	memset(&f->contexts[c], 0, sizeof(f->contexts[c]));
	f->fds[c] = open_iommufd();
	foreseen(f, "open", f->fds[c] >= 0, true);
}

static void fuzz_count(struct fuzz *f)
{
	long want = 0;
	unsigned int c;

	for (c = 0; c < CONTEXTS; c++)
		want += model_pages(&f->contexts[c]);
	foreseen(f, "pinned pages", pinned_pages(), want);
}

/* The calls, and how many of a hundred each is about. */
static const struct {
	void (*make)(struct fuzz *f);
	unsigned int share;
} table[] = {
	{ fuzz_map, 32 }, { fuzz_unmap, 18 }, { fuzz_alloc, 14 }, { fuzz_free, 6 },
	{ fuzz_attach, 8 }, { fuzz_bind, 4 }, { fuzz_detach, 3 }, { fuzz_info, 4 },
	{ fuzz_extension, 2 }, { fuzz_unknown, 2 }, { fuzz_count, 3 },
	{ fuzz_reopen_device, 2 }, { fuzz_reopen_context, 2 },
};

static void fuzz_something(struct fuzz *f)
{
	unsigned int number = pick(&f->input, 100), i;

	for (i = 0; i < ARRAY_SIZE(table) - 1 && number >= table[i].share; i++)
		number -= table[i].share;
	table[i].make(f);
}

/* --- episodes ------------------------------------------------------------------------ */

/* From nothing to nothing, by way of some calls. */
static void episode(struct fuzz *f)
{
	unsigned int calls = 8 + pick(&f->input, 128), c;

	f->episodes++;
	f->has_device = f->edu.address[0] && one_in(&f->input, 4);
	memset(f->contexts, 0, sizeof(f->contexts));
	for (c = 0; c < CONTEXTS; c++)
		f->fds[c] = open_iommufd();
	if (f->has_device)
		foreseen(f, "open of the device", edu_open(&f->edu), 0);
	while (calls-- && !f->failed)
		fuzz_something(f);
	if (!f->failed)
		fuzz_count(f);
	for (c = 0; c < CONTEXTS; c++)
		close(f->fds[c]);
	close_device(f);
	foreseen(f, "pinned pages at the end", pinned_pages(), 0);
	if (f->failed)
		input_print(&f->input);
}

static void next_input(struct fuzz *f)
{
	uint64_t dice = f->input.dice;

	if (f->kept && input_random(&f->input) % 2) {
		dice = f->input.dice;
		f->input = f->corpus[dice % f->kept];
		f->input.dice = dice;
		input_mutate(&f->input, &f->corpus[dice % f->kept]);
		return;
	}
	f->input.length = 0;
	f->input.at = 0;
}

static void keep_input(struct fuzz *f)
{
	unsigned int place = f->kept < CORPUS_SIZE ? f->kept++ :
			     input_random(&f->input) % CORPUS_SIZE;

	f->corpus[place] = f->input;
	f->corpus[place].length = f->input.at;
}

/* The addresses that the device can use are what it says of itself. */
static int learn_device(struct fuzz *f)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	struct device *device = &f->device;
	int iommufd = open_iommufd(), id, ret;
	uint64_t next = 0;
	unsigned int i;

	device->context = -1;
	device->last = UINT64_MAX;
	if (edu_find(&f->edu, getenv("EDU"))) {
		f->edu.address[0] = 0;
		close(iommufd);
		return 0;
	}
	ret = edu_open(&f->edu);
	id = ret ? ret : vfio_bind(f->edu.fd, iommufd);
	ret = id < 0 ? id : device_get_info(iommufd, id, &info);
	if (ret)
		return ret;
	cap = device_iova_ranges(info);
	for (i = 0; cap && i < cap->nr_iovas && i < MODEL_HOLES; i++) {
		if (cap->iova_ranges[i].start > next)
			device->holes[device->hole_count++] =
				(struct range) { next, cap->iova_ranges[i].start - 1 };
		next = cap->iova_ranges[i].end + 1;
	}
	device->last = UINT64_MAX >> (64 - info->addr_width);
	if (next && next <= device->last)
		device->holes[device->hole_count++] = (struct range) { next, device->last };
	free(info);
	edu_close(&f->edu);
	close(iommufd);
	return 0;
}

static int prepare(struct fuzz *f)
{
	f->memory = mmap((void *)MEMORY, (RW_PAGES + RO_PAGES + NO_PAGES) * PAGE,
			 PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	f->corpus = calloc(CORPUS_SIZE, sizeof(*f->corpus));
	if (f->memory != (char *)MEMORY || !f->corpus)
		return -ENOMEM;
	memset(f->memory, 1, (RW_PAGES + RO_PAGES) * PAGE);
	mprotect(f->memory + RW_PAGES * PAGE, RO_PAGES * PAGE, PROT_READ);
	mprotect(f->memory + (RW_PAGES + RO_PAGES) * PAGE, NO_PAGES * PAGE, PROT_NONE);
	coverage_open(&f->coverage);
	return learn_device(f);
}

struct limits {
	unsigned long calls;
	double end;
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void fuzz(struct fuzz *f, const struct limits *limits)
{
	while (!f->failed && f->calls < limits->calls && now() < limits->end) {
		next_input(f);
		episode(f);
		if (coverage_news(&f->coverage))
			keep_input(f);
	}
}

static void parse(struct fuzz *f, struct limits *limits, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "calls", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 't' },
		{ "input", required_argument, NULL, 'i' }, { }
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 's')
			f->input.dice = strtoul(optarg, NULL, 0);
		else if (option == 'c')
			limits->calls = strtoul(optarg, NULL, 0);
		else if (option == 't')
			limits->end = now() + strtoul(optarg, NULL, 0);
		else if (option == 'i')
			f->verbose = input_parse(&f->input, optarg);
		if (option == '?' || (option == 'i' && !f->verbose))
			ksft_exit_fail_msg("unknown option; see tools/testing/lab/fuzz.c\n");
	}
}

int main(int argc, char **argv)
{
	struct limits limits = { ULONG_MAX, 1e300 };
	struct fuzz *f = calloc(1, sizeof(*f));
	double start = now();
	long pins;

	f->input.dice = (unsigned long)time(NULL);
	parse(f, &limits, argc, argv);
	ksft_print_header();
	ksft_set_plan(2);
	ksft_print_msg("seed %lu\n", f->input.dice);
	if (prepare(f))
		ksft_exit_fail_msg("the device cannot be used\n");
	pins = held_pins();
	if (f->verbose)
		episode(f);
	else
		fuzz(f, &limits);
	ksft_print_msg("%lu calls in %lu episodes, %.0f seconds, %s device\n", f->calls,
		       f->episodes, now() - start, f->edu.address[0] ? "with a" : "without a");
	ksft_print_msg("%lu places of the driver executed, %u inputs kept\n", f->coverage.count,
		       f->kept);
	ksft_test_result(!f->failed && f->calls, "every call as the model says\n");
	ksft_test_result(held_pins() == pins, "no pin is left\n");
	ksft_finished();
}
