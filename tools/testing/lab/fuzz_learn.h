/* SPDX-License-Identifier: GPL-2.0 */
/* The model knows from a device itself what that can do. */
#ifndef LAB_FUZZ_LEARN_H
#define LAB_FUZZ_LEARN_H

#include "fuzz.h"
#include "nested_calls.h"

/* The holes in what it can use. */
static void learn_holes(struct device *device, struct iommu_device_info *info)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap = device_iova_ranges(info);
	uint64_t next = 0;
	unsigned int i;

	device->format = (struct format) {
		{ 0, UINT64_MAX >> (64 - info->addr_width) }, MODEL_PAGE,
	};
	for (i = 0; cap && i < cap->nr_iovas && i < MODEL_HOLES; i++) {
		if (cap->iova_ranges[i].start > next)
			device->holes[device->hole_count++] =
				(struct range) { next, cap->iova_ranges[i].start - 1 };
		next = cap->iova_ranges[i].end + 1;
	}
	if (next && next <= device->format.translated.last)
		device->holes[device->hole_count++] = (struct range) {
			next, device->format.translated.last,
		};
}

/* Which flags its IOMMU takes, and what that says of itself. */
static int learn_iommu(struct device *device, int iommufd, int id)
{
	static const uint32_t flags[] = {
		IOMMU_HWPT_ALLOC_NEST_PARENT, IOMMU_HWPT_ALLOC_PASID,
		IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	};
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = id };
	struct iommu_hwpt_alloc nested = {
		.size = sizeof(nested), .dev_id = id, .data_type = 1, .data_len = 1,
	};
	int ioas = ioas_alloc(iommufd), ret;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (hwpt_alloc(iommufd, id, ioas, flags[i]) > 0)
			device->domain_flags |= flags[i];
	nested.pt_id = hwpt_alloc(iommufd, id, ioas, 0);
	device->nested = call(iommufd, IOMMU_HWPT_ALLOC, &nested);
	ret = call(iommufd, IOMMU_GET_HW_INFO, &info);
	device->info_type = info.out_data_type;
	device->info_size = info.data_len;
	return ret;
}

static int learn_edu(struct fuzz *f)
{
	struct iommu_device_info *info;
	int iommufd, id, ret;

	f->plain.format.translated.last = UINT64_MAX;
	if (edu_find(&f->edu, getenv("EDU"))) {
		f->edu.address[0] = 0;
		return 0;
	}
	iommufd = open_iommufd();
	ret = edu_open(&f->edu);
	id = ret ? ret : vfio_bind(f->edu.fd, iommufd);
	ret = id < 0 ? id : device_get_info(iommufd, id, &info);
	if (ret)
		return ret;
	f->plain.asks_for_no_pages = true;
	learn_holes(&f->plain, info);
	free(info);
	ret = learn_iommu(&f->plain, iommufd, id);
	edu_close(&f->edu);
	close(iommufd);
	return ret;
}

/* Of the only domain of a space. */
static int learn_format(struct format *format, int iommufd, int ioas)
{
	struct iommu_iova_range range;
	int64_t align = iova_alignment(iommufd, ioas);
	int ret = iova_ranges(iommufd, ioas, &range, 1);

	*format = (struct format) { { range.start, range.last }, align };
	return ret < 0 || align < 0 ? -EIO : 0;
}

/* Of a domain that a device's IOMMU makes with a page table. */
static int learn_table(struct format *format, int iommufd, int device, uint32_t table)
{
	const struct iommu_hwpt_selftest wish = { .pagetable_type = table };
	int ioas = ioas_alloc(iommufd);
	struct iommu_hwpt_alloc arg = nested_arg(device, ioas, &wish);
	int ret = call(iommufd, IOMMU_HWPT_ALLOC, &arg);

	return ret ? ret : learn_format(format, iommufd, ioas);
}

/* One of software. */
static int learn_mock(struct fuzz *f)
{
	int iommufd = open_iommufd(), ret;
	struct mock mock;
	unsigned int i;

	ret = mock_add(iommufd, ioas_alloc(iommufd), &mock);
	if (ret)
		return ret;
	for (i = 0; !ret && i < MODEL_TABLES; i++)
		ret = learn_table(&f->plain.tables[i], iommufd, mock.device, tables[i]);
	f->plain.format = f->plain.tables[0];
	if (!ret)
		ret = learn_iommu(&f->plain, iommufd, mock.device);
	for (i = 0; !ret && i < BUFS; i++) {
		f->bufs[i] = mock_buf(iommufd, BUF_SIZE);
		ret = f->bufs[i] < 0 ? f->bufs[i] : 0;
	}
	close(iommufd);
	return ret;
}

/* Whether the driver takes devices that no IOMMU has. */
static bool learn_untranslated(void)
{
	struct iommu_ioas_noiommu_get_pa arg = { .size = sizeof(arg), .length = 1 };
	int iommufd = open_iommufd(), ret = call(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &arg);

	close(iommufd);
	return ret != -EOPNOTSUPP;
}

static int learn_device(struct fuzz *f)
{
	struct device *device = NULL;
	int ret = f->is_mock ? learn_mock(f) : learn_edu(f);

	f->takes_untranslated = learn_untranslated();
	f->plain.context = -1;
	f->reach = f->plain.format.translated;
	while (next_device(&f->model, &device))
		device[0] = f->plain;
	return ret;
}

#endif /* LAB_FUZZ_LEARN_H */
