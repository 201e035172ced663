/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Comes before the kernel's own tests, which are as they are otherwise: an instance may
 * take so many seconds. Their 30 are soon over on a kernel that checks itself, in an
 * emulated machine that is not alone.
 */
#include "kselftest_harness.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 600
