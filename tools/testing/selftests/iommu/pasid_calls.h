/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VFIO's calls with a PASID, one function each, as in iommufd_calls.h.
 */
#ifndef SELFTESTS_IOMMU_PASID_CALLS_H
#define SELFTESTS_IOMMU_PASID_CALLS_H

#include "iommufd_calls.h"

#define PASID 5

/* As of Linux 6.15; what is installed may be older. */
#define ATTACH_PASID (1 << 0)

struct vfio_pasid_attach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id;
	uint32_t pasid;
};

struct vfio_pasid_detach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pasid;
};

/* Attach a PASID, or move it; the id of the domain that it is on, or a negative errno. */
static inline int attach_pasid(int device, uint32_t pasid, int pt)
{
	struct vfio_pasid_attach arg = {
		.argsz = sizeof(arg), .flags = ATTACH_PASID, .pt_id = pt, .pasid = pasid,
	};
	int ret = call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg);

	return ret ? ret : (int)arg.pt_id;
}

static inline int detach_pasid(int device, uint32_t pasid)
{
	struct vfio_pasid_detach arg = {
		.argsz = sizeof(arg), .flags = ATTACH_PASID, .pasid = pasid,
	};

	return call(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &arg);
}

static inline int hwpt_for_pasids(int iommufd, int device, int ioas)
{
	return hwpt_alloc(iommufd, device, ioas, IOMMU_HWPT_ALLOC_PASID);
}

#endif /* SELFTESTS_IOMMU_PASID_CALLS_H */
