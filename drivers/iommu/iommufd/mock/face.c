// SPDX-License-Identifier: GPL-2.0
/* See face.h. */

#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/slab.h>

#include <iommu-priv.h>
#include <iommufd/iommufd_test.h>
#include "face.h"

static struct iommu_device mock_iommu;

/* The devices that may have page faults; NULL where the kernel knows of none. */
static struct iopf_queue *mock_faults;

/* What the firmware says of devices that have PASIDs. */
static const struct property_entry pasid_properties[] = {
	PROPERTY_ENTRY_U32("pasid-num-bits", MOCK_PASID_WIDTH),
	{},
};

static const struct software_node pasid_node = {
	.properties = pasid_properties,
};

/* What the IOMMU knows of a device: its platform data. */
struct mock_device {
	/* The PASID that is kept for this does not get to its next domain. */
	bool fails_next;
	/* No PASID gets to its next domain. */
	bool fails_once;
	/* Where which PASID went last. Written to with the group locked. */
	ioasid_t pasid;
	struct iommu_domain *domain;
	/* A device that it comes into the group of. */
	struct device *relative;
	/* Translations that it keeps. */
	u32 cache[MOCK_DEV_CACHE_NUM];
	/* How many of its domains want to be told of page faults. With the group locked. */
	unsigned int faulting;
	/* How often those were answered so. */
	atomic_t answers[IOMMU_PAGE_RESP_FAILURE + 1];
};

/* What the test that has made a device wants it to be like. */
static u32 device_flags(struct device *dev)
{
	return (uintptr_t)dev_get_drvdata(dev);
}

bool iommufd_mock_can_track_dirty(struct device *dev)
{
	return !(device_flags(dev) & MOCK_FLAGS_DEVICE_NO_DIRTY);
}

static int add_faults(struct device *dev, struct iommu_domain *domain)
{
	struct mock_device *mock = dev_get_platdata(dev);
	int ret;

	if (!domain->iopf_handler)
		return 0;
	if (!mock->faulting) {
		ret = mock_faults ? iopf_queue_add_device(mock_faults, dev) : -ENODEV;
		if (ret)
			return ret;
	}
	mock->faulting++;
	return 0;
}

static void remove_faults(struct device *dev, struct iommu_domain *domain)
{
	struct mock_device *mock = dev_get_platdata(dev);

	if (domain && domain->iopf_handler && !--mock->faulting)
		iopf_queue_remove_device(mock_faults, dev);
}

static int move_faults(struct device *dev, struct iommu_domain *domain, struct iommu_domain *old)
{
	int ret = add_faults(dev, domain);

	if (!ret)
		remove_faults(dev, old);
	return ret;
}

int iommufd_mock_attach(struct iommu_domain *domain, struct device *dev, struct iommu_domain *old)
{
	int ret = 0;

	if (domain->dirty_ops && !iommufd_mock_can_track_dirty(dev))
		return -EINVAL;
	if (domain->type == IOMMU_DOMAIN_NESTED)
		ret = iommufd_mock_attach_nested(domain, dev);
	return ret ?: move_faults(dev, domain, old);
}

/* With the group locked. */
int iommufd_mock_set_dev_pasid(struct iommu_domain *domain, struct device *dev, ioasid_t pasid,
			       struct iommu_domain *old)
{
	struct mock_device *mock = dev_get_platdata(dev);
	bool blocks = domain->type == IOMMU_DOMAIN_BLOCKED;
	bool fails = mock->fails_next && !blocks;
	int ret;

	if (!blocks && xchg(&mock->fails_once, false))
		return -ENOMEM;
	if (pasid == IOMMU_TEST_PASID_RESERVED) {
		/* Having failed, it works once more, so that all can be put back. */
		mock->fails_next = !mock->fails_next && !blocks;
		if (fails)
			return -ENOMEM;
	}
	ret = move_faults(dev, domain, old);
	if (!ret) {
		WRITE_ONCE(mock->pasid, pasid);
		WRITE_ONCE(mock->domain, blocks ? NULL : domain);
	}
	return ret;
}

void iommufd_mock_fail_pasid(struct device *dev)
{
	struct mock_device *mock = dev_get_platdata(dev);

	xchg(&mock->fails_once, true);
}

bool iommufd_mock_was_told(struct device *dev, ioasid_t pasid, const struct iommu_domain *domain)
{
	struct mock_device *mock = dev_get_platdata(dev);

	return READ_ONCE(mock->pasid) == pasid && READ_ONCE(mock->domain) == domain;
}

/* Also without a lock, if nobody takes the fault. */
static void page_response(struct device *dev, struct iopf_fault *fault,
			  struct iommu_page_response *response)
{
	struct mock_device *mock = dev_get_platdata(dev);

	atomic_inc(&mock->answers[response->code]);
}

u32 iommufd_mock_answers(struct device *dev, u32 code)
{
	struct mock_device *mock = dev_get_platdata(dev);

	return code < ARRAY_SIZE(mock->answers) ? atomic_read(&mock->answers[code]) : 0;
}

void iommufd_mock_fault(struct device *dev, const struct iommu_fault_page_request *request)
{
	struct mock_device *mock = dev_get_platdata(dev);
	struct iopf_fault fault = {
		.fault = { .type = IOMMU_FAULT_PAGE_REQ, .prm = *request },
	};

	/*
	 * A device without PASIDs is not told when its group is attached by one: it has page
	 * requests only if they were wanted of it otherwise, as by a nested domain, whose guest
	 * has PASIDs of its own.
	 */
	if (request->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID &&
	    request->pasid != IOMMU_NO_PASID && !dev->iommu->max_pasids &&
	    !READ_ONCE(mock->faulting))
		return;
	/* What comes of it the device is told. */
	iommu_report_device_fault(dev, &fault);
}

static const struct iommu_domain_ops blocked_ops = {
	.attach_dev = iommufd_mock_attach,
	.set_dev_pasid = iommufd_mock_set_dev_pasid,
};

static struct iommu_domain blocked_domain = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &blocked_ops,
};

const struct iommu_domain_ops iommufd_mock_nested_ops = {
	.attach_dev = iommufd_mock_attach,
	.set_dev_pasid = iommufd_mock_set_dev_pasid,
	.cache_invalidate_user = iommufd_mock_invalidate,
	.free = iommufd_mock_free_nested,
};

const struct iommufd_viommu_ops iommufd_mock_viommu_ops = {
	.destroy = iommufd_mock_end_viommu,
	.alloc_domain_nested = iommufd_mock_viommu_nested,
	.cache_invalidate = iommufd_mock_viommu_invalidate,
	.get_hw_queue_size = iommufd_mock_hw_queue_size,
	.hw_queue_init_phys = iommufd_mock_init_hw_queue,
};

/* The core asks about devices only that have the firmware node below. */
static struct iommu_device *probe_device(struct device *dev)
{
	return &mock_iommu;
}

/* A group, with a reference. */
static struct iommu_group *device_group(struct device *dev)
{
	struct mock_device *mock = dev_get_platdata(dev);

	return mock->relative ? iommu_group_get(mock->relative) : generic_device_group(dev);
}

static const struct iommu_ops mock_ops = {
	.owner = THIS_MODULE,
	.capable = iommufd_mock_capable,
	.hw_info = iommufd_mock_hw_info,
	.domain_alloc_paging_flags = iommufd_mock_alloc_paging,
	.domain_alloc_nested = iommufd_mock_alloc_nested,
	.get_viommu_size = iommufd_mock_viommu_size,
	.viommu_init = iommufd_mock_init_viommu,
	.page_response = page_response,
	.user_pasid_table = true,
	.default_domain = &blocked_domain,
	.blocked_domain = &blocked_domain,
	.probe_device = probe_device,
	.device_group = device_group,
};

int iommufd_mock_register(void)
{
	int ret;

	mock_iommu.fwnode = fwnode_create_software_node(NULL, NULL);
	if (IS_ERR(mock_iommu.fwnode))
		return PTR_ERR(mock_iommu.fwnode);
	mock_iommu.max_pasids = 1 << MOCK_PASID_WIDTH;
	mock_faults = iopf_queue_alloc("iommufd_mock");
	if (IS_ENABLED(CONFIG_IOMMU_IOPF) && !mock_faults) {
		ret = -ENOMEM;
		goto remove_node;
	}
	ret = iommu_device_sysfs_add(&mock_iommu, NULL, NULL, "iommufd_mock");
	if (ret)
		goto free_faults;
	ret = iommu_device_register(&mock_iommu, &mock_ops, NULL);
	if (ret)
		goto remove_sysfs;
	return 0;

remove_sysfs:
	iommu_device_sysfs_remove(&mock_iommu);
free_faults:
	iopf_queue_free(mock_faults);
remove_node:
	fwnode_remove_software_node(mock_iommu.fwnode);
	return ret;
}

void iommufd_mock_unregister(void)
{
	iommu_device_unregister(&mock_iommu);
	iommu_device_sysfs_remove(&mock_iommu);
	iopf_queue_free(mock_faults);
	fwnode_remove_software_node(mock_iommu.fwnode);
}

/* iommu_fwspec_init() asserts a lock that cannot be had: but nobody knows of @dev as yet. */
static int set_fwspec(struct device *dev)
{
	struct iommu_fwspec *fwspec;
	struct dev_iommu *param;

	fwspec = kzalloc_flex(*fwspec, ids, 1);
	param = kzalloc_obj(*param);
	if (!fwspec || !param) {
		kfree(fwspec);
		kfree(param);
		return -ENOMEM;
	}
	mutex_init(&param->lock);
	fwspec->iommu_fwnode = fwnode_handle_get(mock_iommu.fwnode);
	param->fwspec = fwspec;
	dev->iommu = param;
	return 0;
}

static void drop_fwspec(struct device *dev)
{
	struct dev_iommu *param = dev->iommu;

	if (!param)
		return;
	dev->iommu = NULL;
	fwnode_handle_put(param->fwspec->iommu_fwnode);
	kfree(param->fwspec);
	kfree(param);
}

/*
 * The core frees what tells it of the IOMMU, once it has seen the device. If it runs out of memory
 * on the way it tells nobody, and the device is there without the IOMMU.
 */
static int add_translated(struct device *dev)
{
	int ret = set_fwspec(dev) ?: device_add(dev);

	if (ret) {
		drop_fwspec(dev);
	} else if (!device_iommu_mapped(dev)) {
		device_del(dev);
		ret = -ENOMEM;
	}
	return ret;
}

/* Each device has the lowest number that is free. */
static DEFINE_IDA(numbers);

/* On the platform bus, which is one that the core looks for new devices on. */
static struct device *add_device(int number, u32 flags, struct device *relative,
				 int (*add)(struct device *dev))
{
	struct mock_device mock = { .relative = relative };
	struct platform_device *pdev;
	int ret;

	pdev = platform_device_alloc("iommufd_mock", number);
	if (!pdev)
		return ERR_PTR(-ENOMEM);
	pdev->dev.bus = &platform_bus_type;
	dev_set_drvdata(&pdev->dev, (void *)(uintptr_t)flags);
	memset32(mock.cache, IOMMU_TEST_DEV_CACHE_DEFAULT, MOCK_DEV_CACHE_NUM);
	/* Both go with the device. */
	ret = platform_device_add_data(pdev, &mock, sizeof(mock));
	if (!ret && flags & MOCK_FLAGS_DEVICE_PASID)
		ret = device_add_software_node(&pdev->dev, &pasid_node);
	if (!ret)
		ret = dev_set_name(&pdev->dev, "iommufd_mock%d", number) ?: add(&pdev->dev);
	if (ret) {
		platform_device_put(pdev);
		return ERR_PTR(ret);
	}
	/* That one may go from here on. */
	((struct mock_device *)dev_get_platdata(&pdev->dev))->relative = NULL;
	return &pdev->dev;
}

static struct device *add_next(u32 flags, struct device *relative, int (*add)(struct device *dev))
{
	int number = ida_alloc(&numbers, GFP_KERNEL);
	struct device *dev;

	if (number < 0)
		return ERR_PTR(number);
	dev = add_device(number, flags, relative, add);
	if (IS_ERR(dev))
		ida_free(&numbers, number);
	return dev;
}

struct device *iommufd_mock_add_device(u32 flags)
{
	return add_next(flags, NULL, add_translated);
}

struct device *iommufd_mock_add_beside(struct device *relative)
{
	return add_next(device_flags(relative), relative, add_translated);
}

/* Nothing leads the core from it to an IOMMU. */
struct device *iommufd_mock_add_untranslated(void)
{
	return add_next(0, NULL, device_add);
}

void iommufd_mock_remove_device(struct device *dev)
{
	int number = to_platform_device(dev)->id;

	device_unregister(dev);
	ida_free(&numbers, number);
}

u32 *iommufd_mock_cache(struct device *dev)
{
	struct mock_device *mock = dev_get_platdata(dev);

	return mock->cache;
}

int iommufd_mock_look(unsigned long uptr, struct iommufd_mock_page *look)
{
	struct page *page;
	int got = get_user_pages_fast(uptr & PAGE_MASK, 1, 0, &page);

	if (got != 1)
		return got < 0 ? got : -EFAULT;
	look->page = page;
	look->pfn = page_to_pfn(page);
	look->pins = page_ref_count(page) / GUP_PIN_COUNTING_BIAS;
	look->compound = PageCompound(page);
	put_page(page);
	return 0;
}

const struct iommufd_access_ops iommufd_mock_access_ops = {
	.unmap = iommufd_mock_unmap,
};

const struct iommufd_access_ops iommufd_mock_pin_ops = {
	.needs_pin_pages = 1,
	.unmap = iommufd_mock_unmap,
};

const struct file_operations iommufd_mock_access_fops = {
	.owner = THIS_MODULE,
	.release = iommufd_mock_access_release,
};

/* It is not for devices that ask for a list of addresses. */
static struct sg_table *map_buf(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void unmap_buf(struct dma_buf_attachment *attach, struct sg_table *list,
		      enum dma_data_direction dir)
{
}

const struct dma_buf_ops iommufd_mock_buf_ops = {
	.map_dma_buf = map_buf,
	.unmap_dma_buf = unmap_buf,
	.release = iommufd_mock_buf_release,
};

struct dma_buf *iommufd_mock_export(void *priv, size_t size, int flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	info.ops = &iommufd_mock_buf_ops;
	info.size = size;
	info.flags = flags;
	info.priv = priv;
	return dma_buf_export(&info);
}

phys_addr_t iommufd_mock_address(const void *memory)
{
	return virt_to_phys((void *)memory);
}
