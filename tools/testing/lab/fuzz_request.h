/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How an argument of mainline's is given: at times with another size, with bits that
 * are not what they should be, at the end of the memory, where nothing can be written,
 * or not at all. What all calls have to say of that is foreseen here.
 */
#ifndef LAB_FUZZ_REQUEST_H
#define LAB_FUZZ_REQUEST_H

#include "fuzz.h"

struct request {
	const char *name;
	unsigned int context;
	unsigned long number;
	/* The argument; after request_prepare(), what the driver gets to see of it. */
	void *arg;
	unsigned int size, min;	/* now, and of the first version */
	char *at;
	unsigned int given;
	int refused;		/* what comes of the way it is given, or 0 */
	bool is_constant;	/* nothing can be written to it */
	bool is_silent;		/* it is not answered to */
};

#define REQUEST(c_, number_, arg_, min_) { \
	.name = #number_, .context = (c_), .number = (number_), .arg = &(arg_), \
	.size = sizeof(arg_), .min = (min_), \
}

static void request_change(struct fuzz *f, struct request *r)
{
	const uint32_t sizes[] = {
		0, 1, 4, r->min - 1, r->min, r->size - 1, r->size, r->size + 1, r->size + 8,
		r->size + 100, r->size + PAGE, r->size + PAGE + 1, UINT32_MAX,
	};
	uint32_t *words = r->arg;

	if (one_in(&f->input, 12))
		words[pick(&f->input, r->size / 4)] ^= 1U << pick(&f->input, 32);
	if (one_in(&f->input, 12))
		words[0] = sizes[pick(&f->input, ARRAY_SIZE(sizes))];
}

/* Of the size that it says it has. */
static int request_check(const struct request *r, uint32_t claimed)
{
	if (claimed < r->min)
		return -EINVAL;
	return claimed > ARGUMENT_SIZE ? -EFAULT : 0;
}

/* Everything is in place for the call, but the call is not made yet. */
static void request_prepare(struct fuzz *f, struct request *r)
{
	uint32_t claimed;

	if (!f->guest)
		request_change(f, r);
	claimed = *(uint32_t *)r->arg;
	r->refused = request_check(r, claimed);
	r->given = claimed < r->size ? r->size : claimed < ARGUMENT_SIZE ? claimed : ARGUMENT_SIZE;
	r->at = f->argument;
	if (one_in(&f->input, 4)) {
		/* What is not claimed need not be there. */
		if (claimed >= sizeof(claimed) && claimed < r->size)
			r->given = claimed;
		r->at += ARGUMENT_SIZE - r->given;
	}
	memset(r->at, 0, r->given);
	memcpy(r->at, r->arg, r->given < r->size ? r->given : r->size);
	if (r->given > r->size && one_in(&f->input, 2)) {
		r->at[r->size + pick(&f->input, r->given - r->size)] = 1;
		r->refused = -E2BIG;
	}
	if (!f->guest && one_in(&f->input, 100)) {
		r->at = NULL;
		r->refused = -EFAULT;
	}
	if (!r->refused && claimed < r->size)
		memset((char *)r->arg + claimed, 0, r->size - claimed);
	r->is_constant = !f->guest && one_in(&f->input, 20);
}

/* What the driver gets to see, for a person. */
static void request_print(const struct request *r)
{
	const uint32_t *words = r->arg;
	unsigned int i;

	printf("# %s with", r->name);
	for (i = 0; i < r->size / sizeof(*words); i++)
		printf(" %x", words[i]);
	printf("%s\n", r->is_constant ? ", constant" : "");
}

/* Make the call; the answer is in the argument. */
static int request_issue(struct fuzz *f, struct request *r)
{
	int ret;

	if (f->verbose)
		request_print(r);
	if (r->is_constant)
		mprotect(f->argument, ARGUMENT_SIZE, PROT_READ);
	ret = call(f->fds[r->context], r->number, r->at);
	if (r->is_constant)
		mprotect(f->argument, ARGUMENT_SIZE, PROT_READ | PROT_WRITE);
	if (r->at)
		memcpy(r->arg, r->at, r->given < r->size ? r->given : r->size);
	return ret;
}

/* What comes of it if the call itself says @want, and answers if that is 0. */
static int request_outcome(const struct request *r, int want)
{
	if (r->refused)
		return r->refused;
	return want ? want : r->is_constant && !r->is_silent ? -EFAULT : 0;
}

/* Make the call and compare; true if it did something. */
static bool request_made(struct fuzz *f, struct request *r, int want)
{
	int got = request_issue(f, r);

	return foreseen(f, r->name, got, want) && !got;
}

#endif /* LAB_FUZZ_REQUEST_H */
