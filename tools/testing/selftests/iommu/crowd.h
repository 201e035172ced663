/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A crowd of threads that do whatever there is to be done to the same few ids, and write
 * down what they learn of them: see history.h for what is made of that. Meanwhile a
 * device writes to memory that is mapped, and to memory that is not any more.
 */
#ifndef SELFTESTS_IOMMU_CROWD_H
#define SELFTESTS_IOMMU_CROWD_H

#include <pthread.h>

#include "books.h"
#include "history.h"
#include "ioas_access_calls.h"
#include "ioasid_places.h"

#define CROWD 24
#define CROWD_IDS 6		/* that are fought over */
#define CROWD_SEATS 3
#define CROWD_MS 4000
#define CROWD_STAMPS 120000
#define CROWD_MAX_S 60		/* for as many seconds, times the slowness of the machine */
#define WITNESS_SIZE 256

/* The devices of one group, which are in one place: one thread at a time has them move. */
struct seat {
	pthread_mutex_t lock;
	unsigned int devices;
	struct edu edu[2];
	int id[2];			/* 0 if it is not bound */
	bool attached[2];
	int target;			/* what it was attached to, or 0 */
	int automatic;			/* the domain that came with that, or 0 */
	struct span since;
};

struct member;

struct crowd {
	struct bound *b;
	int space;			/* not fought over: where the witness looks */
	int first;			/* of the ids that are fought over */
	enum kind mortal;		/* what DESTROY destroys among them */
	bool hwpts_known;		/* whether those of fdinfo are all written down */
	/* How devices but the witness's are let go, if they come and go. */
	void (*let_go)(struct member *member, struct seat *seat, unsigned int who);
	struct seat seats[CROWD_SEATS];
	unsigned int seats_count;
	unsigned int deeds_count;
	atomic_uint clock;
	atomic_bool stop;
	atomic_uint odd, calls;
	/* The witness. */
	char *memory;
	atomic_uint looks, arrived, lost, stale;

	/* What members do. */
	void (*const *deeds)(void *);
};

struct member {
	struct crowd *crowd;
	pthread_t thread;
	unsigned int number, seed;
	struct diary diary;
	char *page;
	int node, access, attached_to;	/* a driver's access, if it has one */
	struct span created, since;
};

static inline unsigned int pick(struct member *member, unsigned int count)
{
	return rand_r(&member->seed) / 7 % count;
}

static inline int some_id(struct member *member)
{
	return member->crowd->first + pick(member, CROWD_IDS);
}

/* Nothing else is documented. */
static inline void odd(struct member *member, const char *what, int64_t result)
{
	if (!member->crowd->odd++)
		ksft_print_msg("%s: %lld\n", what, (long long)result);
}

#define LEARN(id, kind, fact) note(&member->diary, id, kind, fact)
#define DO(call_) TIMED(&member->diary, call_)
#define FD (member->crowd->b->fd)

/* --- objects that come and go ---------------------------------------------------------- */

/* Whoever has an id that is none of those fought over gives it back. */
static inline void born(struct member *member, const char *what, int id, enum kind kind)
{
	if (id <= 0)
		return odd(member, what, id);
	LEARN(id, kind, BORN);
	if (id < member->crowd->first + CROWD_IDS)
		return;
	id = DO(destroy(FD, id)) ? -1 : id;
	if (id < 0)
		odd(member, "DESTROY of one's own", id);
	else
		LEARN(id, kind, DIED);
}

static inline void make_space(void *data)
{
	struct member *member = data;

	if (pick(member, 2))
		born(member, "IOAS_ALLOC", DO(ioas_alloc(FD)), SPACE);
	else
		born(member, "IOASID_ALLOC", DO(ioasid_alloc(FD, 64)), SPACE);
}

static inline void make_hwpt(void *data)
{
	struct member *member = data;
	struct crowd *crowd = member->crowd;

	born(member, "HWPT_ALLOC", DO(hwpt_alloc(FD, crowd->b->id, crowd->space, 0)), HWPT);
}

/* Reserves an id, and cannot tell it. */
static inline void fail_to_make_hwpt(void *data)
{
	struct member *member = data;
	int ret;

	ret = DO(call(FD, IOMMU_HWPT_ALLOC, member->page + PAGE));
	if (ret != -EFAULT)
		odd(member, "HWPT_ALLOC that cannot be answered", ret);
}

static inline void destroy_some(void *data)
{
	struct member *member = data;
	int id = some_id(member), ret = DO(destroy(FD, id));

	if (!ret)
		LEARN(id, member->crowd->mortal, DIED);
	else if (ret == -ENOENT)
		LEARN(id, ANY_KIND, ABSENT);
	else if (ret == -EBUSY)
		LEARN(id, ANY_KIND, BUSY);
	else
		odd(member, "DESTROY", ret);
}

static inline void free_some(void *data)
{
	struct member *member = data;
	int id = some_id(member), ret = DO(ioasid_free(FD, id));

	if (!ret)
		LEARN(id, SPACE, DIED);
	else if (ret == -ENOENT)
		LEARN(id, SPACE, ABSENT);
	else if (ret == -EBUSY)
		LEARN(id, SPACE, BUSY);
	else
		odd(member, "FREE", ret);
}

/* --- those who look for them -------------------------------------------------------------- */

static inline void found_if(struct member *member, const char *what, int id, enum kind kind,
			    int64_t ret, int else_errno)
{
	if (ret >= 0 || ret == -else_errno)
		LEARN(id, kind, FOUND);
	else if (ret == -ENOENT)
		LEARN(id, kind, ABSENT);
	else
		odd(member, what, ret);
}

/* Each maps at an address of its own, and may find there what it mapped last. */
static inline void map_some(void *data)
{
	struct member *member = data;
	uint64_t iova = IOVA + member->number * 16 * PAGE;
	int id = some_id(member), ret = DO(ioas_map(FD, id, member->page, PAGE, iova));

	found_if(member, "MAP", id, SPACE, ret, EEXIST);
	if (!ret && pick(member, 2))
		ioas_unmap(FD, id, iova, PAGE);
}

static inline void copy_some(void *data)
{
	struct member *member = data;
	uint64_t iova = IOVA + member->number * 16 * PAGE;
	int from = some_id(member), to = some_id(member);
	int ret = DO(ioas_copy(FD, to, iova + PAGE, from, iova, PAGE));

	if (ret && ret != -ENOENT && ret != -EEXIST)
		odd(member, "COPY", ret);
	if (ret)
		return;
	LEARN(from, SPACE, FOUND);
	LEARN(to, SPACE, FOUND);
}

static inline void ask_of_space(void *data)
{
	struct member *member = data;
	struct iommu_iova_range ranges[8];
	int id = some_id(member);

	if (pick(member, 2))
		found_if(member, "IOVA_RANGES", id, SPACE, DO(iova_ranges(FD, id, ranges, 8)), 0);
	else
		found_if(member, "OPTION", id, SPACE,
			 DO(get_option(FD, IOMMU_OPTION_HUGE_PAGES, id)), 0);
}

/* A domain inside of it is refused in one way, and inside of nothing in another. */
static inline void ask_of_hwpt(void *data)
{
	struct member *member = data;
	int id = some_id(member), ret = DO(hwpt_alloc(FD, member->crowd->b->id, id, 0));

	if (ret == -EOPNOTSUPP)
		LEARN(id, HWPT, FOUND);
	else if (ret == -EINVAL)
		LEARN(id, HWPT, ABSENT);
	else
		odd(member, "HWPT_ALLOC inside of another", ret);
}

static inline int get_hw_info(int fd, int id)
{
	struct iommu_hw_info arg = { .size = sizeof(arg), .dev_id = id };

	return call(fd, IOMMU_GET_HW_INFO, &arg);
}

static inline int get_device_info(int fd, uint64_t cookie)
{
	struct iommu_device_info info = { .argsz = sizeof(info), .dev_cookie = cookie };

	return call(fd, IOMMU_DEVICE_GET_INFO, &info);
}

static inline void ask_of_device(void *data)
{
	struct member *member = data;
	int id = some_id(member);

	switch (pick(member, 3)) {
	case 0:
		return found_if(member, "DEVICE_GET_INFO", id, DEVICE,
				DO(get_device_info(FD, id)), 0);
	case 1:
		return found_if(member, "GET_HW_INFO", id, DEVICE, DO(get_hw_info(FD, id)), 0);
	default:
		return found_if(member, "HWPT_ALLOC of nothing", id, DEVICE,
				DO(hwpt_alloc(FD, id, 0, 0)), EINVAL);
	}
}

static inline ssize_t read_whole(const char *path, char *text, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes = -1, all = 0;

	while (fd >= 0 && (bytes = read(fd, text + all, room - 1 - all)) > 0)
		all += bytes;
	close(fd);
	text[all] = 0;
	return bytes < 0 ? bytes : all;
}

/* fdinfo has a line for each object that there is. */
static inline void look_at_all(void *data)
{
	static const char *const names[] = {
		[SPACE] = "ioasid", [HWPT] = "hwpt", [DEVICE] = "device", [ACCESS] = "access",
	};
	struct member *member = data;
	char path[48], text[8192], line[32];
	int id, kind, there;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", FD);
	if (DO(read_whole(path, text, sizeof(text))) <= 0)
		return odd(member, "fdinfo", 0);
	for (id = member->crowd->first; id < member->crowd->first + CROWD_IDS; id++) {
		for (there = kind = 0; kind < ANY_KIND; kind++) {
			if (!names[kind])
				continue;
			snprintf(line, sizeof(line), "\n%s:\t%d ", names[kind], id);
			if (!strstr(text, line))
				continue;
			there++;
			if (kind != HWPT || member->crowd->hwpts_known)
				LEARN(id, kind, FOUND);
		}
		if (!there)
			LEARN(id, ANY_KIND, ABSENT);
	}
}

static inline void look_at_contexts(void *data)
{
	struct member *member = data;
	char text[8192];
	ssize_t bytes;

	bytes = read_whole("/sys/kernel/debug/iommufd/contexts", text, sizeof(text));
	if (bytes <= 0)
		odd(member, "debugfs", bytes);
}

/* --- devices ------------------------------------------------------------------------------ */

/* A seat that nobody else has move now. */
static inline struct seat *take_seat(struct member *member, unsigned int first)
{
	struct crowd *crowd = member->crowd;
	struct seat *seat;

	if (crowd->seats_count <= first)
		return NULL;
	seat = &crowd->seats[first + pick(member, crowd->seats_count - first)];
	return pthread_mutex_trylock(&seat->lock) ? NULL : seat;
}

static inline void give_seat(struct seat *seat)
{
	pthread_mutex_unlock(&seat->lock);
}

/* The last call has ended what the group used. */
static inline void group_left(struct member *member, struct seat *seat)
{
	if (seat->automatic)
		LEARN(seat->automatic, AUTO, DIED);
	if (seat->target)
		note_use(&member->diary, seat->target, ANY_KIND, seat->since);
	seat->automatic = 0;
	seat->target = 0;
}

/* The last call has brought it to @target, onto the domain @domain. */
static inline void group_came(struct member *member, struct seat *seat, int target, int domain)
{
	struct span now = member->diary.when;

	/* It was on the domain, or in the space, already. */
	if (domain == seat->automatic || target == seat->target) {
		LEARN(target, ANY_KIND, FOUND);
		return;
	}
	group_left(member, seat);
	seat->target = target;
	seat->since = now;
	if (domain != target) {
		seat->automatic = domain;
		LEARN(domain, AUTO, BORN);
	}
}

static inline void seat_goes(struct member *member, struct seat *seat, unsigned int who)
{
	int target = some_id(member), ret;
	struct span tried;

	if (!seat->id[who])
		return;
	ret = DO(attach_pt(seat->edu[who].fd, target));
	tried = member->diary.when;
	if (ret > 0) {
		seat->attached[who] = true;
		group_came(member, seat, target, ret);
		return;
	}
	if (ret == -ENOENT)
		LEARN(target, ANY_KIND, ABSENT);
	else if (ret == -EINVAL && seat->devices > 1)
		note_use(&member->diary, target, ANY_KIND, tried);
	else if (ret == -EINVAL)
		LEARN(target, DEVICE, FOUND);
	else
		odd(member, "ATTACH", ret);
}

static inline void seat_leaves(struct member *member, struct seat *seat, unsigned int who)
{
	int ret;

	if (!seat->id[who])
		return;
	ret = DO(vfio_detach(seat->edu[who].fd));
	if (ret)
		odd(member, "DETACH", ret);
	seat->attached[who] = false;
	if (!seat->attached[0] && !seat->attached[1])
		group_left(member, seat);
}

static inline void seat_is_let_go(struct member *member, struct seat *seat, unsigned int who)
{
	if (!seat->id[who])
		return;
	DO((edu_close(&seat->edu[who]), 0));
	seat->attached[who] = false;
	if (!seat->attached[0] && !seat->attached[1])
		group_left(member, seat);
	LEARN(seat->id[who], DEVICE, DIED);
	seat->id[who] = 0;
}

static inline void seat_is_bound(struct member *member, struct seat *seat, unsigned int who)
{
	int ret;

	if (seat->id[who])
		return seat_is_let_go(member, seat, who);
	ret = edu_open(&seat->edu[who]);
	if (!ret)
		ret = DO(vfio_bind(seat->edu[who].fd, FD));
	if (ret <= 0)
		return odd(member, "BIND", ret);
	seat->id[who] = ret;
	LEARN(ret, DEVICE, BORN);
}

static inline void move_seat(struct member *member, unsigned int first,
			     void (*move)(struct member *, struct seat *, unsigned int))
{
	struct seat *seat = take_seat(member, first);

	if (!seat)
		return;
	move(member, seat, pick(member, seat->devices));
	give_seat(seat);
}

/* With the witness's device, where that may move, too. */
static inline void attach_any(void *data)
{
	move_seat(data, 0, seat_goes);
}

static inline void detach_any(void *data)
{
	move_seat(data, 0, seat_leaves);
}

static inline void attach_other(void *data)
{
	move_seat(data, 1, seat_goes);
}

static inline void detach_other(void *data)
{
	move_seat(data, 1, seat_leaves);
}

static inline void bind_other(void *data)
{
	move_seat(data, 1, seat_is_bound);
}

/* --- drivers' accesses --------------------------------------------------------------------- */

static inline void leave_space(struct member *member)
{
	if (member->attached_to)
		note_use(&member->diary, member->attached_to, ANY_KIND, member->since);
	member->attached_to = 0;
}

static inline void come_or_go(void *data)
{
	struct member *member = data;

	if (!member->access) {
		member->access = DO(access_create(member->node, FD));
		if (member->access <= 0)
			return odd(member, "an access", member->access);
		LEARN(member->access, ACCESS, BORN);
	} else {
		DO(access_destroy(member->node));
		leave_space(member);
		LEARN(member->access, ACCESS, DIED);
		member->access = 0;
	}
}

static inline void access_goes(void *data)
{
	struct member *member = data;
	int id = some_id(member), ret;

	if (!member->access)
		return;
	ret = member->attached_to ? DO(access_replace(member->node, id)) :
				    DO(access_attach(member->node, id));
	if (ret == -ENOENT)
		LEARN(id, SPACE, ABSENT);
	else if (ret)
		odd(member, "an access's attach", ret);
	if (ret)
		return;
	if (member->attached_to != id) {
		struct span now = member->diary.when;

		leave_space(member);
		member->since = now;
		member->attached_to = id;
	}
}

static inline void access_leaves(void *data)
{
	struct member *member = data;

	if (!member->attached_to)
		return;
	DO(access_detach(member->node));
	leave_space(member);
}

/* --- the witness -------------------------------------------------------------------------- */

#define WITNESS_IOVA (IOVA + (1UL << 30))

/* Whether a write of the device is in @memory, or anything else is. */
static inline bool write_is_there(struct crowd *crowd, const char *memory, char fill)
{
	if (memory[0] == fill && !memcmp(memory, memory + 1, PAGE - 1))
		return false;
	if (memcmp(memory, crowd->memory + PAGE, WITNESS_SIZE))
		crowd->stale++;
	return true;
}

/*
 * The device writes to a page that is mapped, and which it must reach if it is in that
 * space; and to the same address when that is unmapped, and it must not.
 */
static inline void look_once(struct crowd *crowd)
{
	struct seat *seat = &crowd->seats[0];
	char *memory = crowd->memory;
	bool there;

	memset(memory, 0x11, PAGE);
	if (ioas_map(crowd->b->fd, crowd->space, memory, PAGE, WITNESS_IOVA)) {
		crowd->odd++;
		return;
	}
	pthread_mutex_lock(&seat->lock);
	edu_dma(&seat->edu[0], EDU_WRITES_MEMORY, WITNESS_IOVA, 0, WITNESS_SIZE);
	there = write_is_there(crowd, memory, 0x11);
	if (seat->attached[0])
		*(there ? &crowd->arrived : &crowd->lost) += 1;
	else
		crowd->stale += there;
	pthread_mutex_unlock(&seat->lock);
	if (ioas_unmap(crowd->b->fd, crowd->space, WITNESS_IOVA, PAGE) != PAGE)
		crowd->odd++;
	memset(memory, 0x22, PAGE);
	edu_dma(&seat->edu[0], EDU_WRITES_MEMORY, WITNESS_IOVA, 0, WITNESS_SIZE);
	crowd->stale += write_is_there(crowd, memory, 0x22);
	crowd->looks++;
}

/* Fill the device's buffer with what it writes from then on. */
static inline int arm_witness(struct crowd *crowd)
{
	char *pattern = crowd->memory + PAGE;
	struct edu *edu = &crowd->seats[0].edu[0];
	int ret, i;

	for (i = 0; i < WITNESS_SIZE; i++)
		pattern[i] = 0x80 | (i * 7 + 13);
	ret = edu_start(edu);
	if (!ret)
		ret = ioas_map(crowd->b->fd, crowd->space, pattern, PAGE, WITNESS_IOVA);
	if (!ret)
		ret = edu_dma(edu, EDU_READS_MEMORY, WITNESS_IOVA, 0, WITNESS_SIZE);
	if (!ret && ioas_unmap(crowd->b->fd, crowd->space, WITNESS_IOVA, PAGE) != PAGE)
		ret = -EIO;
	return ret;
}

static inline void *be_witness(void *data)
{
	struct crowd *crowd = data;

	while (!crowd->stop)
		look_once(crowd);
	return NULL;
}

/* --- all of them ---------------------------------------------------------------------------- */

static inline void *be_member(void *data)
{
	struct member *member = data;
	struct crowd *crowd = member->crowd;

	while (!crowd->stop) {
		crowd->deeds[pick(member, crowd->deeds_count)](member);
		crowd->calls++;
	}
	return NULL;
}

static inline uint64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000ULL + time.tv_nsec / 1000000;
}

/* Until all has been seen that is to be seen, or as much as can be written down. */
static inline void wait_for_crowd(struct crowd *crowd)
{
	uint64_t start = now_ms(), ms;

	do {
		edu_sleep_ms(50);
		ms = now_ms() - start;
	} while (ms < CROWD_MAX_S * 1000ULL * slowness_factor && crowd->clock < CROWD_STAMPS &&
		 (ms < CROWD_MS || crowd->looks < 4));
	crowd->stop = true;
}

static inline void gather(struct __test_metadata *_metadata, struct crowd *crowd,
			  struct member *members)
{
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg), .dev_id = crowd->b->id, .pt_id = crowd->space,
	};
	pthread_t witness;
	int i;

	for (i = 0; i < CROWD; i++) {
		struct member *member = &members[i];

		member->crowd = crowd;
		member->number = i;
		member->seed = i * 7919 + getpid();
		member->diary.clock = &crowd->clock;
		member->page = pages(2);
		ASSERT_NE(NULL, member->page);
		/* What can be read, and not written, is an argument without an answer. */
		memcpy(member->page + PAGE, &arg, sizeof(arg));
		ASSERT_EQ(0, mprotect(member->page + PAGE, PAGE, PROT_READ));
	}
	ASSERT_EQ(0, pthread_create(&witness, NULL, be_witness, crowd));
	for (i = 0; i < CROWD; i++)
		ASSERT_EQ(0, pthread_create(&members[i].thread, NULL, be_member, &members[i]));
	wait_for_crowd(crowd);
	for (i = 0; i < CROWD; i++)
		pthread_join(members[i].thread, NULL);
	pthread_join(witness, NULL);
}

#endif /* SELFTESTS_IOMMU_CROWD_H */
