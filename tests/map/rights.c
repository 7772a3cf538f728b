/* SPDX-License-Identifier: MIT */
/* Rights of a stretch of address space; see rights.h. */
#include "map/rights.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the oldest kernel headers we build with. */
struct query {
	uint64_t size, flags, addr;      /* in */
	uint64_t start, end, rights;     /* out */
	uint64_t page_size, offset, inode;
	uint32_t dev_major, dev_minor, name_size, build_id_size;
	uint64_t name, build_id;
};
#define QUERY _IOWR('f', 17, struct query)
enum { COVERING_OR_NEXT = 0x10, RIGHTS = 0xf };

struct joined {
	uint64_t from, to;        /* what is asked for */
	uint64_t start, end;      /* of what was seen last, and is not in the hash yet */
	unsigned rights;
	uint32_t hash;
};

static uint32_t mix(uint32_t h, uint64_t v)
{
	return (uint32_t)(((h ^ v) * 0x9e3779b97f4a7c15u) >> 31);
}

static void close_last(struct joined *j)
{
	if (j->end != 0)
		j->hash = mix(mix(mix(j->hash, j->start - j->from), j->end - j->from), j->rights + 1);
}

static void add(struct joined *j, uint64_t start, uint64_t end, unsigned rights)
{
	start = start < j->from ? j->from : start;
	end = end > j->to ? j->to : end;
	if (start >= end)
		return;
	if (start != j->end || rights != j->rights) {
		close_last(j);
		j->start = start;
		j->rights = rights;
	}
	j->end = end;
}

/* Open once; a child of fork must not ask, for it would see its parent's map. */
static bool ask(struct query *q, uint64_t addr)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	*q = (struct query){ .size = sizeof(*q), .flags = COVERING_OR_NEXT, .addr = addr };
	return syscall(SYS_ioctl, fd, QUERY, q) == 0;
}

bool rights_are_cheap(void)
{
	static int known = -1;
	struct query q;

	if (known < 0)
		known = ask(&q, (uintptr_t)&known);
	return known > 0;
}

static void ask_all(struct joined *j)
{
	struct query q;

	for (uint64_t at = j->from; at < j->to && ask(&q, at); at = q.end)
		add(j, q.start, q.end, (unsigned)q.rights & RIGHTS);
}

static void read_all(struct joined *j)
{
	static char text[1 << 16];
	uint64_t start, end;
	char r[8];
	FILE *f = fopen("/proc/self/maps", "re");

	if (f == NULL)
		exit(2);
	setvbuf(f, text, _IOFBF, sizeof(text));
	for (char line[512]; fgets(line, sizeof(line), f) != NULL;) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &start, &end, r) == 3)
			add(j, start, end,
			    (r[0] == 'r') | (r[1] == 'w') << 1 | (r[2] == 'x') << 2 | (r[3] == 's') << 3);
	}
	(void)fclose(f);
}

uint32_t rights_hash(const void *from, const void *to)
{
	struct joined j = { .from = (uintptr_t)from, .to = (uintptr_t)to };

	if (rights_are_cheap())
		ask_all(&j);
	else
		read_all(&j);
	close_last(&j);
	return j.hash;
}
