/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file whose pages come when its owner wants them to, or never: a FUSE server of
 * one file, which is a thread of the owner's.
 */
#ifndef SELFTESTS_IOMMU_LATE_FILE_H
#define SELFTESTS_IOMMU_LATE_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LATE_FILE "/tmp/late-file"
#define LATE_FILE_BYTE 0x5a	/* what it is full of */

struct late_file {
	int fuse;
	int fd;
	size_t size;
	pthread_t server;
	pthread_mutex_t lock;
	sem_t asked;			/* posted for each read that is put off */
	bool opened;			/* reads are answered */
	unsigned int failures;		/* so many reads fail before one is put off */
	struct fuse_in_header put_off[64];
	uint32_t sizes[64];
	unsigned int count;
};

static inline void late_file_reply(struct late_file *file, const struct fuse_in_header *in,
				   int error, const void *data, size_t size)
{
	static __thread char reply[sizeof(struct fuse_out_header) + (256 << 10)];
	struct fuse_out_header head = {
		.len = sizeof(head) + size,
		.error = error,
		.unique = in->unique,
	};

	memcpy(reply, &head, sizeof(head));
	if (data)
		memcpy(reply + sizeof(head), data, size);
	else
		memset(reply + sizeof(head), LATE_FILE_BYTE, size);
	/* Whoever asked may have gone. */
	if (write(file->fuse, reply, head.len) < 0)
		return;
}

static inline void late_file_read(struct late_file *file, const struct fuse_in_header *in,
				  const struct fuse_read_in *read)
{
	pthread_mutex_lock(&file->lock);
	if (file->failures) {
		file->failures--;
		late_file_reply(file, in, -EIO, NULL, 0);
	} else if (file->opened || file->count == sizeof(file->sizes) / sizeof(file->sizes[0])) {
		late_file_reply(file, in, 0, NULL, read->size);
	} else {
		file->put_off[file->count] = *in;
		file->sizes[file->count++] = read->size;
		sem_post(&file->asked);
	}
	pthread_mutex_unlock(&file->lock);
}

static inline void late_file_answer(struct late_file *file, const struct fuse_in_header *in)
{
	const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 128 << 10,
		.flags = FUSE_ASYNC_READ,
		.max_write = 4096,
	};
	const struct fuse_attr_out attr = {
		.attr_valid = 1000,
		.attr = { .ino = 1, .size = file->size, .mode = S_IFREG | 0600, .nlink = 1 },
	};
	const struct fuse_open_out open = { };

	switch (in->opcode) {
	case FUSE_INIT:
		return late_file_reply(file, in, 0, &init, sizeof(init));
	case FUSE_GETATTR:
		return late_file_reply(file, in, 0, &attr, sizeof(attr));
	case FUSE_OPEN:
		return late_file_reply(file, in, 0, &open, sizeof(open));
	case FUSE_READ:
		return late_file_read(file, in, (const struct fuse_read_in *)(in + 1));
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		return late_file_reply(file, in, -EOPNOTSUPP, NULL, 0);
	}
}

static inline void *late_file_serve(void *data)
{
	char request[64 << 10] __attribute__((aligned(8)));
	struct late_file *file = data;
	ssize_t size;

	/* The kernel ends it with ENODEV when the file is gone. */
	for (;;) {
		size = read(file->fuse, request, sizeof(request));
		if (size >= (ssize_t)sizeof(struct fuse_in_header))
			late_file_answer(file, (const struct fuse_in_header *)request);
		else if (size < 0 && errno != EINTR && errno != ENOENT)
			return NULL;
	}
}

/* -errno if it cannot be made. Nothing of it can be read until late_file_let_go(). */
static inline int late_file_make(struct late_file *file, size_t size)
{
	int node = open(LATE_FILE, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
	struct stat status;
	char options[96];

	close(node);
	memset(file, 0, sizeof(*file));
	file->size = size;
	pthread_mutex_init(&file->lock, NULL);
	sem_init(&file->asked, 0, 0);
	file->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (file->fuse < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=100000,user_id=0,group_id=0",
		 file->fuse);
	if (mount("late", LATE_FILE, "fuse", MS_NOSUID | MS_NODEV, options))
		return -errno;
	if (pthread_create(&file->server, NULL, late_file_serve, file))
		return -EAGAIN;
	/* To open it does not tell the kernel its size, but to ask for that does. */
	file->fd = open(LATE_FILE, O_RDONLY | O_CLOEXEC);
	return file->fd < 0 || fstat(file->fd, &status) ? -errno : 0;
}

/* Wait until somebody waits for a page: false if nobody does for long. */
static inline bool late_file_wait(struct late_file *file)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 120;
	return !sem_timedwait(&file->asked, &end);
}

/* Answer what was asked, and whatever will be. */
static inline void late_file_let_go(struct late_file *file)
{
	unsigned int i;

	pthread_mutex_lock(&file->lock);
	file->opened = true;
	for (i = 0; i < file->count; i++)
		late_file_reply(file, &file->put_off[i], 0, NULL, file->sizes[i]);
	file->count = 0;
	pthread_mutex_unlock(&file->lock);
}

/* The end of the file, for whoever waits as well. */
static inline void late_file_end(struct late_file *file)
{
	umount2(LATE_FILE, MNT_FORCE | MNT_DETACH);
	pthread_join(file->server, NULL);
	close(file->fd);
	close(file->fuse);
	unlink(LATE_FILE);
}

#endif /* SELFTESTS_IOMMU_LATE_FILE_H */
