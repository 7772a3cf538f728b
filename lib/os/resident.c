/* SPDX-License-Identifier: MIT */
/* PAGEMAP_SCAN and mincore(2); see resident.h. */
#include "os/resident.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include "os/sys.h"

enum { PAGE_SHIFT = 12, HUGE_SHIFT = 21, PAGES_PER_HUGE = 512, REGIONS = 32 };

/* linux/fs.h since Linux 6.7, which is newer than the oldest headers we build with. */
enum {
	SCAN_IS_PRESENT = 1 << 3,
	SCAN_IS_SWAPPED = 1 << 4,
	SCAN_IS_ZERO_PAGE = 1 << 5,
	SCAN_IS_HUGE = 1 << 6,
	SCAN_NR = 16
};

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_IOCTL_SCAN _IOWR('f', SCAN_NR, struct scan_arg)

/* Scan [start, end) and mark what was found; returns where the scan stopped, or 0 and *err. */
static uint64_t scan(int fd, uint64_t start, uint64_t end, uint64_t base, unsigned char *what, int *err)
{
	struct scan_region found[REGIONS];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)found,
		.vec_len = REGIONS,
		.category_anyof_mask = SCAN_IS_PRESENT | SCAN_IS_SWAPPED,
		.return_mask = SCAN_IS_PRESENT | SCAN_IS_HUGE | SCAN_IS_ZERO_PAGE,
	};
	const long n = ash_sys(__NR_ioctl, fd, (long)PAGEMAP_IOCTL_SCAN, (long)&arg, 0, 0, 0);

	*err = n < 0 ? (int)n : 0;
	for (long i = 0; i < n; i++) {
		const bool huge = found[i].categories == (SCAN_IS_PRESENT | SCAN_IS_HUGE);
		const uint64_t first = (found[i].start - base) >> HUGE_SHIFT,
			       last = (found[i].end - 1 - base) >> HUGE_SHIFT;

		for (uint64_t k = first; k <= last; k++)
			what[k] = huge ? ASH_RESIDENT_HUGE : ASH_RESIDENT_SOME;
	}
	return n < 0 ? 0 : arg.walk_end;
}

int ash_resident_look(const void *addr, size_t nr, unsigned char *what)
{
	const uint64_t base = (uintptr_t)addr, end = base + ((uint64_t)nr << HUGE_SHIFT);
	const int fd = (int)ash_sys(__NR_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0, 0, 0);
	int err = 0;

	if (fd < 0)
		return fd;
	memset(what, ASH_RESIDENT_NONE, nr);
	for (uint64_t at = base; at < end && err == 0;)
		at = scan(fd, at, end, base, what, &err);
	(void)ash_sys(__NR_close, fd, 0, 0, 0, 0, 0);
	return err;
}

int ash_resident_huge(const void *addr, size_t nr, bool *huge)
{
	unsigned char what[REGIONS];
	int err = 0;

	for (size_t i = 0; i < nr && err == 0; i += REGIONS) {
		const size_t n = nr - i < REGIONS ? nr - i : REGIONS;

		err = ash_resident_look((const char *)addr + (i << HUGE_SHIFT), n, what);
		for (size_t k = 0; k < n; k++)
			huge[i + k] = err == 0 && what[k] == ASH_RESIDENT_HUGE;
	}
	return err;
}

int ash_resident_pages(const void *addr, size_t bytes, size_t *pages)
{
	unsigned char in[PAGES_PER_HUGE];

	*pages = 0;
	while (bytes > 0) {
		const size_t n = bytes < 1ul << HUGE_SHIFT ? bytes : 1ul << HUGE_SHIFT;
		const long err = ash_sys(__NR_mincore, (long)addr, (long)n, (long)in, 0, 0, 0);

		if (err < 0)
			return (int)err;
		for (size_t i = 0; i < n >> PAGE_SHIFT; i++)
			*pages += in[i] & 1;
		addr = (const char *)addr + n;
		bytes -= n;
	}
	return 0;
}

void ash_resident_full(const void *addr, size_t nr, bool *full)
{
	size_t pages;

	for (size_t i = 0; i < nr; i++)
		full[i] = ash_resident_pages((const char *)addr + (i << HUGE_SHIFT), 1ul << HUGE_SHIFT, &pages) == 0 &&
			  pages == PAGES_PER_HUGE;
}
