// SPDX-License-Identifier: GPL-2.0
/*
 * What the hardware of real IOMMUs does with page tables when a device writes to a page, by its
 * specification, and nothing of the kernel's code for such tables: that is to be tried. See face.h.
 */

#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/io.h>
#include <linux/mem_encrypt.h>

#include "hardware.h"

#define ADDRESS GENMASK_ULL(51, 12)
#define ENTRY_BITS 9

/* Levels are counted from 1, the one of pages of 4 KiB. */
static atomic64_t *entry_of(u64 table, unsigned int level, unsigned long iova)
{
	unsigned int shift = PAGE_SHIFT + ENTRY_BITS * (level - 1);
	unsigned long index = iova >> shift & GENMASK(ENTRY_BITS - 1, 0);

	return (atomic64_t *)phys_to_virt(__sme_clr(table) & ADDRESS) + index;
}

/*
 * Intel Virtualization Technology for Directed I/O, section 9.8: bit 0 allows reads, bit 1
 * writes, with both clear there is nothing; bit 7 says of an entry above the lowest level that
 * it is of a page. Bit 9 is set when the page is written to.
 */
#define VTD_WRITE BIT_ULL(1)
#define VTD_PAGE BIT_ULL(7)
#define VTD_DIRTY BIT_ULL(9)

void iommufd_mock_write_vtdss(u64 table, unsigned int levels, unsigned long iova)
{
	unsigned int level;

	for (level = levels; level > 0; level--) {
		atomic64_t *entry = entry_of(table, level, iova);
		u64 value = atomic64_read(entry);

		if (!(value & VTD_WRITE))
			return;
		if (level == 1 || value & VTD_PAGE) {
			atomic64_or(VTD_DIRTY, entry);
			return;
		}
		table = value;
	}
}

/*
 * AMD I/O Virtualization Technology (IOMMU) Specification, section 2.2.3: bit 0 says that there
 * is something, bits 11 to 9 which level it leads to: none if 0 or 7, which are pages, of the
 * level's size or one that the address tells. Bit 62 allows writes, bit 6 is set by one: in the
 * entry that was walked, of all those that a page may have.
 */
#define AMD_PRESENT BIT_ULL(0)
#define AMD_DIRTY BIT_ULL(6)
#define AMD_NEXT_LEVEL GENMASK_ULL(11, 9)
#define AMD_WRITE BIT_ULL(62)

void iommufd_mock_write_amdv1(u64 table, unsigned int levels, unsigned long iova)
{
	unsigned int level = levels;

	while (level > 0) {
		atomic64_t *entry = entry_of(table, level, iova);
		u64 value = atomic64_read(entry);
		unsigned int next = FIELD_GET(AMD_NEXT_LEVEL, value);

		if (!(value & AMD_PRESENT) || !(value & AMD_WRITE))
			return;
		if (next == 0 || next == 7) {
			atomic64_or(AMD_DIRTY, entry);
			return;
		}
		/* A level may be skipped, but none comes again. */
		if (next >= level)
			return;
		table = value;
		level = next;
	}
}
