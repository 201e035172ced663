// SPDX-License-Identifier: GPL-2.0
/*
 * Queues of events of virtual IOMMUs, on the IOMMU in software: what is refused and changes
 * nothing, what a read returns and when, how events are numbered and lost, who keeps whom from
 * being destroyed, and events that come while queues, devices and files go.
 */
#include <poll.h>
#include <stdatomic.h>

#include "books.h"
#include "fight.h"
#include "viommu_calls.h"

#define NUMBER 0x99	/* that the virtual IOMMU knows the device by */
#define MOST (1U << 19)

struct event {
	struct iommufd_vevent_header header;
	struct iommu_viommu_event_selftest data;
};

#define HEADER sizeof(struct iommufd_vevent_header)
#define EVENT sizeof(struct event)
#define LOST IOMMU_VEVENTQ_FLAG_LOST_EVENTS

FIXTURE(events)
{
	int fd;
	int ioas;
	struct mock dev;
	int parent;
	int viommu;
	int nested;
	int vdevice;
	struct books books;
};

FIXTURE_SETUP(events)
{
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(mock_add(self->fd, self->ioas, &self->dev));
	self->parent = hwpt_alloc(self->fd, self->dev.device, self->ioas, NEST_PARENT);
	ASSERT_LT(0, self->parent);
	self->viommu = viommu_alloc(self->fd, self->dev.device, self->parent);
	ASSERT_LT(0, self->viommu);
	self->nested = nested_alloc(self->fd, self->dev.device, self->viommu);
	ASSERT_LT(0, self->nested);
	self->vdevice = vdevice_alloc(self->fd, self->viommu, self->dev.device, NUMBER);
	ASSERT_LT(0, self->vdevice);
	ASSERT_EQ(self->nested, mock_move(self->fd, self->dev.id, self->nested));
	self->books = read_books(self->fd);
}

/* All of it goes, in whatever order. */
FIXTURE_TEARDOWN(events)
{
	close(self->fd);
}

#define DESTROY(id) destroy(self->fd, id)
#define MOVE(pt) mock_move(self->fd, self->dev.id, pt)
#define HAPPEN() trigger_event(self->fd, self->dev.device)
#define QUEUE(depth, file) veventq_alloc(self->fd, self->viommu, depth, file)

/* Read @size bytes at most; how many there were, or a negative errno. */
static ssize_t take(int file, void *events, size_t size)
{
	/* Wherever that is: the C library's wants memory. */
	ssize_t got = syscall(SYS_read, file, events, size);

	return got < 0 ? -errno : got;
}

static bool is_event(const struct event *event, uint32_t sequence)
{
	return !event->header.flags && event->header.sequence == sequence &&
	       event->data.virt_id == NUMBER;
}

static int wait_for(int file, int ms)
{
	struct pollfd wait = { .fd = file, .events = POLLIN | POLLOUT };

	return poll(&wait, 1, ms) ? wait.revents : 0;
}

/* --- making them ----------------------------------------------------------------------- */

TEST_F(events, is_refused)
{
	struct iommu_veventq_alloc good = veventq_arg(self->viommu, 2);

#define REFUSED(errno, change) EXPECT_CHANGED(errno, self->fd, IOMMU_VEVENTQ_ALLOC, good, change)
	REFUSED(EOPNOTSUPP, arg.flags = 1; arg.veventq_depth = 0);
	REFUSED(EOPNOTSUPP, arg.__reserved = 1);
	REFUSED(EOPNOTSUPP, arg.type = IOMMU_VEVENTQ_TYPE_DEFAULT);
	REFUSED(EINVAL, arg.veventq_depth = 0; arg.viommu_id = 12345);
	REFUSED(EINVAL, arg.veventq_depth = MOST + 1);
	REFUSED(EINVAL, arg.veventq_depth = UINT32_MAX);
	REFUSED(ENOENT, arg.viommu_id = 12345);
	REFUSED(ENOENT, arg.viommu_id = self->parent);
	REFUSED(ENOENT, arg.viommu_id = self->dev.device);
	expect_books(_metadata, self->fd, &self->books);
}

/* One for each type, which may be one that no event ever has. */
TEST_F(events, one_of_a_type)
{
	struct iommu_veventq_alloc arg = veventq_arg(self->viommu, MOST);
	int file, queue = QUEUE(2, &file), other;

	ASSERT_LT(0, queue);
	EXPECT_EQ(self->viommu, shown_in(self->fd, "veventq:", "viommu "));
	EXPECT_ERRNO(EEXIST, QUEUE(2, &other));
	arg.type++;
	ASSERT_OK(call(self->fd, IOMMU_VEVENTQ_ALLOC, &arg));
	EXPECT_ERRNO(EBUSY, DESTROY(arg.out_veventq_id));
	close(arg.out_veventq_fd);
	EXPECT_OK(DESTROY(arg.out_veventq_id));
	EXPECT_ERRNO(EBUSY, DESTROY(self->viommu));
	/* Its file keeps it. */
	EXPECT_ERRNO(EBUSY, DESTROY(queue));
	other = dup(file);
	close(file);
	EXPECT_ERRNO(EBUSY, DESTROY(queue));
	close(other);
	EXPECT_ERRNO(EEXIST, QUEUE(2, &other));
	EXPECT_OK(DESTROY(queue));
	EXPECT_ERRNO(ENOENT, DESTROY(queue));
	expect_books(_metadata, self->fd, &self->books);
}

TEST_F(events, queue_that_nobody_is_told_of)
{
	struct iommu_veventq_alloc *arg = pages(1);
	int file, next = dup(self->fd);

	ASSERT_NE(NULL, arg);
	*arg = veventq_arg(self->viommu, 2);
	close(next);
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_VEVENTQ_ALLOC, arg));
	munmap(arg, PAGE);
	expect_books(_metadata, self->fd, &self->books);
	EXPECT_ERRNO(EOPNOTSUPP, HAPPEN());
	/* Neither its type nor its descriptor is taken. */
	EXPECT_LT(0, QUEUE(2, &file));
	EXPECT_EQ(next, file);
	EXPECT_EQ(FD_CLOEXEC, fcntl(file, F_GETFD));
	close(file);
}

/* --- reading --------------------------------------------------------------------------- */

TEST_F(events, who_has_them)
{
	struct event event;
	int file, queue;

	EXPECT_ERRNO(EOPNOTSUPP, HAPPEN());
	queue = QUEUE(2, &file);
	ASSERT_LT(0, queue);
	EXPECT_EQ(0, take(file, &event, EVENT));
	EXPECT_ERRNO(ENOENT, trigger_event(self->fd, 12345));
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(EVENT, take(file, &event, EVENT));
	EXPECT_TRUE(is_event(&event, 0));
	EXPECT_EQ(0, take(file, &event, EVENT));
	/* A device that is elsewhere has none for it. */
	ASSERT_LT(0, MOVE(self->ioas));
	EXPECT_ERRNO(ENOENT, HAPPEN());
	ASSERT_EQ(self->nested, MOVE(self->nested));
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(EVENT, take(file, &event, EVENT));
	EXPECT_TRUE(is_event(&event, 1));
	close(file);
}

TEST_F(events, room_for_them)
{
	struct event events[3];
	char *end = (char *)&events[1];
	int file;

	ASSERT_LT(0, QUEUE(4, &file));
	for (int i = 0; i < 2; i++) {
		EXPECT_ERRNO(EINVAL, take(file, events, 0));
		EXPECT_ERRNO(EINVAL, take(file, events, HEADER - 1));
		EXPECT_OK(HAPPEN());
	}
	/* Nothing by halves, and what is not read is there still. */
	EXPECT_ERRNO(EINVAL, take(file, events, HEADER));
	EXPECT_ERRNO(EINVAL, take(file, events, EVENT - 1));
	memset(events, 0x55, sizeof(events));
	EXPECT_EQ(EVENT, take(file, events, 2 * EVENT - 1));
	EXPECT_TRUE(is_event(&events[0], 0));
	EXPECT_EQ(0x55, *end);
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(2 * EVENT, take(file, events, sizeof(events)));
	EXPECT_TRUE(is_event(&events[0], 1));
	EXPECT_TRUE(is_event(&events[1], 2));
	EXPECT_EQ(-1, pread(file, events, sizeof(events), 8));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, write(file, events, EVENT));
	EXPECT_EQ(EINVAL, errno);
	close(file);
}

/* What could not be written where it should have gone comes next again. */
TEST_F(events, nowhere_to_put_them)
{
	char *memory = pages(2);
	struct event event;
	int file;

	ASSERT_NE(NULL, memory);
	ASSERT_LT(0, QUEUE(2, &file));
	EXPECT_OK(HAPPEN());
	EXPECT_OK(HAPPEN());
	munmap(memory + PAGE, PAGE);
	EXPECT_ERRNO(EFAULT, take(file, memory + PAGE, EVENT));
	/* The header fits. */
	EXPECT_ERRNO(EFAULT, take(file, memory + PAGE - HEADER, EVENT));
	EXPECT_EQ(EVENT, take(file, memory + PAGE - EVENT, 2 * EVENT));
	memcpy(&event, memory + PAGE - EVENT, EVENT);
	EXPECT_TRUE(is_event(&event, 0));
	/* It was full until then: what is not read has its place. */
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(EVENT, take(file, &event, EVENT));
	EXPECT_TRUE(is_event(&event, 1));
	EXPECT_EQ(EVENT, take(file, &event, EVENT));
	EXPECT_TRUE(is_event(&event, 2));
	EXPECT_EQ(0, take(file, &event, EVENT));
	munmap(memory, PAGE);
	close(file);
}

TEST_F(events, waiting_for_them)
{
	struct event event;
	int file;

	ASSERT_LT(0, QUEUE(1, &file));
	EXPECT_EQ(0, wait_for(file, 0));
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(POLLIN, wait_for(file, 0));
	EXPECT_EQ(EVENT, take(file, &event, EVENT));
	EXPECT_EQ(0, wait_for(file, 0));
	close(file);
}

/* --- losing ---------------------------------------------------------------------------- */

TEST_F(events, lost)
{
	struct iommufd_vevent_header header;
	struct event events[4];
	int file;

	ASSERT_LT(0, QUEUE(2, &file));
	for (int i = 0; i < 4; i++)
		EXPECT_OK(HAPPEN());
	/* Two, and one header that says so of the last one, which needs no room. */
	EXPECT_EQ(2 * EVENT + HEADER, take(file, events, sizeof(events)));
	EXPECT_TRUE(is_event(&events[0], 0));
	EXPECT_TRUE(is_event(&events[1], 1));
	EXPECT_EQ(LOST, events[2].header.flags);
	EXPECT_EQ(3, events[2].header.sequence);
	EXPECT_EQ(0, take(file, events, sizeof(events)));
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(EVENT, take(file, events, sizeof(events)));
	EXPECT_TRUE(is_event(&events[0], 4));
	/* If others come behind what was lost, their numbers say it. */
	for (int i = 5; i < 8; i++)
		EXPECT_OK(HAPPEN());
	EXPECT_EQ(EVENT, take(file, events, EVENT));
	EXPECT_TRUE(is_event(&events[0], 5));
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(2 * EVENT, take(file, events, sizeof(events)));
	EXPECT_TRUE(is_event(&events[0], 6));
	EXPECT_TRUE(is_event(&events[1], 8));
	/* A header alone is enough to read one. */
	for (int i = 9; i < 12; i++)
		EXPECT_OK(HAPPEN());
	EXPECT_EQ(2 * EVENT, take(file, events, 2 * EVENT));
	EXPECT_EQ(POLLIN, wait_for(file, 0));
	EXPECT_ERRNO(EFAULT, take(file, NULL, HEADER));
	EXPECT_EQ(HEADER, take(file, &header, HEADER));
	EXPECT_EQ(LOST, header.flags);
	EXPECT_EQ(11, header.sequence);
	EXPECT_EQ(0, wait_for(file, 0));
	close(file);
}

/* --- the end --------------------------------------------------------------------------- */

/* Nobody has to read what is there, in a queue or a file that goes. */
TEST_F(events, unread)
{
	struct event event;
	int file, queue = QUEUE(2, &file);

	ASSERT_LT(0, queue);
	for (int i = 0; i < 3; i++)
		EXPECT_OK(HAPPEN());
	close(file);
	EXPECT_OK(HAPPEN());
	EXPECT_OK(DESTROY(queue));
	EXPECT_ERRNO(EOPNOTSUPP, HAPPEN());
	/* The next one begins anew. */
	queue = QUEUE(2, &file);
	ASSERT_LT(0, queue);
	EXPECT_OK(HAPPEN());
	EXPECT_EQ(EVENT, take(file, &event, EVENT));
	EXPECT_TRUE(is_event(&event, 0));
	EXPECT_OK(HAPPEN());
	close(file);
}

/* The file has the context: all that there is can be used until both are closed. */
TEST_F(events, file_outlives_the_other)
{
	unsigned int before = mock_count();
	struct event event;
	int file;

	ASSERT_LT(0, QUEUE(2, &file));
	EXPECT_OK(HAPPEN());
	close(self->fd);
	EXPECT_EQ(EVENT, take(file, &event, EVENT));
	EXPECT_TRUE(is_event(&event, 0));
	EXPECT_EQ(0, take(file, &event, EVENT));
	EXPECT_EQ(0, wait_for(file, 0));
	close(file);
	EXPECT_EQ(before - 1, mock_count());
	self->fd = -1;
}

/* --- at the same time ------------------------------------------------------------------ */

struct crowd {
	struct fight fight;
	int viommu, nested, ioas;
	struct mock dev;
	atomic_int file, queue;	/* that are there, or -1 */
	atomic_uint happened, read, lost, made;
};

/* Queues and files go while they are used. */
static void *make(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	int file, queue, ret;

	while (!fight->stop) {
		queue = veventq_alloc(fight->fd, crowd->viommu, 1 + crowd->made % 4, &file);
		/* Who finds none may be faster than who destroys it. */
		fight_count(fight, "VEVENTQ_ALLOC", queue, queue == -EEXIST);
		if (queue < 0)
			continue;
		crowd->made++;
		crowd->queue = queue;
		crowd->file = file;
		sched_yield();
		crowd->file = -1;
		close(file);
		do {
			/* Whoever reads or waits has the file. */
			ret = destroy(fight->fd, queue);
		} while (ret == -EBUSY);
		fight_count(fight, "DESTROY", ret, ret == -ENOENT);
	}
	return NULL;
}

static void *happen(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	int ret;

	while (!fight->stop) {
		ret = trigger_event(fight->fd, crowd->dev.device);
		fight_count(fight, "TRIGGER_VEVENT", ret, ret == -ENOENT || ret == -EOPNOTSUPP);
		crowd->happened += !ret;
		destroy(fight->fd, crowd->queue);
	}
	return NULL;
}

static void *move(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	int ret;

	while (!fight->stop) {
		ret = mock_move(fight->fd, crowd->dev.id, crowd->ioas);
		fight_count(fight, "move", ret, false);
		ret = mock_move(fight->fd, crowd->dev.id, crowd->nested);
		fight_count(fight, "move", ret, false);
		edu_sleep_ms(1);
	}
	return NULL;
}

static void *read_them(void *data)
{
	struct crowd *crowd = data;
	struct fight *fight = &crowd->fight;
	struct event events[4];
	ssize_t got;
	int file;

	while (!fight->stop) {
		file = crowd->file;
		if (file < 0)
			continue;
		wait_for(file, 0);
		got = take(file, events, sizeof(events));
		/* The number may be another file's by now. */
		if (got < (ssize_t)HEADER)
			continue;
		crowd->lost += events[0].header.flags == LOST;
		crowd->read += got / EVENT;
		if (!events[0].header.flags)
			fight_count(fight, "event",
				    events[0].data.virt_id == NUMBER ? 0 : -EIO, false);
	}
	return NULL;
}

TEST_F(events, many_at_the_same_queue)
{
	struct crowd crowd = {
		.fight = { ._metadata = _metadata, .fd = self->fd },
		.viommu = self->viommu, .nested = self->nested, .ioas = self->ioas,
		.dev = self->dev, .file = -1,
	};
	void *(*const what[FIGHTERS])(void *) = {
		make, happen, happen, move, read_them, read_them,
	};

	fight_for(&crowd.fight, 3000, what, &crowd);
	EXPECT_LT(0, crowd.made);
	EXPECT_LT(0, crowd.happened);
	EXPECT_LT(0, crowd.read);
	TH_LOG("%u queues, %u events, %u read, %u times some were lost", crowd.made,
	       crowd.happened, crowd.read, crowd.lost);
	EXPECT_LT(0, MOVE(self->ioas));
	EXPECT_OK(DESTROY(self->vdevice));
	EXPECT_OK(DESTROY(self->nested));
	EXPECT_OK(DESTROY(self->viommu));
	EXPECT_OK(DESTROY(self->parent));
}

TEST_HARNESS_MAIN
