/* SPDX-License-Identifier: GPL-2.0 */
/* Another process that maps its memory, and stays as long as the test needs it. */
#ifndef SELFTESTS_IOMMU_MAPPER_H
#define SELFTESTS_IOMMU_MAPPER_H

#include "ioasid_utils.h"

struct mapper {
	pid_t pid;
	int socket;
};

/* @mapper in the new process. In its parent NULL, after that one has said that it is ready. */
static inline struct mapper *mapper_start(struct __test_metadata *_metadata,
					  struct mapper *mapper)
{
	int sockets[2];
	char byte;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	mapper->pid = fork();
	ASSERT_LE(0, mapper->pid);
	mapper->socket = sockets[!mapper->pid];
	close(sockets[!!mapper->pid]);
	if (!mapper->pid)
		return mapper;
	/* Nothing comes from one that has ended, or has become another program. */
	ASSERT_LE(0, read(mapper->socket, &byte, 1));
	return NULL;
}

static inline void mapper_stay(struct mapper *mapper)
{
	char byte;

	write(mapper->socket, "", 1);
	read(mapper->socket, &byte, 1);
	_exit(0);
}

/* The block that follows is for the process, which stays there until mapper_end(). */
#define IN_MAPPER(mapper_) \
	for (struct mapper *child_ = mapper_start(_metadata, mapper_); child_; \
	     mapper_stay(child_))

static inline void mapper_end(struct __test_metadata *_metadata, struct mapper *mapper)
{
	EXPECT_OK(kill(mapper->pid, SIGKILL));
	EXPECT_EQ(mapper->pid, waitpid(mapper->pid, NULL, 0));
	close(mapper->socket);
}

/* What is accounted as pinned memory of the process. */
static inline long pinned_by(const struct mapper *mapper)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/status", mapper->pid);
	return counter(path, "VmPin:") * 1024 / (long)PAGE;
}

#endif /* SELFTESTS_IOMMU_MAPPER_H */
