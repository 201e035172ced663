// SPDX-License-Identifier: GPL-2.0
/* The tracepoints, which kapi/trace.rs calls. */

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include <trace/events/iommufd.h>
