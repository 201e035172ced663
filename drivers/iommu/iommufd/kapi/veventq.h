/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Events of virtual IOMMUs, in the C driver's structures (iommufd_private.h): where the kernel
 * has functions for IOMMU drivers (drivers/iommu/iommufd/driver.c), it puts events there.
 */
#ifndef IOMMUFD_VEVENTQ_H
#define IOMMUFD_VEVENTQ_H

#include <linux/iommufd.h>

struct iommufd_vevent;
struct iommufd_veventq;

/* Of @depth events of @type at most; NULL if there is no memory. */
struct iommufd_veventq *iommufd_new_veventq(u32 id, u32 type, u32 depth);
/* With the events that are left. */
void iommufd_free_veventq(struct iommufd_veventq *veventq);
/* Those who wait for an event. */
struct wait_queue_head *iommufd_vevent_waiters(struct iommufd_veventq *veventq);

/* Has @viommu's events of that type come here. -EEXIST if there is such a queue. */
int iommufd_link_veventq(struct iommufd_viommu *viommu, struct iommufd_veventq *veventq);
void iommufd_unlink_veventq(struct iommufd_viommu *viommu, struct iommufd_veventq *veventq);

/*
 * Takes the first event out, and copies its header; NULL if there is none. Either of the two
 * below comes next.
 */
struct iommufd_vevent *iommufd_take_vevent(struct iommufd_veventq *veventq,
					   struct iommufd_vevent_header *header);
/* What comes behind the header: @len bytes, none if it says that events were lost. */
const void *iommufd_vevent_data(const struct iommufd_vevent *vevent, size_t *len);
/* It comes next again; unless it says that events were lost, and others have come. */
void iommufd_put_vevent_back(struct iommufd_veventq *veventq, struct iommufd_vevent *vevent);
/* There is room for another one. */
void iommufd_drop_vevent(struct iommufd_veventq *veventq, struct iommufd_vevent *vevent);
bool iommufd_has_vevent(struct iommufd_veventq *veventq);

#endif
