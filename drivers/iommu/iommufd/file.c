// SPDX-License-Identifier: GPL-2.0
/*
 * What a file lets a device do: see helpers.h. The rules are those of mmap() with
 * MAP_SHARED, which is the other way of getting at the memory.
 */

#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <uapi/linux/fcntl.h>

#include "helpers.h"

int iommufd_check_access(const struct file *file, bool write)
{
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (!(file->f_mode & FMODE_WRITE))
		return write ? -EPERM : 0;
	return IS_APPEND(file_inode(file)) ? -EACCES : 0;
}

/* Where the seals of a memory file are; NULL if it is none. */
static const unsigned int *seals_of(struct file *file)
{
	if (shmem_file(file))
		return &SHMEM_I(file_inode(file))->seals;
#ifdef CONFIG_HUGETLBFS
	if (is_file_hugepages(file))
		return &HUGETLBFS_I(file_inode(file))->seals;
#endif
	return NULL;
}

int iommufd_begin_writes(struct file *file)
{
	const unsigned int *seals = seals_of(file);
	int ret;

	if (!seals)
		return -EINVAL;
	/* Fails with F_SEAL_WRITE, and from here on that seal is refused. */
	ret = mapping_map_writable(file->f_mapping);
	if (!ret && READ_ONCE(*seals) & F_SEAL_FUTURE_WRITE) {
		mapping_unmap_writable(file->f_mapping);
		ret = -EPERM;
	}
	return ret;
}

void iommufd_end_writes(struct file *file)
{
	mapping_unmap_writable(file->f_mapping);
}
