// SPDX-License-Identifier: GPL-2.0
/*
 * How the kernel's compiler lays out the structures that IOMMU drivers, and the kernel's own
 * functions for them, share with code in Rust. It is compiled as far as the assembler, from which
 * layout_generated.rs is made: what bindgen has made of each structure must be the same.
 *
 * What is asserted here is what is relied on beyond that: objects are told apart by what they
 * begin with, and what an IOMMU driver has made longer is one of these in front.
 */

#include <linux/build_bug.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/kbuild.h>

#include <iommufd/iommufd_private.h>

/* These are drivers', longer than here. */
static_assert(offsetof(struct iommufd_viommu, obj) == 0);
static_assert(offsetof(struct iommufd_vdevice, obj) == 0);
static_assert(offsetof(struct iommufd_hw_queue, obj) == 0);

/* These the kernel's own functions have, where it has any. */
static_assert(offsetof(struct iommufd_device, obj) == 0);
static_assert(offsetof(struct iommufd_eventq, obj) == 0);
static_assert(offsetof(struct iommufd_veventq, common) == 0);
static_assert(offsetof(struct iommufd_hw_pagetable, obj) == 0);
static_assert(offsetof(struct iommufd_hwpt_paging, common) == 0);
static_assert(offsetof(struct iommufd_hwpt_nested, common) == 0);
static_assert(offsetof(struct iommufd_attach_handle, handle) == 0);

/* How many use an object is one atomic number. */
static_assert(sizeof(refcount_t) == sizeof(atomic_t));

/* What is of a virtual IOMMU. */
static void __used viommu_layout(void)
{
	DEFINE(iommufd_object, sizeof(struct iommufd_object));
	OFFSET(iommufd_object.wait_cnt, iommufd_object, wait_cnt);
	OFFSET(iommufd_object.users, iommufd_object, users);
	OFFSET(iommufd_object.type, iommufd_object, type);
	OFFSET(iommufd_object.id, iommufd_object, id);

	DEFINE(iommufd_viommu, sizeof(struct iommufd_viommu));
	OFFSET(iommufd_viommu.obj, iommufd_viommu, obj);
	OFFSET(iommufd_viommu.ictx, iommufd_viommu, ictx);
	OFFSET(iommufd_viommu.iommu_dev, iommufd_viommu, iommu_dev);
	OFFSET(iommufd_viommu.hwpt, iommufd_viommu, hwpt);
	OFFSET(iommufd_viommu.ops, iommufd_viommu, ops);
	OFFSET(iommufd_viommu.vdevs, iommufd_viommu, vdevs);
	OFFSET(iommufd_viommu.veventqs, iommufd_viommu, veventqs);
	OFFSET(iommufd_viommu.veventqs_rwsem, iommufd_viommu, veventqs_rwsem);
	OFFSET(iommufd_viommu.type, iommufd_viommu, type);

	DEFINE(iommufd_vdevice, sizeof(struct iommufd_vdevice));
	OFFSET(iommufd_vdevice.obj, iommufd_vdevice, obj);
	OFFSET(iommufd_vdevice.viommu, iommufd_vdevice, viommu);
	OFFSET(iommufd_vdevice.idev, iommufd_vdevice, idev);
	OFFSET(iommufd_vdevice.virt_id, iommufd_vdevice, virt_id);
	OFFSET(iommufd_vdevice.destroy, iommufd_vdevice, destroy);

	DEFINE(iommufd_hw_queue, sizeof(struct iommufd_hw_queue));
	OFFSET(iommufd_hw_queue.obj, iommufd_hw_queue, obj);
	OFFSET(iommufd_hw_queue.viommu, iommufd_hw_queue, viommu);
	OFFSET(iommufd_hw_queue.access, iommufd_hw_queue, access);
	OFFSET(iommufd_hw_queue.base_addr, iommufd_hw_queue, base_addr);
	OFFSET(iommufd_hw_queue.length, iommufd_hw_queue, length);
	OFFSET(iommufd_hw_queue.type, iommufd_hw_queue, type);
	OFFSET(iommufd_hw_queue.destroy, iommufd_hw_queue, destroy);

	DEFINE(iommufd_viommu_ops, sizeof(struct iommufd_viommu_ops));
	OFFSET(iommufd_viommu_ops.destroy, iommufd_viommu_ops, destroy);
	OFFSET(iommufd_viommu_ops.alloc_domain_nested, iommufd_viommu_ops, alloc_domain_nested);
	OFFSET(iommufd_viommu_ops.cache_invalidate, iommufd_viommu_ops, cache_invalidate);
	OFFSET(iommufd_viommu_ops.vdevice_size, iommufd_viommu_ops, vdevice_size);
	OFFSET(iommufd_viommu_ops.vdevice_init, iommufd_viommu_ops, vdevice_init);
	OFFSET(iommufd_viommu_ops.get_hw_queue_size, iommufd_viommu_ops, get_hw_queue_size);
	OFFSET(iommufd_viommu_ops.hw_queue_init_phys, iommufd_viommu_ops, hw_queue_init_phys);
}

/* What else functions for IOMMU drivers look into. */
static void __used iommufd_layout(void)
{
	DEFINE(iommufd_mmap, sizeof(struct iommufd_mmap));
	OFFSET(iommufd_mmap.owner, iommufd_mmap, owner);
	OFFSET(iommufd_mmap.vm_pgoff, iommufd_mmap, vm_pgoff);
	OFFSET(iommufd_mmap.mmio_addr, iommufd_mmap, mmio_addr);
	OFFSET(iommufd_mmap.length, iommufd_mmap, length);

	DEFINE(iommufd_vevent_header, sizeof(struct iommufd_vevent_header));
	OFFSET(iommufd_vevent_header.flags, iommufd_vevent_header, flags);
	OFFSET(iommufd_vevent_header.sequence, iommufd_vevent_header, sequence);

	DEFINE(iommufd_access_ops, sizeof(struct iommufd_access_ops));
	OFFSET(iommufd_access_ops.unmap, iommufd_access_ops, unmap);

	DEFINE(iommufd_attach_handle, sizeof(struct iommufd_attach_handle));
	OFFSET(iommufd_attach_handle.handle, iommufd_attach_handle, handle);
	OFFSET(iommufd_attach_handle.idev, iommufd_attach_handle, idev);
}

/* The IOMMU core's. */
static void __used core_layout(void)
{
	DEFINE(iommu_attach_handle, sizeof(struct iommu_attach_handle));
	OFFSET(iommu_attach_handle.domain, iommu_attach_handle, domain);

	DEFINE(iommu_user_data, sizeof(struct iommu_user_data));
	OFFSET(iommu_user_data.type, iommu_user_data, type);
	OFFSET(iommu_user_data.uptr, iommu_user_data, uptr);
	OFFSET(iommu_user_data.len, iommu_user_data, len);

	DEFINE(iommu_user_data_array, sizeof(struct iommu_user_data_array));
	OFFSET(iommu_user_data_array.type, iommu_user_data_array, type);
	OFFSET(iommu_user_data_array.uptr, iommu_user_data_array, uptr);
	OFFSET(iommu_user_data_array.entry_len, iommu_user_data_array, entry_len);
	OFFSET(iommu_user_data_array.entry_num, iommu_user_data_array, entry_num);

	DEFINE(iommu_domain, sizeof(struct iommu_domain));
	OFFSET(iommu_domain.type, iommu_domain, type);
	OFFSET(iommu_domain.cookie_type, iommu_domain, cookie_type);
	OFFSET(iommu_domain.owner, iommu_domain, owner);
	OFFSET(iommu_domain.pgsize_bitmap, iommu_domain, pgsize_bitmap);
	OFFSET(iommu_domain.geometry, iommu_domain, geometry);
	OFFSET(iommu_domain.iopf_handler, iommu_domain, iopf_handler);
}
