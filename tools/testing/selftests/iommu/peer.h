/* SPDX-License-Identifier: GPL-2.0 */
/* Devices that reach each other: device A does DMA, to the registers of device B. */
#ifndef SELFTESTS_IOMMU_PEER_H
#define SELFTESTS_IOMMU_PEER_H

#include "ioasid_pair.h"
#include "iommufd_calls.h"
#include "pci_power.h"

#define BAR_IOVA 0x80000000ULL

/* Whether A reaches the registers of B at @bar: both ways, or neither. The memory is at IOVA. */
static inline bool reaches_peer(struct __test_metadata *_metadata, struct pair *p, uint64_t bar)
{
	volatile uint32_t *liveness = edu_reg32(&p->edu[B], EDU_REG_LIVENESS);
	volatile uint32_t *memory = (uint32_t *)p->memory;
	struct edu *edu = &p->edu[A];
	static uint32_t serial = 0x1234567;
	bool wrote, read;

	/* The register's value is the opposite of what is written to it. */
	*liveness = 0;
	*memory = ++serial;
	ASSERT_OK(edu_dma(edu, EDU_READS_MEMORY, IOVA, 0, 4));
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, bar + EDU_REG_LIVENESS, 0, 4));
	wrote = *liveness == ~serial;
	*liveness = ~serial;
	ASSERT_OK(edu_dma(edu, EDU_READS_MEMORY, bar + EDU_REG_LIVENESS, 4, 4));
	ASSERT_OK(edu_dma(edu, EDU_WRITES_MEMORY, IOVA, 4, 4));
	read = *memory == serial;
	EXPECT_EQ(wrote, read);
	return wrote;
}

#define PEER_AT(bar) reaches_peer(_metadata, p, bar)

/* Have device B answer at its BAR, or not. */
static inline int set_memory(struct pair *p, bool on)
{
	return set_memory_enable(p->edu[B].fd, on);
}

#endif /* SELFTESTS_IOMMU_PEER_H */
