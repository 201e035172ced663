/* SPDX-License-Identifier: GPL-2.0 */
/*
 * As much of an NVMe controller as it takes to read from it: registers, commands,
 * and queues that lie in an I/O address space.
 */
#ifndef SAMPLES_IOMMUFD_NVME_H
#define SAMPLES_IOMMUFD_NVME_H

#include <endian.h>
#include <time.h>

#include "vfio_pci.h"

#define NVME_CLASS "0x010802"

#define NVME_REG_CAP 0x00
#define NVME_REG_CC 0x14
#define NVME_REG_CSTS 0x1c
#define NVME_REG_AQA 0x24
#define NVME_REG_ASQ 0x28
#define NVME_REG_ACQ 0x30
#define NVME_REG_DOORBELLS 0x1000

#define NVME_CC_ENABLE 1
#define NVME_CC_ENTRY_SIZES (6 << 16 | 4 << 20)	/* 64 and 16 bytes */
#define NVME_CSTS_READY 1

#define NVME_ADMIN_CREATE_SQ 0x01
#define NVME_ADMIN_CREATE_CQ 0x05
#define NVME_ADMIN_IDENTIFY 0x06
#define NVME_IO_READ 0x02

#define NVME_IDENTIFY_NAMESPACE 0
#define NVME_IDENTIFY_CONTROLLER 1

#define NVME_PAGE 4096
#define NVME_QUEUE_ENTRIES 16
#define NVME_TIMEOUT_S 60

struct nvme_command {
	uint8_t opcode;
	uint8_t flags;
	uint16_t id;
	uint32_t namespace;
	uint64_t reserved;
	uint64_t metadata;
	uint64_t data[2];	/* two pages, or a page and a list of pages */
	uint32_t args[6];	/* "command dwords" 10 to 15 */
};

struct nvme_completion {
	uint32_t result;
	uint32_t reserved;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t id;
	uint16_t status;	/* bit 0: the phase, which says whether this is a new one */
};

/* A pair of queues: a page for commands, and one for completions behind it. */
struct nvme_queue {
	unsigned int id;
	struct nvme_command *commands;
	volatile struct nvme_completion *completions;
	unsigned int next;
	bool phase;
};

struct nvme {
	int fd;
	void *bar;
	size_t bar_size;
};

static inline volatile uint32_t *nvme_reg32(struct nvme *nvme, unsigned int offset)
{
	return (volatile uint32_t *)((char *)nvme->bar + offset);
}

/* Two halves, for not every controller takes both in one access. */
static inline void nvme_write64(struct nvme *nvme, unsigned int offset, uint64_t value)
{
	*nvme_reg32(nvme, offset) = value;
	*nvme_reg32(nvme, offset + 4) = value >> 32;
}

static inline uint32_t nvme_cap_high(struct nvme *nvme)
{
	return *nvme_reg32(nvme, NVME_REG_CAP + 4);
}

static inline volatile uint32_t *nvme_doorbell(struct nvme *nvme, struct nvme_queue *queue,
					       bool completion)
{
	unsigned int stride = 4 << (nvme_cap_high(nvme) & 0xf);

	return nvme_reg32(nvme, NVME_REG_DOORBELLS + (2 * queue->id + completion) * stride);
}

static inline bool nvme_is_late(time_t end)
{
	struct timespec pause = { 0, 1000000 };

	nanosleep(&pause, NULL);
	return time(NULL) > end;
}

static inline int nvme_wait_ready(struct nvme *nvme, bool ready)
{
	time_t end = time(NULL) + NVME_TIMEOUT_S;

	while ((*nvme_reg32(nvme, NVME_REG_CSTS) & NVME_CSTS_READY) != ready)
		if (nvme_is_late(end))
			return -ETIMEDOUT;
	return 0;
}

static inline void nvme_queue_init(struct nvme_queue *queue, unsigned int id, void *memory)
{
	memset(memory, 0, 2 * NVME_PAGE);
	queue->id = id;
	queue->commands = memory;
	queue->completions = (void *)((char *)memory + NVME_PAGE);
	queue->next = 0;
	queue->phase = true;
}

/* Start the controller over, with the admin queue at @iova. */
static inline int nvme_start(struct nvme *nvme, uint64_t iova)
{
	uint32_t entries = NVME_QUEUE_ENTRIES - 1;
	int ret;

	*nvme_reg32(nvme, NVME_REG_CC) = 0;
	ret = nvme_wait_ready(nvme, false);
	if (ret)
		return ret;
	*nvme_reg32(nvme, NVME_REG_AQA) = entries << 16 | entries;
	nvme_write64(nvme, NVME_REG_ASQ, iova);
	nvme_write64(nvme, NVME_REG_ACQ, iova + NVME_PAGE);
	*nvme_reg32(nvme, NVME_REG_CC) = NVME_CC_ENTRY_SIZES | NVME_CC_ENABLE;
	return nvme_wait_ready(nvme, true);
}

/*
 * Issue a command and wait for its end. Returns 0, the status that the controller
 * gave it (positive), or a negative errno.
 */
static inline int nvme_run(struct nvme *nvme, struct nvme_queue *queue,
			   const struct nvme_command *command)
{
	volatile struct nvme_completion *completion = &queue->completions[queue->next];
	time_t end = time(NULL) + NVME_TIMEOUT_S;
	unsigned int status;

	queue->commands[queue->next] = *command;
	queue->commands[queue->next].id = queue->next;
	queue->next = (queue->next + 1) % NVME_QUEUE_ENTRIES;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*nvme_doorbell(nvme, queue, false) = queue->next;
	while ((completion->status & 1) != queue->phase)
		if (nvme_is_late(end))
			return -ETIMEDOUT;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	status = completion->status >> 1;
	queue->phase ^= !queue->next;
	*nvme_doorbell(nvme, queue, true) = queue->next;
	return status & 0x7ff;
}

static inline int nvme_identify(struct nvme *nvme, struct nvme_queue *admin, unsigned int what,
				uint64_t iova)
{
	struct nvme_command command = {
		.opcode = NVME_ADMIN_IDENTIFY,
		.namespace = what == NVME_IDENTIFY_NAMESPACE,
		.data = { iova },
		.args = { what },
	};

	return nvme_run(nvme, admin, &command);
}

/* Make a pair of queues, whose two pages are at @iova, known to the controller. */
static inline int nvme_create_queue(struct nvme *nvme, struct nvme_queue *admin,
				    struct nvme_queue *queue, uint64_t iova)
{
	struct nvme_command command = {
		.opcode = NVME_ADMIN_CREATE_CQ,
		.data = { iova + NVME_PAGE },
		.args = { (NVME_QUEUE_ENTRIES - 1) << 16 | queue->id, 1 },
	};
	int ret = nvme_run(nvme, admin, &command);

	if (ret)
		return ret;
	command.opcode = NVME_ADMIN_CREATE_SQ;
	command.data[0] = iova;
	command.args[1] = queue->id << 16 | 1;
	return nvme_run(nvme, admin, &command);
}

/*
 * Read @count blocks from @block on to @iova, which begins a page. @list is a page
 * for the addresses of all pages but the first, and at @list_iova.
 */
static inline int nvme_read_blocks(struct nvme *nvme, struct nvme_queue *queue, uint64_t block,
				   unsigned int count, uint64_t iova, uint64_t *list,
				   uint64_t list_iova)
{
	struct nvme_command command = {
		.opcode = NVME_IO_READ,
		.namespace = 1,
		.data = { iova, list_iova },
		.args = { block, block >> 32, count - 1 },
	};
	unsigned int i;

	for (i = 0; i < NVME_PAGE / sizeof(*list); i++)
		list[i] = htole64(iova + (i + 1) * NVME_PAGE);
	return nvme_run(nvme, queue, &command);
}

#endif /* SAMPLES_IOMMUFD_NVME_H */
