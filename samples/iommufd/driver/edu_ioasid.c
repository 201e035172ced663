// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel driver that hands its device to the owner of a /dev/iommu file:
 * QEMU's "edu", whose DMA goes where userspace says, through an address space
 * that userspace made. It shows the interface of <linux/iommufd_ioasid.h>, and
 * what a driver owes it: driver_managed_dma, no DMA while the device is not
 * attached, and letting go before it is unbound itself.
 */

#include <linux/bitops.h>
#include <linux/iommufd_ioasid.h>
#include <linux/iopoll.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#include "edu_ioasid.h"

#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_DEST 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_DMA_RUN BIT(0)
#define EDU_DMA_TO_MEMORY BIT(1)

#define EDU_BUFFER 0x40000
#define EDU_BUFFER_SIZE 4096
#define EDU_TIMEOUT_US (5 * USEC_PER_SEC)

struct edu {
	struct kref kref;		/* held while it has a driver, and while it is open */
	struct pci_dev *pdev;
	void __iomem *regs;
	struct miscdevice node;
	struct mutex lock;		/* guards what follows, and the DMA engine */
	struct iommufd_device *idev;	/* NULL if not bound */
	bool open;
	bool gone;
};

/* Each device has a node, which lives as long as its file; there is one at a time. */
static struct edu *edu_of(struct file *file)
{
	return container_of(file->private_data, struct edu, node);
}

static void edu_unbind(struct edu *edu)
{
	if (!edu->idev)
		return;
	pci_clear_master(edu->pdev);
	iommufd_unbind_device(edu->idev);
	edu->idev = NULL;
}

/* A device can be bound once only: iommufd knows, and says so. */
static int edu_bind(struct edu *edu, const void __user *arg)
{
	struct edu_ioasid_bind bind;
	struct iommufd_device *idev;

	if (copy_from_user(&bind, arg, sizeof(bind)))
		return -EFAULT;
	if (bind.padding)
		return -EINVAL;
	idev = iommufd_bind_device(bind.iommufd, &edu->pdev->dev, bind.cookie);
	if (IS_ERR(idev))
		return PTR_ERR(idev);
	edu->idev = idev;
	pci_set_master(edu->pdev);
	return 0;
}

static int edu_dma(struct edu *edu, const void __user *arg)
{
	struct edu_ioasid_dma dma;
	u64 command = EDU_DMA_RUN;

	if (copy_from_user(&dma, arg, sizeof(dma)))
		return -EFAULT;
	if (!dma.length || dma.length > EDU_BUFFER_SIZE || dma.to_memory > 1)
		return -EINVAL;
	if (dma.to_memory)
		command |= EDU_DMA_TO_MEMORY;
	writeq(dma.to_memory ? EDU_BUFFER : dma.iova, edu->regs + EDU_DMA_SOURCE);
	writeq(dma.to_memory ? dma.iova : EDU_BUFFER, edu->regs + EDU_DMA_DEST);
	writeq(dma.length, edu->regs + EDU_DMA_COUNT);
	writeq(command, edu->regs + EDU_DMA_COMMAND);
	return readq_poll_timeout(edu->regs + EDU_DMA_COMMAND, command, !(command & EDU_DMA_RUN),
				  USEC_PER_MSEC, EDU_TIMEOUT_US);
}

static int edu_do(struct edu *edu, unsigned int cmd, unsigned long arg)
{
	if (edu->gone)
		return -ENODEV;
	if (cmd == EDU_IOASID_BIND)
		return edu_bind(edu, (void __user *)arg);
	if (!edu->idev)
		return -ENOTCONN;
	switch (cmd) {
	case EDU_IOASID_UNBIND:
		edu_unbind(edu);
		return 0;
	case EDU_IOASID_ATTACH:
		return iommufd_device_attach_ioasid(edu->idev, arg);
	case EDU_IOASID_DETACH:
		iommufd_device_detach_ioasid(edu->idev, arg);
		return 0;
	case EDU_IOASID_DMA:
		return edu_dma(edu, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static long edu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct edu *edu = edu_of(file);
	int ret;

	mutex_lock(&edu->lock);
	ret = edu_do(edu, cmd, arg);
	mutex_unlock(&edu->lock);
	return ret;
}

static int edu_open(struct inode *inode, struct file *file)
{
	struct edu *edu = edu_of(file);
	int ret = 0;

	mutex_lock(&edu->lock);
	if (edu->open) {
		ret = -EBUSY;
	} else if (edu->gone) {
		ret = -ENODEV;
	} else {
		edu->open = true;
		kref_get(&edu->kref);
	}
	mutex_unlock(&edu->lock);
	return ret;
}

static void edu_free(struct kref *kref)
{
	struct edu *edu = container_of(kref, struct edu, kref);

	mutex_destroy(&edu->lock);
	kfree(edu);
}

static int edu_release(struct inode *inode, struct file *file)
{
	struct edu *edu = edu_of(file);

	mutex_lock(&edu->lock);
	edu_unbind(edu);
	edu->open = false;
	mutex_unlock(&edu->lock);
	kref_put(&edu->kref, edu_free);
	return 0;
}

static const struct file_operations edu_fops = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_release,
	.unlocked_ioctl = edu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu *edu;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	edu = kzalloc_obj(*edu);
	if (!edu)
		return -ENOMEM;
	kref_init(&edu->kref);
	edu->pdev = pdev;
	edu->regs = pcim_iomap_region(pdev, 0, KBUILD_MODNAME);
	if (IS_ERR(edu->regs)) {
		ret = PTR_ERR(edu->regs);
		goto err_free;
	}
	mutex_init(&edu->lock);
	edu->node.minor = MISC_DYNAMIC_MINOR;
	edu->node.name = devm_kasprintf(&pdev->dev, GFP_KERNEL, "edu-ioasid-%s", pci_name(pdev));
	if (!edu->node.name) {
		ret = -ENOMEM;
		goto err_free;
	}
	edu->node.fops = &edu_fops;
	edu->node.mode = 0600;
	pci_set_drvdata(pdev, edu);
	ret = misc_register(&edu->node);
	if (ret)
		goto err_free;
	return 0;

err_free:
	kfree(edu);
	return ret;
}

/* The device goes, the open file may stay: it gets -ENODEV from then on. */
static void edu_remove(struct pci_dev *pdev)
{
	struct edu *edu = pci_get_drvdata(pdev);

	misc_deregister(&edu->node);
	mutex_lock(&edu->lock);
	edu_unbind(edu);
	edu->gone = true;
	mutex_unlock(&edu->lock);
	kref_put(&edu->kref, edu_free);
}

/* Bound by driver_override only: the device may well be meant for VFIO. */
static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE_DRIVER_OVERRIDE(0x1234, 0x11e8, PCI_ID_F_VFIO_DRIVER_OVERRIDE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
	.driver_managed_dma = true,
};
module_pci_driver(edu_driver);

MODULE_IMPORT_NS("IOMMUFD");
MODULE_DESCRIPTION("Sample: a kernel driver whose device does DMA in userspace's address spaces");
MODULE_LICENSE("GPL");
