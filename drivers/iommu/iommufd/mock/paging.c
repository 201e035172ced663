// SPDX-License-Identifier: GPL-2.0
/* Paging domains of the IOMMU in software. See face.h. */

#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/slab.h>

#include <iommu-pages.h>
#include <iommufd/iommufd_test.h>
#include "face.h"
#include "hardware.h"
#include "tables.h"

struct mock_domain {
	union {
		struct iommu_domain domain;
		struct pt_iommu iommu;
		struct pt_iommu_amdv1 amdv1;
		struct pt_iommu_vtdss vtdss;
	};
	const struct table *table;
	/* Held while a table gets one level more. */
	spinlock_t top_lock;
	bool tracks_dirty;
	atomic_t flushes;
};

PT_IOMMU_CHECK_DOMAIN(struct mock_domain, iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct mock_domain, amdv1.iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct mock_domain, vtdss.iommu, domain);

/* The page tables that there are. */
struct table {
	u32 type;
	struct iommu_domain_ops ops;
	struct iommu_dirty_ops dirty_ops;
	int (*init)(struct mock_domain *mock);
	/* As if a device wrote to the page at @iova. */
	void (*write)(struct mock_domain *mock, unsigned long iova);
};

static struct mock_domain *to_mock(struct iommu_domain *domain)
{
	return container_of(domain, struct mock_domain, domain);
}

static void free_paging(struct iommu_domain *domain)
{
	pt_iommu_deinit(&to_mock(domain)->iommu);
	kfree(to_mock(domain));
}

/* Without an IOTLB, what is unmapped is gone. */
static void flush(struct iommu_domain *domain, struct iommu_iotlb_gather *gather)
{
	atomic_inc(&to_mock(domain)->flushes);
	iommu_put_pages_list(&gather->freelist);
}

static int set_dirty_tracking(struct iommu_domain *domain, bool enable)
{
	WRITE_ONCE(to_mock(domain)->tracks_dirty, enable);
	return 0;
}

/* --- the kernel's own mock's ---------------------------------------------------------------- */

static int init_mock(struct mock_domain *mock)
{
	const struct pt_iommu_amdv1_cfg cfg = {
		.common.hw_max_vasz_lg2 = 56,
		.common.hw_max_oasz_lg2 = 51,
		.starting_level = 2,
	};

	return pt_iommu_amdv1_mock_init(&mock->amdv1, &cfg, GFP_KERNEL_ACCOUNT);
}

static int init_default(struct mock_domain *mock)
{
	int ret = init_mock(mock);

	mock->domain.geometry.aperture_start = MOCK_APERTURE_START;
	mock->domain.geometry.aperture_end = MOCK_APERTURE_LAST;
	return ret;
}

static int init_huge(struct mock_domain *mock)
{
	int ret = init_mock(mock);

	/* Nobody takes a domain that cannot map a single page. */
	mock->domain.pgsize_bitmap = MOCK_HUGE_PAGE_SIZE | PAGE_SIZE;
	return ret;
}

static void write_mock(struct mock_domain *mock, unsigned long iova)
{
	mock->iommu.ops->set_dirty(&mock->iommu, iova);
}

/* --- real IOMMUs' ---------------------------------------------------------------------------- */

static int __maybe_unused init_vtdss(struct mock_domain *mock)
{
	const struct pt_iommu_vtdss_cfg cfg = {
		.common.features = BIT(PT_FEAT_FLUSH_RANGE),
		.common.hw_max_vasz_lg2 = 48,
		.common.hw_max_oasz_lg2 = 52,
		.top_level = 3,
	};

	return pt_iommu_vtdss_init(&mock->vtdss, &cfg, GFP_KERNEL_ACCOUNT);
}

static void __maybe_unused write_vtdss(struct mock_domain *mock, unsigned long iova)
{
	struct pt_iommu_vtdss_hw_info info;

	pt_iommu_vtdss_hw_info(&mock->vtdss, &info);
	iommufd_mock_write_vtdss(info.ssptptr, info.aw + 2, iova);
}

/* A device that writes looks where the top is. */
static void change_top(struct pt_iommu *table, phys_addr_t top, unsigned int level)
{
}

static spinlock_t *get_top_lock(struct pt_iommu *table)
{
	return &container_of(table, struct mock_domain, iommu)->top_lock;
}

static const struct pt_iommu_driver_ops growing = {
	.change_top = change_top,
	.get_top_lock = get_top_lock,
};

static int __maybe_unused init_amdv1(struct mock_domain *mock)
{
	const struct pt_iommu_amdv1_cfg cfg = {
		.common.features = BIT(PT_FEAT_DYNAMIC_TOP) | BIT(PT_FEAT_FLUSH_RANGE) |
				   BIT(PT_FEAT_AMDV1_ENCRYPT_TABLES) |
				   BIT(PT_FEAT_AMDV1_FORCE_COHERENCE),
		.common.hw_max_vasz_lg2 = 64,
		.common.hw_max_oasz_lg2 = 52,
		.starting_level = 2,
	};

	spin_lock_init(&mock->top_lock);
	mock->iommu.driver_ops = &growing;
	return pt_iommu_amdv1_init(&mock->amdv1, &cfg, GFP_KERNEL_ACCOUNT);
}

static void __maybe_unused write_amdv1(struct mock_domain *mock, unsigned long iova)
{
	struct pt_iommu_amdv1_hw_info info;

	pt_iommu_amdv1_hw_info(&mock->amdv1, &info);
	iommufd_mock_write_amdv1(info.host_pt_root, info.mode, iova);
}

/* ---------------------------------------------------------------------------------------------- */

#define TABLE(value, format, how, writes) {				\
	.type = value,							\
	.ops = {							\
		.iova_to_phys = pt_iommu_##format##_iova_to_phys,	\
		.attach_dev = iommufd_mock_attach,			\
		.set_dev_pasid = iommufd_mock_set_dev_pasid,		\
		.iotlb_sync = flush,					\
		.free = free_paging,					\
	},								\
	.dirty_ops = {							\
		.read_and_clear_dirty = pt_iommu_##format##_read_and_clear_dirty, \
		.set_dirty_tracking = set_dirty_tracking,		\
	},								\
	.init = how,							\
	.write = writes,						\
}

static const struct table tables[] = {
	TABLE(MOCK_IOMMUPT_DEFAULT, amdv1_mock, init_default, write_mock),
	TABLE(MOCK_IOMMUPT_HUGE, amdv1_mock, init_huge, write_mock),
#if IS_ENABLED(CONFIG_IOMMU_PT_VTDSS)
	TABLE(MOCK_IOMMUPT_VTDSS, vtdss, init_vtdss, write_vtdss),
#endif
#if IS_ENABLED(CONFIG_IOMMU_PT_AMDV1)
	TABLE(MOCK_IOMMUPT_AMDV1, amdv1, init_amdv1, write_amdv1),
#endif
};

static const struct table *find_table(u32 type)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		if (tables[i].type == type)
			return &tables[i];
	return NULL;
}

static struct iommu_domain *alloc_paging(const struct table *table, bool dirty)
{
	struct mock_domain *mock = kzalloc_obj(*mock, GFP_KERNEL_ACCOUNT);
	int ret;

	if (!mock)
		return ERR_PTR(-ENOMEM);
	mock->iommu.nid = NUMA_NO_NODE;
	ret = table->init(mock);
	if (ret) {
		kfree(mock);
		return ERR_PTR(ret);
	}
	mock->table = table;
	mock->domain.ops = &table->ops;
	mock->domain.dirty_ops = dirty ? &table->dirty_ops : NULL;
	return &mock->domain;
}

struct iommu_domain *iommufd_mock_alloc_paging(struct device *dev, u32 flags,
					       const struct iommu_user_data *user_data)
{
	const u32 known = IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_ALLOC_NEST_PARENT |
			  IOMMU_HWPT_ALLOC_PASID;
	bool dirty = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	struct iommu_hwpt_selftest wanted = {};
	const struct table *table;
	int ret;

	if (flags & ~known || (dirty && !iommufd_mock_can_track_dirty(dev)))
		return ERR_PTR(-EOPNOTSUPP);
	if (user_data) {
		if (user_data->type != IOMMU_HWPT_DATA_SELFTEST)
			return ERR_PTR(-EOPNOTSUPP);
		ret = iommu_copy_struct_from_user(&wanted, user_data, IOMMU_HWPT_DATA_SELFTEST,
						  iotlb);
		if (ret)
			return ERR_PTR(ret);
	}
	table = find_table(wanted.pagetable_type);
	return table ? alloc_paging(table, dirty) : ERR_PTR(-EOPNOTSUPP);
}

static bool is_mock(const struct iommu_domain *domain)
{
	return domain->ops->free == free_paging;
}

u32 iommufd_mock_flushes(struct iommu_domain *domain)
{
	return is_mock(domain) ? atomic_read(&to_mock(domain)->flushes) : 0;
}

bool iommufd_mock_tracks_dirty(const struct iommu_domain *domain)
{
	return is_mock(domain) &&
	       READ_ONCE(container_of_const(domain, struct mock_domain, domain)->tracks_dirty);
}

void iommufd_mock_set_dirty(struct iommu_domain *domain, unsigned long iova)
{
	struct mock_domain *mock = to_mock(domain);

	mock->table->write(mock, iova);
}
