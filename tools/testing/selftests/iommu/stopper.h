/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that stops whoever touches it, and says so: nothing that depends on it is left
 * to chance. It is userfaultfd(2).
 */
#ifndef SELFTESTS_IOMMU_STOPPER_H
#define SELFTESTS_IOMMU_STOPPER_H

#include <linux/userfaultfd.h>
#include <poll.h>

#include "ioasid_utils.h"

/* Whoever touches @memory, which nobody has yet, waits until the descriptor is closed. */
static inline int stop_at(char *memory, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { (uintptr_t)memory, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		return -errno;
	return fd;
}

static inline void wait_for_stop(struct __test_metadata *_metadata, int stopper)
{
	struct pollfd wait = { .fd = stopper, .events = POLLIN };
	struct uffd_msg message;

	ASSERT_EQ(1, poll(&wait, 1, 60000));
	ASSERT_EQ(sizeof(message), read(stopper, &message, sizeof(message)));
}

#endif /* SELFTESTS_IOMMU_STOPPER_H */
