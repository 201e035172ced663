/* SPDX-License-Identifier: GPL-2.0 */
/* The memory that the fuzzer maps, and what can be done with each page of it at the moment. */
#ifndef LAB_FUZZ_MEMORY_H
#define LAB_FUZZ_MEMORY_H

#include "fuzz_model.h"

/*
 * Memory that can be written, some that can be read, none, and a page for lists of
 * ranges. Nothing else is near, nor where odd offsets lead.
 */
#define RW_PAGES 64
#define RO_PAGES 4
#define NO_PAGES 4
#define LIST_AT (RW_PAGES + RO_PAGES + NO_PAGES)
#define MEMORY_PAGES (LIST_AT + 1)
#define MEMORY (1UL << 40)
#define MEMORY_SIZE (MEMORY_PAGES * MODEL_PAGE)
#define MEMORY_END ((char *)MEMORY + MEMORY_SIZE)

#define FILE_PAGES 32

enum rights { NO_RIGHTS, TO_READ, TO_WRITE };

struct rights_of {
	unsigned char pages[MEMORY_PAGES];
	bool has_bar;
};

static inline void rights_begin(struct rights_of *rights)
{
	memset(rights->pages, NO_RIGHTS, MEMORY_PAGES);
	memset(rights->pages, TO_READ, RW_PAGES + RO_PAGES);
	memset(rights->pages, TO_WRITE, RW_PAGES);
	rights->pages[LIST_AT] = TO_WRITE;
}

/* Of a page by its number in the process. */
static inline enum rights rights_to(const struct rights_of *rights, uint64_t page)
{
	page -= MEMORY / MODEL_PAGE;
	return page < MEMORY_PAGES ? rights->pages[page] : NO_RIGHTS;
}

/* Whether memory is there, and can be written if it has to be. */
static inline bool memory_is_good(const struct rights_of *rights, uint64_t address, uint64_t size,
				  bool to_write)
{
	struct range pages = pages_at(address, size);

	if (!size)
		return true;
	if (address + size < address || size > MEMORY_SIZE)
		return false;
	for (; pages.first <= pages.last; pages.first++)
		if (rights_to(rights, pages.first) < (to_write ? TO_WRITE : TO_READ))
			return false;
	return true;
}

/* The same of a page as a call has mapped it; files neither shrink nor grow. */
static inline bool page_is_good(const struct rights_of *rights, const struct memory *memory,
				uint64_t page)
{
	if (memory->is_file)
		return page < FILE_PAGES;
	return rights_to(rights, page) >= (memory->writable ? TO_WRITE : TO_READ);
}

/* Whether all of an area can be pinned: what is already need not be there any more. */
static inline bool model_can_pin(const struct context *context, const struct pinned *pinned,
				 const struct rights_of *rights, const struct area *area)
{
	const struct memory *memory = &context->memory[area->memory];
	struct range pages = area_pages(area);

	if (memory->buf)
		return true;
	if (is_bar_area(context, area))
		return memory->may_be_bar && rights->has_bar;
	for (; pages.first <= pages.last; pages.first++)
		if (!page_is_good(rights, memory, pages.first) &&
		    !is_pinned(pinned, pinned->count, area->memory, pages.first))
			return false;
	return true;
}

#endif /* LAB_FUZZ_MEMORY_H */
