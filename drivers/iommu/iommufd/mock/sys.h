/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What mock/sys.rs is generated from: the calls that the kernel's own tests make, from the
 * source of the kernel that this is built for, and where C and Rust meet.
 */
#include <linux/iommufd.h>
#include <iommufd/iommufd_test.h>
#include "face.h"
#include "ops.h"
