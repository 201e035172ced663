/* SPDX-License-Identifier: GPL-2.0 */
/* What fdinfo has to say of a context. */
#ifndef LAB_FUZZ_SHOW_H
#define LAB_FUZZ_SHOW_H

#include "fuzz.h"
#include "state.h"

/* What drivers have pinned of a space: the same pages of an area once. */
static uint64_t pages_of_drivers(const struct context *context, int space)
{
	const struct area *parts[MODEL_IDS * MODEL_PINS * MODEL_PINS];
	unsigned int count = 0, same;
	struct pinned pinned;
	uint64_t pages = 0;
	unsigned int i;
	int id;

	for (id = 1; id <= MODEL_IDS; id++) {
		if (context->kinds[id] != ACCESS || context->accesses[id].space != space)
			continue;
		pinned.count = 0;
		model_find_pins(&context->accesses[id], &pinned);
		for (i = 0; i < pinned.count; i++) {
			for (same = 0; same < count; same++)
				if (!memcmp(&parts[same]->range, &pinned.areas[i]->range,
					    sizeof(struct range)))
					break;
			if (same < count)
				continue;
			parts[count++] = pinned.areas[i];
			pages += range_length(area_pages(pinned.areas[i]));
		}
	}
	return pages;
}

static void show_space(const struct context *context, int id, FILE *text)
{
	const struct space *space = &context->spaces[id];
	bool has_domains = model_has_domains(context, id);
	uint64_t bytes = 0, pages = has_domains ? 0 : pages_of_drivers(context, id);
	unsigned int i;

	for (i = 0; i < space->count; i++) {
		bytes += range_length(space->areas[i].range);
		if (has_domains && has_pages(context, &space->areas[i]))
			pages += range_length(area_pages(&space->areas[i]));
	}
	fprintf(text, "ioasid:\t%d window 0x%lx-0x%lx%s", id, space->window.first,
		space->window.last, space->enforce_snoop ? " enforce-snoop" : "");
	fprintf(text, " areas %u mapped %lu kB pinned %lu pages charged 0 kB%s\n", space->count,
		bytes >> 10, pages, space->count && !has_domains ? " no-device" : "");
	if (space->count && space->was_mapped)
		fprintf(text, "mapper:\tioasid %d process %d\n", id, getpid());
}

static void show_object(const struct context *context, int id, FILE *text)
{
	const struct vdevice *vdevice = &context->vdevices[id];

	switch (context->kinds[id]) {
	case SPACE:
		show_space(context, id, text);
		break;
	case HWPT:
		fprintf(text, "hwpt:\t%d ioasid %d\n", id, context->hwpts[id].space);
		break;
	case NESTED:
		fprintf(text, "nested:\t%d hwpt %d\n", id, context->nested[id].parent);
		break;
	case VIOMMU:
		fprintf(text, "viommu:\t%d hwpt %d\n", id, context->viommus[id].parent);
		break;
	case VDEVICE:
		fprintf(text, "vdevice:\t%d viommu %d device %d number 0x%lx\n", id,
			vdevice->viommu, vdevice->device, vdevice->number);
		break;
	case HW_QUEUE:
		fprintf(text, "hw_queue:\t%d viommu %d\n", id, context->hw_queues[id].viommu);
		break;
	case VEVENTQ:
		fprintf(text, "veventq:\t%d viommu %d\n", id, context->veventqs[id].viommu);
		break;
	case QUEUE:
		fprintf(text, "fault-queue:\t%d\n", id);
		break;
	case ACCESS:
		fprintf(text, "access:\t%d ioasid %d\n", id, context->accesses[id].space);
		break;
	case TEST:
		fprintf(text, "test:\t%d\n", id);
		break;
	default:
		break;
	}
}

/* But for the lines of devices, which have names and groups. */
static void show(const struct context *context, FILE *text)
{
	int id;

	for (id = 1; id <= MODEL_IDS; id++)
		show_object(context, id, text);
	fprintf(text, "held:\tpinned %ld pages charged 0 kB\n", model_pinned(context));
}

/* The first line where two texts differ. */
static void print_difference(const char *got, const char *want)
{
	size_t same = 0;

	while (got[same] && got[same] == want[same])
		same++;
	while (same && got[same - 1] != '\n')
		same--;
	printf("# fdinfo has: %.*s\n", (int)strcspn(got + same, "\n"), got + same);
	printf("#  not: %.*s\n", (int)strcspn(want + same, "\n"), want + same);
}

static void fuzz_show(struct fuzz *f)
{
	static char got[8192], want[8192];
	unsigned int c = pick_context(f);
	FILE *text = fmemopen(want, sizeof(want), "w");
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", f->fds[c]);
	read_text(path, got, sizeof(got));
	keep_lines(got, (const char *[]) {
		"ioasid:", "mapper:", "hwpt:", "nested:", "viommu:", "vdevice:", "hw_queue:",
		"veventq:", "fault-queue:", "access:", "test:", "held:", NULL
	});
	show(context_of(f, c), text);
	fclose(text);
	if (!foreseen(f, "what differs in fdinfo", !!strcmp(got, want), 0))
		print_difference(got, want);
}

#endif /* LAB_FUZZ_SHOW_H */
