// SPDX-License-Identifier: GPL-2.0
/*
 * What a VMM does with /dev/iommu, from open to close, on QEMU's edu device:
 * real DMA through an I/O address space, then proof that DMA is blocked where
 * nothing is mapped. Or, with --kill, the end of a VMM that gets no chance to
 * close anything.
 */
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "edu.h"
#include "faultlog.h"
#include "ioasid.h"
#include "say.h"

#define IOVA 0x1000000UL
#define MEMORY_SIZE (1UL << 20)
#define PAGE 4096
#define MARK 0x55

/* The mapping's last page, which the device writes to. */
#define IOVA_TARGET (IOVA + MEMORY_SIZE - PAGE)

struct vmm {
	struct edu edu;
	int iommufd;
	int faults;
	int device_id;
	int ioasid;
	unsigned char *memory;
	unsigned char *target;	/* what IOVA_TARGET leads to */
};

static const char usage[] =
	"usage: edu_vmm [--kill] [DEVICE]\n"
	"\n"
	"Does what a VMM does with /dev/iommu, step by step, and shows each step: DMA of\n"
	"an emulated 'edu' PCI device through an I/O address space, and that the IOMMU\n"
	"blocks and reports it once the memory is unmapped or the device detached.\n"
	"Ends with 0 if everything went as it should.\n"
	"\n"
	"  --kill  instead, kill such a VMM in the middle of a DMA, and show that the\n"
	"          device does not reach the VMM's memory from then on\n"
	"  DEVICE  PCI address (0000:00:05.0) or VFIO name (vfio0) of an edu device that\n"
	"          is bound to vfio-pci; default: the first one there is\n";

static void open_everything(struct vmm *vmm, const char *want)
{
	check(edu_find(&vmm->edu, want), "find an edu device with a node in /dev/vfio/devices");
	check(edu_open(&vmm->edu), "open %s", vmm->edu.node);
	vmm->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	check(vmm->iommufd < 0 ? -errno : 0, "open /dev/iommu (is iommufd loaded?)");
	vmm->faults = check(faultlog_open(), "open /dev/kmsg, where the IOMMU's reports are");
	step("Opened /dev/iommu and %s, which is edu at %s", vmm->edu.node, vmm->edu.address);
}

static void show_device_info(struct vmm *vmm)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_device_info *info;
	unsigned int i;

	check(device_get_info(vmm->iommufd, vmm->device_id, &info), "IOMMU_DEVICE_GET_INFO");
	step("DEVICE_GET_INFO: addresses of %u bits, page sizes 0x%llx, snooping %s",
	     info->addr_width, (unsigned long long)info->pgsize_bitmap,
	     info->flags & IOMMU_DEVICE_INFO_ENFORCE_SNOOP ? "can be forced" : "is not forced");
	cap = device_iova_ranges(info);
	for (i = 0; cap && i < cap->nr_iovas; i++)
		detail("usable: 0x%012llx to 0x%012llx",
		       (unsigned long long)cap->iova_ranges[i].start,
		       (unsigned long long)cap->iova_ranges[i].end);
	free(info);
}

static void set_up_device(struct vmm *vmm)
{
	vmm->device_id = check(vfio_bind(vmm->edu.fd, vmm->iommufd), "VFIO_DEVICE_BIND_IOMMUFD");
	step("BIND: the device has id %d", vmm->device_id);
	step("CHECK_EXTENSION: type1v2 mappings %d, windows %d, nesting %d",
	     iommu_check_extension(vmm->iommufd, IOMMU_EXT_MAP_TYPE1V2),
	     iommu_check_extension(vmm->iommufd, IOMMU_EXT_IOVA_WINDOW),
	     iommu_check_extension(vmm->iommufd, IOMMU_EXT_IOASID_NESTING));
	show_device_info(vmm);
	vmm->ioasid = check(ioasid_alloc(vmm->iommufd, 32), "IOMMU_IOASID_ALLOC");
	step("IOASID_ALLOC: a space of 32-bit addresses, IOASID %d", vmm->ioasid);
	check(vfio_attach(vmm->edu.fd, vmm->ioasid), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	step("ATTACH: the device does its DMA in IOASID %d", vmm->ioasid);
	check(edu_start(&vmm->edu), "start the device");
}

static void map_memory(struct vmm *vmm)
{
	check(ioasid_map(vmm->iommufd, vmm->ioasid, vmm->memory, IOVA, MEMORY_SIZE, IOASID_RW),
	      "IOMMU_MAP_DMA");
	step("MAP_DMA: %lu KiB of memory at address 0x%lx", MEMORY_SIZE >> 10, IOVA);
}

/* Memory to device and back, by way of the first and the last page of the mapping. */
static void do_dma(struct vmm *vmm)
{
	int i;

	for (i = 0; i < PAGE; i++)
		vmm->memory[i] = i * 7 + i / 256 + 1;
	check(edu_dma(&vmm->edu, EDU_READS_MEMORY, IOVA, 0, PAGE), "DMA");
	step("DMA: the device read 4 KiB at 0x%lx", IOVA);
	check(edu_dma(&vmm->edu, EDU_WRITES_MEMORY, IOVA_TARGET, 0, PAGE), "DMA");
	step("DMA: the device wrote 4 KiB at 0x%lx", IOVA_TARGET);
	if (memcmp(vmm->memory, vmm->target, PAGE))
		fail("the device did not bring back what it was given");
	detail("what it wrote is what it read");
}

static void check_untouched(struct vmm *vmm)
{
	int i;

	for (i = 0; i < PAGE; i++)
		if (vmm->target[i] != MARK)
			fail("the device wrote to memory that it should not reach");
}

/*
 * The device writes where it just could. Reports are rate limited, hence the
 * tries; and some IOMMUs are silent about a device that has no address space.
 */
static void do_blocked_dma(struct vmm *vmm, bool must_be_reported)
{
	char report[256] = "(no report; not every IOMMU has one for this)";
	bool reported;

	memset(vmm->target, MARK, PAGE);
	reported = faultlog_provoke(vmm->faults, &vmm->edu, EDU_WRITES_MEMORY, IOVA_TARGET, PAGE,
				    must_be_reported ? 10 : 1, report, sizeof(report));
	check_untouched(vmm);
	step("DMA: the device tried to write 4 KiB at 0x%lx; memory did not change", IOVA_TARGET);
	if (must_be_reported && !reported)
		fail("the kernel's log has no report of the IOMMU about it");
	detail("%s", report);
}

static void run(struct vmm *vmm, const char *device)
{
	uint64_t unmapped;

	open_everything(vmm, device);
	set_up_device(vmm);
	map_memory(vmm);
	do_dma(vmm);

	check(ioasid_unmap(vmm->iommufd, vmm->ioasid, IOVA, MEMORY_SIZE, &unmapped),
	      "IOMMU_UNMAP_DMA");
	step("UNMAP_DMA: %llu KiB unmapped", (unsigned long long)unmapped >> 10);
	do_blocked_dma(vmm, true);

	map_memory(vmm);
	check(vfio_detach(vmm->edu.fd), "VFIO_DEVICE_DETACH_IOMMUFD_PT");
	step("DETACH: the memory is mapped again, but the device has left the address space");
	do_blocked_dma(vmm, false);

	check(ioasid_free(vmm->iommufd, vmm->ioasid), "IOMMU_IOASID_FREE");
	step("IOASID_FREE: the address space is gone");
	edu_close(&vmm->edu);
	close(vmm->iommufd);
	step("Closed everything. The device did all it was asked, and nothing else.");
}

/* A VMM whose device writes to memory over and over. */
__attribute__((noreturn))
static void run_forever(struct vmm *vmm, const char *device, volatile unsigned char *running)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_everything(vmm, device);
	set_up_device(vmm);
	map_memory(vmm);
	do_dma(vmm);
	step("DMA: the device writes there again and again");
	*running = 1;
	for (;;)
		check(edu_dma(&vmm->edu, EDU_WRITES_MEMORY, IOVA_TARGET, 0, PAGE), "DMA");
}

/* Wait until *@byte is not 0, which @child is to bring about. */
static void wait_for(volatile unsigned char *byte, pid_t child)
{
	int waited;

	for (waited = 0; waited < 60000 && !*byte; waited += 10) {
		if (waitpid(child, NULL, WNOHANG))
			fail("the VMM ended before it was killed");
		edu_sleep_ms(10);
	}
	if (!*byte)
		fail("no DMA was seen within a minute");
}

static void run_and_kill(struct vmm *vmm, const char *device)
{
	volatile unsigned char *running = vmm->memory + PAGE;
	pid_t child;

	say("A VMM starts, in a process of its own, on memory shared with this one.");
	child = fork();
	check(child < 0 ? -errno : 0, "fork");
	if (!child)
		run_forever(vmm, device, running);
	wait_for(running, child);
	vmm->target[0] = 0;
	wait_for(vmm->target, child);

	/* A transfer takes 100 ms and the next one is under way. */
	edu_sleep_ms(50);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	memset(vmm->target, MARK, PAGE);
	say("The VMM was killed in the middle of a DMA.");
	edu_sleep_ms(500);
	check_untouched(vmm);
	say("Half a second later, its memory is as it was right after.");

	say("The next VMM takes the device over, and maps nothing.");
	open_everything(vmm, device);
	set_up_device(vmm);
	do_blocked_dma(vmm, true);
	say("What was mapped before can no longer be reached.");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "kill", no_argument, NULL, 'k' },
		{ }
	};
	struct vmm vmm = { 0 };
	void (*act)(struct vmm *vmm, const char *device) = run;
	int option;

	while ((option = getopt_long(argc, argv, "hk", options, NULL)) != -1) {
		if (option != 'k') {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
		act = run_and_kill;
	}
	if (argc - optind > 1) {
		fputs(usage, stderr);
		return 2;
	}
	vmm.memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(vmm.memory == MAP_FAILED ? -errno : 0, "allocate memory");
	vmm.target = vmm.memory + MEMORY_SIZE - PAGE;
	act(&vmm, argv[optind]);
	return 0;
}
