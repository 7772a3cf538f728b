/* SPDX-License-Identifier: MIT */
/* Physical addresses; see phys.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/bits.h"
#include "os/file.h"
#include "os/phys.h"
#include "os/sys.h"
#include "os/text.h"

/* An entry of pagemap (Documentation/admin-guide/mm/pagemap.rst): the frame number, which reads 0 without the right to
 * see it, and whether a page is there. */
#define PAGEMAP_PFN ((1ull << 55) - 1)
#define PAGEMAP_PRESENT (1ull << 63)
enum { READ_AT_ONCE = 512 };

static uint64_t decode(uint64_t entry)
{
	if ((entry & PAGEMAP_PRESENT) == 0 || (entry & PAGEMAP_PFN) == 0)
		return ASH_PHYS_UNKNOWN;
	return (entry & PAGEMAP_PFN) << ASH_PAGE_SHIFT;
}

/* The entries of n frames from page number page on; those that cannot be read say that nothing is there. */
static void read_entries(long fd, uintptr_t page, size_t n, uint64_t entries[])
{
	const size_t bytes = n * sizeof(entries[0]);
	const long got = ash_sys(__NR_pread64, fd, (long)entries, (long)bytes, (long)(page * sizeof(entries[0])), 0, 0);

	for (size_t i = got > 0 ? (size_t)got / sizeof(entries[0]) : 0; i < n; i++)
		entries[i] = 0;
}

int ash_phys_read(const void *addr, size_t stride, size_t n, uint64_t phys[])
{
	const long fd = ash_sys(__NR_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0, 0, 0);
	/* Neighbours are read in one call; phys itself is the buffer. */
	const size_t at_once = stride == ASH_PAGE_SIZE ? READ_AT_ONCE : 1;

	for (size_t i = 0; i < n; i += at_once) {
		const size_t nr = ash_min(at_once, n - i);

		if (fd >= 0)
			read_entries(fd, ((uintptr_t)addr + i * stride) >> ASH_PAGE_SHIFT, nr, &phys[i]);
		for (size_t k = i; k < i + nr; k++)
			phys[k] = fd >= 0 ? decode(phys[k]) : ASH_PHYS_UNKNOWN;
	}
	if (fd < 0)
		return (int)fd;
	(void)ash_sys(__NR_close, fd, 0, 0, 0, 0, 0);
	return 0;
}

struct span_walk {
	uint64_t node;           /* the one looked for */
	uint64_t current;        /* whose zones are being listed */
	uint64_t spanned;        /* of the zone being listed */
	uint64_t start, end;     /* frames */
};

/* "Node 0, zone   Normal", then among others "        spanned  5505024", and last "  start_pfn:           1048576". */
static int span_line(void *arg, const char *text)
{
	struct span_walk *w = arg;
	const char *rest = ash_after_prefix(text, "Node ");
	uint64_t n;

	if (rest != NULL) {
		w->spanned = 0;
		if (!ash_parse_num(&rest, 10, &w->current))
			w->current = UINT64_MAX;
		return 0;
	}
	while (*text == ' ')
		text++;
	rest = ash_after_prefix(text, "spanned");
	if (rest == NULL)
		rest = ash_after_prefix(text, "start_pfn:");
	if (rest == NULL || w->current != w->node)
		return 0;
	while (*rest == ' ')
		rest++;
	if (!ash_parse_num(&rest, 10, &n))
		return 0;
	if (text[1] == 'p') {
		w->spanned = n;
		return 0;
	}
	if (w->spanned > 0) {
		w->start = n < w->start ? n : w->start;
		w->end = n + w->spanned > w->end ? n + w->spanned : w->end;
	}
	return 0;
}

int ash_phys_span(int node, uint64_t *start, uint64_t *end)
{
	struct span_walk w = { (uint64_t)node, UINT64_MAX, 0, UINT64_MAX, 0 };
	int err = ash_file_lines("/proc/zoneinfo", span_line, &w);

	if (err < 0 || w.end == 0)
		return err < 0 ? err : -ENOENT;
	*start = w.start << ASH_PAGE_SHIFT;
	*end = w.end << ASH_PAGE_SHIFT;
	return 0;
}

int ash_pin_open(void)
{
	struct io_uring_params params = { 0 };
	struct io_uring_rsrc_register table = { .nr = ASH_PIN_SLOTS, .flags = IORING_RSRC_REGISTER_SPARSE };
	long fd = ash_sys(__NR_io_uring_setup, 1, (long)&params, 0, 0, 0, 0);
	long err;

	if (fd < 0)
		return (int)fd;
	err = ash_sys(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS2, (long)&table, sizeof(table), 0, 0);
	if (err < 0) {
		ash_pin_close((int)fd);
		return (int)err;
	}
	return (int)fd;
}

void ash_pin_close(int fd)
{
	(void)ash_sys(__NR_close, fd, 0, 0, 0, 0, 0);
}

static int update(int fd, unsigned slot, void *addr, size_t bytes)
{
	struct iovec range = { addr, bytes };
	struct io_uring_rsrc_update2 what = { .offset = slot, .data = (uintptr_t)&range, .nr = 1 };
	/* The number of slots changed. */
	long ret = ash_sys(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS_UPDATE, (long)&what, sizeof(what), 0, 0);

	if (ret < 0)
		return (int)ret;
	return ret == 1 ? 0 : -EFAULT;
}

int ash_pin_set(int fd, unsigned slot, void *addr, size_t bytes)
{
	return update(fd, slot, addr, bytes);
}

int ash_pin_clear(int fd, unsigned slot)
{
	return update(fd, slot, NULL, 0);
}
