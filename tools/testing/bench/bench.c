// SPDX-License-Identifier: GPL-2.0
/*
 * Measure how long drivers take to map and unmap memory. Each line of the output
 * is a finding:
 *
 *	sample DRIVER ROW OPERATION VALUE
 *	skip DRIVER ROW REASON
 *	memory ROW BYTES RUNS
 *
 * VALUE is in nanoseconds by the page or the call, or what the row says. RUNS is
 * in how many pieces the memory is, physically.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "phase.h"

/* What is left for everything else, such as processes that are killed. */
#define SPARE (512 * MIB)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static const char usage[] =
	"usage: bench [OPTION]... DRIVER...\n"
	"\n"
	"Measures mapping and unmapping through each DRIVER: type1 (VFIO type1), c\n"
	"(mainline's iommufd), rust (this driver), native (this driver by mainline's\n"
	"calls) or serial (as native, with one thread for each call). All of them get the\n"
	"same memory.\n"
	"Needs root, and a device that is bound to vfio-pci.\n"
	"\n"
	"  --swap COMMAND  runs 'COMMAND DRIVER' first, which loads that driver's modules\n"
	"                  instead of another's; else DRIVER must be loaded already\n"
	"  --rows LIST     only these rows, separated by commas\n"
	"  --runs N        how often each row is run before the next one (default: 4)\n"
	"  --rounds N      how often to go through all drivers and rows (default: 1)\n"
	"  --wall          the clock tells real time: rows that need several processors too\n"
	"\n"
	"Rows:";

static const struct row rows[] = {
	{ "anon", run_bulk, MEMORY_ANON, 256 * MIB },
	{ "anon-scattered", run_bulk, MEMORY_ANON_SCATTERED, 256 * MIB },
	{ "thp", run_bulk, MEMORY_THP, 256 * MIB },
	{ "hugetlb-2m", run_bulk, MEMORY_HUGETLB_2M, 256 * MIB },
	{ "memfd", run_bulk, MEMORY_MEMFD, 256 * MIB },
	{ "memfd-scattered", run_bulk, MEMORY_MEMFD_SCATTERED, 256 * MIB },
	{ "memfd-file", run_file, MEMORY_MEMFD, 256 * MIB },
	{ "small", run_small, MEMORY_ANON, CALLS * PAGE },
	{ "exit-thp", run_exit, MEMORY_THP, 256 * MIB },
	{ "exit-anon", run_exit, MEMORY_ANON, 256 * MIB },
	{ "hugetlb-1g", run_bulk, MEMORY_HUGETLB_1G, GIB },
	{ "first-thp", run_first, MEMORY_THP, 256 * MIB },
	{ "first-anon", run_first, MEMORY_ANON, 256 * MIB },
	{ "two-devices", run_two_devices, MEMORY_ANON, 256 * MIB },
	{ "two-iommus", run_two_iommus, MEMORY_ANON, 256 * MIB },
	{ "two-threads", run_threads, MEMORY_ANON, 256 * MIB },
	{ "fresh-anon", run_fresh, MEMORY_ANON, 256 * MIB },
	{ "fresh-thp", run_fresh, MEMORY_THP, GIB },
	{ "fresh-hugetlb-2m", run_fresh, MEMORY_HUGETLB_2M, 512 * MIB },
	{ "fresh-hugetlb-1g", run_fresh, MEMORY_HUGETLB_1G, 4 * GIB },
	{ "fresh-memfd", run_fresh, MEMORY_MEMFD, 256 * MIB },
	{ "fresh-file", run_fresh_file, MEMORY_MEMFD, 256 * MIB },
	{ "boot", run_boot, MEMORY_THP, 4 * GIB },
	{ "viommu", run_viommu, MEMORY_ANON, 256 * MIB },
	{ "chosen", run_chosen, MEMORY_ANON, CALLS * PAGE },
	{ "chosen-holes", run_chosen_holes, MEMORY_ANON, CALLS * PAGE },
	{ "kmem-anon", run_kmem_bulk, MEMORY_ANON, 256 * MIB },
	{ "kmem-scattered", run_kmem_bulk, MEMORY_ANON_SCATTERED, 256 * MIB },
	{ "kmem-thp", run_kmem_bulk, MEMORY_THP, 256 * MIB },
	{ "kmem-small", run_kmem_small, MEMORY_ANON, CALLS * PAGE },
};

struct options {
	const char *swap;
	const char *list;
	int rounds;
	int drivers;
	char **names;
};

void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

void check(int ret, const char *what)
{
	if (ret < 0)
		fail("%s: %s", what, strerror(-ret));
}

uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

void sample(struct bench *bench, const struct row *row, const char *operation, double value)
{
	printf("%s %s %s %s %.3f\n", "sample", bench->backend->name, row->name, operation,
	       value);
}

void describe(const struct row *row, struct memory *memory)
{
	printf("memory %s %zu %zu\n", row->name, memory->size, memory->runs);
}

void open_space(struct bench *bench, struct space *space)
{
	check(space_open(space, bench->backend), bench->backend->name);
	bind(space, bench->devices[0]);
	attach(space, bench->devices[0]);
}

void bind(struct space *space, const char *address)
{
	check(space_bind(space, address), address);
}

void attach(struct space *space, const char *address)
{
	check(space_attach(space, address), address);
}

void map(struct space *space, void *memory, uint64_t iova, uint64_t size)
{
	phase(PHASE_MAP);
	check(space->backend->calls->map(space, memory, iova, size), "map");
	phase(PHASE_OTHER);
}

uint64_t map_anywhere(struct space *space, void *memory, uint64_t size)
{
	uint64_t iova;

	phase(PHASE_MAP);
	check(space->backend->calls->map_anywhere(space, memory, &iova, size), "map");
	phase(PHASE_OTHER);
	return iova;
}

void unmap(struct space *space, uint64_t iova, uint64_t size)
{
	phase(PHASE_UNMAP);
	check(space->backend->calls->unmap(space, iova, size), "unmap");
	phase(PHASE_OTHER);
}

static bool is_next(const char *list, const char *name)
{
	size_t length = strcspn(list, ",");

	return strlen(name) == length && !strncmp(list, name, length);
}

static const char *after_next(const char *list)
{
	list += strcspn(list, ",");
	return list + (*list == ',');
}

static bool wanted(const struct options *options, const struct row *row)
{
	const char *at;

	if (!options->list)
		return true;
	for (at = options->list; *at; at = after_next(at))
		if (is_next(at, row->name))
			return true;
	return false;
}

static void check_list(const struct options *options)
{
	const char *at;
	size_t i;

	for (at = options->list; at && *at; at = after_next(at)) {
		for (i = 0; i < ARRAY_SIZE(rows); i++)
			if (is_next(at, rows[i].name))
				break;
		if (i == ARRAY_SIZE(rows))
			fail("there is no row %.*s; see --help", (int)strcspn(at, ","), at);
	}
}

/* The devices that vfio-pci has, in the order of their addresses. */
static void find_devices(struct bench *bench)
{
	struct dirent **entries;
	int count, i;

	bench->count = 0;
	count = scandir("/sys/bus/pci/drivers/vfio-pci", &entries, NULL, alphasort);
	for (i = 0; i < count; i++) {
		if (strchr(entries[i]->d_name, ':') && bench->count < MAX_DEVICES)
			snprintf(bench->devices[bench->count++], sizeof(bench->devices[0]),
				 "%.15s", entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	if (!bench->count)
		fail("no device is bound to vfio-pci");
}

/* A small machine gets a smaller benchmark. Huge pages are set aside already. */
static size_t affordable(enum memory_kind kind, size_t size)
{
	size_t available = sysconf(_SC_AVPHYS_PAGES) * PAGE;

	if (kind != MEMORY_HUGETLB_2M && kind != MEMORY_HUGETLB_1G)
		while (size + SPARE > available && size > SPARE)
			size /= 2;
	return size;
}

/* What is to be untouched is new each time. */
static bool gets_its_own(const struct row *row)
{
	return row->run == run_fresh || row->run == run_fresh_file;
}

/* All memory is there before the first driver is, and is the same for all. */
static void get_memory(struct bench *bench, const struct options *options)
{
	size_t sizes[MEMORY_KINDS] = { 0 }, i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (wanted(options, &rows[i]) && !gets_its_own(&rows[i]) &&
		    rows[i].size > sizes[rows[i].kind])
			sizes[rows[i].kind] = rows[i].size;
	fputs("  getting the memory\n", stderr);
	for (i = 0; i < MEMORY_KINDS; i++)
		if (sizes[i])
			bench->wrong[i] = memory_get(&bench->memory[i], i, affordable(i, sizes[i]));
}

static void run_row(struct bench *bench, const struct row *row)
{
	struct memory memory = bench->memory[row->kind];
	const char *wrong = bench->wrong[row->kind];

	if (memory.size > row->size)
		memory.size = row->size;
	if (!wrong)
		wrong = row->run(bench, row, &memory);
	if (wrong)
		printf("skip %s %s %s\n", bench->backend->name, row->name, wrong);
	fprintf(stderr, "  %-6s %s%s%s\n", bench->backend->name, row->name,
		wrong ? ": " : "", wrong ? wrong : "");
}

static void load(struct bench *bench, const struct options *options, const char *name)
{
	char command[256];

	bench->backend = backend_find(name);
	if (!bench->backend)
		fail("there is no driver %s; known: %s", name, backend_names());
	if (options->swap) {
		snprintf(command, sizeof(command), "%s %s", options->swap, name);
		if (system(command))
			fail("'%s' failed", command);
	}
	backend_set_threads(bench->backend);
	find_devices(bench);
}

static void run_all(struct bench *bench, const struct options *options)
{
	int round, driver;
	size_t i;

	for (round = 0; round < options->rounds; round++) {
		for (driver = 0; driver < options->drivers; driver++) {
			load(bench, options, options->names[(round + driver) % options->drivers]);
			for (i = 0; i < ARRAY_SIZE(rows); i++)
				if (wanted(options, &rows[i]))
					run_row(bench, &rows[i]);
		}
		fprintf(stderr, "  round %d of %d done\n", round + 1, options->rounds);
	}
}

static void help(bool asked)
{
	FILE *file = asked ? stdout : stderr;
	size_t i;

	fputs(usage, file);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(file, " %s", rows[i].name);
	fputc('\n', file);
	exit(asked ? 0 : 2);
}

static void parse(struct bench *bench, struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{ "swap", required_argument, NULL, 's' },
		{ "rows", required_argument, NULL, 'r' },
		{ "runs", required_argument, NULL, 'n' },
		{ "rounds", required_argument, NULL, 'o' },
		{ "wall", no_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 's')
			options->swap = optarg;
		else if (option == 'r')
			options->list = optarg;
		else if (option == 'n')
			bench->runs = atoi(optarg);
		else if (option == 'o')
			options->rounds = atoi(optarg);
		else if (option == 'w')
			bench->wall = true;
		else
			help(option == 'h');
	}
	options->names = argv + optind;
	options->drivers = argc - optind;
}

int main(int argc, char **argv)
{
	struct options options = { .rounds = 1 };
	struct bench bench = { .runs = 4 };

	parse(&bench, &options, argc, argv);
	if (!options.drivers || bench.runs < 1 || options.rounds < 1)
		fail("nothing to do; see --help");
	check_list(&options);
	setvbuf(stdout, NULL, _IOLBF, 0);
	get_memory(&bench, &options);
	run_all(&bench, &options);
	return 0;
}
