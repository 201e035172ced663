/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of <linux/iommufd.h> that the tests make most, one function each.
 * All return 0 or a positive result, or a negative errno. IOMMUFD_H is the header
 * of the kernel source, for what is installed may be older.
 */
#ifndef SELFTESTS_IOMMU_IOMMUFD_CALLS_H
#define SELFTESTS_IOMMU_IOMMUFD_CALLS_H

#include "ioasid_utils.h"
#include IOMMUFD_H

/* Where interrupts go, and nothing can be mapped behind VT-d and SMMUv3. */
#if defined(__aarch64__) || defined(__arm__)
#define DOORBELLS 0x8000000UL
#else
#define DOORBELLS 0xfee00000UL
#endif

#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)
#define FIXED IOMMU_IOAS_MAP_FIXED_IOVA

static inline int ioas_alloc(int iommufd)
{
	struct iommu_ioas_alloc arg = { .size = sizeof(arg) };
	int ret = call(iommufd, IOMMU_IOAS_ALLOC, &arg);

	return ret ? ret : (int)arg.out_ioas_id;
}

static inline int destroy(int iommufd, int id)
{
	struct iommu_destroy arg = { .size = sizeof(arg), .id = id };

	return call(iommufd, IOMMU_DESTROY, &arg);
}

static inline struct iommu_ioas_map ioas_map_arg(int ioas, const void *memory, uint64_t length,
						 uint64_t iova, uint32_t flags)
{
	return (struct iommu_ioas_map) {
		.size = sizeof(struct iommu_ioas_map),
		.flags = flags,
		.ioas_id = ioas,
		.user_va = (uintptr_t)memory,
		.length = length,
		.iova = iova,
	};
}

static inline int ioas_map(int iommufd, int ioas, const void *memory, uint64_t length,
			   uint64_t iova)
{
	struct iommu_ioas_map arg = ioas_map_arg(ioas, memory, length, iova, FIXED | RW);

	return call(iommufd, IOMMU_IOAS_MAP, &arg);
}

/* Map pages of @memory where they belong: each as far from IOVA as from its beginning. */
static inline int ioas_map_pages(int iommufd, int ioas, const char *memory, unsigned int first,
				 unsigned int count)
{
	return ioas_map(iommufd, ioas, memory + first * PAGE, count * PAGE, IOVA + first * PAGE);
}

/* Map where the driver likes; the address, or a negative errno. */
static inline int64_t ioas_map_any(int iommufd, int ioas, const void *memory, uint64_t length)
{
	struct iommu_ioas_map arg = ioas_map_arg(ioas, memory, length, 0, RW);
	int ret = call(iommufd, IOMMU_IOAS_MAP, &arg);

	return ret ? ret : (int64_t)arg.iova;
}

static inline struct iommu_ioas_map_file map_file_arg(int ioas, int file, uint64_t start,
						      uint64_t length, uint64_t iova)
{
	return (struct iommu_ioas_map_file) {
		.size = sizeof(struct iommu_ioas_map_file),
		.flags = FIXED | RW,
		.ioas_id = ioas,
		.fd = file,
		.start = start,
		.length = length,
		.iova = iova,
	};
}

static inline int ioas_map_file(int iommufd, int ioas, int file, uint64_t start, uint64_t length,
				uint64_t iova)
{
	struct iommu_ioas_map_file arg = map_file_arg(ioas, file, start, length, iova);

	return call(iommufd, IOMMU_IOAS_MAP_FILE, &arg);
}

/* How many bytes were unmapped, or a negative errno. */
static inline int64_t ioas_unmap(int iommufd, int ioas, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap arg = {
		.size = sizeof(arg),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};
	int ret = call(iommufd, IOMMU_IOAS_UNMAP, &arg);

	return ret ? ret : (int64_t)arg.length;
}

static inline struct iommu_ioas_copy ioas_copy_arg(int to, uint64_t to_iova, int from,
						   uint64_t from_iova, uint64_t length)
{
	return (struct iommu_ioas_copy) {
		.size = sizeof(struct iommu_ioas_copy),
		.flags = FIXED | RW,
		.dst_ioas_id = to,
		.src_ioas_id = from,
		.length = length,
		.dst_iova = to_iova,
		.src_iova = from_iova,
	};
}

static inline int ioas_copy(int iommufd, int to, uint64_t to_iova, int from, uint64_t from_iova,
			    uint64_t length)
{
	struct iommu_ioas_copy arg = ioas_copy_arg(to, to_iova, from, from_iova, length);

	return call(iommufd, IOMMU_IOAS_COPY, &arg);
}

/* How many ranges there are, of which up to @room are in @ranges; or a negative errno. */
static inline int iova_ranges(int iommufd, int ioas, struct iommu_iova_range *ranges,
			      unsigned int room)
{
	struct iommu_ioas_iova_ranges arg = {
		.size = sizeof(arg),
		.ioas_id = ioas,
		.num_iovas = room,
		.allowed_iovas = (uintptr_t)ranges,
	};
	int ret = call(iommufd, IOMMU_IOAS_IOVA_RANGES, &arg);

	return ret ? ret : (int)arg.num_iovas;
}

/* What areas have to be multiples of, or a negative errno. */
static inline int64_t iova_alignment(int iommufd, int ioas)
{
	struct iommu_ioas_iova_ranges arg = { .size = sizeof(arg), .ioas_id = ioas };
	int ret = call(iommufd, IOMMU_IOAS_IOVA_RANGES, &arg);

	/* There is no room for the ranges, but all else is told. */
	return ret == -EMSGSIZE ? (int64_t)arg.out_iova_alignment : ret;
}

static inline int allow_iovas(int iommufd, int ioas, const struct iommu_iova_range *ranges,
			      unsigned int count)
{
	struct iommu_ioas_allow_iovas arg = {
		.size = sizeof(arg),
		.ioas_id = ioas,
		.num_iovas = count,
		.allowed_iovas = (uintptr_t)ranges,
	};

	return call(iommufd, IOMMU_IOAS_ALLOW_IOVAS, &arg);
}

/* The value of an option, or a negative errno. */
static inline int64_t get_option(int iommufd, uint32_t option, int object)
{
	struct iommu_option arg = {
		.size = sizeof(arg),
		.option_id = option,
		.op = IOMMU_OPTION_OP_GET,
		.object_id = object,
		.val64 = ~0ULL,
	};
	int ret = call(iommufd, IOMMU_OPTION, &arg);

	return ret ? ret : (int64_t)arg.val64;
}

static inline int set_option(int iommufd, uint32_t option, int object, uint64_t value)
{
	struct iommu_option arg = {
		.size = sizeof(arg),
		.option_id = option,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = object,
		.val64 = value,
	};

	return call(iommufd, IOMMU_OPTION, &arg);
}

/* Which space stands for the VFIO container, after @op; its id, or a negative errno. */
static inline int vfio_ioas(int iommufd, unsigned int op, unsigned int id)
{
	struct iommu_vfio_ioas arg = { .size = sizeof(arg), .op = op, .ioas_id = id };
	int ret = call(iommufd, IOMMU_VFIO_IOAS, &arg);

	return ret ? ret : (int)arg.ioas_id;
}

/* Have this process pay for all that is mapped. */
static inline int change_process(int iommufd)
{
	struct iommu_ioas_change_process arg = { .size = sizeof(arg) };

	return call(iommufd, IOMMU_IOAS_CHANGE_PROCESS, &arg);
}

/* The id of a new domain of @ioas for the device @device, or a negative errno. */
static inline int hwpt_alloc(int iommufd, int device, int ioas, uint32_t flags)
{
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = flags,
		.dev_id = device,
		.pt_id = ioas,
	};
	int ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);

	return ret ? ret : (int)arg.out_hwpt_id;
}

/* Attach a device, or move it; the id of the domain that it is on, or a negative errno. */
static inline int attach_pt(int device, int pt)
{
	struct vfio_device_attach_iommufd_pt arg = { .argsz = sizeof(arg), .pt_id = pt };
	int ret = call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg);

	return ret ? ret : (int)arg.pt_id;
}

#endif /* SELFTESTS_IOMMU_IOMMUFD_CALLS_H */
