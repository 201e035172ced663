/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Virtual IOMMUs of Arm's SMMUv3, and what a guest has in its memory for one: stream table
 * entries, a context descriptor, and tables of the first stage.
 */
#ifndef SELFTESTS_IOMMU_SMMU_CALLS_H
#define SELFTESTS_IOMMU_SMMU_CALLS_H

#include "viommu_calls.h"

/* Stream table entries: valid, and what becomes of the device's DMA. */
#define STE_ABORT (1 | 0 << 1)
#define STE_BYPASS (1 | 4 << 1)
#define STE_STAGE1 (1 | 5 << 1)
/* The context descriptor is read through the caches. */
#define STE_CACHED (1 << 2 | 1 << 4 | 3 << 6)

/*
 * A context descriptor: tables of the processor's format, in the caches, of pages of 4 KiB, for
 * 39 bits of addresses, which lead to 44; there is one half of the addresses. A fault is
 * recorded, and the transaction is ended with an error.
 */
#define CD_TABLES (25ULL | 1 << 8 | 1 << 10 | 3 << 12 | 1ULL << 30 | 4ULL << 32)
#define CD_FLAGS (1ULL << 31 | 1ULL << 41 | 3ULL << 45 | 1ULL << 47)
#define CD_ASID(asid) ((uint64_t)(asid) << 48)
#define MEMORY_IS_CACHED 0xff

/* Entries of a table: where the next one is, a page, 2 MiB. */
#define TABLE 3ULL
#define LEAF (1ULL << 10 | 3 << 8 | 1 << 6)
#define LEAF_PAGE (LEAF | 3)
#define LEAF_BLOCK (LEAF | 1)
#define LEAF_READ_ONLY (1ULL << 7)

/* Requests of an invalidation. */
#define CFGI_STE 0x3
#define CFGI_CD 0x5
#define TLBI_NH_ALL 0x10
#define TLBI_NH_ASID 0x11
#define TLBI_NH_VA 0x12
#define TLBI_NSNH_ALL 0x30
#define TLBI_ASID(asid) ((uint64_t)(asid) << 48)
#define CFGI_STREAM(number) ((uint64_t)(number) << 32)

/* Events. */
#define EVENT_TRANSLATION 0x10
#define EVENT_PERMISSION 0x13
#define EVENT_IS_READ (1ULL << 35)

static inline struct iommu_viommu_alloc smmu_viommu_arg(int device, int parent)
{
	struct iommu_viommu_alloc arg = viommu_arg(device, parent);

	arg.type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3;
	return arg;
}

static inline int smmu_viommu_alloc(int iommufd, int device, int parent)
{
	struct iommu_viommu_alloc arg = smmu_viommu_arg(device, parent);
	int ret = call(iommufd, IOMMU_VIOMMU_ALLOC, &arg);

	return ret ? ret : (int)arg.out_viommu_id;
}

static inline struct iommu_hwpt_alloc smmu_nested_arg(int device, int viommu,
						      const struct iommu_hwpt_arm_smmuv3 *data)
{
	return (struct iommu_hwpt_alloc) {
		.size = sizeof(struct iommu_hwpt_alloc),
		.dev_id = device,
		.pt_id = viommu,
		.data_type = IOMMU_HWPT_DATA_ARM_SMMUV3,
		.data_len = sizeof(*data),
		.data_uptr = (uintptr_t)data,
	};
}

/* A domain that does with a device's DMA what a stream table entry says. */
static inline int smmu_nested_alloc(int iommufd, int device, int viommu, uint64_t ste0,
				    uint64_t ste1)
{
	struct iommu_hwpt_arm_smmuv3 data = { .ste = { ste0, ste1 } };
	struct iommu_hwpt_alloc arg = smmu_nested_arg(device, viommu, &data);
	int ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);

	return ret ? ret : (int)arg.out_hwpt_id;
}

static inline int smmu_veventq_alloc(int iommufd, int viommu, uint32_t depth, int *file)
{
	struct iommu_veventq_alloc arg = veventq_arg(viommu, depth);
	int ret;

	arg.type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3;
	ret = call(iommufd, IOMMU_VEVENTQ_ALLOC, &arg);
	*file = ret ? -1 : (int)arg.out_veventq_fd;
	return ret ? ret : (int)arg.out_veventq_id;
}

static inline struct iommu_hwpt_invalidate
smmu_invalidate_arg(int viommu, const struct iommu_viommu_arm_smmuv3_invalidate *requests,
		    unsigned int count)
{
	return (struct iommu_hwpt_invalidate) {
		.size = sizeof(struct iommu_hwpt_invalidate),
		.hwpt_id = viommu,
		.data_uptr = (uintptr_t)requests,
		.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
		.entry_len = sizeof(*requests),
		.entry_num = count,
	};
}

/* The result of @count requests; how many were counted as done is left in @done. */
static inline int
smmu_invalidate_all(int iommufd, int viommu,
		    const struct iommu_viommu_arm_smmuv3_invalidate *requests,
		    unsigned int count, unsigned int *done)
{
	struct iommu_hwpt_invalidate arg = smmu_invalidate_arg(viommu, requests, count);
	int ret = call(iommufd, IOMMU_HWPT_INVALIDATE, &arg);

	*done = arg.entry_num;
	return ret;
}

static inline int smmu_invalidate(int iommufd, int viommu, uint64_t first, uint64_t second)
{
	struct iommu_viommu_arm_smmuv3_invalidate request = { .cmd = { first, second } };
	unsigned int done;

	return smmu_invalidate_all(iommufd, viommu, &request, 1, &done);
}

/* What hardware may read at any moment is written at once. */
static inline void smmu_write(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

#endif /* SELFTESTS_IOMMU_SMMU_CALLS_H */
