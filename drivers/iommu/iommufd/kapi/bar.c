// SPDX-License-Identifier: GPL-2.0
/*
 * Asking VFIO where a device's BAR is. VFIO's modules need this one, so they cannot be
 * needed in turn: they are asked for by name, if they are there.
 */

#include <linux/module.h>
#include <linux/vfio_pci_core.h>

#include "helpers.h"

int iommufd_bar_address(struct dma_buf_attachment *attach, struct phys_vec *bar)
{
	int (*ask)(struct dma_buf_attachment *attach, struct phys_vec *bar);
	int ret;

	ask = symbol_get(vfio_pci_dma_buf_iommufd_map);
	if (!ask)
		return -EOPNOTSUPP;
	ret = ask(attach, bar);
	symbol_put(vfio_pci_dma_buf_iommufd_map);
	return ret;
}
