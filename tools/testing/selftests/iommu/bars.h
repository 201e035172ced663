/* SPDX-License-Identifier: GPL-2.0 */
/* BARs that are mapped by address, and whether the driver lets mainline's calls do so. */
#ifndef SELFTESTS_IOMMU_BARS_H
#define SELFTESTS_IOMMU_BARS_H

#include "iommufd_calls.h"

static inline int let_map_bars(bool on)
{
	int fd = open("/sys/module/iommufd/parameters/map_device_memory", O_WRONLY | O_CLOEXEC);
	bool good = write(fd, on ? "1" : "0", 1) == 1;

	close(fd);
	return good ? 0 : -ENOENT;
}

/* How often a BAR was not mapped because of that. */
static inline long bars_refused(void)
{
	return counter("/sys/kernel/debug/iommufd/refused_bars", "");
}

#endif /* SELFTESTS_IOMMU_BARS_H */
