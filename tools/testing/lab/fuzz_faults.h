/* SPDX-License-Identifier: GPL-2.0 */
/* The fuzzer's calls about queues of page faults, and the faults of devices in software. */
#ifndef LAB_FUZZ_FAULTS_H
#define LAB_FUZZ_FAULTS_H

#include "fault_calls.h"
#include "fuzz_mock.h"

/* Kernels may have no faults to tell: what such one says is not looked at. */
static bool are_told(struct fuzz *f, int got, int want)
{
	f->has_no_faults |= got == -EOPNOTSUPP && (!want || want == -EFAULT);
	return !f->has_no_faults;
}

static void fuzz_fault_queue(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	struct iommu_fault_alloc arg = { .size = sizeof(arg), .flags = one_in(&f->input, 8) };
	struct request r = REQUEST(c, IOMMU_FAULT_QUEUE_ALLOC, arg, 16);
	struct context *context = context_of(f, c);
	int id = model_next_id(context), got, want;

	if (!id || has_enough(f, context, QUEUE))
		return;
	request_prepare(f, &r);
	want = request_outcome(&r, arg.flags ? -EOPNOTSUPP : 0);
	got = request_issue(f, &r);
	if (!are_told(f, got, want) || !foreseen(f, r.name, got, want) || got)
		return;
	expected(f, "the new queue", arg.out_fault_id, id);
	context->kinds[id] = QUEUE;
	context->files[id] = arg.out_fault_fd;
}

/* Nobody reads from it any more. */
static void fuzz_close_queue(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	int id = pick_kind(f, c, QUEUE);

	if (model_kind(context_of(f, c), id) == QUEUE)
		close_file(context_of(f, c), id);
}

/* Where the page faults of a device go that carry a PASID, or none, or 0. */
static int queue_of(const struct context *context, const struct device *device, uint32_t pasid)
{
	int on = pasid ? device->pasids[pasid] : model_on(device);

	if (!on)
		return 0;
	return context->kinds[on] == NESTED ? context->nested[on].queue : context->hwpts[on].queue;
}

/* There is one in the queue, and nothing else. */
static void expect_fault(struct fuzz *f, int queue, const struct device *device, uint32_t pasid)
{
	struct iommu_hwpt_pgfault faults[2];
	long got = read_faults(queue, faults, sizeof(faults));

	if (!foreseen(f, "read of a fault", got, sizeof(*faults)))
		return;
	expected(f, "the device that has a fault", faults->dev_id, device->id);
	expected(f, "the PASID that has a fault", faults->pasid, pasid);
	foreseen(f, "the wrong answer", write_answer(queue, faults->cookie + 1, SUCCESS), -EINVAL);
	foreseen(f, "the answer", write_answer(queue, faults->cookie, one_in(&f->input, 2)),
		 ANSWER_SIZE);
	foreseen(f, "the second answer", write_answer(queue, faults->cookie, SUCCESS), -EINVAL);
}

/* A device asks for a page; who reads from the queue answers. */
static void fuzz_fault(struct fuzz *f)
{
	unsigned int c = pick_context_of_device(f);
	const struct context *context = context_of(f, c);
	const struct device *device = model_test(&f->model, c, pick_kind(f, c, TEST));
	uint32_t pasid = pick(&f->input, MODEL_PASIDS);
	int queue;

	if (!device || (pasid && !device->pasids[pasid]))
		return;
	/* Without PASIDs, it may be attached by one, but cannot name it. */
	if (pasid && !(device->flags & MOCK_FLAGS_DEVICE_PASID))
		return;
	queue = queue_of(context, device, pasid);
	foreseen(f, "TRIGGER_IOPF", fault(f->fds[c], device->id, pasid, 1), 0);
	if (queue && context->files[queue])
		expect_fault(f, context->files[queue], device, pasid);
}

/* What of a queue is there that nothing goes to. */
static void fuzz_read_queue(struct fuzz *f)
{
	unsigned int c = pick_context(f);
	const struct context *context = context_of(f, c);
	struct iommu_hwpt_pgfault fault;
	int id = pick_kind(f, c, QUEUE);

	if (model_kind(context, id) != QUEUE || !context->files[id])
		return;
	foreseen(f, "read of nothing", read_faults(context->files[id], &fault, sizeof(fault)), 0);
	foreseen(f, "read of a part", read_faults(context->files[id], &fault, 1), -ESPIPE);
	foreseen(f, "what can be done with a queue", ready(context->files[id]), POLLOUT);
}

#endif /* LAB_FUZZ_FAULTS_H */
