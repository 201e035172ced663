/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where C and the IOMMU in software meet, in test builds: tables of functions that the
 * kernel wants, which are in Rust, and inline functions and macros that Rust wants.
 */
#ifndef IOMMUFD_MOCK_FACE_H
#define IOMMUFD_MOCK_FACE_H

#include <linux/dma-buf.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/types.h>

struct device;
struct file;
struct file_operations;
struct inode;
struct iommufd_access_ops;
struct page;

/* Makes the IOMMU known to the core, without a device behind it. */
int iommufd_mock_register(void);
void iommufd_mock_unregister(void);

/* A device behind it: @flags are MOCK_FLAGS_DEVICE_*. */
struct device *iommufd_mock_add_device(u32 flags);
/* Another one like it, in its group; it is not removed meanwhile. */
struct device *iommufd_mock_add_beside(struct device *relative);
/* A device that is behind no IOMMU. */
struct device *iommufd_mock_add_untranslated(void);
/* The next PASID that goes to a domain fails to with this device. */
void iommufd_mock_fail_pasid(struct device *dev);
/* Whether the last that was done to a PASID was to put that one there; on none if NULL. */
bool iommufd_mock_was_told(struct device *dev, u32 pasid, const struct iommu_domain *domain);
void iommufd_mock_remove_device(struct device *dev);
/* The translations that it keeps, MOCK_DEV_CACHE_NUM of them. */
u32 *iommufd_mock_cache(struct device *dev);

/* As if it asked for a page; if it is not the last of its group, that goes on. */
void iommufd_mock_fault(struct device *dev, const struct iommu_fault_page_request *request);
/* How often its faults were answered with @code (enum iommu_page_response_code). */
u32 iommufd_mock_answers(struct device *dev, u32 code);

/* Whether it can say which pages a device has written to. */
bool iommufd_mock_can_track_dirty(struct device *dev);
int iommufd_mock_attach(struct iommu_domain *domain, struct device *dev,
			struct iommu_domain *old);
int iommufd_mock_set_dev_pasid(struct iommu_domain *domain, struct device *dev, ioasid_t pasid,
			       struct iommu_domain *old);

/* What the core asks of it: face/iommu.rs has these. */
bool iommufd_mock_capable(struct device *dev, enum iommu_cap cap);
void *iommufd_mock_hw_info(struct device *dev, u32 *length, enum iommu_hw_info_type *type);

/* Its paging domains, which are in paging.c. */
struct iommu_domain *iommufd_mock_alloc_paging(struct device *dev, u32 flags,
					       const struct iommu_user_data *user_data);
/* Whether @domain is one of them, and notes which pages are written to. */
bool iommufd_mock_tracks_dirty(const struct iommu_domain *domain);
/* How often its IOTLB would have been flushed, if it is one of them. */
u32 iommufd_mock_flushes(struct iommu_domain *domain);
/* As if a device wrote to the page at @iova, if there is one. Nobody unmaps it meanwhile. */
void iommufd_mock_set_dirty(struct iommu_domain *domain, unsigned long iova);

/* Domains inside of these: face/nested.rs has them. */
extern const struct iommu_domain_ops iommufd_mock_nested_ops;
struct iommu_domain *iommufd_mock_alloc_nested(struct device *dev, struct iommu_domain *parent,
					       u32 flags,
					       const struct iommu_user_data *user_data);
int iommufd_mock_invalidate(struct iommu_domain *domain, struct iommu_user_data_array *array);
void iommufd_mock_free_nested(struct iommu_domain *domain);
/* -ENOENT if it is one of a virtual IOMMU that does not know @dev. */
int iommufd_mock_attach_nested(struct iommu_domain *domain, struct device *dev);

/* Virtual IOMMUs: face/viommu.rs has them. */
extern const struct iommufd_viommu_ops iommufd_mock_viommu_ops;
size_t iommufd_mock_viommu_size(struct device *dev, enum iommu_viommu_type type);
int iommufd_mock_init_viommu(struct iommufd_viommu *viommu, struct iommu_domain *parent,
			     const struct iommu_user_data *user_data);
struct iommu_domain *iommufd_mock_viommu_nested(struct iommufd_viommu *viommu, u32 flags,
						const struct iommu_user_data *user_data);
int iommufd_mock_viommu_invalidate(struct iommufd_viommu *viommu,
				   struct iommu_user_data_array *array);
void iommufd_mock_end_viommu(struct iommufd_viommu *viommu);

/* Their queues: face/hw_queue.rs has them. */
size_t iommufd_mock_hw_queue_size(struct iommufd_viommu *viommu, enum iommu_hw_queue_type type);
int iommufd_mock_init_hw_queue(struct iommufd_hw_queue *queue, u32 index, phys_addr_t address);
void iommufd_mock_end_hw_queue(struct iommufd_hw_queue *queue);

/* What the process has mapped at an address. No reference is kept on it. */
struct iommufd_mock_page {
	const struct page *page;
	unsigned long pfn;
	/* Pins, if it is no part of a larger folio, where they cannot be told. */
	unsigned int pins;
	bool compound;
};

/* -EFAULT if there is nothing at @uptr. */
int iommufd_mock_look(unsigned long uptr, struct iommufd_mock_page *look);

/* Drivers that read and write, and one that pins: face/access.rs is asked to unpin. */
extern const struct iommufd_access_ops iommufd_mock_access_ops;
extern const struct iommufd_access_ops iommufd_mock_pin_ops;
void iommufd_mock_unmap(void *data, unsigned long iova, unsigned long length);

/* The files that stand for them, with an Arc of face/file.rs as their private data. */
extern const struct file_operations iommufd_mock_access_fops;
int iommufd_mock_access_release(struct inode *inode, struct file *file);

/* A dma-buf with @priv behind it, to be opened with @flags. */
struct dma_buf *iommufd_mock_export(void *priv, size_t size, int flags);
phys_addr_t iommufd_mock_address(const void *memory);
extern const struct dma_buf_ops iommufd_mock_buf_ops;
void iommufd_mock_buf_release(struct dma_buf *buf);

#endif
