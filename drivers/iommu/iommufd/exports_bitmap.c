// SPDX-License-Identifier: GPL-2.0
/* As exports.c, for bitmaps: exports/bitmap.rs has them, and iova_bitmap_set() kapi's file. */

#include <linux/export.h>
#include <linux/iova_bitmap.h>

EXPORT_SYMBOL_NS_GPL(iova_bitmap_alloc, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iova_bitmap_free, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iova_bitmap_for_each, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iova_bitmap_set, "IOMMUFD");
