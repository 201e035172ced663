// SPDX-License-Identifier: GPL-2.0
/*
 * Mainline's calls without a domain, and what a domain that comes pins: maps of memory and
 * of files, and copies, whose every page is pinned once, for as long as a space with a
 * domain has it.
 */
#include <pthread.h>
#include <sys/stat.h>

#include "books.h"
#include "carry.h"
#include "container_calls.h"
#include "mapper.h"
#include "sources.h"
#include "stopper.h"

#define TEST_PAGES 32

FIXTURE(pinning)
{
	struct bound b;
	int ioas;
	int other;
	char *memory;
	long pins;
};

/* How the first domain comes: with a device, or as one of userspace's own, without. */
FIXTURE_VARIANT(pinning)
{
	bool own;
};

FIXTURE_VARIANT_ADD(pinning, by_attach)
{
};

FIXTURE_VARIANT_ADD(pinning, by_hwpt_alloc)
{
	.own = true,
};

FIXTURE_SETUP(pinning)
{
	int ret = bound_open(&self->b);

	if (ret == -ENODEV)
		SKIP(return, NO_DEVICE);
	ASSERT_OK(ret);
	ASSERT_OK(edu_start(&self->b.edu));
	self->ioas = ioas_alloc(self->b.fd);
	self->other = ioas_alloc(self->b.fd);
	ASSERT_LT(self->ioas, self->other);
	self->memory = pages(TEST_PAGES);
	ASSERT_NE(NULL, self->memory);
	self->pins = held_pins();
}

FIXTURE_TEARDOWN(pinning)
{
	bound_close(&self->b);
	expect_nothing_left(_metadata, self->pins);
}

#define AT(number) (IOVA + (number) * PAGE)
#define MEMORY(number) (self->memory + (number) * PAGE)
#define MAP_OF(memory, first, count) \
	ioas_map(self->b.fd, self->ioas, memory, (count) * PAGE, AT(first))
#define MAP(first, count) ioas_map_pages(self->b.fd, self->ioas, self->memory, first, count)
#define UNMAP_OF(ioas, first, count) ioas_unmap(self->b.fd, ioas, AT(first), (count) * PAGE)
#define UNMAP(first, count) UNMAP_OF(self->ioas, first, count)
/* Page TO and those behind it, of the other space, become what is at page FROM of the first. */
#define COPY(to, from, count) \
	ioas_copy(self->b.fd, self->other, AT(to), self->ioas, AT(from), (count) * PAGE)
#define EXPECT_HELD(count) expect_held(_metadata, self->b.fd, self->pins, count)
#define EXPECT_CHARGED(count) \
	EXPECT_EQ((count) * 4, shown_in(self->b.fd, "held:", " charged "))

/* Whether the device reaches @memory when it is on that domain. */
static bool reaches_by(struct __test_metadata *_metadata, struct bound *b, int domain,
		       uint64_t iova, char *memory)
{
	ASSERT_EQ(domain, attach_pt(b->edu.fd, domain));
	return reaches(_metadata, &b->edu, iova, memory);
}

#define REACHES(domain, number, memory) \
	reaches_by(_metadata, &self->b, domain, AT(number), memory)

/* The id of the domain that has come, or a negative errno. */
static int begin_domain(const struct bound *b, bool own, int ioas)
{
	return own ? hwpt_alloc(b->fd, b->id, ioas, 0) : attach_pt(b->edu.fd, ioas);
}

static int end_domain(const struct bound *b, bool own, int domain)
{
	int ret = vfio_detach(b->edu.fd);

	return ret || !own ? ret : destroy(b->fd, domain);
}

#define BEGIN(ioas) begin_domain(&self->b, variant->own, ioas)
#define END(domain) end_domain(&self->b, variant->own, domain)
/* A second domain, whichever way the first has come. */
#define BEGIN_OWN(ioas) begin_domain(&self->b, true, ioas)
#define END_OWN(domain) destroy(self->b.fd, domain)

/* --- domains ------------------------------------------------------------------------- */

TEST_F(pinning, as_long_as_there_is_a_domain)
{
	int first, second;

	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(MAP(4, 1));
	EXPECT_LT(0, ioas_map_any(self->b.fd, self->ioas, MEMORY(5), 3 * PAGE));
	EXPECT_HELD(0);
	first = BEGIN(self->ioas);
	ASSERT_LT(0, first);
	EXPECT_HELD(8);
	second = BEGIN_OWN(self->ioas);
	ASSERT_LT(0, second);
	EXPECT_HELD(8);
	EXPECT_TRUE(REACHES(second, 4, MEMORY(4)));
	EXPECT_OK(END(first));
	EXPECT_HELD(8);
	ASSERT_OK(MAP(16, 2));
	EXPECT_HELD(10);
	EXPECT_OK(END_OWN(second));
	EXPECT_HELD(0);
	/* What was mapped is there, and comes back with the next one. */
	EXPECT_ERRNO(EEXIST, MAP(3, 1));
	EXPECT_EQ(PAGE, UNMAP(4, 1));
	first = BEGIN(self->ioas);
	ASSERT_LT(0, first);
	EXPECT_HELD(9);
	EXPECT_TRUE(REACHES(first, 17, MEMORY(17)));
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	EXPECT_HELD(5);
	EXPECT_OK(END(first));
	EXPECT_HELD(0);
}

/* One that fails leaves no domain, and no id. */
TEST_F(pinning, a_domain_that_cannot_be)
{
	char *gone = pages(4);
	struct books before;
	int domain;

	ASSERT_OK(MAP(0, 4));
	ASSERT_OK(MAP_OF(gone, 4, 4));
	ASSERT_OK(MAP(8, 4));
	ASSERT_OK(munmap(gone + 2 * PAGE, PAGE));
	before = read_books(self->b.fd);
	EXPECT_ERRNO(EFAULT, BEGIN(self->ioas));
	expect_books(_metadata, self->b.fd, &before);
	EXPECT_EQ(self->other + 1, ioas_alloc(self->b.fd));
	EXPECT_EQ(4 * PAGE, UNMAP(4, 4));
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_HELD(8);
	EXPECT_TRUE(REACHES(domain, 11, MEMORY(11)));
	EXPECT_OK(END(domain));
}

/* VFIO's type1 unmaps what is in the middle: that is never pinned. */
TEST_F(pinning, cut_before_it_is_pinned)
{
	int domain;

	ASSERT_OK(set_option(self->b.fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 0));
	ASSERT_EQ(self->ioas, vfio_ioas(self->b.fd, IOMMU_VFIO_IOAS_SET, self->ioas));
	ASSERT_OK(MAP(0, 8));
	EXPECT_EQ(2 * PAGE, container_unmap(self->b.fd, AT(3), 2 * PAGE, 0));
	EXPECT_HELD(0);
	ASSERT_OK(munmap(MEMORY(3), 2 * PAGE));
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_HELD(6);
	EXPECT_TRUE(REACHES(domain, 5, MEMORY(5)));
	EXPECT_OK(END(domain));
	EXPECT_HELD(0);
}

TEST_F(pinning, ids_that_are_neither_space_nor_domain)
{
	EXPECT_ERRNO(EINVAL, attach_pt(self->b.edu.fd, self->b.id));
	EXPECT_ERRNO(EINVAL, hwpt_alloc(self->b.fd, self->b.id, self->b.id, 0));
	EXPECT_ERRNO(ENOENT, attach_pt(self->b.edu.fd, 12345));
	EXPECT_ERRNO(EINVAL, hwpt_alloc(self->b.fd, self->b.id, 12345, 0));
}

/* --- copies -------------------------------------------------------------------------- */

/* Which of the two spaces has a domain says what is pinned, in any order. */
TEST_F(pinning, a_copy_of_some)
{
	int first, second;

	ASSERT_OK(MAP(0, 8));
	ASSERT_OK(COPY(20, 2, 3));
	EXPECT_HELD(0);
	first = BEGIN(self->other);
	ASSERT_LT(0, first);
	EXPECT_HELD(3);
	EXPECT_TRUE(REACHES(first, 20, MEMORY(2)));
	EXPECT_TRUE(REACHES(first, 22, MEMORY(4)));
	second = BEGIN_OWN(self->ioas);
	ASSERT_LT(0, second);
	EXPECT_HELD(8);
	EXPECT_OK(END(first));
	EXPECT_HELD(8);
	first = BEGIN(self->other);
	ASSERT_LT(0, first);
	EXPECT_HELD(8);
	EXPECT_OK(END_OWN(second));
	EXPECT_HELD(3);
	EXPECT_TRUE(REACHES(first, 21, MEMORY(3)));
	/* A copy of what is pinned only in part. */
	ASSERT_OK(COPY(24, 4, 4));
	EXPECT_HELD(6);
	EXPECT_TRUE(REACHES(first, 27, MEMORY(7)));
	EXPECT_EQ(3 * PAGE, UNMAP_OF(self->other, 20, 3));
	EXPECT_HELD(4);
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	EXPECT_HELD(4);
	EXPECT_OK(END(first));
	EXPECT_HELD(0);
	EXPECT_EQ(4 * PAGE, UNMAP_OF(self->other, 24, 4));
}

/* A limit that has room for each page once is enough, and counts each once. */
TEST_F(pinning, copies_that_overlap)
{
	static const unsigned int places[] = { 0, 16 };
	unsigned int order, last;
	int domain;

	IN_CHILD() {
		ASSERT_OK(be_limited(8 * PAGE));
		ASSERT_OK(MAP(0, 8));
		for (order = 0; order < 2; order++) {
			ASSERT_OK(COPY(places[0], 0, 5));
			ASSERT_OK(COPY(places[1], 3, 5));
			ASSERT_OK(ioas_map(self->b.fd, self->other, MEMORY(9), PAGE, AT(30)));
			EXPECT_ERRNO(ENOMEM, BEGIN(self->other));
			EXPECT_HELD(0);
			EXPECT_EQ(PAGE, UNMAP_OF(self->other, 30, 1));
			domain = BEGIN(self->other);
			ASSERT_LT(0, domain);
			EXPECT_HELD(8);
			EXPECT_CHARGED(8);
			EXPECT_TRUE(REACHES(domain, 4, MEMORY(4)));
			EXPECT_TRUE(REACHES(domain, 17, MEMORY(4)));
			EXPECT_EQ(5 * PAGE, UNMAP_OF(self->other, places[order], 5));
			EXPECT_HELD(5);
			EXPECT_CHARGED(5);
			last = !order;
			EXPECT_TRUE(REACHES(domain, places[last], MEMORY(3 * last)));
			EXPECT_EQ(5 * PAGE, UNMAP_OF(self->other, places[last], 5));
			EXPECT_HELD(0);
			EXPECT_CHARGED(0);
			EXPECT_OK(END(domain));
		}
	}
}

/* What nobody has is not missed: of the memory only what was copied has to be there. */
TEST_F(pinning, the_original_is_gone)
{
	int domain;

	ASSERT_OK(MAP(0, 8));
	ASSERT_OK(COPY(0, 2, 3));
	EXPECT_EQ(8 * PAGE, UNMAP(0, 8));
	ASSERT_OK(munmap(MEMORY(0), 2 * PAGE));
	ASSERT_OK(munmap(MEMORY(5), 3 * PAGE));
	domain = BEGIN(self->other);
	ASSERT_LT(0, domain);
	EXPECT_HELD(3);
	EXPECT_TRUE(REACHES(domain, 0, MEMORY(2)));
	EXPECT_TRUE(REACHES(domain, 2, MEMORY(4)));
	EXPECT_OK(END(domain));
	EXPECT_HELD(0);
}

/* Pages that are pinned for one space serve the other, even if there are no others any more. */
TEST_F(pinning, the_mapper_is_gone)
{
	struct mapper mapper;
	int first, second;

	IN_MAPPER(&mapper)
		ASSERT_OK(MAP(0, 8));
	first = BEGIN(self->ioas);
	ASSERT_LT(0, first);
	EXPECT_EQ(8, pinned_by(&mapper));
	mapper_end(_metadata, &mapper);
	ASSERT_OK(COPY(0, 2, 3));
	second = BEGIN_OWN(self->other);
	ASSERT_LT(0, second);
	EXPECT_OK(END(first));
	EXPECT_EQ(self->pins + 3, held_pins());
	EXPECT_ERRNO(EFAULT, BEGIN(self->ioas));
	EXPECT_EQ(self->pins + 3, held_pins());
	/* A copy of what is pinned has what it needs. */
	ASSERT_OK(ioas_copy(self->b.fd, self->other, AT(16), self->ioas, AT(3), 2 * PAGE));
	EXPECT_ERRNO(EFAULT, COPY(20, 4, 2));
	EXPECT_EQ(self->pins + 3, held_pins());
	EXPECT_OK(END_OWN(second));
	EXPECT_HELD(0);
	EXPECT_ERRNO(EFAULT, BEGIN(self->other));
	EXPECT_HELD(0);
}

#define MANY 48U		/* pages, of which a mask has a bit each */
#define PLACES 12
#define ROUNDS 300

struct place {
	int ioas;
	uint64_t iova;
	unsigned int first;	/* which pages */
	unsigned int count;	/* none: nothing is there */
};

static uint64_t mask_of(const struct place *place)
{
	return ((1ULL << place->count) - 1) << place->first;
}

/* How many pages the spaces need that have a domain. */
static unsigned int needed(const struct place *places, const int *domains, int first_ioas)
{
	uint64_t mask = 0;
	unsigned int i;

	for (i = 0; i < PLACES; i++)
		if (domains[places[i].ioas - first_ioas])
			mask |= mask_of(&places[i]);
	return __builtin_popcountll(mask);
}

/* A place gets some of what another one has, or all of the memory if none has any. */
static int fill_place(int fd, struct place *place, const struct place *places, char *memory)
{
	unsigned int from = rand() % PLACES, tries = 0, skip;

	while (!places[from].count && tries++ < PLACES)
		from = (from + 1) % PLACES;
	if (!places[from].count) {
		place->first = 0;
		place->count = MANY;
		return ioas_map(fd, place->ioas, memory, MANY * PAGE, place->iova);
	}
	skip = rand() % places[from].count;
	place->first = places[from].first + skip;
	place->count = 1 + rand() % (places[from].count - skip);
	return ioas_copy(fd, place->ioas, place->iova, places[from].ioas,
			 places[from].iova + skip * PAGE, place->count * PAGE);
}

/* Copies of copies, and domains, that come and go in any order. */
TEST_F(pinning, anything)
{
	char *memory = backwards(MANY);
	struct place places[PLACES], *place;
	int domains[2] = { 0, 0 }, which;
	unsigned int round, i;
	bool own;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(self->ioas + 1, self->other);
	memset(places, 0, sizeof(places));
	for (i = 0; i < PLACES; i++) {
		places[i].ioas = self->ioas + i % 2;
		places[i].iova = IOVA + i * MANY * PAGE;
	}
	srand(1);
	for (round = 0; round < ROUNDS; round++) {
		place = &places[rand() % PLACES];
		which = rand() % 2;
		own = variant->own || !which;
		if (rand() % 4 == 0 && domains[which]) {
			ASSERT_OK(own ? END_OWN(domains[which]) : vfio_detach(self->b.edu.fd));
			domains[which] = 0;
		} else if (rand() % 4 == 0 && !domains[which]) {
			domains[which] = begin_domain(&self->b, own, self->ioas + which);
			ASSERT_LT(0, domains[which]);
		} else if (place->count) {
			ASSERT_EQ(place->count * PAGE,
				  ioas_unmap(self->b.fd, place->ioas, place->iova,
					     place->count * PAGE));
			place->count = 0;
		} else {
			ASSERT_OK(fill_place(self->b.fd, place, places, memory));
		}
		EXPECT_HELD(needed(places, domains, self->ioas));
		ASSERT_EQ(needed(places, domains, self->ioas), pinned_pages())
			TH_LOG("in round %u", round);
	}
}

/* --- files --------------------------------------------------------------------------- */

#define FILE_PAGES 8

static int memory_file(void)
{
	int file = memfd_create("pinning", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return ftruncate(file, FILE_PAGES * PAGE) ? -1 : file;
}

#define MAP_FILE_OF(file, from, count) \
	ioas_map_file(self->b.fd, self->ioas, file, (from) * PAGE, (count) * PAGE, AT(0))

/* It is the file that is noted, not the number by which it was open; and no page of it. */
TEST_F(pinning, a_file)
{
	int file = memory_file(), domain;
	char *view = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	struct stat status;

	ASSERT_NE(MAP_FAILED, view);
	ASSERT_OK(MAP_FILE_OF(file, 2, 4));
	EXPECT_HELD(0);
	ASSERT_OK(fstat(file, &status));
	EXPECT_EQ(0, status.st_blocks);
	close(file);
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_HELD(4);
	EXPECT_TRUE(REACHES(domain, 0, view + 2 * PAGE));
	EXPECT_TRUE(REACHES(domain, 3, view + 5 * PAGE));
	EXPECT_OK(END(domain));
	EXPECT_HELD(0);
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_TRUE(REACHES(domain, 3, view + 5 * PAGE));
	EXPECT_OK(END(domain));
	munmap(view, FILE_PAGES * PAGE);
}

TEST_F(pinning, a_file_that_is_cut)
{
	int file = memory_file(), domain;
	struct books before;

	ASSERT_OK(MAP_FILE_OF(file, 0, FILE_PAGES));
	ASSERT_OK(ftruncate(file, (FILE_PAGES - 1) * PAGE));
	before = read_books(self->b.fd);
	EXPECT_ERRNO(EFAULT, BEGIN(self->ioas));
	expect_books(_metadata, self->b.fd, &before);
	ASSERT_OK(ftruncate(file, FILE_PAGES * PAGE));
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_HELD(FILE_PAGES);
	EXPECT_OK(END(domain));
	close(file);
}

/* It counts as mapped for writing from the map to the unmap, whoever comes and goes. */
TEST_F(pinning, a_file_that_is_to_be_sealed)
{
	int file = memory_file(), domain;

	ASSERT_OK(MAP_FILE_OF(file, 0, 4));
	EXPECT_EQ(-1, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_OK(END(domain));
	EXPECT_EQ(-1, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(4 * PAGE, UNMAP(0, 4));
	EXPECT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_ERRNO(EPERM, MAP_FILE_OF(file, 0, 4));
	close(file);
}

/* The contents of a file do not go with the process that mapped it. */
TEST_F(pinning, a_file_of_a_process_that_is_gone)
{
	int file = memory_file(), domain;
	char *view = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	ASSERT_NE(MAP_FAILED, view);
	IN_CHILD()
		ASSERT_OK(MAP_FILE_OF(file, 0, 4));
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(self->pins + 4, held_pins());
	EXPECT_TRUE(REACHES(domain, 3, view + 3 * PAGE));
	EXPECT_OK(END(domain));
	EXPECT_HELD(0);
	munmap(view, FILE_PAGES * PAGE);
	close(file);
}

/* Who has taken over what is mapped pays when it is pinned: not before, and nobody else. */
TEST_F(pinning, another_process_pays)
{
	int file = memory_file(), domain;
	struct mapper payer;

	ASSERT_OK(MAP_FILE_OF(file, 0, 4));
	IN_MAPPER(&payer)
		ASSERT_OK(change_process(self->b.fd));
	EXPECT_EQ(0, pinned_by(&payer));
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_EQ(0, pinned_pages());
	EXPECT_EQ(4, pinned_by(&payer));
	EXPECT_OK(END(domain));
	EXPECT_EQ(0, pinned_by(&payer));
	ASSERT_OK(change_process(self->b.fd));
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_HELD(4);
	EXPECT_EQ(0, pinned_by(&payer));
	EXPECT_OK(END(domain));
	mapper_end(_metadata, &payer);
	close(file);
}

static void *begin_in_thread(void *data)
{
	struct _test_data_pinning *self = data;

	return (void *)(long)hwpt_alloc(self->b.fd, self->b.id, self->ioas, 0);
}

static void *copy_in_thread(void *data)
{
	struct _test_data_pinning *self = data;

	return (void *)(long)COPY(0, 0, 2);
}

/* What the first domain is having pinned is charged once, also if it is copied meanwhile. */
TEST_F(pinning, copied_while_it_is_being_pinned)
{
	pthread_t first, second;
	long domain, copied;
	int other, stopper;

	IN_CHILD() {
		ASSERT_OK(be_limited(8 * PAGE));
		stopper = stop_at(MEMORY(4), 4 * PAGE);
		ASSERT_LE(0, stopper);
		ASSERT_OK(MAP(0, 8));
		other = BEGIN_OWN(self->other);
		ASSERT_LT(0, other);
		ASSERT_EQ(0, pthread_create(&first, NULL, begin_in_thread, self));
		wait_for_stop(_metadata, stopper);
		ASSERT_EQ(0, pthread_create(&second, NULL, copy_in_thread, self));
		usleep(200000);
		close(stopper);
		pthread_join(first, (void **)&domain);
		pthread_join(second, (void **)&copied);
		ASSERT_LT(0, domain);
		EXPECT_OK(copied);
		EXPECT_EQ(8, pinned_pages());
		EXPECT_OK(END_OWN(domain));
		EXPECT_EQ(2, pinned_pages());
		EXPECT_OK(END_OWN(other));
	}
}

/* There is nothing to be charged when it is taken over, but when a domain comes. */
TEST_F(pinning, another_process_cannot_pay)
{
	int file = memory_file(), domain;
	struct mapper payer;
	struct books before;

	IN_CHILD() {
		ASSERT_OK(be_limited(4 * PAGE));
		ASSERT_OK(MAP_FILE_OF(file, 0, 4));
	}
	IN_MAPPER(&payer) {
		ASSERT_OK(be_limited(3 * PAGE));
		ASSERT_OK(change_process(self->b.fd));
	}
	before = read_books(self->b.fd);
	EXPECT_ERRNO(ENOMEM, BEGIN(self->ioas));
	expect_books(_metadata, self->b.fd, &before);
	EXPECT_EQ(0, pinned_by(&payer));
	ASSERT_OK(change_process(self->b.fd));
	domain = BEGIN(self->ioas);
	ASSERT_LT(0, domain);
	EXPECT_HELD(4);
	EXPECT_OK(END(domain));
	mapper_end(_metadata, &payer);
	close(file);
}

TEST_HARNESS_MAIN
