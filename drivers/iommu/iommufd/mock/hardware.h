/* SPDX-License-Identifier: GPL-2.0 */
/* A device writes: what that does to a page table of real IOMMUs. See hardware.c. */
#ifndef IOMMUFD_MOCK_HARDWARE_H
#define IOMMUFD_MOCK_HARDWARE_H

#include <linux/types.h>

/*
 * Marks the page at @iova, if there is one that may be written to, in a table at the physical
 * address @table. Nobody unmaps it meanwhile.
 */
void iommufd_mock_write_vtdss(u64 table, unsigned int levels, unsigned long iova);
void iommufd_mock_write_amdv1(u64 table, unsigned int levels, unsigned long iova);

#endif
