// SPDX-License-Identifier: GPL-2.0
/*
 * Page faults of a device behind the IOMMU in software: each is answered exactly once, by
 * whoever reads them, or else for him when the device goes elsewhere, or he goes.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "books.h"
#include "fault_calls.h"
#include "stopper.h"

#define PASID 100

/* Where there is no memory; the compiler does not know. */
static void *volatile nowhere;

FIXTURE(faults)
{
	int fd;
	int ioas;
	struct mock dev;
	int parent;		/* to have others inside */
	struct fault_queue queue;
	int hwpt, other;	/* whose faults go there */
	int nested;		/* inside of the parent; its as well */
	int plain;		/* that has none */
	int success, invalid;	/* answers that are accounted for */
};

#define WITH_FAULTS(queue) \
	hwpt_with_faults(self->fd, self->dev.device, self->ioas, IOMMU_HWPT_ALLOC_PASID, queue)
#define MOVE(pt) mock_move(self->fd, self->dev.id, pt)
#define DESTROY(id) destroy(self->fd, id)
#define FAULT(pasid, group) EXPECT_OK(fault(self->fd, self->dev.device, pasid, group))
#define PART(pasid, group) EXPECT_OK(fault_in_part(self->fd, self->dev.device, pasid, group))
#define READ(faults, size) read_faults(self->queue.fd, faults, size)
#define ANSWER(cookie, code) write_answer(self->queue.fd, cookie, code)
#define NOTHING_LEFT() EXPECT_EQ(0, read_fault(self->queue.fd))

/* So many groups more were answered since this was asked last. */
#define EXPECT_ANSWERS(success_, invalid_) do { \
	self->success += success_; \
	self->invalid += invalid_; \
	EXPECT_EQ(self->success, answers(self->fd, self->dev.device, SUCCESS)); \
	EXPECT_EQ(self->invalid, answers(self->fd, self->dev.device, INVALID)); \
	EXPECT_EQ(0, answers(self->fd, self->dev.device, FAILURE)); \
} while (0)

FIXTURE_SETUP(faults)
{
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	self->ioas = ioas_alloc(self->fd);
	ASSERT_LT(0, self->ioas);
	ASSERT_OK(mock_add_with(self->fd, self->ioas, MOCK_FLAGS_DEVICE_PASID, &self->dev));
	ASSERT_OK(fault_queue_alloc(self->fd, &self->queue));
	self->parent = hwpt_alloc(self->fd, self->dev.device, self->ioas,
				  NEST_PARENT | IOMMU_HWPT_ALLOC_PASID);
	ASSERT_LT(0, self->parent);
	self->plain = hwpt_alloc(self->fd, self->dev.device, self->ioas, IOMMU_HWPT_ALLOC_PASID);
	ASSERT_LT(0, self->plain);
	self->hwpt = WITH_FAULTS(self->queue.id);
	ASSERT_LT(0, self->hwpt);
	self->other = WITH_FAULTS(self->queue.id);
	ASSERT_LT(0, self->other);
	self->nested = nested_with_faults(self->fd, self->dev.device, self->parent,
					  IOMMU_HWPT_ALLOC_PASID, self->queue.id);
	ASSERT_LT(0, self->nested);
}

/* All of it goes, in whatever order. */
FIXTURE_TEARDOWN(faults)
{
	close(self->fd);
	close(self->queue.fd);
}

/* --- making them ----------------------------------------------------------------------- */

TEST_F(faults, are_refused)
{
	struct iommu_fault_alloc good = { .size = sizeof(good) };
	struct books books = read_books(self->fd);
	struct fault_queue next;

	EXPECT_CHANGED(EOPNOTSUPP, self->fd, IOMMU_FAULT_QUEUE_ALLOC, good, arg.flags = 1);
	EXPECT_CHANGED(EOPNOTSUPP, self->fd, IOMMU_FAULT_QUEUE_ALLOC, good, arg.flags = 1U << 31);
	expect_books(_metadata, self->fd, &books);
	/* What is answered is for the kernel to say. */
	good.out_fault_id = 12345;
	good.out_fault_fd = 12345;
	EXPECT_OK(call(self->fd, IOMMU_FAULT_QUEUE_ALLOC, &good));
	EXPECT_EQ(self->nested + 1, (int)good.out_fault_id);
	EXPECT_EQ(0, close(good.out_fault_fd));
	EXPECT_OK(DESTROY(good.out_fault_id));
	ASSERT_OK(fault_queue_alloc(self->fd, &next));
	EXPECT_EQ(self->nested + 1, next.id);
	EXPECT_EQ(0, close(next.fd));
}

/* Neither an id nor a descriptor is lost. */
TEST_F(faults, answer_that_cannot_be_written)
{
	struct iommu_fault_alloc *arg = pages(1);
	struct books books = read_books(self->fd);
	int before = dup(0), after;
	struct rlimit limit;

	ASSERT_NE(NULL, arg);
	arg->size = sizeof(*arg);
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_ERRNO(EFAULT, call(self->fd, IOMMU_FAULT_QUEUE_ALLOC, arg));
	expect_books(_metadata, self->fd, &books);
	after = dup(0);
	EXPECT_EQ(before + 1, after);
	/* No descriptor is left. */
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = after + 1;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ | PROT_WRITE));
	EXPECT_ERRNO(EMFILE, call(self->fd, IOMMU_FAULT_QUEUE_ALLOC, arg));
	close(after);
	expect_books(_metadata, self->fd, &books);
	EXPECT_OK(call(self->fd, IOMMU_FAULT_QUEUE_ALLOC, arg));
	EXPECT_EQ(after, (int)arg->out_fault_fd);
}

TEST_F(faults, domains_are_refused)
{
	const int bad[] = { 0, 12345, -1, self->ioas, self->plain, self->dev.device, self->dev.id };
	struct books books = read_books(self->fd);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_ERRNO(ENOENT, WITH_FAULTS(bad[i])) TH_LOG("id %d", bad[i]);
		EXPECT_ERRNO(ENOENT, nested_with_faults(self->fd, self->dev.device, self->parent,
							0, bad[i])) TH_LOG("id %d", bad[i]);
	}
	EXPECT_ERRNO(EOPNOTSUPP, hwpt_with_faults(self->fd, self->dev.device, self->ioas,
						  NEST_PARENT, self->queue.id));
	EXPECT_ERRNO(EOPNOTSUPP, nested_with_faults(self->fd, self->dev.device, self->parent,
						    NEST_PARENT, self->queue.id));
	expect_books(_metadata, self->fd, &books);
}

/* It is what it is: no space, no domain, nothing to be attached to or mapped in. */
TEST_F(faults, are_no_domain)
{
	struct iommu_test_cmd arg;

	EXPECT_ERRNO(EINVAL, MOVE(self->queue.id));
	EXPECT_ERRNO(ENOENT, ioas_map_any(self->fd, self->queue.id, &arg, PAGE));
	EXPECT_ERRNO(EINVAL, hwpt_alloc(self->fd, self->dev.device, self->queue.id, 0));
	EXPECT_ERRNO(ENOENT, hwpt_alloc(self->fd, self->queue.id, self->ioas, 0));
	EXPECT_LE(0, shown_in(self->fd, "fault-queue:", "\t"));
	EXPECT_EQ(self->queue.id, shown_in(self->fd, "fault-queue:", "\t"));
}

TEST_F(faults, file)
{
	char name[64] = "", path[32];
	struct iommu_hwpt_pgfault fault;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->queue.fd);
	EXPECT_LT(0, readlink(path, name, sizeof(name) - 1));
	EXPECT_STREQ("anon_inode:[iommufd-pgfault]", name);
	EXPECT_EQ(O_RDWR, fcntl(self->queue.fd, F_GETFL) & ~O_LARGEFILE);
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->queue.fd, F_GETFD));
	EXPECT_EQ(-1, lseek(self->queue.fd, 0, SEEK_CUR));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, pread(self->queue.fd, &fault, sizeof(fault), sizeof(fault)));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, pwrite(self->queue.fd, &fault, ANSWER_SIZE, ANSWER_SIZE));
	EXPECT_EQ(ESPIPE, errno);
	/* Its calls are those of /dev/iommu. */
	EXPECT_ERRNO(ENOTTY, ioas_alloc(self->queue.fd));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->queue.fd, 0));
}

/* --- who keeps whom -------------------------------------------------------------------- */

TEST_F(faults, are_busy)
{
	int copy = dup(self->queue.fd);

	EXPECT_ERRNO(EBUSY, DESTROY(self->queue.id));
	EXPECT_OK(DESTROY(self->nested));
	EXPECT_OK(DESTROY(self->other));
	EXPECT_OK(DESTROY(self->hwpt));
	/* The file alone keeps it, as long as anybody has it. */
	EXPECT_ERRNO(EBUSY, DESTROY(self->queue.id));
	close(self->queue.fd);
	EXPECT_ERRNO(EBUSY, DESTROY(self->queue.id));
	self->hwpt = WITH_FAULTS(self->queue.id);
	ASSERT_LT(0, self->hwpt);
	close(copy);
	/* And so does a domain. */
	EXPECT_ERRNO(EBUSY, DESTROY(self->queue.id));
	EXPECT_EQ(self->hwpt, MOVE(self->hwpt));
	EXPECT_ERRNO(EBUSY, DESTROY(self->hwpt));
	EXPECT_LT(0, MOVE(self->ioas));
	EXPECT_OK(DESTROY(self->hwpt));
	EXPECT_OK(DESTROY(self->queue.id));
	EXPECT_ERRNO(ENOENT, DESTROY(self->queue.id));
	EXPECT_ERRNO(ENOENT, WITH_FAULTS(self->queue.id));
}

/* Queues are not tied to each other. */
TEST_F(faults, of_two_queues)
{
	struct fault_queue second;
	int hwpt;

	ASSERT_OK(fault_queue_alloc(self->fd, &second));
	EXPECT_NE(self->queue.id, second.id);
	hwpt = WITH_FAULTS(second.id);
	ASSERT_LT(0, hwpt);
	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	ASSERT_EQ(hwpt, pasid_attach(self->fd, self->dev.id, PASID, hwpt));
	FAULT(0, 1);
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLOUT, ready(self->queue.fd));
	EXPECT_EQ(POLLOUT, ready(second.fd));
	FAULT(PASID, 2);
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLOUT, ready(second.fd));
	/* Each begins to count for itself. */
	EXPECT_EQ(1, read_fault(second.fd));
	EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
	EXPECT_EQ(1, read_fault(self->queue.fd));
	EXPECT_EQ(ANSWER_SIZE, write_answer(second.fd, 1, SUCCESS));
	EXPECT_ANSWERS(1, 0);
	EXPECT_OK(pasid_detach(self->fd, self->dev.id, PASID));
	EXPECT_OK(DESTROY(hwpt));
	close(second.fd);
	EXPECT_OK(DESTROY(second.id));
	EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
	EXPECT_ANSWERS(1, 0);
}

/* --- reading and answering ------------------------------------------------------------- */

TEST_F(faults, read_and_answer)
{
	const int hwpts[] = { self->hwpt, self->nested };
	unsigned int i;
	struct iommu_hwpt_pgfault got;

	for (i = 0; i < ARRAY_SIZE(hwpts); i++) {
		ASSERT_EQ(hwpts[i], MOVE(hwpts[i]));
		EXPECT_EQ(0, READ(&got, sizeof(got)));
		EXPECT_EQ(POLLOUT, ready(self->queue.fd));
		FAULT(0, 77);
		EXPECT_EQ(POLLIN | POLLRDNORM | POLLOUT, ready(self->queue.fd));
		memset(&got, 0xff, sizeof(got));
		EXPECT_EQ(sizeof(got), READ(&got, sizeof(got)));
		EXPECT_EQ(POLLOUT, ready(self->queue.fd));
		EXPECT_EQ(IOMMU_PGFAULT_FLAGS_LAST_PAGE, got.flags);
		EXPECT_EQ(self->dev.device, (int)got.dev_id);
		EXPECT_EQ(0, got.pasid);
		EXPECT_EQ(77, got.grpid);
		EXPECT_EQ(FAULT_PERM, got.perm);
		EXPECT_EQ(0, got.__reserved);
		EXPECT_EQ(FAULT_ADDR, got.addr);
		EXPECT_EQ(0, got.length);
		EXPECT_EQ(1, got.cookie);
		EXPECT_ANSWERS(0, 0);
		EXPECT_EQ(ANSWER_SIZE, ANSWER(got.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
		EXPECT_ANSWERS(1, 0);
		/* It was answered. */
		EXPECT_ERRNO(EINVAL, ANSWER(got.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
		FAULT(0, 78);
		EXPECT_EQ(sizeof(got), READ(&got, sizeof(got)));
		EXPECT_EQ(ANSWER_SIZE, ANSWER(got.cookie, IOMMUFD_PAGE_RESP_INVALID));
		EXPECT_ANSWERS(0, 1);
	}
	NOTHING_LEFT();
}

TEST_F(faults, answers_are_refused)
{
	const uint32_t cookies[] = { 0, 2, UINT32_MAX, 1U << 31 };
	unsigned int i;

	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	FAULT(0, 1);
	/* Nobody knows of it yet, whatever its cookie is going to be. */
	EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
	ASSERT_EQ(1, read_fault(self->queue.fd));
	for (i = 0; i < ARRAY_SIZE(cookies); i++)
		EXPECT_ERRNO(EINVAL, ANSWER(cookies[i], SUCCESS)) TH_LOG("case %u", i);
	EXPECT_ERRNO(EINVAL, ANSWER(1, FAILURE));
	EXPECT_ERRNO(EINVAL, ANSWER(1, UINT32_MAX));
	EXPECT_ERRNO(EFAULT, write_answers(self->queue.fd, nowhere, ANSWER_SIZE));
	EXPECT_ERRNO(ESPIPE, write_answers(self->queue.fd, cookies, ANSWER_SIZE - 1));
	EXPECT_ERRNO(ESPIPE, write_answers(self->queue.fd, cookies, 1));
	EXPECT_EQ(0, write_answers(self->queue.fd, nowhere, 0));
	EXPECT_ANSWERS(0, 0);
	EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
	EXPECT_ANSWERS(1, 0);
}

/* The first that cannot be taken ends it; what was before it counts. */
TEST_F(faults, batches_of_answers)
{
	struct iommu_hwpt_page_response batch[5] = {};
	unsigned int i;
	char *memory;

	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	for (i = 0; i < ARRAY_SIZE(batch); i++) {
		FAULT(0, i);
		batch[i].cookie = i + 1;
		ASSERT_EQ(i + 1, read_fault(self->queue.fd));
	}
	batch[2].code = 3;
	EXPECT_EQ(2 * sizeof(*batch), write_answers(self->queue.fd, batch, sizeof(batch)));
	EXPECT_ANSWERS(2, 0);
	/* The third is not answered, and now by a batch that has it twice. */
	batch[2].code = SUCCESS;
	batch[3].cookie = batch[2].cookie;
	EXPECT_EQ(sizeof(*batch), write_answers(self->queue.fd, &batch[2], 3 * sizeof(*batch)));
	EXPECT_ANSWERS(1, 0);
	/* Where the memory ends. */
	memory = pages(2);
	ASSERT_NE(NULL, memory);
	batch[3].cookie = 4;
	memcpy(memory + PAGE - sizeof(*batch), &batch[3], sizeof(*batch));
	ASSERT_EQ(0, mprotect(memory + PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(sizeof(*batch), write_answers(self->queue.fd, memory + PAGE - sizeof(*batch),
						2 * sizeof(*batch)));
	EXPECT_ANSWERS(1, 0);
	EXPECT_ERRNO(EFAULT, write_answers(self->queue.fd, memory + PAGE - sizeof(*batch) / 2,
					   sizeof(*batch)));
	EXPECT_EQ(sizeof(*batch), write_answers(self->queue.fd, &batch[4], sizeof(*batch)));
	EXPECT_ANSWERS(1, 0);
	munmap(memory, 2 * PAGE);
}

/* Never a part of a group, and in the order in which they came. */
TEST_F(faults, groups_are_whole)
{
	struct iommu_hwpt_pgfault got[8];
	unsigned int i;

	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	PART(0, 7);
	PART(0, 9);
	PART(0, 7);
	EXPECT_EQ(0, READ(got, sizeof(got)));
	EXPECT_EQ(POLLOUT, ready(self->queue.fd));
	FAULT(0, 7);
	EXPECT_ERRNO(EINVAL, READ(got, 0));
	EXPECT_ERRNO(EINVAL, READ(got, sizeof(*got)));
	EXPECT_ERRNO(EINVAL, READ(got, 2 * sizeof(*got)));
	EXPECT_ERRNO(ESPIPE, READ(got, 3 * sizeof(*got) - 1));
	EXPECT_ERRNO(ESPIPE, READ(got, 1));
	/* The other group is not complete. */
	EXPECT_EQ(3 * sizeof(*got), READ(got, sizeof(got)));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(7, got[i].grpid);
		EXPECT_EQ(1, got[i].cookie);
		EXPECT_EQ(i == 2 ? IOMMU_PGFAULT_FLAGS_LAST_PAGE : 0, got[i].flags);
	}
	FAULT(0, 9);
	FAULT(0, 5);
	PART(0, 6);
	FAULT(0, 6);
	FAULT(0, 4);
	/* There is room for a half of the last one. */
	EXPECT_EQ(3 * sizeof(*got), READ(got, 4 * sizeof(*got)));
	EXPECT_EQ(9, got[0].grpid);
	EXPECT_EQ(9, got[1].grpid);
	EXPECT_EQ(5, got[2].grpid);
	EXPECT_EQ(2, got[0].cookie);
	EXPECT_EQ(2, got[1].cookie);
	EXPECT_EQ(3, got[2].cookie);
	/* Nothing that would fit gets before it. */
	EXPECT_ERRNO(EINVAL, READ(got, sizeof(*got)));
	EXPECT_EQ(3 * sizeof(*got), READ(got, sizeof(got)));
	EXPECT_EQ(6, got[0].grpid);
	EXPECT_EQ(6, got[1].grpid);
	EXPECT_EQ(4, got[2].grpid);
	/* A group has one answer. */
	for (i = 1; i <= 5; i++)
		EXPECT_EQ(ANSWER_SIZE, ANSWER(i, SUCCESS));
	EXPECT_ANSWERS(5, 0);
	NOTHING_LEFT();
}

/* What cannot be told is told the next time, before all others. */
TEST_F(faults, memory_that_cannot_be_written)
{
	char *memory = pages(2), *end = memory + PAGE;
	struct iommu_hwpt_pgfault got[4];

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, mprotect(end, PAGE, PROT_NONE));
	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	PART(0, 1);
	FAULT(0, 1);
	FAULT(0, 2);
	FAULT(0, 3);
	EXPECT_ERRNO(EFAULT, READ(nowhere, sizeof(got)));
	EXPECT_ERRNO(EFAULT, READ(end - sizeof(*got), sizeof(got)));
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLOUT, ready(self->queue.fd));
	/* What was not told cannot be answered. */
	EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
	/* The second group does not fit. */
	EXPECT_EQ(2 * sizeof(*got), READ(end - 2 * sizeof(*got), sizeof(got)));
	memcpy(got, end - 2 * sizeof(*got), 2 * sizeof(*got));
	EXPECT_EQ(1, got[0].grpid);
	EXPECT_EQ(1, got[1].grpid);
	EXPECT_EQ(1, got[1].cookie);
	EXPECT_EQ(2 * sizeof(*got), READ(got, sizeof(got)));
	EXPECT_EQ(2, got[0].grpid);
	EXPECT_EQ(2, got[0].cookie);
	EXPECT_EQ(3, got[1].grpid);
	EXPECT_EQ(3, got[1].cookie);
	EXPECT_ANSWERS(0, 0);
	munmap(memory, 2 * PAGE);
}

/* Nobody waits in read(2); those who would, poll. */
TEST_F(faults, nobody_waits)
{
	struct iommu_hwpt_pgfault got;

	EXPECT_EQ(0, READ(&got, sizeof(got)));
	EXPECT_EQ(0, READ(nowhere, sizeof(got)));
	EXPECT_EQ(0, READ(nowhere, 0));
	EXPECT_EQ(0, fcntl(self->queue.fd, F_SETFL, O_RDWR | O_NONBLOCK));
	EXPECT_EQ(0, READ(&got, sizeof(got)));
}

struct poller {
	int fd, epoll, result;
	atomic_bool ready;
	pthread_t thread;
};

static void *wait_for_fault(void *data)
{
	struct poller *poller = data;
	struct pollfd poll_fd = { .fd = poller->fd, .events = POLLIN };
	struct epoll_event event;

	poller->ready = true;
	poller->result = poller->epoll < 0 ? poll(&poll_fd, 1, 60000) :
			 epoll_wait(poller->epoll, &event, 1, 60000);
	return NULL;
}

TEST_F(faults, pollers_are_woken)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct poller pollers[] = { { .epoll = -1 }, { .epoll = epoll_create1(EPOLL_CLOEXEC) } };
	unsigned int i;

	ASSERT_EQ(self->nested, MOVE(self->nested));
	ASSERT_EQ(0, epoll_ctl(pollers[1].epoll, EPOLL_CTL_ADD, self->queue.fd, &event));
	for (i = 0; i < ARRAY_SIZE(pollers); i++) {
		pollers[i].fd = self->queue.fd;
		ASSERT_EQ(0, pthread_create(&pollers[i].thread, NULL, wait_for_fault,
					    &pollers[i]));
		while (!pollers[i].ready)
			sched_yield();
	}
	edu_sleep_ms(100);
	FAULT(PASID, 1);
	for (i = 0; i < ARRAY_SIZE(pollers); i++) {
		ASSERT_EQ(0, pthread_join(pollers[i].thread, NULL));
		EXPECT_EQ(1, pollers[i].result);
	}
	/* An edge for each. */
	EXPECT_EQ(0, epoll_wait(pollers[1].epoll, &event, 1, 0));
	FAULT(PASID, 2);
	EXPECT_EQ(1, epoll_wait(pollers[1].epoll, &event, 1, 0));
	/* Whoever polls does not keep the file. */
	close(self->queue.fd);
	EXPECT_EQ(0, epoll_wait(pollers[1].epoll, &event, 1, 0));
	close(pollers[1].epoll);
}

/* It is a file like others: whoever has it can use it. */
TEST_F(faults, another_process)
{
	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	FAULT(0, 1);
	FAULT(0, 2);
	IN_CHILD() {
		EXPECT_EQ(1, read_fault(self->queue.fd));
		EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
		EXPECT_EQ(1, read_fault(self->queue.fd));
	}
	/* What it has read and not answered, others still can. */
	EXPECT_ANSWERS(1, 0);
	EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
	EXPECT_ANSWERS(1, 0);
}

/* --- where they go --------------------------------------------------------------------- */

/* Whoever is on a domain that has no queue is told so at once. */
TEST_F(faults, without_a_queue)
{
	const int hwpts[] = { self->plain, self->parent };
	unsigned int i;

	FAULT(0, 1);
	EXPECT_ANSWERS(0, 1);
	for (i = 0; i < ARRAY_SIZE(hwpts); i++) {
		ASSERT_EQ(hwpts[i], MOVE(hwpts[i]));
		FAULT(0, 1);
		EXPECT_ANSWERS(0, 1);
		FAULT(PASID, 1);
		EXPECT_ANSWERS(0, 1);
	}
	NOTHING_LEFT();
}

/*
 * What carries a PASID that is attached goes where that is; what carries another goes by way of
 * the domain of userspace's alone, in which it is for a guest to say what PASIDs are.
 */
TEST_F(faults, with_pasids)
{
	struct iommu_hwpt_pgfault got;

	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	FAULT(PASID, 1);
	EXPECT_ANSWERS(0, 1);
	ASSERT_EQ(self->nested, MOVE(self->nested));
	FAULT(PASID, 2);
	EXPECT_EQ(sizeof(got), READ(&got, sizeof(got)));
	EXPECT_EQ(PASID, got.pasid);
	EXPECT_EQ(IOMMU_PGFAULT_FLAGS_PASID_VALID | IOMMU_PGFAULT_FLAGS_LAST_PAGE, got.flags);
	EXPECT_EQ(self->dev.device, (int)got.dev_id);
	EXPECT_EQ(ANSWER_SIZE, ANSWER(got.cookie, SUCCESS));
	EXPECT_ANSWERS(1, 0);
	/* It has a domain of its own, without a queue. */
	ASSERT_EQ(self->plain, pasid_attach(self->fd, self->dev.id, PASID, self->plain));
	FAULT(PASID, 3);
	EXPECT_ANSWERS(0, 1);
	FAULT(PASID + 1, 4);
	EXPECT_LT(0, read_fault(self->queue.fd));
	ASSERT_EQ(self->other, pasid_replace(self->fd, self->dev.id, PASID, self->other));
	FAULT(PASID, 5);
	EXPECT_EQ(sizeof(got), READ(&got, sizeof(got)));
	EXPECT_EQ(PASID, got.pasid);
	EXPECT_EQ(5, got.grpid);
	EXPECT_ANSWERS(0, 0);
}

/* --- those who go ---------------------------------------------------------------------- */

/* Two faults by way of where the device is: one that was read, and one that was not. */
#define TWO_FAULTS(pasid_, cookie) do { \
	const uint32_t pasid = pasid_; \
	FAULT(pasid, 1); \
	EXPECT_EQ(cookie, read_fault(self->queue.fd)); \
	FAULT(pasid, 2); \
} while (0)

/* Both are answered, and whatever comes later is not. */
TEST_F(faults, of_whom_is_moved)
{
	const int targets[] = { self->other, self->nested, self->hwpt };
	unsigned int i;

	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	/* It is there already. */
	TWO_FAULTS(0, 1);
	EXPECT_EQ(self->hwpt, MOVE(self->hwpt));
	EXPECT_ANSWERS(0, 0);
	for (i = 0; i < ARRAY_SIZE(targets); i++) {
		EXPECT_EQ(targets[i], MOVE(targets[i]));
		EXPECT_ANSWERS(0, 2);
		EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
		NOTHING_LEFT();
		TWO_FAULTS(0, 1);
		EXPECT_ANSWERS(0, 0);
	}
	EXPECT_LT(0, MOVE(self->ioas));
	EXPECT_ANSWERS(0, 2);
	EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
	NOTHING_LEFT();
}

/* Whoever is refused elsewhere stays, with his faults. */
TEST_F(faults, of_whom_is_not_moved)
{
	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	ASSERT_EQ(self->hwpt, pasid_attach(self->fd, self->dev.id, IOMMU_TEST_PASID_RESERVED,
					   self->hwpt));
	TWO_FAULTS(IOMMU_TEST_PASID_RESERVED, 1);
	EXPECT_ERRNO(ENOMEM, pasid_replace(self->fd, self->dev.id, IOMMU_TEST_PASID_RESERVED,
					   self->other));
	EXPECT_ANSWERS(0, 0);
	EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
	EXPECT_EQ(1, read_fault(self->queue.fd));
	EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
	EXPECT_ANSWERS(2, 0);
}

/* A PASID goes alone. */
TEST_F(faults, of_a_pasid_that_goes)
{
	ASSERT_EQ(self->nested, MOVE(self->nested));
	TWO_FAULTS(0, 1);
	ASSERT_EQ(self->hwpt, pasid_attach(self->fd, self->dev.id, PASID, self->hwpt));
	ASSERT_EQ(self->hwpt, pasid_attach(self->fd, self->dev.id, PASID + 1, self->hwpt));
	/* It is behind the second of those above. */
	FAULT(PASID, 3);
	FAULT(PASID + 1, 4);
	EXPECT_EQ(2, read_fault(self->queue.fd));
	EXPECT_EQ(3, read_fault(self->queue.fd));
	FAULT(PASID, 5);
	EXPECT_ANSWERS(0, 0);
	EXPECT_EQ(self->other, pasid_replace(self->fd, self->dev.id, PASID, self->other));
	EXPECT_ANSWERS(0, 2);
	EXPECT_ERRNO(EINVAL, ANSWER(3, SUCCESS));
	FAULT(PASID, 6);
	EXPECT_OK(pasid_detach(self->fd, self->dev.id, PASID));
	EXPECT_ANSWERS(0, 1);
	/* By way of the domain of userspace's now. */
	FAULT(PASID, 7);
	EXPECT_ANSWERS(0, 0);
	EXPECT_LT(0, MOVE(self->other));
	EXPECT_ANSWERS(0, 3);
	EXPECT_EQ(3, read_fault(self->queue.fd) + 2);
	EXPECT_OK(pasid_detach(self->fd, self->dev.id, PASID + 1));
	EXPECT_ANSWERS(0, 1);
	NOTHING_LEFT();
}

/* Nobody can read or answer any more, and no device waits for it. */
TEST_F(faults, of_a_file_that_is_closed)
{
	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	TWO_FAULTS(0, 1);
	EXPECT_EQ(0, close(dup(self->queue.fd)));
	EXPECT_ANSWERS(0, 0);
	EXPECT_EQ(0, close(self->queue.fd));
	EXPECT_ANSWERS(0, 2);
	FAULT(0, 3);
	EXPECT_ANSWERS(0, 1);
	EXPECT_EQ(self->other, MOVE(self->other));
	FAULT(0, 4);
	EXPECT_ANSWERS(0, 1);
}

/* The device goes, and so do its faults. */
TEST_F(faults, of_a_device_that_is_unplugged)
{
	struct mock second;

	ASSERT_OK(mock_add(self->fd, self->ioas, &second));
	ASSERT_EQ(self->hwpt, mock_move(self->fd, second.id, self->hwpt));
	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	TWO_FAULTS(0, 1);
	EXPECT_OK(fault(self->fd, second.device, 0, 3));
	EXPECT_EQ(2, read_fault(self->queue.fd));
	EXPECT_EQ(3, read_fault(self->queue.fd));
	PART(0, 5);
	EXPECT_OK(fault(self->fd, second.device, 0, 4));
	EXPECT_OK(DESTROY(self->dev.id));
	EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
	EXPECT_ERRNO(EINVAL, ANSWER(2, SUCCESS));
	EXPECT_EQ(ANSWER_SIZE, ANSWER(3, SUCCESS));
	EXPECT_EQ(1, read_fault(self->queue.fd));
	NOTHING_LEFT();
	EXPECT_EQ(1, answers(self->fd, second.device, SUCCESS));
	EXPECT_EQ(0, answers(self->fd, second.device, INVALID));
	EXPECT_OK(DESTROY(second.id));
	EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
}

/* The file of a queue keeps the context, of which nothing else is there. */
TEST_F(faults, of_a_context_that_is_closed)
{
	unsigned int devices = mock_count();

	ASSERT_EQ(self->nested, MOVE(self->nested));
	TWO_FAULTS(0, 1);
	EXPECT_EQ(0, close(self->fd));
	EXPECT_EQ(devices - 1, mock_count());
	EXPECT_ERRNO(EINVAL, ANSWER(1, SUCCESS));
	NOTHING_LEFT();
	EXPECT_EQ(POLLOUT, ready(self->queue.fd));
	EXPECT_EQ(0, close(self->queue.fd));
	self->fd = -1;
	self->queue.fd = -1;
}

/* --- at the same time ------------------------------------------------------------------ */

struct reader {
	int fd;
	void *memory;
	long result;
	atomic_bool done;
	pthread_t thread;
};

static void *read_one(void *data)
{
	struct reader *reader = data;

	reader->result = read_faults(reader->fd, reader->memory, FAULT_SIZE);
	reader->done = true;
	return NULL;
}

/* Whoever reads into memory that makes him wait has nobody else wait. */
TEST_F(faults, slow_reader)
{
	struct reader reader = { .fd = self->queue.fd, .memory = pages(1) };
	int stopper;

	ASSERT_NE(NULL, reader.memory);
	ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
	FAULT(0, 1);
	FAULT(0, 2);
	stopper = stop_at(reader.memory, PAGE);
	ASSERT_LE(0, stopper);
	ASSERT_EQ(0, pthread_create(&reader.thread, NULL, read_one, &reader));
	wait_for_stop(_metadata, stopper);
	/* Others read and answer what comes behind it, and more comes. */
	FAULT(0, 3);
	EXPECT_EQ(2, read_fault(self->queue.fd));
	EXPECT_EQ(ANSWER_SIZE, ANSWER(2, SUCCESS));
	EXPECT_ANSWERS(1, 0);
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLOUT, ready(self->queue.fd));
	EXPECT_LT(0, shown_in(self->fd, "fault-queue:", "\t"));
	/* What he reads, and the third. */
	EXPECT_EQ(self->other, MOVE(self->other));
	EXPECT_ANSWERS(0, 2);
	EXPECT_FALSE(reader.done);
	FAULT(0, 4);
	/* The cookie is that of another group now. */
	EXPECT_EQ(1, read_fault(self->queue.fd));
	close(stopper);
	ASSERT_EQ(0, pthread_join(reader.thread, NULL));
	EXPECT_EQ(FAULT_SIZE, reader.result);
	EXPECT_EQ(1, ((struct iommu_hwpt_pgfault *)reader.memory)->grpid);
	EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
	EXPECT_ANSWERS(1, 0);
	munmap(reader.memory, PAGE);
}

/* What he could not be told goes back, unless it was answered for him meanwhile. */
TEST_F(faults, slow_reader_that_fails)
{
	unsigned int moved;

	for (moved = 0; moved < 2; moved++) {
		struct reader reader = { .fd = self->queue.fd, .memory = pages(1) };
		int stopper;

		ASSERT_NE(NULL, reader.memory);
		ASSERT_EQ(self->hwpt, MOVE(self->hwpt));
		FAULT(0, 1);
		stopper = stop_at(reader.memory, PAGE);
		ASSERT_LE(0, stopper);
		ASSERT_EQ(0, pthread_create(&reader.thread, NULL, read_one, &reader));
		wait_for_stop(_metadata, stopper);
		FAULT(0, 2);
		if (moved) {
			EXPECT_EQ(self->other, MOVE(self->other));
			EXPECT_ANSWERS(0, 2);
			/* It gets the cookie that he was about to be told. */
			FAULT(0, 3);
			EXPECT_EQ(1, read_fault(self->queue.fd));
		}
		munmap(reader.memory, PAGE);
		close(stopper);
		ASSERT_EQ(0, pthread_join(reader.thread, NULL));
		EXPECT_ERRNO(EFAULT, reader.result);
		if (moved) {
			NOTHING_LEFT();
			EXPECT_EQ(ANSWER_SIZE, ANSWER(1, SUCCESS));
			EXPECT_ANSWERS(1, 0);
		} else {
			struct iommu_hwpt_pgfault got[2];

			EXPECT_EQ(sizeof(got), READ(got, sizeof(got)));
			EXPECT_EQ(1, got[0].grpid);
			EXPECT_EQ(2, got[1].grpid);
			EXPECT_EQ(ANSWER_SIZE, ANSWER(got[0].cookie, SUCCESS));
			EXPECT_EQ(ANSWER_SIZE, ANSWER(got[1].cookie, SUCCESS));
			EXPECT_ANSWERS(2, 0);
		}
	}
}

struct crowd {
	int fd;
	struct mock dev;
	const int *hwpts;
	struct fault_queue queue;
	atomic_bool stop;
	atomic_uint faults, answered, odd;
};

static void *have_faults(void *data)
{
	struct crowd *crowd = data;
	unsigned int round;

	for (round = 0; !crowd->stop; round++) {
		crowd->odd += fault(crowd->fd, crowd->dev.device, round % 3 ? 0 : PASID,
				    round % 512) != 0;
		crowd->faults++;
	}
	return NULL;
}

static void *read_and_answer(void *data)
{
	struct crowd *crowd = data;
	struct iommu_hwpt_page_response batch[4];
	struct iommu_hwpt_pgfault got[4];
	long size, i;

	while (!crowd->stop) {
		size = read_faults(crowd->queue.fd, got, sizeof(got)) / (long)sizeof(*got);
		for (i = 0; i < size; i++)
			batch[i] = (struct iommu_hwpt_page_response) { .cookie = got[i].cookie };
		if (size <= 0) {
			crowd->odd += size < 0;
			continue;
		}
		size = write_answers(crowd->queue.fd, batch, size * sizeof(*batch));
		/* Others may have answered for us. */
		if (size > 0)
			crowd->answered += size / sizeof(*batch);
		else
			crowd->odd += size != -EINVAL;
	}
	return NULL;
}

static void *move_about(void *data)
{
	struct crowd *crowd = data;
	unsigned int round;

	for (round = 0; !crowd->stop; round++) {
		int hwpt = crowd->hwpts[round % 4];

		crowd->odd += mock_move(crowd->fd, crowd->dev.id, hwpt) != hwpt;
		if (round % 4 == 1)
			crowd->odd += pasid_attach(crowd->fd, crowd->dev.id, PASID, hwpt) != hwpt;
		else if (round % 4 == 2)
			crowd->odd += pasid_replace(crowd->fd, crowd->dev.id, PASID, hwpt) != hwpt;
		else if (round % 4 == 3)
			crowd->odd += pasid_detach(crowd->fd, crowd->dev.id, PASID) != 0;
		sched_yield();
	}
	return NULL;
}

static void *look_on(void *data)
{
	struct crowd *crowd = data;

	while (!crowd->stop) {
		crowd->odd += destroy(crowd->fd, crowd->queue.id) != -EBUSY;
		crowd->odd += !(ready(crowd->queue.fd) & POLLOUT);
	}
	return NULL;
}

/* Whatever happens at the same time, each group is answered once. */
TEST_F(faults, crowd)
{
	void *(*const what[])(void *) = {
		have_faults, have_faults, read_and_answer, read_and_answer, move_about, look_on,
	};
	const int hwpts[] = { self->hwpt, self->other, self->nested, self->plain };
	struct crowd crowd = {
		.fd = self->fd, .dev = self->dev, .hwpts = hwpts, .queue = self->queue,
	};
	pthread_t threads[ARRAY_SIZE(what)];
	unsigned int i, most = scaled(20000, 500);
	int total = 0;

	for (i = 0; i < ARRAY_SIZE(what); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, what[i], &crowd));
	while (crowd.faults < most)
		edu_sleep_ms(20);
	crowd.stop = true;
	for (i = 0; i < ARRAY_SIZE(what); i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	EXPECT_EQ(0, crowd.odd);
	/* Whoever has not been answered yet is when the file goes. */
	EXPECT_EQ(0, close(self->queue.fd));
	EXPECT_EQ((int)crowd.answered, answers(self->fd, self->dev.device, SUCCESS));
	for (i = SUCCESS; i <= FAILURE; i++)
		total += answers(self->fd, self->dev.device, i);
	EXPECT_EQ((int)crowd.faults, total);
	EXPECT_LT(0, (int)crowd.answered);
}

TEST_HARNESS_MAIN
