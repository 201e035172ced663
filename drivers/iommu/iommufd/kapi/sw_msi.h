/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interrupts that an IOMMU translates, where the kernel has iommufd_sw_msi() for them: it looks
 * into structures of the C driver's (iommufd_private.h), which these functions make. It takes the
 * domain's, the one of the attachment's device, and the one of its group; in the context it keeps
 * which doorbell is where, at the same address for all groups.
 */
#ifndef IOMMUFD_SW_MSI_H
#define IOMMUFD_SW_MSI_H

#include <linux/iommufd.h>
#include <iommufd/iommufd_private.h>

/*
 * Has iommufd_sw_msi() find the doorbells of @domain, which are those of @parent if that is not
 * NULL. kfree() frees the result, after the domain. NULL if there is no memory.
 */
struct iommufd_hw_pagetable *iommufd_new_sw_msi_domain(struct iommu_domain *domain,
						       struct iommufd_hw_pagetable *parent);

/* What stands for each device of a group, with no doorbells. kfree() frees it. */
struct iommufd_device *iommufd_new_sw_msi_group(struct iommufd_ctx *ictx);
/* Doorbells of the group begin at @start, or have no I/O address if that is PHYS_ADDR_MAX. */
void iommufd_place_sw_msi(struct iommufd_device *idev, phys_addr_t start);
/* Has all doorbells that the group's devices know be in a domain. */
int iommufd_carry_sw_msi(struct iommufd_device *idev, struct iommufd_hw_pagetable *hwpt);

#endif
