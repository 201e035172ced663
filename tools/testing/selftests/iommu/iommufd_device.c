// SPDX-License-Identifier: GPL-2.0
/*
 * Mainline's calls with a device: attaching, domains, and where DMA goes.
 */
#include "carry.h"
#include "ioasid_places.h"
#include "iommufd_calls.h"

#define TEST_PAGES 16

FIXTURE(device)
{
	struct bound b;
	int ioas;
	char *memory;
	long pins;
};

FIXTURE_SETUP(device)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->ioas = ioas_alloc(self->b.fd);
	ASSERT_LT(0, self->ioas);
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(device)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

/* Whether DMA works from page SOURCE to page TARGET of the test's memory. */
#define CARRIES(from, source, to, target) \
	carries(_metadata, &self->b.edu, from, self->memory + (source) * PAGE, \
		to, self->memory + (target) * PAGE)
#define ATTACH(pt) attach_pt(self->b.edu.fd, pt)
#define DETACH() vfio_detach(self->b.edu.fd)
#define MAP(ioas, count, iova) ioas_map(self->b.fd, ioas, self->memory, (count) * PAGE, iova)

TEST_F(device, both_dialects)
{
	int ioasid = ioasid_alloc(self->b.fd, 32);

	ASSERT_LT(0, ioasid);
	EXPECT_OK(MAP(ioasid, 2, IOVA));
	EXPECT_LT(0, ATTACH(ioasid));
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_EQ(2 * PAGE, unmap(self->b.fd, ioasid, IOVA, 2 * PAGE));
	EXPECT_FALSE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, ioasid));
	EXPECT_OK(DETACH());
	EXPECT_OK(destroy(self->b.fd, ioasid));
	EXPECT_ERRNO(ENOENT, ioasid_free(self->b.fd, ioasid));
}

TEST_F(device, address_is_chosen)
{
	int64_t iova;

	ASSERT_LT(0, ATTACH(self->ioas));
	iova = ioas_map_any(self->b.fd, self->ioas, self->memory, 4 * PAGE);
	ASSERT_LT(0, iova);
	EXPECT_TRUE(CARRIES(iova, 0, iova + 3 * PAGE, 3));
}

/* --- domains that come and go by themselves ---------------------------------------- */

TEST_F(device, automatic_domain)
{
	int hwpt = ATTACH(self->ioas);

	ASSERT_LT(0, hwpt);
	EXPECT_NE(self->ioas, hwpt);
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, hwpt));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, self->ioas));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, self->b.id));
	/* It is where the device is already: nothing happens. */
	EXPECT_EQ(hwpt, ATTACH(self->ioas));
	EXPECT_EQ(hwpt, ATTACH(hwpt));
	EXPECT_OK(DETACH());
	EXPECT_ERRNO(ENOENT, destroy(self->b.fd, hwpt));
	EXPECT_ERRNO(ENOENT, ATTACH(hwpt));
	EXPECT_OK(destroy(self->b.fd, self->ioas));
}

TEST_F(device, automatic_domain_goes_with_the_device)
{
	int hwpt = ATTACH(self->ioas);

	ASSERT_LT(0, hwpt);
	edu_close(&self->b.edu);
	EXPECT_ERRNO(ENOENT, destroy(self->b.fd, hwpt));
	EXPECT_ERRNO(ENOENT, destroy(self->b.fd, self->b.id));
	EXPECT_OK(destroy(self->b.fd, self->ioas));
}

TEST_F(device, failed_attach_leaves_no_domain)
{
	int next = self->ioas + 1;

	/* Over the reserved region of interrupts. */
	ASSERT_OK(MAP(self->ioas, 1, DOORBELLS));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(self->ioas));
	EXPECT_ERRNO(ENOENT, destroy(self->b.fd, next));
	EXPECT_EQ(next, ioas_alloc(self->b.fd));
	EXPECT_OK(destroy(self->b.fd, self->ioas));
}

TEST_F(device, replace)
{
	int other = ioas_alloc(self->b.fd);
	int first, second;

	ASSERT_OK(MAP(self->ioas, 2, IOVA));
	ASSERT_OK(ioas_map(self->b.fd, other, self->memory + 2 * PAGE, 2 * PAGE, IOVA));
	first = ATTACH(self->ioas);
	ASSERT_LT(0, first);
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	second = ATTACH(other);
	ASSERT_LT(0, second);
	EXPECT_NE(first, second);
	EXPECT_FALSE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_TRUE(CARRIES(IOVA, 2, IOVA + PAGE, 3));
	EXPECT_ERRNO(ENOENT, destroy(self->b.fd, first));
	EXPECT_OK(destroy(self->b.fd, self->ioas));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, other));
	EXPECT_ERRNO(ENOENT, ATTACH(self->ioas));
	EXPECT_TRUE(CARRIES(IOVA, 2, IOVA + PAGE, 3));
}

/* --- domains of userspace's own ------------------------------------------------------ */

#define EXPECT_HWPT(errno_, change) \
	EXPECT_CHANGED(errno_, self->b.fd, IOMMU_HWPT_ALLOC, ((struct iommu_hwpt_alloc) { \
		.size = sizeof(struct iommu_hwpt_alloc), \
		.dev_id = self->b.id, \
		.pt_id = self->ioas, \
	}), change)

/* Whether the device's IOMMU is one of those that Linux gives a name with one of these. */
static bool is_behind(const struct bound *b, const char *const *name)
{
	char iommu[64];

	if (!read_place(b->edu.address, "iommu", iommu, sizeof(iommu)))
		return false;
	while (*name && strncmp(iommu, *name, strlen(*name)))
		name++;
	return *name;
}

/* VT-d: on stock kernels the only one whose driver knows domains inside of domains. */
static const char *const nesting[] = { "dmar", NULL };
/* VT-d, AMD-Vi, SMMUv3: their drivers know domains of several kinds. */
static const char *const of_several_kinds[] = { "dmar", "ivhd", "smmu3", NULL };

TEST_F(device, hwpt_arguments)
{
	int next = self->ioas + 1;
	int hwpt;

	EXPECT_HWPT(EOPNOTSUPP, arg.__reserved = 1);
	EXPECT_HWPT(EINVAL, arg.data_type = IOMMU_HWPT_DATA_VTD_S1);
	EXPECT_HWPT(EINVAL, arg.data_len = 8);
	EXPECT_HWPT(ENOENT, arg.dev_id = 0);
	EXPECT_HWPT(ENOENT, arg.dev_id = self->ioas);
	EXPECT_HWPT(EINVAL, arg.pt_id = 0);
	EXPECT_HWPT(EINVAL, arg.pt_id = self->b.id);
	EXPECT_HWPT(EOPNOTSUPP, arg.flags = 16);
	EXPECT_HWPT(EOPNOTSUPP, arg.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	EXPECT_HWPT(EOPNOTSUPP,
		    arg.flags = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_FAULT_ID_VALID);
	EXPECT_HWPT(EOPNOTSUPP, (arg.data_type = IOMMU_HWPT_DATA_VTD_S1, arg.data_len = 8));
	EXPECT_HWPT(is_behind(&self->b, of_several_kinds) ? ENOENT : EOPNOTSUPP,
		    (arg.flags = IOMMU_HWPT_FAULT_ID_VALID, arg.fault_id = 77));
	/* None of them left anything. */
	hwpt = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
	EXPECT_EQ(next, hwpt);
	EXPECT_HWPT(EOPNOTSUPP, arg.pt_id = hwpt);
	/* It was not made to have another one inside. */
	EXPECT_HWPT(is_behind(&self->b, nesting) ? EINVAL : EOPNOTSUPP,
		    (arg.pt_id = hwpt, arg.data_type = IOMMU_HWPT_DATA_VTD_S1, arg.data_len = 8));
	EXPECT_HWPT(EOPNOTSUPP, (arg.pt_id = hwpt, arg.data_type = IOMMU_HWPT_DATA_VTD_S1,
				 arg.data_len = 8, arg.flags = IOMMU_HWPT_ALLOC_NEST_PARENT));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, self->ioas));
	EXPECT_OK(destroy(self->b.fd, hwpt));
	EXPECT_OK(destroy(self->b.fd, self->ioas));
}

TEST_F(device, short_argument_is_the_first_version)
{
	struct iommu_hwpt_alloc arg = {
		.size = 24, .dev_id = self->b.id, .pt_id = self->ioas,
		.data_type = 99, .data_len = 99, .fault_id = 99,
	};

	EXPECT_OK(call(self->b.fd, IOMMU_HWPT_ALLOC, &arg));
	EXPECT_EQ(99, arg.fault_id);
	EXPECT_OK(destroy(self->b.fd, arg.out_hwpt_id));
}

/* Whoever cannot ask for pages is refused by a domain whose page faults somebody wants to have. */
TEST_F(device, no_page_requests)
{
	struct iommu_fault_alloc queue = { .size = sizeof(queue) };
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg), .flags = IOMMU_HWPT_FAULT_ID_VALID,
		.dev_id = self->b.id, .pt_id = self->ioas,
	};

	if (call(self->b.fd, IOMMU_FAULT_QUEUE_ALLOC, &queue) == -EOPNOTSUPP)
		SKIP(return, "the kernel has no page faults of devices");
	if (!is_behind(&self->b, nesting))
		SKIP(return, "another IOMMU may take it nevertheless");
	arg.fault_id = queue.out_fault_id;
	ASSERT_OK(call(self->b.fd, IOMMU_HWPT_ALLOC, &arg));
	ASSERT_OK(MAP(self->ioas, 2, IOVA));
	EXPECT_ERRNO(ENODEV, ATTACH(arg.out_hwpt_id));
	EXPECT_FALSE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_LT(0, ATTACH(self->ioas));
	EXPECT_ERRNO(ENODEV, ATTACH(arg.out_hwpt_id));
	/* VT-d's driver has blocked it before it looks, and leaves it so. */
	EXPECT_OK(DETACH());
	EXPECT_LT(0, ATTACH(self->ioas));
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, queue.out_fault_id));
	EXPECT_OK(destroy(self->b.fd, arg.out_hwpt_id));
	close(queue.out_fault_fd);
	EXPECT_OK(destroy(self->b.fd, queue.out_fault_id));
}

TEST_F(device, own_domain)
{
	int hwpt;

	ASSERT_OK(MAP(self->ioas, 1, IOVA));
	hwpt = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
	ASSERT_LT(0, hwpt);
	ASSERT_EQ(hwpt, ATTACH(hwpt));
	/* What was mapped before it, and after it, is there. */
	ASSERT_OK(ioas_map(self->b.fd, self->ioas, self->memory + PAGE, PAGE, IOVA + PAGE));
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, hwpt));
	EXPECT_OK(DETACH());
	EXPECT_FALSE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	/* It stays, for the next one. */
	ASSERT_EQ(hwpt, ATTACH(hwpt));
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_OK(DETACH());
	EXPECT_ERRNO(EBUSY, destroy(self->b.fd, self->ioas));
	EXPECT_OK(destroy(self->b.fd, hwpt));
	EXPECT_OK(destroy(self->b.fd, self->ioas));
}

TEST_F(device, own_and_automatic)
{
	int own = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
	int second = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
	int automatic;

	ASSERT_LT(0, own);
	ASSERT_LT(0, second);
	ASSERT_OK(MAP(self->ioas, 2, IOVA));
	/* A space never picks a domain that userspace has made. */
	automatic = ATTACH(self->ioas);
	ASSERT_LT(0, automatic);
	EXPECT_NE(own, automatic);
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_EQ(own, ATTACH(own));
	EXPECT_ERRNO(ENOENT, destroy(self->b.fd, automatic));
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	EXPECT_EQ(second, ATTACH(second));
	EXPECT_OK(destroy(self->b.fd, own));
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	automatic = ATTACH(self->ioas);
	EXPECT_LT(0, automatic);
	EXPECT_OK(destroy(self->b.fd, second));
	EXPECT_TRUE(CARRIES(IOVA, 0, IOVA + PAGE, 1));
	/* The regions that the device needs left out were there all the time. */
	EXPECT_ERRNO(EINVAL, MAP(self->ioas, 1, DOORBELLS));
	EXPECT_OK(DETACH());
	EXPECT_OK(MAP(self->ioas, 1, DOORBELLS));
}

/* The context goes, with a domain in it that nothing is attached to. */
TEST_F(device, own_domain_is_left)
{
	ASSERT_OK(MAP(self->ioas, 8, IOVA));
	ASSERT_LT(0, hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0));
}

TEST_F(device, hw_info)
{
	char data[128];
	struct iommu_hw_info arg = {
		.size = sizeof(arg),
		.dev_id = self->b.id,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)data,
	};
	struct iommu_hw_info bad = arg;
	unsigned int known;

	memset(data, 0xff, sizeof(data));
	ASSERT_OK(call(self->b.fd, IOMMU_GET_HW_INFO, &arg));
	known = arg.data_len;
	ASSERT_GE(sizeof(data), known);
	EXPECT_TRUE(known == sizeof(data) || is_zero(data + known, sizeof(data) - known));
	if (arg.out_data_type == IOMMU_HW_INFO_TYPE_INTEL_VTD) {
		struct iommu_hw_info_vtd *vtd = (void *)data;

		EXPECT_EQ(sizeof(*vtd), known);
		EXPECT_NE(0, vtd->cap_reg);
		EXPECT_NE(0, vtd->ecap_reg);
	}
	EXPECT_EQ(0, arg.out_max_pasid_log2);
	/* No IOMMU of QEMU marks pages that are written to. */
	EXPECT_EQ(0, arg.out_capabilities & ~(uint64_t)IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);

	/* The structure that it has, and no other. */
	bad.flags = IOMMU_HW_INFO_FLAG_INPUT_TYPE;
	bad.in_data_type = arg.out_data_type;
	EXPECT_OK(call(self->b.fd, IOMMU_GET_HW_INFO, &bad));
	EXPECT_EQ(arg.out_data_type, bad.out_data_type);
	EXPECT_EQ(known, bad.data_len);
	bad.in_data_type = IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV;
	EXPECT_EQ(known ? -EOPNOTSUPP : 0, call(self->b.fd, IOMMU_GET_HW_INFO, &bad));
	bad.data_len = sizeof(data);

	/* A smaller buffer gets what fits. */
	memset(data, 0xff, sizeof(data));
	arg.data_len = 4;
	EXPECT_OK(call(self->b.fd, IOMMU_GET_HW_INFO, &arg));
	EXPECT_EQ(known, arg.data_len);
	EXPECT_EQ((char)0xff, data[4]);

	bad.flags = 2;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_GET_HW_INFO, &bad));
	bad.flags = 0;
	bad.dev_id = self->ioas;
	EXPECT_ERRNO(ENOENT, call(self->b.fd, IOMMU_GET_HW_INFO, &bad));
	bad.dev_id = self->b.id;
	bad.data_uptr = 8;
	EXPECT_ERRNO(EFAULT, call(self->b.fd, IOMMU_GET_HW_INFO, &bad));
}

/* --- mappings ----------------------------------------------------------------------- */

TEST_F(device, copy)
{
	int other = ioas_alloc(self->b.fd);

	/* Out of a space with nothing attached, pages 1 to 3 of 4. */
	ASSERT_OK(MAP(other, 4, 0));
	ASSERT_LT(0, ATTACH(self->ioas));
	ASSERT_OK(ioas_copy(self->b.fd, self->ioas, IOVA, other, PAGE, 3 * PAGE));
	EXPECT_TRUE(CARRIES(IOVA, 1, IOVA + 2 * PAGE, 3));
	EXPECT_OK(destroy(self->b.fd, other));
	EXPECT_TRUE(CARRIES(IOVA + PAGE, 2, IOVA, 1));
	/* A domain that comes later gets the same. */
	ASSERT_OK(DETACH());
	ASSERT_LT(0, ATTACH(self->ioas));
	EXPECT_TRUE(CARRIES(IOVA, 1, IOVA + 2 * PAGE, 3));
	EXPECT_EQ(3 * PAGE, ioas_unmap(self->b.fd, self->ioas, IOVA, 3 * PAGE));
	EXPECT_FALSE(CARRIES(IOVA, 1, IOVA + 2 * PAGE, 3));
	EXPECT_EQ(0, pinned_pages());
}

/* A memory file of @size bytes, or one of huge pages. */
static int memory_file(size_t size, unsigned int flags)
{
	int file = memfd_create("iommufd", flags);

	return file < 0 || ftruncate(file, size) ? -1 : file;
}

#define MAP_OF(file, first, count, iova) \
	ioas_map_file(self->b.fd, self->ioas, file, (first) * PAGE, (count) * PAGE, iova)

TEST_F(device, file)
{
	int file = memory_file(8 * PAGE, 0);
	char *view = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	ASSERT_NE(MAP_FAILED, view);
	ASSERT_LT(0, ATTACH(self->ioas));
	/* Pages 2 to 5 of it; what was never touched is made. */
	ASSERT_OK(MAP_OF(file, 2, 4, IOVA));
	EXPECT_EQ(4, pinned_pages());
	close(file);
	EXPECT_TRUE(carries(_metadata, &self->b.edu, IOVA, view + 2 * PAGE,
			    IOVA + 3 * PAGE, view + 5 * PAGE));
	EXPECT_TRUE(carries(_metadata, &self->b.edu, IOVA + PAGE, view + 3 * PAGE,
			    IOVA + 2 * PAGE, view + 4 * PAGE));
	/* The file is what is mapped, whether the process sees it or not. */
	ASSERT_EQ(0, munmap(view, 8 * PAGE));
	EXPECT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, IOVA, 0, DMA_SIZE));
	EXPECT_EQ(4 * PAGE, ioas_unmap(self->b.fd, self->ioas, IOVA, 4 * PAGE));
	EXPECT_EQ(self->pins, held_pins());
}

/*
 * fallocate() leaves it to the first user of a page to clear it. That is the device: it must
 * not read what was there, nor lose what it writes to whoever comes next.
 */
TEST_F(device, file_of_fallocate)
{
	int file = memory_file(8 * PAGE, 0);
	char *view;

	ASSERT_LE(0, file);
	ASSERT_OK(fallocate(file, 0, 0, 8 * PAGE));
	ASSERT_LT(0, ATTACH(self->ioas));
	ASSERT_OK(MAP_OF(file, 0, 8, IOVA));
	ASSERT_OK(MAP(self->ioas, 1, 2 * IOVA));
	memset(self->memory, 0x5a, DMA_SIZE);
	ASSERT_OK(edu_dma(&self->b.edu, EDU_READS_MEMORY, 2 * IOVA, 0, DMA_SIZE));
	ASSERT_OK(edu_dma(&self->b.edu, EDU_WRITES_MEMORY, IOVA + 5 * PAGE, 0, DMA_SIZE));
	view = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, view);
	EXPECT_EQ(0, memcmp(view + 5 * PAGE, self->memory, DMA_SIZE));
	EXPECT_TRUE(is_zero(view, 5 * PAGE));
	munmap(view, 8 * PAGE);
	close(file);
}

TEST_F(device, file_of_huge_pages)
{
	const size_t huge = 2 << 20;
	char *view;
	int file;

	ASSERT_TRUE(provide_huge_pages(4));
	file = memory_file(2 * huge, MFD_HUGETLB);
	view = mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, view);
	ASSERT_LT(0, ATTACH(self->ioas));
	/* From inside of the first huge page to inside of the second. */
	ASSERT_OK(MAP_OF(file, 500, 100, IOVA));
	EXPECT_EQ(100, pinned_pages());
	EXPECT_EQ(self->pins + 100, held_pins());
	EXPECT_TRUE(carries(_metadata, &self->b.edu, IOVA, view + 500 * PAGE,
			    IOVA + 99 * PAGE, view + 599 * PAGE));
	EXPECT_EQ(100 * PAGE, ioas_unmap(self->b.fd, self->ioas, IOVA, 100 * PAGE));
	EXPECT_EQ(self->pins, held_pins());
	munmap(view, 2 * huge);
	close(file);
}

TEST_F(device, copy_for_reading)
{
	struct iommu_ioas_copy arg = ioas_copy_arg(self->ioas, IOVA + 8 * PAGE, self->ioas, IOVA,
						   2 * PAGE);

	ASSERT_LT(0, ATTACH(self->ioas));
	ASSERT_OK(MAP(self->ioas, 2, IOVA));
	arg.flags = FIXED | IOMMU_IOAS_MAP_READABLE;
	ASSERT_OK(call(self->b.fd, IOMMU_IOAS_COPY, &arg));
	EXPECT_TRUE(CARRIES(IOVA + 8 * PAGE, 0, IOVA + PAGE, 1));
	EXPECT_FALSE(CARRIES(IOVA, 0, IOVA + 9 * PAGE, 1));
}

TEST_F(device, small_pages_only)
{
	ASSERT_OK(set_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	ASSERT_OK(MAP(self->ioas, 8, IOVA));
	ASSERT_LT(0, ATTACH(self->ioas));
	ASSERT_OK(MAP(self->ioas, 8, IOVA + 8 * PAGE));
	EXPECT_TRUE(CARRIES(IOVA + PAGE, 1, IOVA + 15 * PAGE, 7));
	EXPECT_OK(set_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 1));
	EXPECT_ERRNO(EINVAL, set_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	EXPECT_EQ(16 * PAGE, ioas_unmap(self->b.fd, self->ioas, 0, ~0ULL));
	EXPECT_FALSE(CARRIES(IOVA + PAGE, 1, IOVA + 15 * PAGE, 7));
}

TEST_F(device, ranges)
{
	struct iommu_iova_range all[16], want = { DOORBELLS - PAGE, DOORBELLS };
	int count, i;

	ASSERT_LT(0, ATTACH(self->ioas));
	count = iova_ranges(self->b.fd, self->ioas, all, 16);
	ASSERT_LT(1, count);
	for (i = 0; i < count; i++) {
		EXPECT_LT(all[i].start, all[i].last);
		EXPECT_TRUE(i == 0 || all[i - 1].last < all[i].start);
		/* Both ends can be mapped, and what is next to them cannot. */
		EXPECT_OK(MAP(self->ioas, 1, all[i].start));
		EXPECT_OK(MAP(self->ioas, 1, all[i].last - PAGE + 1));
		if (all[i].last < UINT64_MAX)
			EXPECT_ERRNO(EINVAL, MAP(self->ioas, 1, all[i].last + 1));
	}
	/* What is reserved cannot be allowed, and what is allowed cannot be reserved. */
	EXPECT_ERRNO(EADDRINUSE, allow_iovas(self->b.fd, self->ioas, &want, 1));
	ASSERT_LT(0, ioas_unmap(self->b.fd, self->ioas, 0, ~0ULL));
	ASSERT_OK(DETACH());
	EXPECT_OK(allow_iovas(self->b.fd, self->ioas, &want, 1));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(self->ioas));
	EXPECT_OK(allow_iovas(self->b.fd, self->ioas, NULL, 0));
	EXPECT_LT(0, ATTACH(self->ioas));
}

/* --- what no hardware here has ------------------------------------------------------- */

TEST_F(device, absent)
{
	int hwpt = hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
	struct iommu_hwpt_set_dirty_tracking set = { .size = sizeof(set), .hwpt_id = hwpt };
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = hwpt, .length = PAGE, .page_size = PAGE,
	};
	struct iommu_hwpt_invalidate invalidate = {
		.size = sizeof(invalidate), .hwpt_id = hwpt, .entry_num = 0,
	};
	struct iommu_viommu_alloc viommu = {
		.size = sizeof(viommu), .type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
		.dev_id = self->b.id, .hwpt_id = hwpt,
	};
	struct iommu_vdevice_alloc vdevice = { .size = sizeof(vdevice), .dev_id = self->b.id };
	struct iommu_veventq_alloc veventq = { .size = sizeof(veventq), .type = 1 };
	struct iommu_hw_queue_alloc queue = { .size = sizeof(queue), .type = 1 };

	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	get.page_size = 5 * PAGE / 8;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	get.page_size = 2 * PAGE;
	EXPECT_ERRNO(EINVAL, call(self->b.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	get.page_size = 0;
	EXPECT_ERRNO(EINVAL, call(self->b.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	get.length = 0;
	EXPECT_ERRNO(EINVAL, call(self->b.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	EXPECT_ERRNO(EINVAL, call(self->b.fd, IOMMU_HWPT_INVALIDATE, &invalidate));
	invalidate.entry_num = 5;
	EXPECT_ERRNO(EINVAL, call(self->b.fd, IOMMU_HWPT_INVALIDATE, &invalidate));
	EXPECT_EQ(0, invalidate.entry_num);
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_VIOMMU_ALLOC, &viommu));
	viommu.dev_id = 0;
	EXPECT_ERRNO(ENOENT, call(self->b.fd, IOMMU_VIOMMU_ALLOC, &viommu));
	EXPECT_ERRNO(ENOENT, call(self->b.fd, IOMMU_VDEVICE_ALLOC, &vdevice));
	EXPECT_ERRNO(EINVAL, call(self->b.fd, IOMMU_VEVENTQ_ALLOC, &veventq));
	veventq.veventq_depth = 8;
	EXPECT_ERRNO(ENOENT, call(self->b.fd, IOMMU_VEVENTQ_ALLOC, &veventq));
	EXPECT_ERRNO(EINVAL, call(self->b.fd, IOMMU_HW_QUEUE_ALLOC, &queue));
	queue.length = PAGE;
	EXPECT_ERRNO(ENOENT, call(self->b.fd, IOMMU_HW_QUEUE_ALLOC, &queue));
	set.hwpt_id = self->ioas;
	EXPECT_ERRNO(ENOENT, call(self->b.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	set.flags = 2;
	EXPECT_ERRNO(EOPNOTSUPP, call(self->b.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
}

TEST_HARNESS_MAIN
