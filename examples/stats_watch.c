/* SPDX-License-Identifier: MIT */
/* Watching the allocator from inside: totals while a program grows and shrinks, then each arena. */
#include <ashlar/ashlar.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void show(const char *when)
{
	struct ash_stats s;

	if (ash_stats_read(&s, sizeof(s)) == 0)
		printf("%-8s live %6llu KiB, cached %6llu KiB, online %6llu KiB of which free %6llu KiB\n", when,
		       (unsigned long long)s.live_bytes >> 10, (unsigned long long)s.cached_bytes >> 10,
		       (unsigned long long)s.online_bytes >> 10, (unsigned long long)s.free_bytes >> 10);
}

static void show_arenas(void)
{
	static const char *const kinds[] = { "1 GiB pages", "2 MiB pages", "THP", "base pages" };
	struct ash_arena_info a;
	int err;

	for (unsigned i = 0; (err = ash_arena_info_read(i, &a, sizeof(a))) != -ERANGE; i++) {
		if (err != 0)
			continue;
		printf("arena %u: node %d,", i, (int)a.node);
		for (int kind = 0; kind < ASH_BACKED_KINDS; kind++)
			if (a.backed_bytes[kind] != 0)
				printf(" %llu KiB of %s", (unsigned long long)a.backed_bytes[kind] >> 10, kinds[kind]);
		printf("\n");
	}
}

int main(void)
{
	enum { N = 1000, SIZE = 20000 };
	static void *p[N];

	show("start");
	for (int i = 0; i < N; i++) {
		p[i] = ash_malloc(SIZE);
		if (p[i] == NULL)
			return 1;
		memset(p[i], 1, SIZE);
	}
	show("grown");
	for (int i = 0; i < N; i++)
		ash_free(p[i]);
	show("freed");
	printf("trimmed %zu KiB\n", ash_trim() >> 10);
	show("trimmed");
	show_arenas();
	return 0;
}
