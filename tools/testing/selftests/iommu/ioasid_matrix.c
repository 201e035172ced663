// SPDX-License-Identifier: GPL-2.0
/*
 * What the driver finds out about an IOMMU, compared with what is known of it: by
 * how the machine was put together (EXPECT, see tools/testing/vm/iommus), and, where
 * the kernel shows them, by the IOMMU's own registers.
 */
#include <sys/stat.h>

#include "ioasid_utils.h"

#define MAX_HOLES 4

/* What the machine must be found to have. */
struct facts {
	unsigned int width;
	uint64_t pages;
	struct vfio_iova_range holes[MAX_HOLES];
	unsigned int nr_holes;
	bool snoop;
	bool isolated;
};

static bool parse_holes(struct facts *facts, char *text)
{
	struct vfio_iova_range *hole;
	char *end;

	for (; facts->nr_holes < MAX_HOLES; text = end + 1) {
		hole = &facts->holes[facts->nr_holes++];
		hole->start = strtoull(text, &end, 16);
		if (*end != '-')
			return false;
		hole->end = strtoull(end + 1, &end, 16);
		if (*end != ',')
			return !*end;
	}
	return false;
}

static bool parse_fact(struct facts *facts, char *word)
{
	char *value = strchr(word, '=');

	if (!value)
		return false;
	*value++ = 0;
	if (!strcmp(word, "width"))
		facts->width = atoi(value);
	else if (!strcmp(word, "pages"))
		facts->pages = strtoull(value, NULL, 16);
	else if (!strcmp(word, "holes"))
		return parse_holes(facts, value);
	else if (!strcmp(word, "snoop"))
		facts->snoop = !strcmp(value, "yes");
	else if (!strcmp(word, "isolated"))
		facts->isolated = strcmp(value, "no");
	else if (strcmp(word, "writeonly") && strcmp(word, "bridges") &&
		 strcmp(word, "wideflush"))
		return false;	/* these are for others */
	return true;
}

/* False if @text, such as "width=48 pages=0x40201000", is not to be understood. */
static bool parse_facts(struct facts *facts, const char *text)
{
	char copy[256], *word, *rest = copy;

	*facts = (struct facts) { .isolated = true };
	snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&rest, " ")))
		if (!parse_fact(facts, word))
			return false;
	return facts->width && facts->pages;
}

FIXTURE(machine)
{
	struct facts facts;
	struct edu edu;
	int fd;
};

FIXTURE_SETUP(machine)
{
	const char *text = getenv("EXPECT");

	if (!text)
		SKIP(return, "EXPECT= does not say what this machine has");
	ASSERT_TRUE(parse_facts(&self->facts, text));
	self->fd = open_iommufd();
	if (self->fd < 0 || edu_find(&self->edu, getenv("EDU")))
		SKIP(return, NO_DEVICE);
	ASSERT_OK(edu_open(&self->edu));
}

FIXTURE_TEARDOWN(machine)
{
	edu_close(&self->edu);
	close(self->fd);
}

/* What the driver says of the device, bound to it now. The caller frees it. */
static struct iommu_device_info *bind_and_ask(struct __test_metadata *_metadata,
					      struct edu *edu, int fd)
{
	struct iommu_device_info *info;
	int id = vfio_bind(edu->fd, fd);

	ASSERT_LT(0, id);
	ASSERT_OK(device_get_info(fd, id, &info));
	return info;
}

#define BIND_AND_ASK() bind_and_ask(_metadata, &self->edu, self->fd)

TEST_F(machine, width)
{
	struct iommu_device_info *info = BIND_AND_ASK();

	EXPECT_TRUE(info->flags & IOMMU_DEVICE_INFO_ADDR_WIDTH);
	EXPECT_EQ(self->facts.width, info->addr_width);
	free(info);
}

TEST_F(machine, page_sizes)
{
	struct iommu_device_info *info = BIND_AND_ASK();

	EXPECT_TRUE(info->flags & IOMMU_DEVICE_INFO_PGSIZES);
	EXPECT_EQ(self->facts.pages, info->pgsize_bitmap);
	free(info);
}

TEST_F(machine, snooping)
{
	struct iommu_device_info *info = BIND_AND_ASK();

	EXPECT_EQ(self->facts.snoop, !!(info->flags & IOMMU_DEVICE_INFO_ENFORCE_SNOOP));
	free(info);
}

/* All that the width allows, less the holes. */
TEST_F(machine, ranges)
{
	struct iommu_device_info *info = BIND_AND_ASK();
	struct vfio_iommu_type1_info_cap_iova_range *cap = device_iova_ranges(info);
	uint64_t next = 0;
	unsigned int i;

	ASSERT_NE(NULL, cap);
	ASSERT_EQ(self->facts.nr_holes + 1, cap->nr_iovas);
	for (i = 0; i < cap->nr_iovas; i++) {
		EXPECT_EQ(next, cap->iova_ranges[i].start);
		if (i == self->facts.nr_holes)
			break;
		EXPECT_EQ(self->facts.holes[i].start - 1, cap->iova_ranges[i].end);
		next = self->facts.holes[i].end + 1;
	}
	EXPECT_EQ(UINT64_MAX >> (64 - self->facts.width), cap->iova_ranges[i].end);
	free(info);
}

/* --- registers ------------------------------------------------------------------- */

/* The number in a file of the first IOMMU in sysfs, in hexadecimal; false if there is none. */
static bool iommu_register(const char *name, unsigned long long *value)
{
	DIR *dir = opendir("/sys/class/iommu");
	struct dirent *entry;
	bool found = false;
	char path[96];
	FILE *file;

	while (dir && !found && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/iommu/%.20s/%s", entry->d_name, name);
		file = fopen(path, "r");
		if (!file)
			continue;
		found = fscanf(file, "%llx", value) == 1;
		fclose(file);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* What CAP and ECAP say of Intel's, second-stage tables first. */
static void expect_vtd(struct __test_metadata *_metadata, struct iommu_device_info *info,
		       uint64_t cap, uint64_t ecap)
{
	unsigned int width = (cap >> 16 & 0x3f) + 1;	/* MGAW */
	unsigned int large = cap >> 34 & 3;		/* SSLPS: 2 MiB, 1 GiB */

	/* In scalable mode (SMTS), first-stage tables (FSTS) are preferred. */
	if (ecap >> 43 & ecap >> 47 & 1) {
		width--;
		large = 1 | (cap >> 56 & 1) << 1;	/* FS1GP */
	}
	EXPECT_EQ(width, info->addr_width);
	EXPECT_EQ(large & 1, info->pgsize_bitmap >> 21 & 1);
	EXPECT_EQ(large >> 1, info->pgsize_bitmap >> 30 & 1);
	/* SC */
	EXPECT_EQ(ecap >> 7 & 1, !!(info->flags & IOMMU_DEVICE_INFO_ENFORCE_SNOOP));
}

/* The levels of AMD's tables (HATS) give the width. */
static void expect_amd(struct __test_metadata *_metadata, struct iommu_device_info *info,
		       uint64_t efr)
{
	static const unsigned int widths[] = { 48, 57, 64, 0 };

	EXPECT_EQ(widths[efr >> 10 & 3], info->addr_width);
}

/*
 * IDR0 and IDR5 of the first SMMUv3, at the physical address that is in its name; false if
 * there is none, or if its driver has them to itself (no iomem=relaxed).
 */
static bool smmu_registers(uint32_t *idr0, uint32_t *idr5)
{
	DIR *dir = opendir("/sys/class/iommu");
	int fd = open("/dev/mem", O_RDONLY | O_SYNC | O_CLOEXEC);
	volatile uint32_t *registers = MAP_FAILED;
	unsigned long long base;
	struct dirent *entry;

	while (dir && registers == MAP_FAILED && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "smmu3.%llx", &base) == 1)
			registers = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, base);
	if (dir)
		closedir(dir);
	close(fd);
	if (registers == MAP_FAILED)
		return false;
	*idr0 = registers[0];
	*idr5 = registers[5];
	munmap((void *)registers, PAGE);
	return true;
}

/* First-stage tables (S1P) are preferred; second-stage ones take what memory has (OAS). */
static void expect_smmu(struct __test_metadata *_metadata, struct iommu_device_info *info,
			uint32_t idr0, uint32_t idr5)
{
	static const unsigned int stage1[] = { 48, 52, 0, 0 };
	static const unsigned int stage2[] = { 32, 36, 40, 42, 44, 48, 52, 56 };

	EXPECT_EQ(idr0 & 2 ? stage1[idr5 >> 10 & 3] : stage2[idr5 & 7], info->addr_width);
	/* GRAN4K */
	EXPECT_EQ(idr5 & 1 << 4 ? 0x40201000 : 0, info->pgsize_bitmap);
}

TEST_F(machine, registers)
{
	struct iommu_device_info *info;
	unsigned long long cap, ecap, efr;
	bool intel, amd, arm;
	uint32_t idr0 = 0, idr5 = 0;

	intel = iommu_register("intel-iommu/cap", &cap) &&
		iommu_register("intel-iommu/ecap", &ecap);
	amd = iommu_register("amd-iommu/features", &efr);
	arm = smmu_registers(&idr0, &idr5);
	if (!intel && !amd && !arm)
		SKIP(return, "the registers of this IOMMU are not to be seen");
	info = BIND_AND_ASK();
	if (intel)
		expect_vtd(_metadata, info, cap, ecap);
	else if (amd)
		expect_amd(_metadata, info, efr);
	else
		expect_smmu(_metadata, info, idr0, idr5);
	free(info);
}

/* --- devices that may send any interrupt ------------------------------------------ */

#define UNSAFE "/sys/module/iommufd/parameters/allow_unsafe_interrupts"

static bool unsafe_interrupts_are_allowed(void)
{
	char text[8] = "";
	int file = open(UNSAFE, O_RDONLY | O_CLOEXEC);
	ssize_t count = read(file, text, sizeof(text));

	close(file);
	return count > 0 && text[0] == 'Y';
}

static bool allow_unsafe_interrupts(bool allowed)
{
	int file = open(UNSAFE, O_WRONLY | O_CLOEXEC);
	bool good = write(file, allowed ? "1" : "0", 1) == 1;

	close(file);
	return good && unsafe_interrupts_are_allowed() == allowed;
}

TEST_F(machine, bind_needs_isolated_interrupts)
{
	bool may = self->facts.isolated || unsafe_interrupts_are_allowed();
	int other = open_iommufd();
	int ret;

	ret = vfio_bind(self->edu.fd, self->fd);
	EXPECT_EQ(may ? 1 : -EPERM, ret);
	if (!may) {
		/* It changed nothing: it can be tried again, and nobody owns the device. */
		EXPECT_ERRNO(EPERM, vfio_bind(self->edu.fd, other));
		EXPECT_EQ(1, ioasid_alloc(self->fd, 48));
	}
	close(other);
}

/* Administrators change their minds: what counts is the moment of the bind. */
TEST_F(machine, unsafe_interrupts_at_run_time)
{
	bool before = unsafe_interrupts_are_allowed(), isolated = self->facts.isolated;
	struct stat file;

	ASSERT_EQ(0, stat(UNSAFE, &file));
	EXPECT_EQ(S_IFREG | 0644, file.st_mode);
	for (unsigned int i = 0; i < 4; i++) {
		bool allowed = i % 2;

		ASSERT_TRUE(allow_unsafe_interrupts(allowed));
		EXPECT_EQ(isolated || allowed ? 1 : -EPERM, vfio_bind(self->edu.fd, self->fd))
			TH_LOG("with %d", allowed);
		/* What is bound stays so. */
		EXPECT_TRUE(allow_unsafe_interrupts(false));
		if (isolated || allowed)
			EXPECT_LT(0, ioasid_alloc(self->fd, 48));
		edu_close(&self->edu);
		close(self->fd);
		self->fd = open_iommufd();
		ASSERT_OK(edu_open(&self->edu));
	}
	EXPECT_TRUE(allow_unsafe_interrupts(before));
}

TEST_HARNESS_MAIN
