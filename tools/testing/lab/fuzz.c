// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of both dialects in any order with any arguments, each with the outcome that
 * a model of the documented behaviour foresees:
 *
 *   fuzz [--seed N] [--calls N] [--seconds N] [--input HEX] [--guided] [--mock]
 *
 * A series of calls is made from an input (fuzz_input.h). Without coverage from the
 * kernel, a seed repeats everything; an input that was printed repeats its series.
 * With --guided it fails if the kernel does not tell what was executed. With --mock there are
 * devices in software, and what their domains lead to is compared as well.
 *
 * A new call is a function that makes it, foresees its outcome, and changes the model;
 * and a line in the table of calls.
 */
#include <getopt.h>

#include "fuzz_access.h"
#include "fuzz_bars.h"
#include "fuzz_container.h"
#include "fuzz_device.h"
#include "fuzz_dirty.h"
#include "fuzz_faults.h"
#include "fuzz_hwpt.h"
#include "fuzz_ioasid.h"
#include "fuzz_learn.h"
#include "fuzz_mock.h"
#include "fuzz_native.h"
#include "fuzz_native_map.h"
#include "fuzz_nested.h"
#include "fuzz_queues.h"
#include "fuzz_show.h"

static void fuzz_count(struct fuzz *f)
{
	long want = 0;
	unsigned int c;

	for (c = 0; c < MODEL_CONTEXTS; c++)
		want += model_pinned(context_of(f, c));
	foreseen(f, "what is accounted as pinned", pinned_pages(), want);
	expected(f, "what is pinned", held_pins() - f->pins, want);
}

struct choices {
	void (*make)(struct fuzz *f);
	unsigned int share;
};

/* The calls, and how often each is made, in relation to the others. */
static const struct choices table[] = {
	{ fuzz_map, 16 }, { fuzz_unmap, 12 }, { fuzz_alloc, 14 }, { fuzz_free, 4 },
	{ fuzz_attach, 14 }, { fuzz_bind, 8 }, { fuzz_detach, 4 }, { fuzz_info, 2 },
	{ fuzz_extension, 2 }, { fuzz_unknown, 2 }, { fuzz_count, 6 }, { fuzz_show, 3 },
	{ fuzz_reopen_device, 1 }, { fuzz_reopen_context, 1 }, { fuzz_protect, 3 },
	{ fuzz_ioas_alloc, 10 }, { fuzz_destroy, 8 }, { fuzz_ioas_map, 24 },
	{ fuzz_map_file, 14 }, { fuzz_copy, 24 }, { fuzz_ioas_unmap, 19 },
	{ fuzz_ioas_ranges, 8 }, { fuzz_ioas_allow, 8 }, { fuzz_option, 6 },
	{ fuzz_address, 1 }, { fuzz_hw_queue, 1 }, { fuzz_veventq, 1 }, { fuzz_change_process, 1 },
	{ fuzz_hwpt_alloc, 8 }, { fuzz_hw_info, 3 },
	{ fuzz_invalidate, 1 }, { fuzz_viommu_alloc, 1 }, { fuzz_vdevice_alloc, 1 },
	{ fuzz_set_dirty, 1 }, { fuzz_get_dirty, 1 }, { fuzz_fault_queue, 1 },
	{ fuzz_close_queue, 1 }, { fuzz_read_queue, 1 }, { fuzz_let_bars, 1 }, { fuzz_take_bar, 1 },
	{ fuzz_vfio_ioas, 5 }, { fuzz_vfio_extension, 2 }, { fuzz_set_iommu, 2 },
	{ fuzz_vfio_map, 4 }, { fuzz_vfio_unmap, 3 }, { fuzz_vfio_info, 3 },
};

/* What comes two times of five with devices in software. */
static const struct choices mock_table[] = {
	{ fuzz_plug, 30 }, { fuzz_unplug, 10 }, { fuzz_move, 24 }, { fuzz_fault_queue, 4 },
	{ fuzz_check_domain, 18 }, { fuzz_check_address, 10 },
	{ fuzz_hwpt_alloc, 36 }, { fuzz_destroy, 14 },
	{ fuzz_set_dirty, 12 }, { fuzz_write, 24 }, { fuzz_get_dirty, 24 },
	{ fuzz_pasid, 18 }, { fuzz_pasid_detach, 6 }, { fuzz_pasid_check, 8 },
	{ fuzz_revoke, 8 }, { fuzz_fault, 10 },
};

/* And what comes one time of five: virtual IOMMUs, and drivers without DMA. */
static const struct choices guest_table[] = {
	{ fuzz_guest, 84 }, { fuzz_viommu_alloc, 8 }, { fuzz_vdevice_alloc, 10 },
	{ fuzz_destroy_of_guest, 16 },
	{ fuzz_invalidate, 12 }, { fuzz_check_entries, 8 }, { fuzz_hw_queue, 8 },
	{ fuzz_veventq, 8 }, { fuzz_event, 8 }, { fuzz_read_events, 8 }, { fuzz_close_veventq, 4 },
	{ fuzz_mmap, 4 }, { fuzz_munmap, 6 }, { fuzz_access, 14 }, { fuzz_close_access, 3 },
	{ fuzz_move_access, 5 }, { fuzz_pin, 26 }, { fuzz_unpin, 8 }, { fuzz_access_rw, 16 },
};

#define SHARES 256

static void choose(struct fuzz *f, const struct choices *choices, unsigned int count)
{
	unsigned int number = pick(&f->input, SHARES), i;

	for (i = 0; i < count - 1 && number >= choices[i].share; i++)
		number -= choices[i].share;
	choices[i].make(f);
}

static void fuzz_something(struct fuzz *f)
{
	unsigned int which = f->is_mock ? pick(&f->input, 5) : 4, c;

	if (which < 2)
		choose(f, mock_table, ARRAY_SIZE(mock_table));
	else if (which == 2)
		choose(f, guest_table, ARRAY_SIZE(guest_table));
	else
		choose(f, table, ARRAY_SIZE(table));
	for (c = 0; c < MODEL_CONTEXTS; c++)
		model_find_bars(context_of(f, c));
}

/* --- episodes ------------------------------------------------------------------------ */

/* Often there is soon a space, with a device or without, where most of what comes happens. */
static void begin(struct fuzz *f)
{
	if (one_in(&f->input, 4))
		return;
	fuzz_bind(f);
	fuzz_ioas_alloc(f);
	if (f->is_mock)
		fuzz_plug(f);
	else if (one_in(&f->input, 2))
		fuzz_attach(f);
}

/* From nothing to nothing, by way of some calls. */
static void episode(struct fuzz *f)
{
	unsigned int calls = 16 + pick(&f->input, 240), c;
	struct device *device = NULL;

	f->episodes++;
	f->has_device = f->edu.address[0] && one_in(&f->input, 2);
	f->has_bad = one_in(&f->input, 2);
	f->has_bytes = one_in(&f->input, 3);
	f->has_far = !f->is_mock || one_in(&f->input, 3);
	memset(f->model.contexts, 0, sizeof(f->model.contexts));
	protect_again(f);
	for (c = 0; c < MODEL_CONTEXTS; c++)
		f->fds[c] = open_iommufd();
	give_back_again(f);
	let_bars(f, false);
	if (f->has_device)
		foreseen(f, "open of the device", edu_open(&f->edu), 0);
	begin(f);
	while (calls-- && !f->failed)
		fuzz_something(f);
	if (!f->failed)
		fuzz_count(f);
	for (c = 0; c < MODEL_CONTEXTS; c++) {
		close(f->fds[c]);
		let_go(context_of(f, c));
	}
	edu_close(&f->edu);
	while (next_device(&f->model, &device))
		model_unbind(&f->model, device);
	foreseen(f, "pinned pages at the end", pinned_pages(), 0);
	if (f->is_mock)
		foreseen(f, "devices in software at the end", mock_count(), 0);
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

/* Memory with nothing behind it; at @address, unless that is NULL. */
static char *fenced_pages(void *address, unsigned int count)
{
	int fixed = address ? MAP_FIXED_NOREPLACE : 0;
	char *memory = mmap(address, (count + 1) * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);

	if (memory == MAP_FAILED || mprotect(memory + count * PAGE, PAGE, PROT_NONE))
		return NULL;
	memset(memory, 1, count * PAGE);
	return memory;
}

static int prepare_file(struct fuzz *f)
{
	char path[32];

	f->file = memfd_create("fuzz", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->file);
	f->file_for_reading = open(path, O_RDONLY | O_CLOEXEC);
	if (f->file_for_reading < 0 || ftruncate(f->file, FILE_PAGES * PAGE))
		return -EIO;
	f->file_memory = mmap(NULL, FILE_PAGES * PAGE, PROT_READ, MAP_SHARED, f->file, 0);
	return f->file_memory == MAP_FAILED ? -ENOMEM : 0;
}

static int prepare(struct fuzz *f)
{
	f->memory = fenced_pages((void *)MEMORY, MEMORY_PAGES);
	f->argument = fenced_pages(NULL, ARGUMENT_SIZE / PAGE);
	f->corpus = calloc(CORPUS_SIZE, sizeof(*f->corpus));
	if (f->memory != (char *)MEMORY || !f->argument || !f->corpus || prepare_file(f))
		return -ENOMEM;
	coverage_open(&f->coverage);
	return f->is_mock ? learn_device(f) : learn_device(f) ?: open_bar(f);
}

struct limits {
	unsigned long calls;
	double end;
	bool guided;
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
		{ "input", required_argument, NULL, 'i' }, { "guided", no_argument, NULL, 'g' },
		{ "mock", no_argument, NULL, 'm' }, { }
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
		else if (option == 'g')
			limits->guided = true;
		else if (option == 'm')
			f->is_mock = true;
		if (option == '?' || (option == 'i' && !f->verbose))
			ksft_exit_fail_msg("unknown option; see tools/testing/lab/fuzz.c\n");
	}
}

int main(int argc, char **argv)
{
	struct limits limits = { ULONG_MAX, 1e300, false };
	struct fuzz *f = calloc(1, sizeof(*f));
	double start = now();

	f->input.dice = (unsigned long)time(NULL);
	parse(f, &limits, argc, argv);
	ksft_print_header();
	ksft_set_plan(limits.guided ? 3 : 2);
	ksft_print_msg("seed %lu\n", f->input.dice);
	if (prepare(f))
		ksft_exit_fail_msg("the device cannot be used\n");
	f->pins = held_pins();
	if (f->verbose)
		episode(f);
	else
		fuzz(f, &limits);
	ksft_print_msg("%lu calls in %lu episodes, %.0f seconds, %s device\n", f->calls,
		       f->episodes, now() - start, f->is_mock ? "with software as a" :
		       f->edu.address[0] ? "with a" : "without a");
	ksft_test_result(!f->failed && f->calls, "every call as the model says\n");
	ksft_test_result(held_pins() == f->pins, "no pin is left\n");
	if (limits.guided) {
		ksft_print_msg("%lu places of the driver executed, %u inputs kept\n",
			       f->coverage.count, f->kept);
		ksft_test_result(f->coverage.count, "what was executed led it\n");
	}
	ksft_finished();
}
