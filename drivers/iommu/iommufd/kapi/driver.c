// SPDX-License-Identifier: GPL-2.0
/* See driver.h. */

#include <linux/slab.h>
#include <linux/xarray.h>

#include <iommufd/iommufd_private.h>
#include "driver.h"

struct device *iommufd_device_of(const struct iommufd_device *idev)
{
	return idev->dev;
}

struct iommufd_vdevice *iommufd_vdevice_from(struct iommufd_viommu *viommu, unsigned long virt_id)
{
	return xa_find(&viommu->vdevs, &virt_id, ULONG_MAX, XA_PRESENT);
}

/* Not under the lock, which is a spinlock; without waiting for memory. */
static struct iommufd_vevent *new_vevent(const void *data, size_t len)
{
	struct iommufd_vevent *vevent = kzalloc_flex(*vevent, event_data, len, GFP_NOWAIT);

	if (vevent) {
		vevent->data_len = len;
		memcpy(vevent->event_data, data, len);
	}
	return vevent;
}

/* Whether there is room for it; that it was lost is noted else, as it is if it is NULL. */
static bool add_vevent(struct iommufd_veventq *veventq, struct iommufd_vevent *vevent)
{
	bool fits;

	guard(spinlock)(&veventq->common.lock);
	fits = vevent && veventq->num_events < veventq->depth;
	veventq->num_events += fits;
	iommufd_vevent_handler(veventq, fits ? vevent : &veventq->lost_events_header);
	return fits;
}

int iommufd_report_vevent(struct iommufd_viommu *viommu, u32 type, const void *data, size_t len)
{
	struct iommufd_veventq *veventq;
	struct iommufd_vevent *vevent;

	guard(rwsem_read)(&viommu->veventqs_rwsem);
	veventq = iommufd_viommu_find_veventq(viommu, type);
	if (!veventq)
		return -EOPNOTSUPP;
	vevent = new_vevent(data, len);
	if (!add_vevent(veventq, vevent))
		kfree(vevent);
	return vevent ? 0 : -ENOMEM;
}
