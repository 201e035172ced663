// SPDX-License-Identifier: GPL-2.0
/*
 * A bound for pins: see helpers.h.
 *
 * The pins of a page are part of its reference count (GUP_PIN_COUNTING_BIAS each), so that
 * 2^21 of them are too many, and a large folio has one reference for each. The memory
 * manager warns when the count has overflowed. Nobody else pins what is mapped as
 * often as userspace likes, so we stop at half of that. This would go if pinning failed
 * there instead.
 */

#include <linux/bits.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/timex.h>

#include "helpers.h"

#define MOST_REFERENCES BIT(30)

static bool has_room(struct page *page)
{
	return folio_ref_count(page_folio(page)) < MOST_REFERENCES;
}

/* Set for good when a page was above the bound: each page is looked at from then on. */
static bool somebody_tries;

static bool all_have_room(struct page *const *pages, unsigned int count)
{
	while (count--)
		if (!has_room(pages[count]))
			return false;
	return true;
}

/*
 * A look at each page would be seen in what a map costs; one of them, any, will do until
 * one is found above the bound. A folio that is, and is to be pinned as often again, comes in
 * 2^20 more batches, each of 512 pages at most: that none of those is caught has a chance of
 * less than (1 - 1/512)^(2^20), or e^-2048. Who is caught can try again, and other pages
 * than that might be looked at then: so all are.
 */
bool iommufd_has_room_for_pins(struct page *const *pages, unsigned int count)
{
	u32 any = 0;

	if (unlikely(READ_ONCE(somebody_tries)))
		return all_have_room(pages, count);
	if (count > 1)
		any = reciprocal_scale(hash_32(random_get_entropy(), 32), count);
	if (likely(has_room(pages[any])))
		return true;
	WRITE_ONCE(somebody_tries, true);
	return false;
}

int iommufd_add_pin(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);

	return has_room(page) ? folio_add_pins(page_folio(page), 1) : -ENOMEM;
}
