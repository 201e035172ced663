/* SPDX-License-Identifier: GPL-2.0 */
/* Where edu devices are: in which IOMMU group, behind which IOMMU. */
#ifndef SELFTESTS_IOMMU_IOASID_PLACES_H
#define SELFTESTS_IOMMU_IOASID_PLACES_H

#include "edu.h"

#define MAX_DEVICES 8

/* How near two devices are to each other. */
enum kinship {
	ONE_GROUP,
	OWN_GROUPS,	/* behind one IOMMU */
	OWN_IOMMUS,
};

struct place {
	char address[16];
	char group[16];
	char iommu[64];
};

/* What a link in the sysfs folder of a PCI device leads to, if it is there. */
static inline bool read_place(const char *address, const char *name, char *target, size_t size)
{
	char path[96], link[256];
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.15s/%s", address, name);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		return false;
	link[length] = 0;
	snprintf(target, size, "%s", strrchr(link, '/') + 1);
	return true;
}

/* All edu devices behind an IOMMU, and where they are. */
static inline int find_places(struct place places[MAX_DEVICES])
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	struct place *place;
	int count = 0;

	while (dir && count < MAX_DEVICES && (entry = readdir(dir))) {
		place = &places[count];
		snprintf(place->address, sizeof(place->address), "%.15s", entry->d_name);
		if (edu_is_edu(place->address) &&
		    read_place(place->address, "iommu_group", place->group,
			       sizeof(place->group)) &&
		    read_place(place->address, "iommu", place->iommu, sizeof(place->iommu)))
			count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

static inline enum kinship kinship(const struct place *one, const struct place *other)
{
	if (strcmp(one->iommu, other->iommu))
		return OWN_IOMMUS;
	return strcmp(one->group, other->group) ? OWN_GROUPS : ONE_GROUP;
}

/* A device that is bound to vfio-pci and this near to the one at @address. */
static inline int find_relative(enum kinship wanted, const char *address, struct edu *relative)
{
	struct place places[MAX_DEVICES];
	int count = find_places(places), self = 0, i;

	while (self < count && strcmp(address, places[self].address))
		self++;
	for (i = 0; self < count && i < count; i++) {
		if (i != self && kinship(&places[self], &places[i]) == wanted &&
		    !edu_find(relative, places[i].address))
			return 0;
	}
	return -ENODEV;
}

/*
 * Two devices that are bound to vfio-pci and this near to each other. The second one
 * is that at the address @second, unless that is NULL.
 */
static inline int find_pair(enum kinship wanted, const char *second, struct edu pair[2])
{
	struct place places[MAX_DEVICES];
	int count = find_places(places), i;

	for (i = 0; i < count; i++) {
		if ((!second || !strcmp(second, places[i].address)) &&
		    !edu_find(&pair[1], places[i].address) &&
		    !find_relative(wanted, places[i].address, &pair[0]))
			return 0;
	}
	return -ENODEV;
}

#endif /* SELFTESTS_IOMMU_IOASID_PLACES_H */
