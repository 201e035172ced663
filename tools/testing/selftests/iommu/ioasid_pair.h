/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two edu devices, chosen by what is between them, in one context with two address
 * spaces; and whether each of them reaches memory, as its DMA tells.
 */
#ifndef SELFTESTS_IOMMU_IOASID_PAIR_H
#define SELFTESTS_IOMMU_IOASID_PAIR_H

#include "ioasid_places.h"
#include "ioasid_utils.h"

#define DMA_SIZE 256
#define HALF (EDU_BUFFER_SIZE / 2)

/*
 * The first half of each device's buffer begins with its own mark, to know its
 * writes by. What it reads goes to the second half.
 */
static const char marks[2] = { 0x5a, 0x33 };

static inline int put_mark(struct edu *edu, int fd, char *page, char mark)
{
	int ioasid = ioasid_alloc(fd, 64);

	if (ioasid < 0 || vfio_attach(edu->fd, ioasid) || edu_start(edu))
		return -EIO;
	memset(page, mark, DMA_SIZE);
	if (ioasid_map(fd, ioasid, page, IOVA, PAGE, IOASID_READ) ||
	    edu_dma(edu, EDU_READS_MEMORY, IOVA, 0, DMA_SIZE))
		return -EIO;
	return vfio_detach(edu->fd) ? -EIO : ioasid_free(fd, ioasid);
}

/* The devices A and B, bound to one context that has the spaces X and Y. */
struct pair {
	struct edu edu[2];
	int id[2];
	int fd;
	int space[2];
	char *memory;	/* two pages */
	long pins;
};

#define A 0
#define B 1
#define X 0
#define Y 1

#define NO_PAIR "needs two edu devices bound to vfio-pci, in the right groups"

/* False if there are no such devices; see find_pair(). */
static inline bool pair_open(struct __test_metadata *_metadata, struct pair *p,
			     enum kinship wanted, const char *second)
{
	int i;

	p->fd = open_iommufd();
	if (p->fd < 0 || find_pair(wanted, second, p->edu))
		return false;
	p->memory = pages(2);
	ASSERT_NE(NULL, p->memory);
	p->pins = held_pins();
	for (i = 0; i < 2; i++) {
		ASSERT_OK(edu_open(&p->edu[i]));
		p->id[i] = vfio_bind(p->edu[i].fd, p->fd);
		ASSERT_LT(0, p->id[i]);
		ASSERT_OK(put_mark(&p->edu[i], p->fd, p->memory, marks[i]));
	}
	for (i = 0; i < 2; i++) {
		p->space[i] = ioasid_alloc(p->fd, 64);
		ASSERT_LT(0, p->space[i]);
	}
	return true;
}

static inline void pair_close(struct __test_metadata *_metadata, struct pair *p)
{
	edu_close(&p->edu[A]);
	edu_close(&p->edu[B]);
	close(p->fd);
	expect_nothing_left(_metadata, p->pins);
}

/*
 * True if device A or B both reads and writes that page of memory at @iova; if not,
 * it must do neither.
 */
static inline bool reaches_at(struct __test_metadata *_metadata, struct pair *p, int who,
			      unsigned int page, uint64_t iova)
{
	static char serial;	/* below the marks, and never 0 */
	char *memory = p->memory + page * PAGE;
	struct edu *edu = &p->edu[who];
	char expected[DMA_SIZE];
	bool wrote, read;

	memset(expected, marks[who], DMA_SIZE);
	memset(memory, 0, 2 * DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, iova, 0, DMA_SIZE));
	wrote = !memcmp(memory, expected, DMA_SIZE);
	if (!wrote)
		EXPECT_TRUE(is_zero(memory, DMA_SIZE));
	serial = serial % 50 + 1;
	memset(memory, serial, DMA_SIZE);
	memset(expected, serial, DMA_SIZE);
	ASSERT_OK(edu_dma(edu, EDU_READS_MEMORY, iova, HALF, DMA_SIZE));
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, iova + DMA_SIZE, HALF, DMA_SIZE));
	read = !memcmp(memory + DMA_SIZE, expected, DMA_SIZE);
	EXPECT_EQ(wrote, read);
	return wrote;
}

/* The last address that a device can use where it is. */
static inline uint64_t last_iova(struct pair *p, int who)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	uint64_t last;

	if (device_get_info(p->fd, p->id[who], &info))
		return 0;
	cap = device_iova_ranges(info);
	last = cap && cap->nr_iovas ? cap->iova_ranges[cap->nr_iovas - 1].end : 0;
	free(info);
	return last;
}

#define PAGE_OF(number) (p->memory + (number) * PAGE)
#define REACHES_AT(who, number, iova) reaches_at(_metadata, p, who, number, iova)
#define REACHES(who, number) REACHES_AT(who, number, IOVA)
#define MAP_AT(where, number, iova) \
	ioasid_map(p->fd, p->space[where], PAGE_OF(number), iova, PAGE, IOASID_RW)
#define MAP(where, number) MAP_AT(where, number, IOVA)
#define UNMAP_AT(where, iova) unmap(p->fd, p->space[where], iova, PAGE)
#define UNMAP(where) UNMAP_AT(where, IOVA)
#define ATTACH(who, where) vfio_attach(p->edu[who].fd, p->space[where])
#define DETACH(who) vfio_detach(p->edu[who].fd)
#define FREE(where) ioasid_free(p->fd, p->space[where])

#endif /* SELFTESTS_IOMMU_IOASID_PAIR_H */
