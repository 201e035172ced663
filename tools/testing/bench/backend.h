/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The drivers that are compared, behind one face: an address space with devices
 * in it, into which memory is mapped. All functions return 0 or a negative errno.
 */
#ifndef TOOLS_TESTING_BENCH_BACKEND_H
#define TOOLS_TESTING_BENCH_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#define MAX_DEVICES 4

struct attached {
	int group;	/* the open group, where the driver has groups */
	int fd;		/* the open device */
};

struct space {
	const struct backend *backend;
	int fd;		/* /dev/iommu, or the container */
	int id;		/* of the address space, where one context has several */
	int count;
	struct attached devices[MAX_DEVICES];
};

struct calls {
	int (*open)(struct space *space);
	/* Open a device, for it to come to the space later. */
	int (*bind)(struct space *space, const char *address, struct attached *device);
	int (*attach)(struct space *space, const char *address, struct attached *device);
	bool maps_alone;	/* a space can be mapped before a device comes */
	int (*map)(struct space *space, void *memory, uint64_t iova, uint64_t size);
	/* From the start of a file, by its descriptor; NULL if there is no such call. */
	int (*map_file)(struct space *space, int file, uint64_t iova, uint64_t size);
	/* Where the driver likes, which it says; NULL if it never chooses. */
	int (*map_anywhere)(struct space *space, void *memory, uint64_t *iova, uint64_t size);
	int (*unmap)(struct space *space, uint64_t iova, uint64_t size);
};

struct backend {
	const char *name;
	const struct calls *calls;
	int threads;		/* -1: it is not for us to say how many work for one call */
};

/* The driver of that name, or NULL. */
const struct backend *backend_find(const char *name);

/* The names of all, for a person. */
const char *backend_names(void);

/* Have the driver, which is loaded, use as many threads for a call as @backend says. */
void backend_set_threads(const struct backend *backend);

/* An empty address space without devices. */
int space_open(struct space *space, const struct backend *backend);

/* Open the device at the PCI address @address, which the next space_attach() is about. */
int space_bind(struct space *space, const char *address);

/* Add that device to the space. */
int space_attach(struct space *space, const char *address);

/* Close everything: first the devices, then the space with what is mapped. */
void space_close(struct space *space);

#endif /* TOOLS_TESTING_BENCH_BACKEND_H */
