// SPDX-License-Identifier: GPL-2.0
/* See veventq.h. */

#include <linux/slab.h>

#include <iommufd/iommufd_private.h>
#include "veventq.h"

struct iommufd_veventq *iommufd_new_veventq(u32 id, u32 type, u32 depth)
{
	struct iommufd_veventq *veventq = kzalloc(sizeof(*veventq), GFP_KERNEL_ACCOUNT);

	if (!veventq)
		return NULL;
	refcount_set(&veventq->common.obj.wait_cnt, 1);
	refcount_set(&veventq->common.obj.users, 1);
	veventq->common.obj.type = IOMMUFD_OBJ_VEVENTQ;
	veventq->common.obj.id = id;
	spin_lock_init(&veventq->common.lock);
	INIT_LIST_HEAD(&veventq->common.deliver);
	init_waitqueue_head(&veventq->common.wait_queue);
	veventq->type = type;
	veventq->depth = depth;
	veventq->lost_events_header.header.flags = IOMMU_VEVENTQ_FLAG_LOST_EVENTS;
	return veventq;
}

void iommufd_free_veventq(struct iommufd_veventq *veventq)
{
	struct iommufd_vevent *vevent, *next;

	list_for_each_entry_safe(vevent, next, &veventq->common.deliver, node)
		if (!vevent_for_lost_events_header(vevent))
			kfree(vevent);
	kfree(veventq);
}

struct wait_queue_head *iommufd_vevent_waiters(struct iommufd_veventq *veventq)
{
	return &veventq->common.wait_queue;
}

int iommufd_link_veventq(struct iommufd_viommu *viommu, struct iommufd_veventq *veventq)
{
	guard(rwsem_write)(&viommu->veventqs_rwsem);
	if (iommufd_viommu_find_veventq(viommu, veventq->type))
		return -EEXIST;
	veventq->viommu = viommu;
	list_add_tail(&veventq->node, &viommu->veventqs);
	return 0;
}

void iommufd_unlink_veventq(struct iommufd_viommu *viommu, struct iommufd_veventq *veventq)
{
	guard(rwsem_write)(&viommu->veventqs_rwsem);
	list_del(&veventq->node);
}

struct iommufd_vevent *iommufd_take_vevent(struct iommufd_veventq *veventq,
					   struct iommufd_vevent_header *header)
{
	struct iommufd_vevent *vevent;

	guard(spinlock)(&veventq->common.lock);
	vevent = list_first_entry_or_null(&veventq->common.deliver, struct iommufd_vevent, node);
	if (!vevent)
		return NULL;
	/* Being the last one is how the kernel knows that the header is in the list. */
	list_del(&vevent->node);
	*header = vevent->header;
	return vevent;
}

const void *iommufd_vevent_data(const struct iommufd_vevent *vevent, size_t *len)
{
	*len = vevent->data_len;
	return vevent->event_data;
}

void iommufd_put_vevent_back(struct iommufd_veventq *veventq, struct iommufd_vevent *vevent)
{
	guard(spinlock)(&veventq->common.lock);
	if (!vevent_for_lost_events_header(vevent) || list_empty(&veventq->common.deliver))
		list_add(&vevent->node, &veventq->common.deliver);
}

void iommufd_drop_vevent(struct iommufd_veventq *veventq, struct iommufd_vevent *vevent)
{
	if (vevent_for_lost_events_header(vevent))
		return;
	scoped_guard(spinlock, &veventq->common.lock)
		veventq->num_events--;
	kfree(vevent);
}

bool iommufd_has_vevent(struct iommufd_veventq *veventq)
{
	guard(spinlock)(&veventq->common.lock);
	return !list_empty(&veventq->common.deliver);
}
