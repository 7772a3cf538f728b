/* SPDX-License-Identifier: MIT */
/*
 * Summing /proc/self/smaps line by line; see smaps.h. Fields: proc(5).
 *
 * A mapping's lines follow its header "start-end perms ...". Rss counts base pages and THP; hugetlb is not in it, but
 * in Private_Hugetlb and Shared_Hugetlb, with KernelPageSize telling the size of its pages.
 */
#include <stdbool.h>

#include "os/file.h"
#include "os/huge.h"
#include "os/smaps.h"
#include "os/text.h"

struct smaps_sum {
	uintptr_t start, end;
	bool inside; /* the mapping being read begins in the range */
	uint64_t page_kb; /* of the mapping being read */
	struct ash_smaps total;
};

/* The address range that opens a mapping's entry. false: a field line. */
static bool parse_header(const char *line, uint64_t *start)
{
	uint64_t end;

	if (!ash_parse_num(&line, 16, start) || *line != '-')
		return false;
	line++;
	return ash_parse_num(&line, 16, &end) && *line == ' ';
}

static bool parse_kb(const char *line, const char *field, uint64_t *kb)
{
	const char *s = ash_after_prefix(line, field);

	if (s == NULL)
		return false;
	while (*s == ' ')
		s++;
	return ash_parse_num(&s, 10, kb);
}

static int sum_line(void *arg, const char *line)
{
	struct smaps_sum *sum = arg;
	uint64_t n;

	if (parse_header(line, &n)) {
		sum->inside = n >= sum->start && n < sum->end;
		sum->total.mappings += sum->inside;
		return 0;
	}
	if (!sum->inside)
		return 0;
	if (parse_kb(line, "KernelPageSize:", &n)) {
		sum->page_kb = n;
	} else if (parse_kb(line, "Rss:", &n)) {
		sum->total.base += n << 10;
	} else if (parse_kb(line, "AnonHugePages:", &n)) {
		sum->total.thp += n << 10;
		sum->total.base -= n << 10;
	} else if (parse_kb(line, "Private_Hugetlb:", &n) || parse_kb(line, "Shared_Hugetlb:", &n)) {
		if (sum->page_kb >= 1ull << (ASH_HUGE_1G_SHIFT - 10))
			sum->total.huge_1g += n << 10;
		else
			sum->total.huge_2m += n << 10;
	}
	return 0;
}

int ash_smaps_read(uintptr_t start, uintptr_t end, struct ash_smaps *out)
{
	return ash_smaps_read_file("/proc/self/smaps", start, end, out);
}

int ash_smaps_read_file(const char *path, uintptr_t start, uintptr_t end, struct ash_smaps *out)
{
	struct smaps_sum sum = { .start = start, .end = end };
	int err = ash_file_lines(path, sum_line, &sum);

	if (err == 0)
		*out = sum.total;
	return err;
}
