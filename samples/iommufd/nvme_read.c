// SPDX-License-Identifier: GPL-2.0
/*
 * A userspace driver for NVMe drives, as small as can be: it reads a drive through
 * an I/O address space, and shows that the drive gets at nothing else.
 */
#include <getopt.h>

#include "ioasid.h"
#include "nvme.h"
#include "say.h"

/* Where things are for the drive: the queues, and what is read, far apart. */
#define QUEUES_IOVA 0x1000000UL
#define DATA_IOVA 0x123400000ULL

/* What is in the first area, in pages. */
#define ADMIN_QUEUE 0
#define IO_QUEUE 2
#define IDENTITY 4
#define LIST 5
#define QUEUES_PAGES 6

#define CHUNK (128UL << 10)	/* read with one command */
#define MARK 0x55

struct reader {
	struct nvme nvme;
	struct nvme_queue admin;
	struct nvme_queue io;
	char address[16];
	char node[48];
	int iommufd;
	int ioasid;
	unsigned char *queues;
	unsigned char *data;
	uint64_t blocks;
	unsigned int block_size;
};

static const char usage[] =
	"usage: nvme_read [--compare FILE] [--output FILE] [DEVICE]\n"
	"\n"
	"Drives an NVMe drive from userspace through /dev/iommu, step by step: identifies\n"
	"it, reads all of its first namespace, and shows that it cannot write to memory\n"
	"that is not mapped any more. Nothing is written to the drive.\n"
	"\n"
	"  --compare FILE  what is read must be what FILE holds\n"
	"  --output FILE   write what is read to FILE\n"
	"  DEVICE          PCI address of a drive that is bound to vfio-pci; default: the\n"
	"                  first one there is\n";

static void find_drive(struct reader *reader, const char *want)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	char class[16];

	while (dir && !reader->node[0] && (entry = readdir(dir))) {
		if (want && strcmp(want, entry->d_name))
			continue;
		pci_sysfs_line(entry->d_name, "class", class, sizeof(class));
		if (!strcmp(class, NVME_CLASS) &&
		    vfio_find_node(entry->d_name, reader->node, sizeof(reader->node)))
			snprintf(reader->address, sizeof(reader->address), "%.15s", entry->d_name);
		else
			reader->node[0] = 0;
	}
	if (dir)
		closedir(dir);
	if (!reader->node[0])
		fail("find an NVMe drive that is bound to vfio-pci");
}

static void *new_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(memory == MAP_FAILED ? -errno : 0, "allocate memory");
	return memory;
}

static void map_data(struct reader *reader)
{
	check(ioasid_map(reader->iommufd, reader->ioasid, reader->data, DATA_IOVA, CHUNK,
			 IOASID_WRITE), "IOMMU_MAP_DMA");
	step("MAP_DMA: %lu KiB at 0x%llx, which the drive may write to", CHUNK >> 10, DATA_IOVA);
}

static void set_up_space(struct reader *reader)
{
	int id;

	reader->nvme.fd = open(reader->node, O_RDWR | O_CLOEXEC);
	check(reader->nvme.fd < 0 ? -errno : 0, "open %s", reader->node);
	reader->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	check(reader->iommufd < 0 ? -errno : 0, "open /dev/iommu (is iommufd loaded?)");
	step("Opened /dev/iommu and %s, an NVMe drive at %s", reader->node, reader->address);
	id = check(vfio_bind(reader->nvme.fd, reader->iommufd), "VFIO_DEVICE_BIND_IOMMUFD");
	reader->ioasid = check(ioasid_alloc(reader->iommufd, 39), "IOMMU_IOASID_ALLOC");
	check(vfio_attach(reader->nvme.fd, reader->ioasid), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	step("BIND, IOASID_ALLOC, ATTACH: device %d does its DMA in IOASID %d", id, reader->ioasid);
	reader->queues = new_memory(QUEUES_PAGES * NVME_PAGE);
	reader->data = new_memory(CHUNK);
	check(ioasid_map(reader->iommufd, reader->ioasid, reader->queues, QUEUES_IOVA,
			 QUEUES_PAGES * NVME_PAGE, IOASID_RW), "IOMMU_MAP_DMA");
	step("MAP_DMA: %d KiB at 0x%lx, for queues", QUEUES_PAGES * NVME_PAGE >> 10, QUEUES_IOVA);
	map_data(reader);
}

static uint64_t queues_iova(unsigned int page)
{
	return QUEUES_IOVA + page * NVME_PAGE;
}

/* Pass a result of nvme_run() on, or end the program if it is not success. */
static void expect_done(int result, const char *what)
{
	check(result, "%s", what);
	if (!result)
		return;
	fprintf(stderr, "FAILED: %s: the drive says 0x%x\n", what, result);
	exit(1);
}

/* The length of @text without the blanks at the end of its @size characters. */
static int trimmed(const unsigned char *text, int size)
{
	while (size && text[size - 1] == ' ')
		size--;
	return size;
}

static void show_identity(struct reader *reader)
{
	unsigned char *identity = reader->queues + IDENTITY * NVME_PAGE;
	uint32_t format;

	expect_done(nvme_identify(&reader->nvme, &reader->admin, NVME_IDENTIFY_CONTROLLER,
				  queues_iova(IDENTITY)), "identify the controller");
	step("IDENTIFY: model '%.*s', serial number '%.*s'", trimmed(identity + 24, 40),
	     identity + 24, trimmed(identity + 4, 20), identity + 4);
	expect_done(nvme_identify(&reader->nvme, &reader->admin, NVME_IDENTIFY_NAMESPACE,
				  queues_iova(IDENTITY)), "identify the namespace");
	memcpy(&reader->blocks, identity, sizeof(reader->blocks));
	memcpy(&format, identity + 128 + 4 * (identity[26] & 0xf), sizeof(format));
	reader->block_size = 1U << (format >> 16 & 0xff);
	detail("%llu blocks of %u bytes", (unsigned long long)reader->blocks, reader->block_size);
	if (!reader->blocks || reader->block_size > CHUNK)
		fail("make sense of the namespace");
}

static void start_drive(struct reader *reader)
{
	check(vfio_pci_start(reader->nvme.fd, &reader->nvme.bar, &reader->nvme.bar_size),
	      "map the registers");
	nvme_queue_init(&reader->admin, 0, reader->queues + ADMIN_QUEUE * NVME_PAGE);
	nvme_queue_init(&reader->io, 1, reader->queues + IO_QUEUE * NVME_PAGE);
	check(nvme_start(&reader->nvme, queues_iova(ADMIN_QUEUE)), "start the controller");
	show_identity(reader);
	expect_done(nvme_create_queue(&reader->nvme, &reader->admin, &reader->io,
				      queues_iova(IO_QUEUE)), "create the queues for reading");
}

static int read_chunk(struct reader *reader, uint64_t block, unsigned int count)
{
	return nvme_read_blocks(&reader->nvme, &reader->io, block, count, DATA_IOVA,
				(uint64_t *)(reader->queues + LIST * NVME_PAGE), queues_iova(LIST));
}

static void expect_same(FILE *file, const unsigned char *data, size_t size, uint64_t offset)
{
	static unsigned char expected[CHUNK];

	if (fread(expected, 1, size, file) != size)
		fail("the file to compare with is shorter than the drive");
	if (!memcmp(expected, data, size))
		return;
	fprintf(stderr, "FAILED: the drive differs from the file, at byte %llu or soon after\n",
		(unsigned long long)offset);
	exit(1);
}

static void read_everything(struct reader *reader, FILE *same, FILE *output)
{
	unsigned int most = CHUNK / reader->block_size, count;
	uint64_t block;

	for (block = 0; block < reader->blocks; block += count) {
		count = reader->blocks - block < most ? reader->blocks - block : most;
		memset(reader->data, MARK, CHUNK);
		expect_done(read_chunk(reader, block, count), "read");
		if (same)
			expect_same(same, reader->data, (size_t)count * reader->block_size,
				    block * reader->block_size);
		if (output && fwrite(reader->data, reader->block_size, count, output) != count)
			fail("write the output");
	}
	step("READ: %llu KiB, %lu KiB at a time",
	     (unsigned long long)(reader->blocks * reader->block_size) >> 10, CHUNK >> 10);
	if (same)
		detail("all of it is what the file holds");
}

/* The drive may write there no more, and its queues go on working. */
static void read_to_nowhere(struct reader *reader)
{
	uint64_t unmapped;
	unsigned long i;
	int status;

	check(ioasid_unmap(reader->iommufd, reader->ioasid, DATA_IOVA, CHUNK, &unmapped),
	      "IOMMU_UNMAP_DMA");
	step("UNMAP_DMA: %llu KiB", (unsigned long long)unmapped >> 10);
	memset(reader->data, MARK, CHUNK);
	status = check(read_chunk(reader, 0, 1), "read");
	for (i = 0; i < CHUNK; i++)
		if (reader->data[i] != MARK)
			fail("the drive wrote to memory that it should not reach");
	/* Not every drive tells, or knows, that it did not get through. */
	step("READ: memory did not change; the drive says 0x%x", status);
	map_data(reader);
	expect_done(read_chunk(reader, 0, 1), "read");
	step("READ: works again");
}

static FILE *open_file(const char *path, const char *mode)
{
	FILE *file = path ? fopen(path, mode) : NULL;

	check(path && !file ? -errno : 0, "open %s", path);
	return file;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "compare", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "output", required_argument, NULL, 'o' },
		{ }
	};
	const char *same_path = NULL, *output_path = NULL;
	struct reader reader = { 0 };
	FILE *same, *output;
	int option;

	while ((option = getopt_long(argc, argv, "c:ho:", options, NULL)) != -1) {
		if (option == 'c') {
			same_path = optarg;
		} else if (option == 'o') {
			output_path = optarg;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	same = open_file(same_path, "r");
	output = open_file(output_path, "w");
	find_drive(&reader, argv[optind]);
	set_up_space(&reader);
	start_drive(&reader);
	read_everything(&reader, same, output);
	if (output && fclose(output))
		fail("write the output");
	read_to_nowhere(&reader);
	step("The drive did all it was asked, and nothing else.");
	return 0;
}
