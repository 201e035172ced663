/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that is counted when memory is mapped, to be compared before and after a call
 * that must change none of it.
 */
#ifndef SELFTESTS_IOMMU_BOOKS_H
#define SELFTESTS_IOMMU_BOOKS_H

#include "ioasid_utils.h"

struct books {
	char fdinfo[1024];	/* areas, bytes, pins and charges of each space */
	long pinned;		/* VmPin */
	long locked;		/* VmLck */
	long pins;		/* held by anybody; only root can tell */
};

static inline struct books read_books(int iommufd)
{
	struct books books = {
		.pinned = pinned_pages(),
		.locked = counter("/proc/self/status", "VmLck:"),
		.pins = held_pins(),
	};
	char path[48];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", iommufd);
	file = fopen(path, "r");
	if (file) {
		fread(books.fdinfo, 1, sizeof(books.fdinfo) - 1, file);
		fclose(file);
	}
	return books;
}

static inline void expect_books(struct __test_metadata *_metadata, int iommufd,
				const struct books *before)
{
	struct books after = read_books(iommufd);

	EXPECT_NE(0, before->fdinfo[0]);
	EXPECT_EQ(0, strcmp(before->fdinfo, after.fdinfo))
		TH_LOG("it was\n%sand is\n%s", before->fdinfo, after.fdinfo);
	EXPECT_EQ(before->pinned, after.pinned);
	EXPECT_EQ(before->locked, after.locked);
	EXPECT_EQ(before->pins, after.pins);
}

/* What fdinfo says after @name in the line that begins with @start, or -1. */
static inline long shown_in(int iommufd, const char *start, const char *name)
{
	struct books books = read_books(iommufd);
	char *line = strstr(books.fdinfo, start), *found;

	found = line ? strstr(line, name) : NULL;
	return found ? strtol(found + strlen(name), NULL, 10) : -1;
}

/* Exactly @count pages more than @pins are pinned, all by this process, and shown to be. */
static inline void expect_held(struct __test_metadata *_metadata, int iommufd, long pins,
			       long count)
{
	EXPECT_EQ(count, pinned_pages());
	EXPECT_EQ(count, held_pins() - pins);
	EXPECT_EQ(count, shown_in(iommufd, "held:", "pinned "));
}

#endif /* SELFTESTS_IOMMU_BOOKS_H */
