// SPDX-License-Identifier: GPL-2.0
/*
 * More than one device: in groups of their own or in one group, in one address
 * space or in several. Every claim is put to the proof by DMA.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "ioasid_pair.h"

/* --- whatever the groups ------------------------------------------------------- */

FIXTURE(two)
{
	struct pair pair;
};

FIXTURE_VARIANT(two)
{
	enum kinship kinship;
};

FIXTURE_VARIANT_ADD(two, own_iommus)
{
	.kinship = OWN_IOMMUS,
};

FIXTURE_VARIANT_ADD(two, own_groups)
{
	.kinship = OWN_GROUPS,
};

FIXTURE_VARIANT_ADD(two, one_group)
{
	.kinship = ONE_GROUP,
};

FIXTURE_SETUP(two)
{
	if (!pair_open(_metadata, &self->pair, variant->kinship, NULL))
		SKIP(return, NO_PAIR);
}

FIXTURE_TEARDOWN(two)
{
	pair_close(_metadata, &self->pair);
}

TEST_F(two, devices_are_told_apart)
{
	struct pair *p = &self->pair;
	struct iommu_device_info *info;
	int i;

	EXPECT_NE(p->id[A], p->id[B]);
	EXPECT_EQ(1, iommu_check_extension(p->fd, IOMMU_EXT_MULTIDEV_GROUP));
	for (i = 0; i < 2; i++) {
		ASSERT_OK(device_get_info(p->fd, p->id[i], &info));
		EXPECT_NE(NULL, device_iova_ranges(info));
		free(info);
	}
}

TEST_F(two, share_a_space)
{
	struct pair *p = &self->pair;

	/* One is there when the mapping is made; the other finds it. */
	ASSERT_OK(ATTACH(A, X));
	EXPECT_FALSE(REACHES(A, 0));
	ASSERT_OK(MAP(X, 0));
	EXPECT_TRUE(REACHES(A, 0));
	ASSERT_OK(ATTACH(B, X));
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_EQ(1, pinned_pages());
	/* What is unmapped is gone for both; what is mapped then is there for both. */
	ASSERT_EQ(PAGE, UNMAP(X));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_FALSE(REACHES(B, 0));
	ASSERT_OK(MAP(X, 1));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(B, 0));
}

static void orderly_detach(struct __test_metadata *_metadata, struct pair *p, int first)
{
	int last = !first;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(DETACH(first));
	EXPECT_TRUE(REACHES(last, 0));
	EXPECT_ERRNO(EBUSY, FREE(X));
	ASSERT_OK(DETACH(last));
	EXPECT_FALSE(REACHES(first, 0));
	EXPECT_FALSE(REACHES(last, 0));
	EXPECT_OK(FREE(X));
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(two, detach_first_then_second)
{
	orderly_detach(_metadata, &self->pair, A);
}

TEST_F(two, detach_second_then_first)
{
	orderly_detach(_metadata, &self->pair, B);
}

TEST_F(two, closing_one_leaves_the_other)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	edu_close(&p->edu[A]);
	EXPECT_TRUE(REACHES(B, 0));
	/* The context goes with the last device, and with it the pin. */
	close(p->fd);
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_EQ(1, pinned_pages());
	edu_close(&p->edu[B]);
	EXPECT_EQ(0, pinned_pages());
}

TEST_F(two, attach_again_after_the_other_left)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(DETACH(A));
	ASSERT_OK(DETACH(B));
	ASSERT_OK(ATTACH(B, Y));
	ASSERT_OK(ATTACH(A, Y));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_OK(FREE(X));
	EXPECT_ERRNO(EBUSY, FREE(Y));
}

/* Whoever comes back finds all that is mapped, and the other notices nothing. */
TEST_F(two, attach_again_with_live_mappings)
{
	struct pair *p = &self->pair;
	int round, leaver;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	for (round = 0; round < 4; round++) {
		leaver = round % 2;
		ASSERT_OK(edu_dma_start(&p->edu[!leaver], EDU_WRITES_MEMORY, IOVA, 0, DMA_SIZE));
		ASSERT_OK(DETACH(leaver));
		if (round < 2)
			ASSERT_OK(MAP_AT(X, 1, IOVA + (round + 1) * PAGE));
		ASSERT_OK(ATTACH(leaver, X));
		ASSERT_OK(edu_dma_wait(&p->edu[!leaver]));
		EXPECT_EQ(marks[!leaver], PAGE_OF(0)[DMA_SIZE - 1]);
	}
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_TRUE(REACHES_AT(A, 1, IOVA + 2 * PAGE));
	EXPECT_TRUE(REACHES_AT(B, 1, IOVA + PAGE));
	EXPECT_EQ(3, pinned_pages());
}

/* A map that fails in the middle has reached no domain and no counter. */
TEST_F(two, failed_map)
{
	struct pair *p = &self->pair;

	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(munmap(PAGE_OF(1), PAGE));
	EXPECT_ERRNO(EFAULT, ioasid_map(p->fd, p->space[X], p->memory, IOVA, 2 * PAGE, IOASID_RW));
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(p->pins, held_pins());
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_FALSE(REACHES(B, 0));
	EXPECT_OK(MAP(X, 0));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_TRUE(REACHES(B, 0));
}

/* Between the first range that a device can use and the next: where interrupts go. */
static uint64_t find_hole(struct pair *p, int who)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	uint64_t hole = 0;

	if (device_get_info(p->fd, p->id[who], &info))
		return 0;
	cap = device_iova_ranges(info);
	if (cap->nr_iovas > 1)
		hole = cap->iova_ranges[0].end + 1;
	free(info);
	return hole;
}

/* What devices cannot do without is kept free for as long as one of them is there. */
TEST_F(two, reserved_regions)
{
	struct pair *p = &self->pair;
	uint64_t hole = find_hole(p, A);

	ASSERT_NE(0, hole);
	EXPECT_EQ(hole, find_hole(p, B));
	ASSERT_OK(ATTACH(A, X));
	EXPECT_ERRNO(EINVAL, MAP_AT(X, 0, hole));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(DETACH(A));
	EXPECT_ERRNO(EINVAL, MAP_AT(X, 0, hole));
	ASSERT_OK(DETACH(B));
	ASSERT_OK(MAP_AT(X, 0, hole));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(B, X));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(A, X));
	EXPECT_FALSE(REACHES_AT(A, 0, hole));
	/* Nor does a device move there from where it is. */
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, Y));
	EXPECT_ERRNO(EADDRINUSE, ATTACH(A, X));
	EXPECT_TRUE(REACHES(A, 1));
	ASSERT_OK(DETACH(A));
	ASSERT_EQ(PAGE, UNMAP_AT(X, hole));
	EXPECT_OK(ATTACH(A, X));
	EXPECT_OK(ATTACH(B, X));
}

/* --- interrupts ------------------------------------------------------------------ */

/* True if an interrupt that the device raises comes through the IOMMU. */
static bool interrupts(struct __test_metadata *_metadata, struct edu *edu)
{
	struct pollfd pollfd = { .fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN };
	bool came;

	ASSERT_LE(0, pollfd.fd);
	ASSERT_OK(set_interrupt(edu, VFIO_PCI_MSI_IRQ_INDEX, pollfd.fd));
	*edu_reg32(edu, EDU_REG_INTERRUPT_RAISE) = 1;
	came = poll(&pollfd, 1, EDU_TIMEOUT_MS) == 1;
	*edu_reg32(edu, EDU_REG_INTERRUPT_ACK) = 1;
	ASSERT_OK(set_interrupt(edu, VFIO_PCI_MSI_IRQ_INDEX, -1));
	close(pollfd.fd);
	return came;
}

/* They are writes to memory, and have a way through every domain of a space. */
TEST_F(two, interrupts)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	EXPECT_TRUE(interrupts(_metadata, &p->edu[A]));
	EXPECT_TRUE(interrupts(_metadata, &p->edu[B]));
	ASSERT_OK(DETACH(A));
	EXPECT_TRUE(interrupts(_metadata, &p->edu[B]));
	ASSERT_OK(ATTACH(A, X));
	EXPECT_TRUE(interrupts(_metadata, &p->edu[A]));
	EXPECT_TRUE(REACHES(A, 0));
}

/* --- each in a group of its own -------------------------------------------------- */

FIXTURE(apart)
{
	struct pair pair;
};

FIXTURE_VARIANT(apart)
{
	enum kinship kinship;
};

FIXTURE_VARIANT_ADD(apart, own_iommus)
{
	.kinship = OWN_IOMMUS,
};

FIXTURE_VARIANT_ADD(apart, own_groups)
{
	.kinship = OWN_GROUPS,
};

FIXTURE_SETUP(apart)
{
	if (!pair_open(_metadata, &self->pair, variant->kinship, NULL))
		SKIP(return, NO_PAIR);
}

FIXTURE_TEARDOWN(apart)
{
	pair_close(_metadata, &self->pair);
}

TEST_F(apart, spaces_of_their_own)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	EXPECT_FALSE(REACHES(B, 0));
	ASSERT_OK(ATTACH(B, Y));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(A, 1));
	EXPECT_FALSE(REACHES(B, 0));
	/* Each moves without the other. */
	ASSERT_OK(ATTACH(A, Y));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_OK(FREE(X));
	ASSERT_OK(DETACH(B));
	EXPECT_FALSE(REACHES(B, 1));
	EXPECT_TRUE(REACHES(A, 1));
}

TEST_F(apart, contexts_of_their_own)
{
	struct pair *p = &self->pair;
	int other = open_iommufd(), ioasid;

	ASSERT_LE(0, other);
	edu_close(&p->edu[B]);
	ASSERT_OK(edu_open(&p->edu[B]));
	ASSERT_LT(0, vfio_bind(p->edu[B].fd, other));
	ASSERT_OK(edu_start(&p->edu[B]));
	ioasid = ioasid_alloc(other, 64);
	ASSERT_LT(0, ioasid);
	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ioasid_map(other, ioasid, PAGE_OF(0), IOVA, PAGE, IOASID_RW));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(vfio_attach(p->edu[B].fd, ioasid));
	EXPECT_EQ(2, pinned_pages());
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_TRUE(REACHES(B, 0));
	ASSERT_EQ(PAGE, UNMAP(X));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_TRUE(REACHES(B, 0));
	close(other);
}

/* --- both in one group ------------------------------------------------------------- */

FIXTURE(together)
{
	struct pair pair;
};

FIXTURE_SETUP(together)
{
	if (!pair_open(_metadata, &self->pair, ONE_GROUP, NULL))
		SKIP(return, NO_PAIR);
}

FIXTURE_TEARDOWN(together)
{
	pair_close(_metadata, &self->pair);
}

TEST_F(together, one_space)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	EXPECT_ERRNO(EINVAL, ATTACH(B, Y));
	EXPECT_TRUE(REACHES(A, 0));
	EXPECT_OK(FREE(Y));
	ASSERT_OK(ATTACH(B, X));
	EXPECT_TRUE(REACHES(B, 0));
	/* The one that stays still decides, whoever came first. */
	ASSERT_OK(DETACH(A));
	p->space[Y] = ioasid_alloc(p->fd, 64);
	ASSERT_LT(0, p->space[Y]);
	EXPECT_ERRNO(EINVAL, ATTACH(A, Y));
	EXPECT_TRUE(REACHES(B, 0));
	EXPECT_OK(ATTACH(A, X));
	EXPECT_TRUE(REACHES(A, 0));
}

TEST_F(together, move_as_a_whole)
{
	struct pair *p = &self->pair;

	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(MAP(Y, 1));
	ASSERT_OK(ATTACH(A, X));
	ASSERT_OK(ATTACH(B, X));
	ASSERT_OK(ATTACH(B, Y));
	EXPECT_TRUE(REACHES(A, 1));
	EXPECT_TRUE(REACHES(B, 1));
	EXPECT_FALSE(REACHES(A, 0));
	EXPECT_OK(FREE(X));
	EXPECT_ERRNO(EBUSY, FREE(Y));
}

TEST_F(together, one_owner)
{
	struct pair *p = &self->pair;
	int other = open_iommufd();

	ASSERT_LE(0, other);
	ASSERT_OK(MAP(X, 0));
	ASSERT_OK(ATTACH(A, X));
	edu_close(&p->edu[B]);
	ASSERT_OK(edu_open(&p->edu[B]));
	EXPECT_ERRNO(EPERM, vfio_bind(p->edu[B].fd, other));
	EXPECT_TRUE(REACHES(A, 0));
	/* Once nobody owns the group any more, anybody may. */
	edu_close(&p->edu[A]);
	EXPECT_LT(0, vfio_bind(p->edu[B].fd, other));
	close(other);
}

/* --- snooping ------------------------------------------------------------------------ */

/*
 * Whether the IOMMU can force devices to snoop: $SNOOP is yes or no, for the
 * driver's own word for it would make a test that believes whatever it says.
 */
TEST_F(two, enforced_snooping)
{
	struct pair *p = &self->pair;
	const char *snoop = getenv("SNOOP");
	struct iommu_ioasid_alloc alloc = {
		.argsz = sizeof(alloc),
		.flags = IOMMU_IOASID_ENFORCE_SNOOP,
		.type = IOMMU_IOASID_TYPE_KERNEL_TYPE1V2,
		.addr_width = 64,
	};
	struct iommu_device_info *info;
	bool can;

	if (!snoop)
		SKIP(return, "SNOOP= must be yes or no");
	can = !strcmp(snoop, "yes");
	ASSERT_OK(device_get_info(p->fd, p->id[A], &info));
	EXPECT_EQ(can, !!(info->flags & IOMMU_DEVICE_INFO_ENFORCE_SNOOP));
	free(info);
	p->space[Y] = call(p->fd, IOMMU_IOASID_ALLOC, &alloc);
	ASSERT_LT(0, p->space[Y]);
	ASSERT_OK(MAP(Y, 0));
	EXPECT_EQ(can ? 0 : -EINVAL, ATTACH(A, Y));
	EXPECT_EQ(can ? 0 : -EINVAL, ATTACH(B, Y));
	EXPECT_EQ(can, REACHES(A, 0));
	EXPECT_EQ(can, REACHES(B, 0));
	/* Where it is refused, nothing of it stays. */
	if (!can) {
		EXPECT_OK(FREE(Y));
		ASSERT_OK(MAP(X, 1));
		EXPECT_OK(ATTACH(A, X));
		EXPECT_TRUE(REACHES(A, 1));
	}
}

TEST_HARNESS_MAIN
