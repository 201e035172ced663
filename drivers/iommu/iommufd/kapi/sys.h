/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What sys.rs is generated from: the uAPI, our face towards other drivers, the
 * interfaces of the IOMMU core that the kernel crate has no bindings for, our
 * tracepoints and our helpers.
 */
#include <linux/anon_inodes.h>
#include <linux/dma-buf.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommufd.h>
#include <linux/iommufd_ioasid.h>
#include <linux/iova_bitmap.h>
#include <iommu-priv.h>
#include <trace/events/iommu.h>
#include <trace/events/iommufd.h>
#include <uapi/linux/iommu.h>
#include "driver.h"
#include "driver_ctx.h"
#include "helpers.h"
#include "sw_msi.h"
#include "veventq.h"
#include "viommu.h"
