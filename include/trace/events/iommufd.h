/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM iommufd

#if !defined(_TRACE_IOMMUFD_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IOMMUFD_H

#include <linux/tracepoint.h>

/*
 * Each event comes at the end of its call, but pin and progress, which are within one;
 * result is 0 or a negative errno. Calls that fail on their arguments or ids do not get
 * that far.
 */

TRACE_EVENT(iommufd_map,
	TP_PROTO(u32 ioasid, u64 iova, u64 length, u64 runs, u64 duration_ns, int result),
	TP_ARGS(ioasid, iova, length, runs, duration_ns, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(u64, iova)
		__field(u64, length)
		__field(u64, runs)
		__field(u64, duration_ns)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->iova = iova;
		__entry->length = length;
		__entry->runs = runs;
		__entry->duration_ns = duration_ns;
		__entry->result = result;
	),
	TP_printk("ioasid=%u iova=0x%llx length=0x%llx runs=%llu duration_ns=%llu result=%d",
		  __entry->ioasid, __entry->iova, __entry->length, __entry->runs,
		  __entry->duration_ns, __entry->result)
);

TRACE_EVENT(iommufd_unmap,
	TP_PROTO(u32 ioasid, u64 iova, u64 length, u64 unmapped, u64 runs, u64 duration_ns,
		 int result),
	TP_ARGS(ioasid, iova, length, unmapped, runs, duration_ns, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(u64, iova)
		__field(u64, length)
		__field(u64, unmapped)
		__field(u64, runs)
		__field(u64, duration_ns)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->iova = iova;
		__entry->length = length;
		__entry->unmapped = unmapped;
		__entry->runs = runs;
		__entry->duration_ns = duration_ns;
		__entry->result = result;
	),
	TP_printk("ioasid=%u iova=0x%llx length=0x%llx unmapped=0x%llx runs=%llu duration_ns=%llu result=%d",
		  __entry->ioasid, __entry->iova, __entry->length, __entry->unmapped,
		  __entry->runs, __entry->duration_ns, __entry->result)
);

/* A space got its first domain, for which what is mapped is pinned, and mapped into it. */
TRACE_EVENT(iommufd_pin,
	TP_PROTO(u32 ioasid, u64 areas, u64 bytes, u64 duration_ns, int result),
	TP_ARGS(ioasid, areas, bytes, duration_ns, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(u64, areas)
		__field(u64, bytes)
		__field(u64, duration_ns)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->areas = areas;
		__entry->bytes = bytes;
		__entry->duration_ns = duration_ns;
		__entry->result = result;
	),
	TP_printk("ioasid=%u areas=%llu bytes=0x%llx duration_ns=%llu result=%d",
		  __entry->ioasid, __entry->areas, __entry->bytes, __entry->duration_ns,
		  __entry->result)
);

/* Within a map or pin, each time that 32 MiB more of an area are pinned. */
TRACE_EVENT(iommufd_progress,
	TP_PROTO(u32 ioasid, u64 iova, u64 length, u64 done),
	TP_ARGS(ioasid, iova, length, done),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(u64, iova)
		__field(u64, length)
		__field(u64, done)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->iova = iova;
		__entry->length = length;
		__entry->done = done;
	),
	TP_printk("ioasid=%u iova=0x%llx length=0x%llx done=0x%llx",
		  __entry->ioasid, __entry->iova, __entry->length, __entry->done)
);

DECLARE_EVENT_CLASS(iommufd_device,
	TP_PROTO(const char *device, u32 id, u32 ioasid, u64 duration_ns, int result),
	TP_ARGS(device, id, ioasid, duration_ns, result),
	TP_STRUCT__entry(
		__string(device, device)
		__field(u32, id)
		__field(u32, ioasid)
		__field(u64, duration_ns)
		__field(int, result)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->id = id;
		__entry->ioasid = ioasid;
		__entry->duration_ns = duration_ns;
		__entry->result = result;
	),
	TP_printk("device=%s id=%u ioasid=%u duration_ns=%llu result=%d",
		  __get_str(device), __entry->id, __entry->ioasid, __entry->duration_ns,
		  __entry->result)
);

/* Binding knows of no address space: its ioasid is 0. */
DEFINE_EVENT(iommufd_device, iommufd_bind,
	TP_PROTO(const char *device, u32 id, u32 ioasid, u64 duration_ns, int result),
	TP_ARGS(device, id, ioasid, duration_ns, result));

/* Replacing, too, is attaching. */
DEFINE_EVENT(iommufd_device, iommufd_attach,
	TP_PROTO(const char *device, u32 id, u32 ioasid, u64 duration_ns, int result),
	TP_ARGS(device, id, ioasid, duration_ns, result));

DEFINE_EVENT(iommufd_device, iommufd_detach,
	TP_PROTO(const char *device, u32 id, u32 ioasid, u64 duration_ns, int result),
	TP_ARGS(device, id, ioasid, duration_ns, result));

#endif /* _TRACE_IOMMUFD_H */

/* This part must be outside protection. */
#include <trace/define_trace.h>
