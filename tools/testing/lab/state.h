/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that can be seen of a context and its device, to tell whether a call that
 * failed has changed anything.
 */
#ifndef LAB_STATE_H
#define LAB_STATE_H

#include "ioasid_utils.h"

#define INTEL_IOMMU "/sys/kernel/debug/iommu/intel"

struct state {
	long accounted;		/* pages that are accounted as pinned memory of this process */
	long pins;		/* page pins that nobody has given back, in the whole system */
	char context[4096];	/* what fdinfo says of the context */
	char domain[16384];	/* what the device's I/O page table translates */
	int64_t more;		/* what else a test wants to know */
};

/* Up to @size - 1 bytes of a file; nothing of one that is not there. */
static inline void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t more;

	while (fd >= 0 && length < size - 1) {
		more = read(fd, text + length, size - 1 - length);
		if (more <= 0)
			break;
		length += more;
	}
	text[length] = 0;
	if (fd >= 0)
		close(fd);
}

/* Of @text, keep the lines that begin with one of @names, the last of which is NULL. */
static inline void keep_lines(char *text, const char *const *names)
{
	char *from = text, *to = text, *end;
	const char *const *name;

	while (*from) {
		end = strchr(from, '\n');
		end = end ? end + 1 : from + strlen(from);
		for (name = names; *name && strncmp(from, *name, strlen(*name)); name++)
			;
		if (*name) {
			memmove(to, from, end - from);
			to += end - from;
		}
		from = end;
	}
	*to = 0;
}

static inline void state_take(struct state *state, int fd, const struct edu *edu)
{
	static const char *const objects[] = {
		"ioasid:", "hwpt:", "nested:", "viommu:", "vdevice:", "device:", "access:",
		"fault-queue:", "hw_queue:", "veventq:", "test:", "held:", NULL,
	};
	static const char *const translations[] = { "0x", NULL };
	char path[128];

	memset(state, 0, sizeof(*state));
	state->accounted = pinned_pages();
	state->pins = held_pins();
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	read_text(path, state->context, sizeof(state->context));
	keep_lines(state->context, objects);
	/* Where there is an Intel IOMMU that shows its page tables. */
	snprintf(path, sizeof(path), INTEL_IOMMU "/%.15s/domain_translation_struct", edu->address);
	read_text(path, state->domain, sizeof(state->domain));
	/* The page itself and what leads to it; not where the root of the table is. */
	keep_lines(state->domain, translations);
}

/* Says what differs, or NULL. */
static inline const char *state_compare(const struct state *before, const struct state *after)
{
	if (before->accounted != after->accounted)
		return "memory that is accounted as pinned";
	if (before->pins != after->pins)
		return "page pins";
	if (strcmp(before->context, after->context))
		return "the context";
	if (strcmp(before->domain, after->domain))
		return "the domain";
	if (before->more != after->more)
		return "what is looked at besides";
	return NULL;
}

#endif /* LAB_STATE_H */
