// SPDX-License-Identifier: GPL-2.0
/*
 * Have IOMMU drivers fail in ways in which they never should, so that their callers
 * can show what they do then. Both parameters can be changed at any time:
 *
 *   insmod iommu_faults.ko
 *   echo 0x10000000 >/sys/module/iommu_faults/parameters/keep_mapped
 *   echo 1 >/sys/module/iommu_faults/parameters/refuse_snoop
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static ulong keep_mapped;
module_param(keep_mapped, ulong, 0644);
MODULE_PARM_DESC(keep_mapped, "unmaps that begin at this I/O address do nothing (0: none do)");

static bool refuse_snoop;
module_param(refuse_snoop, bool, 0644);
MODULE_PARM_DESC(refuse_snoop, "domains do not enforce cache coherency, as if they could not");

/* The length is the third argument: without any, nothing is unmapped, and that is returned. */
static int before_unmap(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long iova = READ_ONCE(keep_mapped);

	if (!iova || regs_get_kernel_argument(regs, 1) != iova)
		return 0;
#if defined(CONFIG_X86_64)
	regs->dx = 0;
#elif defined(CONFIG_ARM64)
	regs->regs[2] = 0;
#else
#error "Where is the third argument?"
#endif
	return 0;
}

static int after_enforce(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (READ_ONCE(refuse_snoop))
		regs_set_return_value(regs, false);
	return 0;
}

/* VT-d's, of second-stage tables, whoever calls it. */
static struct kprobe unmap = {
	.symbol_name = "vtdss_unmap_range",
	.pre_handler = before_unmap,
};

/* Of the same: other IOMMUs do not have it, or always succeed. */
static struct kretprobe enforce = {
	.kp.symbol_name = "intel_iommu_enforce_cache_coherency_ss",
	.handler = after_enforce,
};

static int __init iommu_faults_init(void)
{
	int ret = register_kprobe(&unmap);

	if (ret)
		return ret;
	ret = register_kretprobe(&enforce);
	if (ret)
		unregister_kprobe(&unmap);
	return ret;
}
module_init(iommu_faults_init);

static void __exit iommu_faults_exit(void)
{
	unregister_kretprobe(&enforce);
	unregister_kprobe(&unmap);
}
module_exit(iommu_faults_exit);

MODULE_DESCRIPTION("has IOMMU drivers fail on request");
MODULE_LICENSE("GPL");
