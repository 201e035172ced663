/* SPDX-License-Identifier: GPL-2.0 */
/* How many threads bring the memory of a map: the parameters of that. */
#ifndef SELFTESTS_IOMMU_FILL_H
#define SELFTESTS_IOMMU_FILL_H

#include "cgroup.h"
#include "ioasid_utils.h"

#define PARAMETERS "/sys/module/iommufd/parameters/"

static inline bool set_threads(const char *count)
{
	return write_text(PARAMETERS "fill_threads", count);
}

static inline bool set_always(bool always)
{
	return write_text(PARAMETERS "fill_always", always ? "1" : "0");
}

/* Whether tests have others come for the smallest map: then they never stay away. */
static inline bool they_always_come(void)
{
	int file = open(PARAMETERS "fill_always", O_RDONLY | O_CLOEXEC);
	char value = 'N';

	read(file, &value, 1);
	close(file);
	return value == 'Y';
}

#endif /* SELFTESTS_IOMMU_FILL_H */
