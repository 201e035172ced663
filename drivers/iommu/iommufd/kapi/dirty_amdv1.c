// SPDX-License-Identifier: GPL-2.0
/* Which pages were written to, of AMD's first format: see dirty_format.h. */

#define __GENERIC_PT_IOMMU_PT_H
#include <generic_pt/fmt/iommu_amdv1.c>
#include "dirty_format.h"
