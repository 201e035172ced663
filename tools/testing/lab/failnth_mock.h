/* SPDX-License-Identifier: GPL-2.0 */
/* The sweeps of what only software has: dma-bufs that are taken back, drivers without DMA. */
#ifndef LAB_FAILNTH_MOCK_H
#define LAB_FAILNTH_MOCK_H

#include "failnth_native.h"

#define BUF_SIZE (16 * PAGE)

/* The file is a dma-buf. */
static int prepare_map_buf(struct world *w)
{
	int buf = mock_buf(w->b.fd, BUF_SIZE);
	int ret = buf < 0 ? buf : dup2(buf, w->file) < 0 ? -errno : 0;

	if (buf >= 0)
		close(buf);
	return ret;
}

static int do_map_buf(struct world *w)
{
	return ioas_map_file(w->b.fd, w->b.ioasid, w->file, 0, BUF_SIZE, MANY_IOVA);
}

static int unmap_buf_at(struct world *w, uint64_t iova)
{
	int64_t bytes = ioas_unmap(w->b.fd, w->b.ioasid, iova, BUF_SIZE);

	return bytes < 0 ? bytes : bytes == BUF_SIZE ? 0 : -ENODATA;
}

static int do_unmap_buf(struct world *w)
{
	return unmap_buf_at(w, MANY_IOVA);
}

static int prepare_unmap_buf(struct world *w)
{
	int ret = prepare_map_buf(w);

	return ret ? ret : do_map_buf(w);
}

static int prepare_attach_buf(struct world *w)
{
	int ret = prepare_unmap_buf(w);

	return ret ? ret : do_detach(w);
}

static int do_copy_buf(struct world *w)
{
	return ioas_copy(w->b.fd, w->b.ioasid, COPY_IOVA, w->b.ioasid, MANY_IOVA, BUF_SIZE);
}

static int undo_copy_buf(struct world *w)
{
	return unmap_buf_at(w, COPY_IOVA);
}

/* Whether the device can get at the dma-buf. */
static int64_t look_at_buf(struct world *w)
{
	return mock_check_map(w->b.fd, w->mock.hwpt, MANY_IOVA, NULL, BUF_SIZE);
}

static int do_revoke(struct world *w)
{
	return mock_buf_revoke(w->b.fd, w->file, true);
}

static int undo_revoke(struct world *w)
{
	int ret = mock_buf_revoke(w->b.fd, w->file, false);

	if (!ret)
		ret = do_unmap_buf(w);
	return ret ? ret : do_map_buf(w);
}

/* --- drivers ---------------------------------------------------------------------- */

static int do_access(struct world *w)
{
	w->result = mock_access(w->b.fd, w->b.ioasid);
	return w->result < 0 ? w->result : 0;
}

static int undo_access(struct world *w)
{
	return close(w->result);
}

/* One of the space without a device, where much is mapped. */
static int prepare_access(struct world *w)
{
	int ret = do_map_other(w);

	if (!ret)
		w->access = mock_access(w->b.fd, w->other);
	return ret ? ret : w->access < 0 ? w->access : 0;
}

/* The same of the space with the device. */
static int prepare_access_of_domain(struct world *w)
{
	int ret = do_map(w);

	if (!ret)
		w->access = mock_access(w->b.fd, w->b.ioasid);
	return ret ? ret : w->access < 0 ? w->access : 0;
}

static int do_access_pin(struct world *w)
{
	w->result = mock_access_pin(w->b.fd, w->access, MANY_IOVA, MANY_PAGES * PAGE - 100);
	return w->result < 0 ? w->result : 0;
}

static int undo_access_pin(struct world *w)
{
	return mock_access_unpin(w->b.fd, w->access, w->result);
}

static int access_rw(struct world *w, uint32_t flags)
{
	static char data[40 * PAGE];

	return mock_access_rw(w->b.fd, w->access, MANY_IOVA + 100, data, sizeof(data), flags);
}

static int do_access_read(struct world *w)
{
	return access_rw(w, 0);
}

static int do_access_write(struct world *w)
{
	return access_rw(w, MOCK_ACCESS_RW_WRITE);
}

static int do_access_move(struct world *w)
{
	return mock_access_move(w->b.fd, w->access, w->b.ioasid);
}

static int undo_access_move(struct world *w)
{
	return mock_access_move(w->b.fd, w->access, w->other);
}

CALL_MOCK(map_buf) SWEEP(prepare_map_buf, do_map_buf, do_unmap_buf);
CALL_MOCK(unmap_buf) SWEEP(prepare_unmap_buf, do_unmap_buf, do_map_buf, .answers = true);
CALL_MOCK(copy_buf) SWEEP(prepare_unmap_buf, do_copy_buf, undo_copy_buf);
CALL_MOCK(attach_buf) SWEEP(prepare_attach_buf, do_attach, do_detach);
CALL_MOCK(revoke_buf) SWEEP(prepare_unmap_buf, do_revoke, undo_revoke, .look = look_at_buf);
CALL_MOCK(access) SWEEP(NULL, do_access, undo_access);
CALL_MOCK(access_pin) SWEEP(prepare_access, do_access_pin, undo_access_pin);
CALL_MOCK(access_pin_domain) SWEEP(prepare_access_of_domain, do_access_pin, undo_access_pin);
CALL_MOCK(access_read) SWEEP(prepare_access, do_access_read, nothing);
CALL_MOCK(access_write) SWEEP(prepare_access, do_access_write, nothing);
CALL_MOCK(access_move) SWEEP(prepare_access, do_access_move, undo_access_move);

#endif /* LAB_FAILNTH_MOCK_H */
