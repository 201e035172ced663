// SPDX-License-Identifier: GPL-2.0
/*
 * Arguments may change during a call: what is checked must be what is used, so that
 * each call reads each byte of its argument once, and of lists behind it.
 *
 * A new call is a function that puts a good argument in place, and a line.
 */
#include "container_calls.h"
#include "fetches.h"

FIXTURE(fetched)
{
	struct bound b;
	int other;		/* a second space */
	int result;		/* of the call */
	char *memory;
	union {
		char bytes[PAGE];
		int32_t id;
		struct iommu_ioasid_alloc alloc;
		struct iommu_device_info info;
		struct ioasid_map map;
		struct ioasid_unmap unmap;
		struct iommu_ioas_alloc ioas_alloc;
		struct iommu_destroy destroy;
		struct iommu_ioas_map ioas_map;
		struct iommu_ioas_map_file map_file;
		struct iommu_ioas_copy copy;
		struct iommu_ioas_unmap ioas_unmap;
		struct iommu_ioas_iova_ranges ranges;
		struct iommu_ioas_allow_iovas allow;
		struct iommu_option option;
		struct iommu_vfio_ioas vfio_ioas;
		struct iommu_hwpt_alloc hwpt;
		struct iommu_hw_info hw_info;
		struct iommu_fault_alloc faults;
		struct iommu_ioas_change_process change;
		struct vfio_iommu_type1_dma_map vfio_map;
		struct vfio_iommu_type1_dma_unmap vfio_unmap;
		struct vfio_iommu_type1_info vfio_info;
	} *arg;
	size_t size;		/* of the argument */
	struct iommu_iova_range *list;
	int file;
};

#define SELF struct _test_data_fetched

FIXTURE_VARIANT(fetched)
{
	unsigned long request;
	/* Put the argument in place, and say how long it is. */
	size_t (*prepare)(SELF *self);
	/* Undo what the call did, as far as that is in the way of the next. */
	void (*undo)(SELF *self);
	/* How many elements the list has. */
	size_t listed;
};

FIXTURE_SETUP(fetched)
{
	struct iommu_vfio_ioas set = { .size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET };
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(vfio_attach(self->b.edu.fd, self->b.ioasid));
	self->other = ioas_alloc(self->b.fd);
	self->memory = pages(8);
	self->arg = pages(1);
	self->list = pages(1);
	ASSERT_TRUE(self->memory && self->arg && self->list);
	self->list[0] = (struct iommu_iova_range) { IOVA, IOVA + PAGE - 1 };
	self->list[1] = (struct iommu_iova_range) { 2 * IOVA, 2 * IOVA + PAGE - 1 };
	self->file = memfd_create("fetched", MFD_CLOEXEC);
	ASSERT_OK(ftruncate(self->file, PAGE));
	set.ioas_id = self->b.ioasid;
	ASSERT_OK(call(self->b.fd, IOMMU_VFIO_IOAS, &set));
}

FIXTURE_TEARDOWN(fetched)
{
	bound_close(&self->b);
}

static void nothing(SELF *self)
{
	(void)self;
}

static void unmap_everything(SELF *self)
{
	unmap_all(self->b.fd, self->b.ioasid);
	unmap_all(self->b.fd, self->other);
}

static void map_something(SELF *self)
{
	ioasid_map(self->b.fd, self->b.ioasid, self->memory, IOVA, PAGE, IOASID_RW);
}

/* --- <linux/iommu.h> ---------------------------------------------------------------- */

static size_t ask_for_window(SELF *self)
{
	self->arg->alloc = (struct iommu_ioasid_alloc) {
		.argsz = sizeof(self->arg->alloc),
		.flags = IOMMU_IOASID_IOVA_WINDOW,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.iova_first = IOVA,
		.iova_last = IOVA + PAGE - 1,
	};
	return sizeof(self->arg->alloc);
}

static void free_result(SELF *self)
{
	ioasid_free(self->b.fd, self->result);
}

static size_t make_space(SELF *self)
{
	self->arg->id = ioasid_alloc(self->b.fd, 64);
	return sizeof(self->arg->id);
}

static size_t ask_for_info(SELF *self)
{
	self->arg->info = (struct iommu_device_info) {
		.argsz = PAGE, .dev_cookie = self->b.id,
	};
	return sizeof(self->arg->info);
}

static size_t ask_for_map(SELF *self)
{
	self->arg->map = map_arg(self->b.ioasid, self->memory, IOVA, PAGE);
	return sizeof(self->arg->map);
}

static size_t ask_for_unmap(SELF *self)
{
	map_something(self);
	self->arg->unmap = unmap_arg(self->b.ioasid, IOVA, PAGE);
	return sizeof(self->arg->unmap);
}

#define CALL(name) FIXTURE_VARIANT_ADD(fetched, name)

CALL(alloc) { IOMMU_IOASID_ALLOC, ask_for_window, free_result, 0 };
CALL(free) { IOMMU_IOASID_FREE, make_space, nothing, 0 };
CALL(get_info) { IOMMU_DEVICE_GET_INFO, ask_for_info, nothing, 0 };
CALL(map) { IOMMU_MAP_DMA, ask_for_map, unmap_everything, 0 };
CALL(unmap) { IOMMU_UNMAP_DMA, ask_for_unmap, nothing, 0 };

/* --- <linux/iommufd.h> -------------------------------------------------------------- */

static size_t ask_for_ioas(SELF *self)
{
	self->arg->ioas_alloc = (struct iommu_ioas_alloc) { .size = sizeof(self->arg->ioas_alloc) };
	return sizeof(self->arg->ioas_alloc);
}

static void destroy_ioas(SELF *self)
{
	destroy(self->b.fd, self->arg->ioas_alloc.out_ioas_id);
}

static size_t ask_for_destroy(SELF *self)
{
	self->arg->destroy = (struct iommu_destroy) {
		.size = sizeof(self->arg->destroy), .id = ioas_alloc(self->b.fd),
	};
	return sizeof(self->arg->destroy);
}

static size_t ask_for_ioas_map(SELF *self)
{
	self->arg->ioas_map = ioas_map_arg(self->b.ioasid, self->memory, PAGE, IOVA, FIXED | RW);
	return sizeof(self->arg->ioas_map);
}

static size_t ask_for_map_file(SELF *self)
{
	self->arg->map_file = map_file_arg(self->b.ioasid, self->file, 0, PAGE, IOVA);
	return sizeof(self->arg->map_file);
}

static size_t ask_for_copy(SELF *self)
{
	map_something(self);
	self->arg->copy = ioas_copy_arg(self->other, IOVA, self->b.ioasid, IOVA, PAGE);
	return sizeof(self->arg->copy);
}

static size_t ask_for_ioas_unmap(SELF *self)
{
	map_something(self);
	self->arg->ioas_unmap = (struct iommu_ioas_unmap) {
		.size = sizeof(self->arg->ioas_unmap), .ioas_id = self->b.ioasid,
		.iova = IOVA, .length = PAGE,
	};
	return sizeof(self->arg->ioas_unmap);
}

static size_t ask_for_ranges(SELF *self)
{
	self->arg->ranges = (struct iommu_ioas_iova_ranges) {
		.size = sizeof(self->arg->ranges), .ioas_id = self->b.ioasid, .num_iovas = 16,
		.allowed_iovas = (uintptr_t)(self->list + 16),
	};
	return sizeof(self->arg->ranges);
}

static size_t ask_to_allow(SELF *self)
{
	self->arg->allow = (struct iommu_ioas_allow_iovas) {
		.size = sizeof(self->arg->allow), .ioas_id = self->other, .num_iovas = 2,
		.allowed_iovas = (uintptr_t)self->list,
	};
	return sizeof(self->arg->allow);
}

static size_t ask_for_option(SELF *self)
{
	self->arg->option = (struct iommu_option) {
		.size = sizeof(self->arg->option), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET, .object_id = self->other, .val64 = 1,
	};
	return sizeof(self->arg->option);
}

static size_t ask_for_container(SELF *self)
{
	self->arg->vfio_ioas = (struct iommu_vfio_ioas) {
		.size = sizeof(self->arg->vfio_ioas), .op = IOMMU_VFIO_IOAS_SET,
		.ioas_id = self->b.ioasid,
	};
	return sizeof(self->arg->vfio_ioas);
}

static size_t ask_for_domain(SELF *self)
{
	self->arg->hwpt = (struct iommu_hwpt_alloc) {
		.size = sizeof(self->arg->hwpt), .dev_id = self->b.id, .pt_id = self->other,
	};
	return sizeof(self->arg->hwpt);
}

static void destroy_domain(SELF *self)
{
	destroy(self->b.fd, self->arg->hwpt.out_hwpt_id);
}

static size_t ask_for_hw_info(SELF *self)
{
	self->arg->hw_info = (struct iommu_hw_info) {
		.size = sizeof(self->arg->hw_info), .dev_id = self->b.id, .data_len = PAGE,
		.data_uptr = (uintptr_t)self->memory,
	};
	return sizeof(self->arg->hw_info);
}

static size_t ask_for_faults(SELF *self)
{
	self->arg->faults = (struct iommu_fault_alloc) { .size = sizeof(self->arg->faults) };
	return sizeof(self->arg->faults);
}

static void destroy_faults(SELF *self)
{
	close(self->arg->faults.out_fault_fd);
	destroy(self->b.fd, self->arg->faults.out_fault_id);
}

static size_t ask_to_pay(SELF *self)
{
	self->arg->change = (struct iommu_ioas_change_process) {
		.size = sizeof(self->arg->change),
	};
	return sizeof(self->arg->change);
}

CALL(ioas_alloc) { IOMMU_IOAS_ALLOC, ask_for_ioas, destroy_ioas, 0 };
CALL(destroy) { IOMMU_DESTROY, ask_for_destroy, nothing, 0 };
CALL(ioas_map) { IOMMU_IOAS_MAP, ask_for_ioas_map, unmap_everything, 0 };
CALL(map_file) { IOMMU_IOAS_MAP_FILE, ask_for_map_file, unmap_everything, 0 };
CALL(copy) { IOMMU_IOAS_COPY, ask_for_copy, unmap_everything, 0 };
CALL(ioas_unmap) { IOMMU_IOAS_UNMAP, ask_for_ioas_unmap, nothing, 0 };
CALL(ranges) { IOMMU_IOAS_IOVA_RANGES, ask_for_ranges, nothing, 0 };
CALL(allow) { IOMMU_IOAS_ALLOW_IOVAS, ask_to_allow, nothing, 2 };
CALL(option) { IOMMU_OPTION, ask_for_option, nothing, 0 };
CALL(vfio_ioas) { IOMMU_VFIO_IOAS, ask_for_container, nothing, 0 };
CALL(hwpt_alloc) { IOMMU_HWPT_ALLOC, ask_for_domain, destroy_domain, 0 };
CALL(hw_info) { IOMMU_GET_HW_INFO, ask_for_hw_info, nothing, 0 };
CALL(fault_queue) { IOMMU_FAULT_QUEUE_ALLOC, ask_for_faults, destroy_faults, 0 };
CALL(change_process) { IOMMU_IOAS_CHANGE_PROCESS, ask_to_pay, nothing, 0 };

/* --- the VFIO container ------------------------------------------------------------- */

static size_t ask_for_vfio_map(SELF *self)
{
	self->arg->vfio_map = map_of(self->memory, IOVA, PAGE);
	return sizeof(self->arg->vfio_map);
}

static size_t ask_for_vfio_unmap(SELF *self)
{
	map_something(self);
	self->arg->vfio_unmap = (struct vfio_iommu_type1_dma_unmap) {
		.argsz = sizeof(self->arg->vfio_unmap), .iova = IOVA, .size = PAGE,
	};
	return sizeof(self->arg->vfio_unmap);
}

static size_t ask_for_vfio_info(SELF *self)
{
	self->arg->vfio_info = (struct vfio_iommu_type1_info) { .argsz = PAGE };
	return sizeof(self->arg->vfio_info);
}

CALL(vfio_map) { VFIO_IOMMU_MAP_DMA, ask_for_vfio_map, unmap_everything, 0 };
CALL(vfio_unmap) { VFIO_IOMMU_UNMAP_DMA, ask_for_vfio_unmap, nothing, 0 };
CALL(vfio_info) { VFIO_IOMMU_GET_INFO, ask_for_vfio_info, nothing, 0 };

/* --- the test ------------------------------------------------------------------------- */

/* Make the call, and say how often it did @what with a byte. */
static long uses_of(struct __test_metadata *_metadata, SELF *self,
		    const struct _fixture_variant_fetched *variant, const char *byte,
		    unsigned int what)
{
	long uses;
	int watch;

	self->size = variant->prepare(self);
	watch = watch_begin(byte, what);
	ASSERT_LE(0, watch)
		TH_LOG("needs watchpoints: %s", strerror(errno));
	self->result = call(self->b.fd, variant->request, self->arg);
	uses = watch_end(watch);
	ASSERT_LE(0, self->result);
	ASSERT_LE(0, uses);
	variant->undo(self);
	return uses;
}

/* One watchpoint at a time: two in one place are not told apart everywhere. */
static long reads_of(struct __test_metadata *_metadata, SELF *self,
		     const struct _fixture_variant_fetched *variant, const char *byte)
{
	return uses_of(_metadata, self, variant, byte, HW_BREAKPOINT_RW) -
	       uses_of(_metadata, self, variant, byte, HW_BREAKPOINT_W);
}

/* A size may be read once more, if both are compared: there is no other way to know it first. */
TEST_F(fetched, once)
{
	const char *list = (const char *)self->list;
	long reads, most, all = 0;
	size_t at = 0;

	do {
		reads = reads_of(_metadata, self, variant, self->arg->bytes + at);
		most = at || self->size == sizeof(self->arg->id) ? 1 : 2;
		EXPECT_GE(most, reads)
			TH_LOG("at byte %zu of the argument", at);
		all += reads;
		at += 4;
	} while (at < self->size);
	EXPECT_LT(0, all);
	for (at = 0; at < variant->listed * sizeof(self->list[0]); at += 4)
		EXPECT_EQ(1, reads_of(_metadata, self, variant, list + at))
			TH_LOG("at byte %zu of the list", at);
}

TEST_HARNESS_MAIN
