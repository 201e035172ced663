// SPDX-License-Identifier: GPL-2.0
/*
 * Lets go of pinned pages: see helpers.h.
 *
 * Does what unpin_user_page_range_dirty_lock() does, in fewer instructions: most of what
 * is unpinned page by page are folios of one page, for which there is little to do but to
 * give the pin back.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>

#include "helpers.h"

static noinline void mark_dirty(struct folio *folio)
{
	folio_lock(folio);
	folio_mark_dirty(folio);
	folio_unlock(folio);
}

static unsigned long pages_behind(const struct folio *folio, const struct page *page)
{
	return folio_nr_pages(folio) - folio_page_idx(folio, page);
}

void iommufd_unpin(unsigned long pfn, unsigned long npages, bool dirty)
{
	struct page *page = pfn_to_page(pfn), *end = page + npages;
	unsigned long count;

	for (; page < end; page += count) {
		struct folio *folio = page_folio(page);

		count = 1;
		if (unlikely(folio_test_large(folio)))
			count = min_t(unsigned long, end - page, pages_behind(folio, page));
		if (dirty && !folio_test_dirty(folio))
			mark_dirty(folio);
		unpin_user_folio(folio, count);
	}
}
