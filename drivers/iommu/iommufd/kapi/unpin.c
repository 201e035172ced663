// SPDX-License-Identifier: GPL-2.0
/*
 * Lets go of pinned pages: see helpers.h.
 *
 * Does what unpin_user_page_range_dirty_lock() does, in fewer instructions: most of what
 * is unpinned page by page are folios of one page, for which there is little to do but to
 * give the pin back. This would go if that function had a short way for these.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>

#include "helpers.h"

/* Lets go of @page and of what is behind it in its folio, up to @end; says how many that is. */
static noinline unsigned long unpin_some(struct page *page, const struct page *end, bool dirty)
{
	struct folio *folio = page_folio(page);
	unsigned long left = folio_nr_pages(folio) - folio_page_idx(folio, page);
	unsigned long count = min_t(unsigned long, end - page, left);

	if (dirty && !folio_test_dirty(folio)) {
		folio_lock(folio);
		folio_mark_dirty(folio);
		folio_unlock(folio);
	}
	unpin_user_folio(folio, count);
	return count;
}

void iommufd_unpin(unsigned long pfn, unsigned long npages, bool dirty)
{
	const unsigned long is_dirty = dirty ? BIT(PG_dirty) : 0;
	const unsigned long looked_at = BIT(PG_head) | is_dirty;
	struct page *page = pfn_to_page(pfn), *end = page + npages;

	while (page < end) {
		/* One page that is a folio, and dirty if it has to be. */
		if (likely(!PageTail(page) && (READ_ONCE(page->flags.f) & looked_at) == is_dirty)) {
			unpin_user_folio((struct folio *)page, 1);
			page++;
		} else {
			page += unpin_some(page, end, dirty);
		}
	}
}
