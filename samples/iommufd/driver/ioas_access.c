// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel driver that reads, writes and pins the memory of an address space of
 * /dev/iommu by itself, as the driver of a mediated device does: its "device" is
 * the processor. It shows the access functions of <linux/iommufd.h>, and what a
 * driver owes them: to unpin what it is asked for, when it is asked, without any
 * lock that it holds while it calls them.
 */

#include <linux/highmem.h>
#include <linux/iommufd.h>
#include <linux/iova_bitmap.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "ioas_access.h"

/* Pages that are pinned. */
struct pin {
	struct list_head entry;
	u64 iova;
	u64 length;
	unsigned long count;
	struct page *pages[] __counted_by(count);
};

struct client {
	struct mutex call;		/* one call at a time; guards the next three */
	struct iommufd_access *access;	/* NULL if there is none */
	bool pins_pages;
	bool attached;

	struct mutex lock;		/* taken in ops->unmap: guards what follows */
	struct list_head pins;
	struct ioas_access_asked asked;
	u32 manners;
};

/* What a kernel thread is to do. */
struct copy {
	struct work_struct work;
	struct iommufd_access *access;
	const struct ioas_access_range *range;
	void *data;
	int ret;
};

static void unpin(struct client *client, struct pin *pin)
{
	iommufd_access_unpin_pages(client->access, pin->iova, pin->length);
	list_del(&pin->entry);
	kvfree(pin);
}

/* The last address of a range; @length may be ULONG_MAX, for everything. */
static u64 last_of(u64 first, u64 length)
{
	return length - 1 > U64_MAX - first ? U64_MAX : first + length - 1;
}

/* What a driver must not do: it keeps the unmap from ever ending. iommufd says no. */
static void pin_again(struct client *client, struct pin *pin)
{
	if (iommufd_access_pin_pages(client->access, pin->iova, pin->length, pin->pages, 0))
		return;
	iommufd_access_unpin_pages(client->access, pin->iova, pin->length);
	client->asked.again++;
}

static void client_unmap(void *data, unsigned long iova, unsigned long length)
{
	struct client *client = data;
	struct pin *pin, *next;

	mutex_lock(&client->lock);
	client->asked.iova = iova;
	client->asked.length = length;
	client->asked.count++;
	list_for_each_entry_safe(pin, next, &client->pins, entry) {
		if (client->manners == IOAS_ACCESS_DEAF || pin->iova > last_of(iova, length) ||
		    last_of(pin->iova, pin->length) < iova)
			continue;
		if (client->manners == IOAS_ACCESS_GREEDY)
			pin_again(client, pin);
		unpin(client, pin);
	}
	mutex_unlock(&client->lock);
}

static const struct iommufd_access_ops pinning_ops = {
	.needs_pin_pages = 1,
	.unmap = client_unmap,
};

/* Who only reads and writes, at any byte, has nothing to be asked for. */
static const struct iommufd_access_ops copying_ops;

static int client_create(struct client *client, struct ioas_access_create __user *arg)
{
	struct ioas_access_create create;
	struct iommufd_access *access;
	struct iommufd_ctx *ictx;
	bool pins_pages;
	int ret = 0;

	if (copy_from_user(&create, arg, sizeof(create)))
		return -EFAULT;
	if (create.flags & ~IOAS_ACCESS_NO_PINS)
		return -EINVAL;
	if (client->access)
		return -EISCONN;
	ictx = iommufd_ctx_from_fd(create.iommufd);
	if (IS_ERR(ictx))
		return PTR_ERR(ictx);
	pins_pages = !(create.flags & IOAS_ACCESS_NO_PINS);
	access = iommufd_access_create(ictx, pins_pages ? &pinning_ops : &copying_ops, client,
				       &create.id);
	iommufd_ctx_put(ictx);
	if (IS_ERR(access))
		return PTR_ERR(access);
	client->access = access;
	client->pins_pages = pins_pages;
	if (copy_to_user(arg, &create, sizeof(create)))
		ret = -EFAULT;
	return ret;
}

/* Nothing may be pinned where the access no longer is: iommufd asks for all of it. */
static void client_leave(struct client *client)
{
	mutex_lock(&client->lock);
	client->manners = IOAS_ACCESS_POLITE;
	mutex_unlock(&client->lock);
}

static void client_destroy(struct client *client)
{
	if (!client->access)
		return;
	client_leave(client);
	iommufd_access_destroy(client->access);
	client->access = NULL;
	client->attached = false;
}

static int client_attach(struct client *client, u32 ioas)
{
	int ret;

	if (client->attached)
		return -EISCONN;
	ret = iommufd_access_attach(client->access, ioas);
	client->attached = !ret;
	return ret;
}

static int client_replace(struct client *client, u32 ioas)
{
	client_leave(client);
	return iommufd_access_replace(client->access, ioas);
}

static int client_detach(struct client *client)
{
	if (!client->attached)
		return -ENOTCONN;
	client_leave(client);
	iommufd_access_detach(client->access);
	client->attached = false;
	return 0;
}

static unsigned int access_flags(const struct ioas_access_range *range)
{
	return (range->flags & IOAS_ACCESS_WRITE ? IOMMUFD_ACCESS_RW_WRITE : 0) |
	       (range->flags & IOAS_ACCESS_KTHREAD ? IOMMUFD_ACCESS_RW_KTHREAD : 0);
}

/* Ranges that wrap around are iommufd's to refuse. */
static bool is_too_long(const struct ioas_access_range *range, u64 most)
{
	u64 last;

	return range->length > most &&
	       !check_add_overflow(range->iova, range->length - 1, &last);
}

static int client_pin(struct client *client, const struct ioas_access_range *range)
{
	u64 size = min(range->length, IOAS_ACCESS_MAX_PAGES * PAGE_SIZE);
	struct pin *pin;
	int ret;

	if (!client->pins_pages)
		return -EINVAL;
	if (is_too_long(range, size))
		return -E2BIG;
	/* If it does not begin with a page there is one more. */
	pin = kvzalloc_flex(*pin, pages, size / PAGE_SIZE + 2);
	if (!pin)
		return -ENOMEM;
	pin->iova = range->iova;
	pin->length = range->length;
	ret = iommufd_access_pin_pages(client->access, range->iova, range->length, pin->pages,
				       access_flags(range));
	if (ret) {
		kvfree(pin);
		return ret;
	}
	list_add(&pin->entry, &client->pins);
	return 0;
}

static struct pin *find_pin(struct client *client, u64 iova, u64 length)
{
	struct pin *pin;

	list_for_each_entry(pin, &client->pins, entry)
		if (pin->iova <= iova && length <= pin->length &&
		    iova - pin->iova <= pin->length - length)
			return pin;
	return NULL;
}

static int client_unpin(struct client *client, const struct ioas_access_range *range)
{
	struct pin *pin = find_pin(client, range->iova, range->length);

	if (!pin || pin->iova != range->iova || pin->length != range->length)
		return -ENOENT;
	unpin(client, pin);
	return 0;
}

static void copy_by_kthread(struct work_struct *work)
{
	struct copy *copy = container_of(work, struct copy, work);

	copy->ret = iommufd_access_rw(copy->access, copy->range->iova, copy->data,
				      copy->range->length, access_flags(copy->range));
}

static int client_rw(struct client *client, const struct ioas_access_range *range, void *data)
{
	struct copy copy = { .access = client->access, .range = range, .data = data };

	if (!(range->flags & IOAS_ACCESS_KTHREAD))
		return iommufd_access_rw(client->access, range->iova, data, range->length,
					 access_flags(range));
	INIT_WORK_ONSTACK(&copy.work, copy_by_kthread);
	schedule_work(&copy.work);
	flush_work(&copy.work);
	destroy_work_on_stack(&copy.work);
	return copy.ret;
}

static int pinned_rw(struct client *client, const struct ioas_access_range *range, void *data)
{
	struct pin *pin = find_pin(client, range->iova, range->length);
	u64 from, done, len;

	if (!pin)
		return -ENOENT;
	from = range->iova - pin->iova;
	for (done = 0; done < range->length; done += len) {
		struct page *page = pin->pages[(from + done) / PAGE_SIZE];
		size_t offset = offset_in_page(from + done);

		len = min(PAGE_SIZE - offset, range->length - done);
		if (range->flags & IOAS_ACCESS_WRITE)
			memcpy_to_page(page, offset, data + done, len);
		else
			memcpy_from_page(data + done, page, offset, len);
	}
	return 0;
}

/* RW and PINNED_RW: by way of a buffer of the kernel's. */
static int client_copy(struct client *client, const struct ioas_access_range *range, bool pinned)
{
	void __user *there = u64_to_user_ptr(range->data);
	bool write = range->flags & IOAS_ACCESS_WRITE;
	size_t size = min(range->length, IOAS_ACCESS_MAX_BYTES);
	void *data;
	int ret;

	if (is_too_long(range, size))
		return -E2BIG;
	data = kvzalloc(max(size, 1), GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	if (write && copy_from_user(data, there, size))
		ret = -EFAULT;
	else
		ret = pinned ? pinned_rw(client, range, data) : client_rw(client, range, data);
	if (!ret && !write && copy_to_user(there, data, size))
		ret = -EFAULT;
	kvfree(data);
	return ret;
}

/* The calls that ops->unmap must not come between. */
static int client_do_locked(struct client *client, unsigned int cmd, unsigned long arg)
{
	struct ioas_access_range range;

	switch (cmd) {
	case IOAS_ACCESS_ASKED:
		if (copy_to_user((void __user *)arg, &client->asked, sizeof(client->asked)))
			return -EFAULT;
		return 0;
	case IOAS_ACCESS_MANNERS:
		client->manners = arg;
		return 0;
	}
	if (copy_from_user(&range, (void __user *)arg, sizeof(range)))
		return -EFAULT;
	if (range.padding)
		return -EINVAL;
	switch (cmd) {
	case IOAS_ACCESS_PIN:
		return client_pin(client, &range);
	case IOAS_ACCESS_UNPIN:
		return client_unpin(client, &range);
	case IOAS_ACCESS_RW:
		return client_copy(client, &range, false);
	case IOAS_ACCESS_PINNED_RW:
		return client_copy(client, &range, true);
	default:
		return -ENOTTY;
	}
}

/* The part of a bitmap that stands for @iova and on can be set, and no other is sure to be. */
static int mark_part(struct iova_bitmap *bitmap, unsigned long iova, size_t length, void *opaque)
{
	struct ioas_access_mark *mark = opaque;
	u64 first = mark->first, last = mark->last;

	if (!mark->at_once) {
		first = max(first, iova);
		last = min(last, last_of(iova, length));
	}
	if (first <= last && (!mark->at_once || !mark->parts))
		iova_bitmap_set(bitmap, first, last - first + 1);
	mark->parts++;
	return 0;
}

static int client_mark(struct ioas_access_mark __user *arg)
{
	struct ioas_access_mark mark;
	struct iova_bitmap *bitmap;
	int ret;

	if (copy_from_user(&mark, arg, sizeof(mark)))
		return -EFAULT;
	if (!mark.length || !mark.page_size || mark.first < mark.iova ||
	    mark.last > last_of(mark.iova, mark.length))
		return -EINVAL;
	mark.parts = 0;
	bitmap = iova_bitmap_alloc(mark.iova, mark.length, mark.page_size,
				   u64_to_user_ptr(mark.bitmap));
	if (IS_ERR(bitmap))
		return PTR_ERR(bitmap);
	ret = iova_bitmap_for_each(bitmap, &mark, mark_part);
	iova_bitmap_free(bitmap);
	if (!ret && copy_to_user(arg, &mark, sizeof(mark)))
		ret = -EFAULT;
	return ret;
}

static int client_do(struct client *client, unsigned int cmd, unsigned long arg)
{
	int ret;

	if (cmd == IOAS_ACCESS_MARK)
		return client_mark((void __user *)arg);
	if (cmd == IOAS_ACCESS_CREATE)
		return client_create(client, (void __user *)arg);
	if (!client->access)
		return -ENOTCONN;
	switch (cmd) {
	case IOAS_ACCESS_DESTROY:
		client_destroy(client);
		return 0;
	case IOAS_ACCESS_ATTACH:
		return client_attach(client, arg);
	case IOAS_ACCESS_REPLACE:
		return client_replace(client, arg);
	case IOAS_ACCESS_DETACH:
		return client_detach(client);
	}
	mutex_lock(&client->lock);
	ret = client_do_locked(client, cmd, arg);
	mutex_unlock(&client->lock);
	return ret;
}

static long client_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct client *client = file->private_data;
	int ret;

	mutex_lock(&client->call);
	ret = client_do(client, cmd, arg);
	mutex_unlock(&client->call);
	return ret;
}

static int client_open(struct inode *inode, struct file *file)
{
	struct client *client = kzalloc_obj(*client);

	if (!client)
		return -ENOMEM;
	mutex_init(&client->call);
	mutex_init(&client->lock);
	INIT_LIST_HEAD(&client->pins);
	file->private_data = client;
	return 0;
}

static int client_release(struct inode *inode, struct file *file)
{
	struct client *client = file->private_data;

	client_destroy(client);
	mutex_destroy(&client->lock);
	mutex_destroy(&client->call);
	kfree(client);
	return 0;
}

static const struct file_operations client_fops = {
	.owner = THIS_MODULE,
	.open = client_open,
	.release = client_release,
	.unlocked_ioctl = client_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice client_node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ioas-access",
	.fops = &client_fops,
	.mode = 0600,
};
module_misc_device(client_node);

MODULE_IMPORT_NS("IOMMUFD");
MODULE_DESCRIPTION("Sample: a kernel driver that uses the memory of userspace's address spaces");
MODULE_LICENSE("GPL");
