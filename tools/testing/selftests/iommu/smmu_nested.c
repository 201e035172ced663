// SPDX-License-Identifier: GPL-2.0
/*
 * Arm's SMMUv3 as a guest has it, on the kernel's driver: a device's DMA goes through tables in
 * the guest's memory and on through the address space's, or not at all. For machines on which
 * that driver has virtual IOMMUs (the suite "nested").
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "books.h"
#include "carry.h"
#include "fight.h"
#include "smmu_calls.h"

#define TEST_PAGES 16
#define NUMBER 0x77	/* that the virtual IOMMU knows the device by */

/* Which page of the guest's memory has what: the others are for DMA. */
enum {
	DESCRIPTOR,
	TABLES,		/* of three levels */
	OTHER_TABLES = TABLES + 3,
	DATA = OTHER_TABLES + 3,
};

/* Where the guest has a page of its memory, and where its tables have the device find one. */
#define IPA(page) (IOVA + (page) * PAGE)
#define VA(index) ((index) * PAGE)

FIXTURE(nested)
{
	struct bound b;
	char *memory;
	int device;
	int ioas;
	int parent;
	int viommu;
	int stage1;
	long pins;
};

static uint64_t *entries(const char *memory, unsigned int page)
{
	return (uint64_t *)(memory + page * PAGE);
}

/* Three levels that lead nowhere yet. */
static void make_tables(char *memory, unsigned int first)
{
	smmu_write(&entries(memory, first)[0], IPA(first + 1) | TABLE);
	smmu_write(&entries(memory, first + 1)[0], IPA(first + 2) | TABLE);
}

static void make_descriptor(char *memory, unsigned int tables)
{
	uint64_t *descriptor = entries(memory, DESCRIPTOR);

	smmu_write(&descriptor[1], IPA(tables));
	smmu_write(&descriptor[3], MEMORY_IS_CACHED);
	smmu_write(&descriptor[0], CD_TABLES | CD_FLAGS | CD_ASID(1));
}

FIXTURE_SETUP(nested)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	self->ioas = self->b.ioasid;
	self->device = self->b.id;
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
	ASSERT_OK(edu_start(&self->b.edu));
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, self->memory, TEST_PAGES * PAGE, IOVA));
	self->parent = hwpt_alloc(self->b.fd, self->device, self->ioas, NEST_PARENT);
	ASSERT_LT(0, self->parent);
	self->viommu = smmu_viommu_alloc(self->b.fd, self->device, self->parent);
	ASSERT_LT(0, self->viommu)
		TH_LOG("The driver of SMMUv3 has to have virtual IOMMUs");
	make_tables(self->memory, TABLES);
	make_tables(self->memory, OTHER_TABLES);
	make_descriptor(self->memory, TABLES);
	self->stage1 = smmu_nested_alloc(self->b.fd, self->device, self->viommu,
					 STE_STAGE1 | IPA(DESCRIPTOR), STE_CACHED);
	ASSERT_LT(0, self->stage1);
}

/* All of it goes, in whatever order. */
FIXTURE_TEARDOWN(nested)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define DESTROY(id) destroy(self->b.fd, id)
#define MOVE(pt) attach_pt(self->b.edu.fd, pt)
#define NESTED(ste0, ste1) smmu_nested_alloc(self->b.fd, self->device, self->viommu, ste0, ste1)
#define VDEVICE() vdevice_alloc(self->b.fd, self->viommu, self->device, NUMBER)
#define QUEUE(depth, file) smmu_veventq_alloc(self->b.fd, self->viommu, depth, file)
#define FORGET(first, second) smmu_invalidate(self->b.fd, self->viommu, first, second)
#define REACHES(address, page) \
	reaches(_metadata, &self->b.edu, address, self->memory + (page) * PAGE)
#define CARRIES(from, source, to, target) \
	carries(_metadata, &self->b.edu, from, self->memory + (source) * PAGE, \
		to, self->memory + (target) * PAGE)
/* Have the device find a page of the guest's memory at VA(@index). */
#define LEAD(tables, index, page, flags) \
	smmu_write(&entries(self->memory, (tables) + 2)[index], IPA(page) | LEAF_PAGE | (flags))

/* A device that is known and on the guest's tables, which lead it to two pages. */
#define BEGIN() do { \
	ASSERT_LT(0, VDEVICE()); \
	ASSERT_EQ(self->stage1, MOVE(self->stage1)); \
	LEAD(TABLES, 0, DATA, 0); \
	LEAD(TABLES, 1, DATA + 1, 0); \
} while (0)

/* --- what there is ------------------------------------------------------------------------ */

TEST_F(nested, hardware)
{
	struct iommu_hw_info_arm_smmuv3 info = {};
	struct iommu_hw_info arg = {
		.size = sizeof(arg),
		.dev_id = self->device,
		.data_len = sizeof(info),
		.data_uptr = (uintptr_t)&info,
	};

	ASSERT_OK(call(self->b.fd, IOMMU_GET_HW_INFO, &arg));
	EXPECT_EQ(IOMMU_HW_INFO_TYPE_ARM_SMMUV3, arg.out_data_type);
	EXPECT_EQ(sizeof(info), arg.data_len);
	/* Both stages. */
	EXPECT_EQ(3, info.idr[0] & 3);
	EXPECT_EQ(0, arg.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
	EXPECT_ERRNO(EOPNOTSUPP, hwpt_alloc(self->b.fd, self->device, self->ioas,
					    IOMMU_HWPT_ALLOC_DIRTY_TRACKING));
	EXPECT_ERRNO(EOPNOTSUPP, hwpt_alloc(self->b.fd, self->device, self->ioas,
					    IOMMU_HWPT_ALLOC_DIRTY_TRACKING | NEST_PARENT));
	EXPECT_LT(0, hwpt_alloc(self->b.fd, self->device, self->ioas, IOMMU_HWPT_ALLOC_PASID));
}

TEST_F(nested, virtual_iommus_that_are_refused)
{
	struct iommu_viommu_alloc good = smmu_viommu_arg(self->device, self->parent);
	int plain = hwpt_alloc(self->b.fd, self->device, self->ioas, 0);
	struct books books = read_books(self->b.fd);

	ASSERT_LT(0, plain);
#define REFUSED(errno, change) EXPECT_CHANGED(errno, self->b.fd, IOMMU_VIOMMU_ALLOC, good, change)
	REFUSED(EINVAL, arg.hwpt_id = plain);
	REFUSED(ENOENT, arg.hwpt_id = self->ioas);
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV);
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_VIOMMU_TYPE_DEFAULT);
#undef REFUSED
	expect_books(_metadata, self->b.fd, &books);
}

/* What a guest may not have the hardware do is refused before there is a domain of it. */
TEST_F(nested, entries_that_are_refused)
{
	struct iommu_hwpt_arm_smmuv3 data = { .ste = { STE_BYPASS, 0 } };
	struct iommu_hwpt_alloc good = smmu_nested_arg(self->device, self->viommu, &data);
	struct books books = read_books(self->b.fd);

	for (int bit = 52; bit < 59; bit++) {
		EXPECT_ERRNO(EIO, NESTED(STE_BYPASS | 1ULL << bit, 0))
			TH_LOG("bit %d", bit);
	}
	EXPECT_ERRNO(EIO, NESTED(1 | 6 << 1, 0));
	EXPECT_ERRNO(EIO, NESTED(STE_BYPASS, 1ULL << 63));
#define REFUSED(errno, change) EXPECT_CHANGED(errno, self->b.fd, IOMMU_HWPT_ALLOC, good, change)
	REFUSED(EINVAL, arg.data_type = IOMMU_HWPT_DATA_VTD_S1);
	REFUSED(EINVAL, arg.data_len = 8);
	REFUSED(EFAULT, arg.data_uptr = 0);
	REFUSED(EOPNOTSUPP, arg.flags = NEST_PARENT);
#undef REFUSED
	expect_books(_metadata, self->b.fd, &books);
}

/* --- where DMA goes ----------------------------------------------------------------------- */

/* Events have the number that the guest gave its device: with none, there are no tables. */
TEST_F(nested, device_that_is_not_known)
{
	int bypass = NESTED(STE_BYPASS, 0), abort = NESTED(STE_ABORT, 0);

	ASSERT_LT(0, bypass);
	ASSERT_LT(0, abort);
	EXPECT_EQ(self->parent, MOVE(self->parent));
	EXPECT_ERRNO(ENOENT, MOVE(self->stage1));
	/* It is where it was. */
	EXPECT_TRUE(REACHES(IPA(DATA), DATA));
	EXPECT_EQ(bypass, MOVE(bypass));
	EXPECT_TRUE(REACHES(IPA(DATA), DATA));
	EXPECT_ERRNO(ENOENT, MOVE(self->stage1));
	EXPECT_TRUE(REACHES(IPA(DATA), DATA));
	EXPECT_EQ(abort, MOVE(abort));
	EXPECT_FALSE(REACHES(IPA(DATA), DATA));
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_ERRNO(ENOENT, MOVE(self->stage1));
	ASSERT_LT(0, VDEVICE());
	EXPECT_ERRNO(EEXIST, VDEVICE());
	EXPECT_EQ(self->stage1, MOVE(self->stage1));
}

TEST_F(nested, two_stages)
{
	BEGIN();
	EXPECT_TRUE(CARRIES(VA(0), DATA, VA(1), DATA + 1));
	EXPECT_TRUE(CARRIES(VA(1), DATA + 1, VA(0), DATA));
	/* Neither the guest's own addresses nor what its tables leave out. */
	EXPECT_FALSE(REACHES(IPA(DATA), DATA));
	EXPECT_FALSE(REACHES(VA(2), DATA + 2));
	/* What the first stage lets nobody write, or leads to where the guest has no memory. */
	LEAD(TABLES, 2, DATA + 2, LEAF_READ_ONLY);
	LEAD(TABLES, 3, TEST_PAGES, 0);
	EXPECT_TRUE(CARRIES(VA(2), DATA + 2, VA(1), DATA + 1));
	EXPECT_FALSE(CARRIES(VA(1), DATA + 1, VA(2), DATA + 2));
	EXPECT_FALSE(CARRIES(VA(0), DATA, VA(3), DATA + 3));
}

/* What is unmapped of the guest's memory is gone at once, whatever its tables say. */
TEST_F(nested, memory_that_goes)
{
	char *other = pages(1);

	ASSERT_NE(NULL, other);
	BEGIN();
	LEAD(TABLES, 2, TEST_PAGES, 0);
	EXPECT_ERRNO(ENOENT, ioas_unmap(self->b.fd, self->ioas, IPA(TEST_PAGES), PAGE));
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, other, PAGE, IPA(TEST_PAGES)));
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, VA(2), other));
	ASSERT_EQ(PAGE, ioas_unmap(self->b.fd, self->ioas, IPA(TEST_PAGES), PAGE));
	EXPECT_FALSE(reaches(_metadata, &self->b.edu, VA(2), other));
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, other, PAGE, IPA(TEST_PAGES)));
	EXPECT_TRUE(reaches(_metadata, &self->b.edu, VA(2), other));
	/* The tables as well. */
	ASSERT_EQ(TEST_PAGES * PAGE,
		  ioas_unmap(self->b.fd, self->ioas, IOVA, TEST_PAGES * PAGE));
	EXPECT_FALSE(reaches(_metadata, &self->b.edu, VA(2), other));
	munmap(other, PAGE);
}

/* From each to each: what counts is where it is now. */
TEST_F(nested, moves)
{
	int bypass = NESTED(STE_BYPASS, 0), abort = NESTED(STE_ABORT, 0), invalid = NESTED(0, 0);
	const struct {
		int pt;
		uint64_t address;
		bool works;	/* whether its DMA gets to a page by that */
	} places[] = {
		{ self->ioas, IPA(DATA), true },
		{ self->parent, IPA(DATA), true },
		{ bypass, IPA(DATA), true },
		{ abort, IPA(DATA), false },
		{ invalid, IPA(DATA), false },
		{ self->stage1, VA(0), true },
	};

	BEGIN();
	for (unsigned int i = 0; i < ARRAY_SIZE(places) * ARRAY_SIZE(places); i++) {
		unsigned int from = i / ARRAY_SIZE(places), to = i % ARRAY_SIZE(places);

		ASSERT_LT(0, MOVE(places[from].pt));
		ASSERT_LT(0, MOVE(places[to].pt));
		EXPECT_EQ(places[to].works, REACHES(places[to].address, DATA))
			TH_LOG("from %u to %u", from, to);
	}
}

/* --- what is remembered ------------------------------------------------------------------- */

/* QEMU's SMMU remembers what it has found until it is told to forget it. */
TEST_F(nested, translations_are_forgotten)
{
	const struct {
		const char *name;
		uint64_t first, second;
		bool other_page;	/* whether another page is forgotten as well */
	} requests[] = {
		{ "all", TLBI_NH_ALL, 0, true },
		{ "all, whatever the stage", TLBI_NSNH_ALL, 0, true },
		{ "an address space", TLBI_NH_ASID | TLBI_ASID(1), 0, true },
		{ "a page", TLBI_NH_VA | TLBI_ASID(1), VA(0) | 1, false },
	};

	BEGIN();
	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		EXPECT_TRUE(REACHES(VA(0), DATA));
		EXPECT_TRUE(REACHES(VA(1), DATA + 1));
		LEAD(TABLES, 0, DATA + 2, 0);
		LEAD(TABLES, 1, DATA + 3, 0);
		EXPECT_TRUE(REACHES(VA(0), DATA)) TH_LOG("before: %s", requests[i].name);
		EXPECT_OK(FORGET(requests[i].first, requests[i].second));
		EXPECT_TRUE(REACHES(VA(0), DATA + 2)) TH_LOG("%s", requests[i].name);
		EXPECT_EQ(requests[i].other_page, REACHES(VA(1), DATA + 3))
			TH_LOG("%s", requests[i].name);
		LEAD(TABLES, 0, DATA, 0);
		LEAD(TABLES, 1, DATA + 1, 0);
		EXPECT_OK(FORGET(TLBI_NH_ALL, 0));
	}
}

/* By the number that the guest has for its device. */
TEST_F(nested, descriptors_are_forgotten)
{
	BEGIN();
	LEAD(OTHER_TABLES, 0, DATA + 2, 0);
	EXPECT_TRUE(REACHES(VA(0), DATA));
	make_descriptor(self->memory, OTHER_TABLES);
	EXPECT_OK(FORGET(TLBI_NH_ALL, 0));
	EXPECT_TRUE(REACHES(VA(0), DATA));
	EXPECT_ERRNO(EIO, FORGET(CFGI_CD | CFGI_STREAM(NUMBER + 1), 1));
	EXPECT_OK(FORGET(TLBI_NH_ALL, 0));
	EXPECT_TRUE(REACHES(VA(0), DATA));
	EXPECT_OK(FORGET(CFGI_CD | CFGI_STREAM(NUMBER), 1));
	EXPECT_OK(FORGET(TLBI_NH_ALL, 0));
	EXPECT_TRUE(REACHES(VA(0), DATA + 2));
}

#define COUNT 8

TEST_F(nested, requests_that_are_refused)
{
	struct iommu_viommu_arm_smmuv3_invalidate requests[COUNT];
	struct iommu_hwpt_invalidate good = smmu_invalidate_arg(self->viommu, requests, COUNT);
	const uint64_t bad[] = {
		CFGI_STE, 0xff, TLBI_NH_ALL | 1ULL << 63, CFGI_CD | CFGI_STREAM(NUMBER + 1),
	};
	unsigned int done;

	BEGIN();
	for (unsigned int i = 0; i < COUNT; i++)
		requests[i] = (typeof(requests[0])) { .cmd = { TLBI_NH_ALL, 0 } };
	EXPECT_OK(smmu_invalidate_all(self->b.fd, self->viommu, requests, COUNT, &done));
	EXPECT_EQ(COUNT, done);
	/* The driver takes none for a mistake. */
	EXPECT_ERRNO(EINVAL, smmu_invalidate_all(self->b.fd, self->viommu, requests, 0, &done));
	EXPECT_EQ(0, done);
	/* Those before one that is an error are counted. */
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		requests[2 * i].cmd[0] = bad[i];
		EXPECT_ERRNO(EIO, smmu_invalidate_all(self->b.fd, self->viommu, requests, COUNT,
						      &done));
		EXPECT_EQ(2 * i, done);
		requests[2 * i].cmd[0] = TLBI_NH_ALL;
	}
#define REFUSED(errno, change) \
	EXPECT_CHANGED(errno, self->b.fd, IOMMU_HWPT_INVALIDATE, good, change)
	REFUSED(EINVAL, arg.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1);
	REFUSED(E2BIG, arg.entry_len = 24; arg.entry_num = 2);
	REFUSED(EFAULT, arg.data_uptr = PAGE);
	REFUSED(EINVAL, arg.hwpt_id = self->parent);
	/* Its driver has no requests for one domain. */
	REFUSED(EOPNOTSUPP, arg.hwpt_id = self->stage1);
#undef REFUSED
	EXPECT_TRUE(REACHES(VA(0), DATA));
}

/* --- events ------------------------------------------------------------------------------- */

struct event {
	struct iommufd_vevent_header header;
	struct iommu_vevent_arm_smmuv3 data;
};

#define LOST IOMMU_VEVENTQ_FLAG_LOST_EVENTS
#define ROOM 64

/* One word of DMA, which the device is not told the failure of. */
#define READ_WORD(address) \
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, address, 0, sizeof(uint32_t)))
#define WRITE_WORD(address) \
	ASSERT_OK(edu_dma(&self->b.edu, EDU_WRITES_MEMORY, address, 0, sizeof(uint32_t)))

/* All events that come until there are none for a moment; how many. */
static unsigned int take(struct __test_metadata *_metadata, int file, struct event *events)
{
	struct pollfd wait = { .fd = file, .events = POLLIN };
	unsigned int count = 0;
	ssize_t got;

	while (count < ROOM && poll(&wait, 1, count ? 200 : 3000) == 1) {
		got = read(file, &events[count], (ROOM - count) * sizeof(*events));
		ASSERT_LE(sizeof(*events), got);
		count += got / sizeof(*events);
	}
	return count;
}

static void expect_event(struct __test_metadata *_metadata, const struct event *event,
			 uint64_t kind, uint64_t address, uint64_t flags)
{
	EXPECT_EQ(0, event->header.flags);
	EXPECT_EQ(kind | (uint64_t)NUMBER << 32, event->data.evt[0]);
	EXPECT_EQ(flags, event->data.evt[1] & EVENT_IS_READ);
	EXPECT_EQ(address, event->data.evt[2]);
}

TEST_F(nested, faults)
{
	struct event events[ROOM];
	unsigned int count;
	int file;

	BEGIN();
	LEAD(TABLES, 3, DATA + 3, LEAF_READ_ONLY);
	ASSERT_LT(0, QUEUE(ROOM, &file));
	EXPECT_TRUE(CARRIES(VA(0), DATA, VA(1), DATA + 1));
	READ_WORD(VA(2));
	WRITE_WORD(VA(2) + 8);
	WRITE_WORD(VA(3) + 16);
	count = take(_metadata, file, events);
	ASSERT_EQ(3, count);
	expect_event(_metadata, &events[0], EVENT_TRANSLATION, VA(2), EVENT_IS_READ);
	expect_event(_metadata, &events[1], EVENT_TRANSLATION, VA(2) + 8, 0);
	expect_event(_metadata, &events[2], EVENT_PERMISSION, VA(3) + 16, 0);
	for (unsigned int i = 0; i < count; i++)
		EXPECT_EQ(i, events[i].header.sequence);
	close(file);
}

/* What is not the guest's tables' doing is the kernel's to know: it is in its log. */
TEST_F(nested, faults_of_others)
{
	int abort = NESTED(STE_ABORT, 0), bypass = NESTED(STE_BYPASS, 0), file;
	struct pollfd wait = { .events = POLLIN };

	BEGIN();
	ASSERT_LT(0, QUEUE(ROOM, &file));
	wait.fd = file;
	LEAD(TABLES, 2, TEST_PAGES, 0);
	WRITE_WORD(VA(2));
	ASSERT_EQ(bypass, MOVE(bypass));
	WRITE_WORD(IPA(TEST_PAGES));
	ASSERT_EQ(abort, MOVE(abort));
	WRITE_WORD(VA(0));
	ASSERT_EQ(self->parent, MOVE(self->parent));
	WRITE_WORD(VA(2));
	EXPECT_EQ(0, poll(&wait, 1, 500));
	close(file);
}

TEST_F(nested, faults_that_are_lost)
{
	struct event events[ROOM];
	unsigned int count;
	int file;

	BEGIN();
	ASSERT_LT(0, QUEUE(2, &file));
	for (unsigned int i = 0; i < 4; i++)
		WRITE_WORD(VA(2) + i * 8);
	edu_sleep_ms(500);
	count = read(file, events, sizeof(events));
	ASSERT_EQ(2 * sizeof(*events) + sizeof(events->header), count);
	expect_event(_metadata, &events[0], EVENT_TRANSLATION, VA(2), 0);
	expect_event(_metadata, &events[1], EVENT_TRANSLATION, VA(2) + 8, 0);
	EXPECT_EQ(LOST, events[2].header.flags);
	EXPECT_EQ(3, events[2].header.sequence);
	WRITE_WORD(VA(2) + 32);
	ASSERT_EQ(1, take(_metadata, file, events));
	expect_event(_metadata, &events[0], EVENT_TRANSLATION, VA(2) + 32, 0);
	EXPECT_EQ(4, events[0].header.sequence);
	close(file);
}

/* --- interrupts --------------------------------------------------------------------------- */

/* Whether an interrupt that the device raises by a message arrives within @ms. */
static bool interrupts(struct edu *edu, int event, int ms)
{
	struct pollfd wait = { .fd = event, .events = POLLIN };
	uint64_t count = 0;

	*edu_reg32(edu, EDU_REG_INTERRUPT_RAISE) = 1;
	if (poll(&wait, 1, ms) == 1)
		read(event, &count, sizeof(count));
	*edu_reg32(edu, EDU_REG_INTERRUPT_ACK) = UINT32_MAX;
	return count == 1;
}

#define ARRIVES() interrupts(&self->b.edu, event, 10000)
#define IS_LOST() (!interrupts(&self->b.edu, event, 500))
#define SET_MESSAGES(event) set_interrupt(&self->b.edu, VFIO_PCI_MSI_IRQ_INDEX, event)

/* Messages are DMA: the guest's tables have to lead to where the doorbell is. */
TEST_F(nested, messages)
{
	uint64_t *blocks = entries(self->memory, TABLES + 1);
	int event = eventfd(0, EFD_CLOEXEC), bypass = NESTED(STE_BYPASS, 0), ret;

	ASSERT_LE(0, event);
	ASSERT_LT(0, VDEVICE());
	ASSERT_EQ(self->parent, MOVE(self->parent));
	ASSERT_OK(SET_MESSAGES(event));
	EXPECT_TRUE(ARRIVES());
	ASSERT_EQ(bypass, MOVE(bypass));
	EXPECT_TRUE(ARRIVES());
	ASSERT_EQ(self->stage1, MOVE(self->stage1));
	EXPECT_TRUE(IS_LOST());
	smmu_write(&blocks[DOORBELLS >> 21], DOORBELLS | LEAF_BLOCK);
	EXPECT_TRUE(ARRIVES());
	ASSERT_LT(0, MOVE(self->ioas));
	EXPECT_TRUE(ARRIVES());
	ASSERT_EQ(self->stage1, MOVE(self->stage1));
	EXPECT_TRUE(ARRIVES());
	/* To be set up there, they need the core of a kernel with CONFIG_IOMMUFD. */
	ASSERT_OK(SET_MESSAGES(-1));
	ret = SET_MESSAGES(event);
	if (ret) {
		EXPECT_EQ(-ENOSPC, ret);
		TH_LOG("this kernel sets up no messages of a device that is inside");
	} else {
		EXPECT_TRUE(ARRIVES());
	}
	close(event);
}

/* --- the end ------------------------------------------------------------------------------ */

TEST_F(nested, is_used)
{
	int vdevice = VDEVICE(), file, queue = QUEUE(1, &file);

	ASSERT_LT(0, vdevice);
	ASSERT_LT(0, queue);
	ASSERT_EQ(self->stage1, MOVE(self->stage1));
	LEAD(TABLES, 0, DATA, 0);
	EXPECT_ERRNO(EBUSY, DESTROY(self->stage1));
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	EXPECT_ERRNO(EBUSY, DESTROY(self->ioas));
	EXPECT_ERRNO(EBUSY, DESTROY(queue));
	/* The device stays on the tables, but has no number that anything could be said by. */
	EXPECT_OK(DESTROY(vdevice));
	EXPECT_TRUE(REACHES(VA(0), DATA));
	EXPECT_ERRNO(EIO, FORGET(CFGI_CD | CFGI_STREAM(NUMBER), 0));
	EXPECT_OK(FORGET(TLBI_NH_ALL, 0));
	ASSERT_EQ(self->parent, MOVE(self->parent));
	EXPECT_ERRNO(ENOENT, MOVE(self->stage1));
	EXPECT_OK(DESTROY(self->stage1));
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	close(file);
	EXPECT_OK(DESTROY(queue));
	EXPECT_OK(DESTROY(self->viommu));
	EXPECT_ERRNO(EBUSY, DESTROY(self->parent));
	EXPECT_TRUE(REACHES(IPA(DATA), DATA));
	EXPECT_OK(vfio_detach(self->b.edu.fd));
	EXPECT_OK(DESTROY(self->parent));
	EXPECT_OK(DESTROY(self->ioas));
}

/* The number goes with the device, and its id is not used again. */
TEST_F(nested, device_that_is_let_go)
{
	struct edu *edu = &self->b.edu;
	int vdevice = VDEVICE(), again;

	ASSERT_LT(0, vdevice);
	ASSERT_EQ(self->stage1, MOVE(self->stage1));
	edu_close(edu);
	EXPECT_ERRNO(ENOENT, DESTROY(vdevice));
	EXPECT_ERRNO(EIO, FORGET(CFGI_CD | CFGI_STREAM(NUMBER), 0));
	ASSERT_OK(edu_open(edu));
	self->device = vfio_bind(edu->fd, self->b.fd);
	ASSERT_LT(0, self->device);
	ASSERT_OK(edu_start(edu));
	again = VDEVICE();
	EXPECT_LT(0, again);
	EXPECT_NE(vdevice, again);
	EXPECT_EQ(self->stage1, MOVE(self->stage1));
	LEAD(TABLES, 0, DATA, 0);
	EXPECT_TRUE(REACHES(VA(0), DATA));
}

/*
 * Close the device, the context and the file of events in this order of their first letters, in
 * the middle of a transfer: then all of it is gone, and the device can have another context.
 */
static void end(struct __test_metadata *_metadata, FIXTURE_DATA(nested) * self, const char *order)
{
	int file;

	BEGIN();
	ASSERT_LT(0, QUEUE(ROOM, &file));
	WRITE_WORD(VA(2));
	ASSERT_OK(edu_dma_start(&self->b.edu, EDU_WRITES_MEMORY, VA(0), 0, DMA_SIZE));
	for (; *order; order++) {
		if (*order == 'd')
			edu_close(&self->b.edu);
		else
			close(*order == 'c' ? self->b.fd : file);
	}
	expect_nothing_left(_metadata, self->pins);
	ASSERT_OK(bound_open(&self->b));
	ASSERT_OK(edu_start(&self->b.edu));
	ASSERT_OK(edu_dma_wait(&self->b.edu));
	ASSERT_OK(ioas_map(self->b.fd, self->b.ioasid, self->memory, TEST_PAGES * PAGE, IOVA));
	ASSERT_LT(0, MOVE(self->b.ioasid));
	EXPECT_TRUE(REACHES(IPA(DATA), DATA));
	EXPECT_FALSE(REACHES(VA(0), DATA));
}

TEST_F(nested, ends_device_context_events)
{
	end(_metadata, self, "dce");
}

TEST_F(nested, ends_device_events_context)
{
	end(_metadata, self, "dec");
}

TEST_F(nested, ends_context_device_events)
{
	end(_metadata, self, "cde");
}

TEST_F(nested, ends_context_events_device)
{
	end(_metadata, self, "ced");
}

TEST_F(nested, ends_events_device_context)
{
	end(_metadata, self, "edc");
}

TEST_F(nested, ends_events_context_device)
{
	end(_metadata, self, "ecd");
}

/* --- at the same time --------------------------------------------------------------------- */

struct crowd {
	struct fight fight;
	struct edu *edu;
	int device, viommu, parent, stage1;
	atomic_int vdevice;	/* that is there, or was */
	atomic_uint known, inside, forgotten, events;
};

/* An id may be another's by now, as others destroy by stale ones: that goes then, or is used. */
static bool is_gone(int ret)
{
	return ret == -ENOENT || ret == -EBUSY;
}

/* The device is known for moments, whoever destroys what it is. */
static void *know(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	int ret;

	while (!fight->stop) {
		ret = vdevice_alloc(fight->fd, crowd->viommu, crowd->device, NUMBER);
		fight_count(fight, "VDEVICE_ALLOC", ret, ret == -EEXIST);
		if (ret > 0) {
			crowd->vdevice = ret;
			crowd->known++;
			edu_sleep_ms(20);
		}
		ret = destroy(fight->fd, crowd->vdevice);
		fight_count(fight, "DESTROY of a vDEVICE", ret, is_gone(ret));
	}
	return NULL;
}

/* While it is, it may go to the guest's tables. */
static void *go(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	int ret;

	while (!fight->stop) {
		ret = attach_pt(crowd->edu->fd, crowd->stage1);
		fight_count(fight, "move inside", ret, ret == -ENOENT);
		crowd->inside += ret > 0;
		edu_sleep_ms(10);
		ret = attach_pt(crowd->edu->fd, crowd->parent);
		fight_count(fight, "move", ret, false);
	}
	return NULL;
}

static void *forget(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	int ret;

	while (!fight->stop) {
		ret = smmu_invalidate(fight->fd, crowd->viommu, CFGI_CD | CFGI_STREAM(NUMBER), 0);
		fight_count(fight, "CFGI_CD", ret, ret == -EIO);
		crowd->forgotten += !ret;
		ret = smmu_invalidate(fight->fd, crowd->viommu, TLBI_NH_ALL, 0);
		fight_count(fight, "TLBI_NH_ALL", ret, false);
		destroy(fight->fd, crowd->vdevice);
	}
	return NULL;
}

/* DMA to nowhere, the events of which have a queue for moments. */
static void *fault(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;

	while (!fight->stop)
		fight_count(fight, "DMA", edu_dma(crowd->edu, EDU_WRITES_MEMORY, VA(2), 0, 64),
			    false);
	return NULL;
}

static void *hear(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	struct event events[4];
	int file, queue, ret;

	while (!fight->stop) {
		queue = smmu_veventq_alloc(fight->fd, crowd->viommu, 4, &file);
		fight_count(fight, "VEVENTQ_ALLOC", queue, false);
		edu_sleep_ms(120);
		ret = read(file, events, sizeof(events));
		crowd->events += ret > 0;
		close(file);
		ret = destroy(fight->fd, queue);
		fight_count(fight, "DESTROY of a vEVENTQ", ret, is_gone(ret));
	}
	return NULL;
}

static void *make(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	int ret;

	while (!fight->stop) {
		ret = smmu_nested_alloc(fight->fd, crowd->device, crowd->viommu, STE_BYPASS, 0);
		fight_count(fight, "HWPT_ALLOC", ret, false);
		ret = destroy(fight->fd, ret);
		fight_count(fight, "DESTROY of an HWPT", ret, is_gone(ret));
		/* It is used. */
		ret = destroy(fight->fd, crowd->viommu);
		fight_count(fight, "DESTROY of a vIOMMU", ret == -EBUSY ? 0 : -EIO, false);
	}
	return NULL;
}

TEST_F(nested, all_at_once)
{
	struct crowd crowd = {
		.fight = { ._metadata = _metadata, .fd = self->b.fd },
		.edu = &self->b.edu, .device = self->device, .viommu = self->viommu,
		.parent = self->parent, .stage1 = self->stage1,
	};
	void *(*const what[FIGHTERS])(void *) = { know, go, forget, fault, hear, make };

	fight_for(&crowd.fight, 5000, what, &crowd);
	EXPECT_LT(0, crowd.known);
	EXPECT_LT(0, crowd.inside);
	EXPECT_LT(0, crowd.forgotten);
	TH_LOG("known %u times, inside %u times, forgotten %u times, events %u times",
	       crowd.known, crowd.inside, crowd.forgotten, crowd.events);
	ASSERT_LT(0, MOVE(self->parent));
	EXPECT_TRUE(REACHES(IPA(DATA), DATA));
}

TEST_HARNESS_MAIN
