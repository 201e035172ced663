/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What many threads at once have learned of the same ids, and whether there is an order
 * of their calls, one after another, in which each could have learned that.
 *
 * Each call has a stamp of one clock before it and another one behind it: it took effect
 * at some moment between the two, and who has the lower stamp behind than another one
 * before came first. For each id and each moment this bounds how many objects have it:
 * those that had been made for certain less those that may have been destroyed, and those
 * that may have been made less those that had been destroyed for certain.
 *
 *  - The lower bound is at most 1: an id is never given to two owners.
 *  - The upper bound is at least 0: an object is destroyed once.
 *  - Who found nothing did so at a moment with a lower bound of 0.
 *  - Who found something did so at a moment with an upper bound of 1.
 *
 * The same holds for who uses an object: it is destroyed at a moment when nobody is bound
 * to use it, and called busy at one when somebody may.
 */
#ifndef SELFTESTS_IOMMU_HISTORY_H
#define SELFTESTS_IOMMU_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY_IDS 64
#define HISTORY_STAMPS (1U << 19)
/* Behind everything that is noted. */
#define HISTORY_END (HISTORY_STAMPS - 1)

enum kind {
	SPACE, HWPT,
	/* These are busy for as long as they are there; AUTO: a domain of the driver's own. */
	AUTO, DEVICE, ACCESS,
	/* Whichever it is. */
	ANY_KIND,
};

enum fact {
	BORN,		/* the call has made it */
	DIED,		/* the call has destroyed it */
	ABSENT,		/* there was none */
	FOUND,		/* there was one */
	BUSY,		/* there was one, and it was in use */
	USED,		/* it was in use from one call to another */
	PUT, TAKEN,	/* the container has it, has none */
	GOT, EMPTY	/* the container had it, had none */
};

/* From before a call until it was over. */
struct span {
	uint32_t begin, end;
};

struct note {
	uint16_t id;
	uint8_t kind, fact;
	struct span when;
	struct span until;	/* USED: the call that ended it; the same if it came to nothing */
};

/* What one thread writes down. */
struct diary {
	atomic_uint *clock;
	struct span when;	/* the call that was the last */
	struct note *notes;
	unsigned int count, room;
};

/* The result of a call, with stamps around it. */
#define TIMED(diary_, call_) ({ \
	struct diary *timed_ = (diary_); \
	timed_->when.begin = atomic_fetch_add(timed_->clock, 1); \
	typeof(call_) result_ = (call_); \
	timed_->when.end = atomic_fetch_add(timed_->clock, 1); \
	result_; \
})

static inline struct note *note(struct diary *diary, unsigned int id, enum kind kind,
				enum fact fact)
{
	struct note *note;

	if (diary->count == diary->room) {
		unsigned int room = diary->room ? 2 * diary->room : 1024;
		struct note *more = realloc(diary->notes, room * sizeof(*more));

		if (!more)
			abort();
		diary->notes = more;
		diary->room = room;
	}
	note = &diary->notes[diary->count++];
	*note = (struct note) {
		.id = id, .kind = kind, .fact = fact, .when = diary->when, .until = diary->when,
	};
	return note;
}

/* It was in use from the call @from on, until the last one. */
static inline void note_use(struct diary *diary, unsigned int id, enum kind kind,
			    struct span from)
{
	note(diary, id, kind, USED)->when = from;
}

/* --- the check ------------------------------------------------------------------------- */

struct history {
	struct note *notes;
	unsigned int count;
	uint32_t end;		/* behind the last stamp */
	/* For each stamp, between it and the next. */
	int low[HISTORY_STAMPS], high[HISTORY_STAMPS];
	/* The first stamp from each on with nothing for certain, and with something perhaps. */
	uint32_t none[HISTORY_STAMPS], some[HISTORY_STAMPS];
	unsigned int wrong;
};

static inline void wrong(struct history *history, const char *what, unsigned int id,
			 struct span when)
{
	if (history->wrong++ < 5)
		printf("# id %u: %s, between %u and %u\n", id, what, when.begin, when.end);
}

static inline void clear_bounds(struct history *history)
{
	memset(history->low, 0, history->end * sizeof(*history->low));
	memset(history->high, 0, history->end * sizeof(*history->high));
}

/* Something becomes more in the first call, and less in the other. */
static inline void more_in(struct history *history, struct span call)
{
	history->high[call.begin]++;
	history->low[call.end]++;
}

static inline void less_in(struct history *history, struct span call)
{
	history->low[call.begin]--;
	history->high[call.end]--;
}

/* From changes to bounds. */
static inline void add_up(struct history *history)
{
	uint32_t none = history->end, some = history->end, i;

	for (i = 1; i < history->end; i++) {
		history->low[i] += history->low[i - 1];
		history->high[i] += history->high[i - 1];
	}
	while (i--) {
		if (history->low[i] <= 0)
			none = i;
		if (history->high[i] >= 1)
			some = i;
		history->none[i] = none;
		history->some[i] = some;
	}
}

static inline bool is_of(const struct note *note, unsigned int id, enum kind kind)
{
	return note->id == id && (kind == ANY_KIND || note->kind == kind);
}

/* Who had the id when. */
static inline void check_owners(struct history *history, unsigned int id, enum kind kind)
{
	const struct note *note;
	uint32_t i;

	clear_bounds(history);
	for (note = history->notes; note < history->notes + history->count; note++) {
		if (is_of(note, id, kind) && note->fact == BORN)
			more_in(history, note->when);
		if (is_of(note, id, kind) && note->fact == DIED)
			less_in(history, note->when);
	}
	add_up(history);
	for (i = 0; i < history->end; i++) {
		if (history->low[i] > 1)
			return wrong(history, "two owners", id, (struct span) { i, i + 1 });
		if (history->high[i] < 0)
			return wrong(history, "destroyed twice", id, (struct span) { i, i + 1 });
	}
	for (note = history->notes; note < history->notes + history->count; note++) {
		if (note->id != id || note->kind != kind)
			continue;
		if (note->fact == ABSENT && history->none[note->when.begin] >= note->when.end)
			wrong(history, "not found, and was there", id, note->when);
		if ((note->fact == FOUND || note->fact == BUSY) &&
		    history->some[note->when.begin] >= note->when.end)
			wrong(history, "found, and was not there", id, note->when);
	}
}

static inline bool is_always_busy(enum kind kind)
{
	return kind == AUTO || kind == DEVICE || kind == ACCESS;
}

/* A call that would have used it, and failed. */
static inline bool came_to_nothing(const struct note *note)
{
	return note->when.begin == note->until.begin;
}

/* Who used what had the id when. */
static inline void check_users(struct history *history, unsigned int id)
{
	const struct note *note;

	clear_bounds(history);
	for (note = history->notes; note < history->notes + history->count; note++) {
		if (note->id != id)
			continue;
		if (note->fact == USED && came_to_nothing(note)) {
			history->high[note->when.begin]++;
			history->high[note->when.end]--;
		} else if (note->fact == USED) {
			more_in(history, note->when);
			less_in(history, note->until);
		}
		if (note->fact == BORN && is_always_busy(note->kind))
			history->high[note->when.begin]++;
		if (note->fact == DIED && is_always_busy(note->kind))
			history->high[note->when.end]--;
	}
	add_up(history);
	for (note = history->notes; note < history->notes + history->count; note++) {
		if (note->id != id)
			continue;
		if (note->fact == BUSY && history->some[note->when.begin] >= note->when.end)
			wrong(history, "busy, and nobody used it", id, note->when);
		if (note->fact == DIED && !is_always_busy(note->kind) &&
		    history->none[note->when.begin] >= note->when.end)
			wrong(history, "destroyed while it was in use", id, note->when);
	}
}

/* Whether the container had this id no more, for certain, once @call was over. */
static inline bool takes_out(const struct note *note, unsigned int id)
{
	return note->fact == TAKEN || (note->fact == PUT && note->id != id) ||
	       (note->fact == DIED && note->kind == SPACE && note->id == id);
}

/* What the container said it had must have been put there, and not been taken out since. */
static inline void check_container(struct history *history, const struct note *got)
{
	const struct note *note, *end = history->notes + history->count;
	uint32_t out = 0;

	for (note = history->notes; note < end; note++)
		if (takes_out(note, got->id) && note->when.end < got->when.begin &&
		    note->when.begin > out)
			out = note->when.begin;
	for (note = history->notes; note < end; note++)
		if (note->fact == PUT && note->id == got->id &&
		    note->when.begin < got->when.end && note->when.end > out)
			return;
	wrong(history, "in the container, and not put there", got->id, got->when);
}

/* Whether somebody had the id for certain when @call was over. */
static inline bool is_there_behind(const struct history *history, unsigned int id,
				   struct span call)
{
	const struct note *note, *end = history->notes + history->count;
	int there = 0;

	for (note = history->notes; note < end; note++) {
		if (!is_of(note, id, SPACE))
			continue;
		there += note->fact == BORN && note->when.end <= call.end;
		there -= note->fact == DIED && note->when.begin < call.end;
	}
	return there > 0;
}

/* Whether a space may have been born in or behind the call @from, and before the end of @to. */
static inline bool may_be_born(const struct history *history, unsigned int id,
			       struct span from, struct span to)
{
	const struct note *note, *end = history->notes + history->count;

	for (note = history->notes; note < end; note++)
		if (is_of(note, id, SPACE) && note->fact == BORN &&
		    note->when.end > from.begin && note->when.begin < to.end)
			return true;
	return false;
}

/*
 * Whether a space's death may have been that of one that was put there, in the call @put or
 * behind it. If there is one of that id all the same, that was born behind the death.
 */
static inline bool may_take_out(const struct history *history, const struct note *death,
				struct span put)
{
	const struct note *note, *end = history->notes + history->count;
	bool there = is_there_behind(history, death->id, death->when);

	for (note = history->notes; note < end; note++)
		if (note->fact == PUT && note->id == death->id &&
		    note->when.end > put.begin && note->when.begin < death->when.end &&
		    (!there || may_be_born(history, death->id, note->when, death->when)))
			return true;
	return false;
}

/* What was put there for certain must have been taken out, or have died, before it had none. */
static inline void check_empty(struct history *history, const struct note *empty)
{
	const struct note *note, *end = history->notes + history->count, *put = NULL;

	for (note = history->notes; note < end; note++)
		if (note->fact == PUT && note->when.end < empty->when.begin &&
		    (!put || note->when.begin > put->when.begin))
			put = note;
	if (!put)
		return;
	for (note = history->notes; note < end; note++) {
		if (note->when.end < put->when.begin || note->when.begin > empty->when.end)
			continue;
		if (note->fact == TAKEN || (note->fact == DIED && note->kind == SPACE &&
					    may_take_out(history, note, put->when)))
			return;
	}
	wrong(history, "put into the container, and not there", put->id, empty->when);
}

static inline bool has_notes(const struct history *history, unsigned int id, enum kind kind)
{
	unsigned int i;

	for (i = 0; i < history->count; i++)
		if (is_of(&history->notes[i], id, kind))
			return true;
	return false;
}

/* How much of what is in the diaries cannot be. */
static inline unsigned int check_history(const struct diary *diaries, unsigned int count,
					 uint32_t end)
{
	struct history *history = calloc(1, sizeof(*history));
	unsigned int i, id, bad;

	if (!history)
		abort();
	for (i = 0; i < count; i++)
		history->count += diaries[i].count;
	history->notes = calloc(history->count + 1, sizeof(*history->notes));
	if (!history->notes)
		abort();
	history->count = 0;
	for (i = 0; i < count; i++) {
		if (!diaries[i].count)
			continue;
		memcpy(history->notes + history->count, diaries[i].notes,
		       diaries[i].count * sizeof(*history->notes));
		history->count += diaries[i].count;
	}
	history->end = end < HISTORY_STAMPS ? end : HISTORY_STAMPS;
	for (id = 1; id < HISTORY_IDS; id++) {
		if (!has_notes(history, id, ANY_KIND))
			continue;
		for (i = SPACE; i <= ANY_KIND; i++)
			if (has_notes(history, id, i))
				check_owners(history, id, i);
		check_users(history, id);
	}
	for (i = 0; i < history->count; i++) {
		if (history->notes[i].fact == GOT)
			check_container(history, &history->notes[i]);
		if (history->notes[i].fact == EMPTY)
			check_empty(history, &history->notes[i]);
	}
	bad = history->wrong;
	free(history->notes);
	free(history);
	return bad;
}

#endif /* SELFTESTS_IOMMU_HISTORY_H */
