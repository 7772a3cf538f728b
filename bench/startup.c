/* SPDX-License-Identifier: MIT */
/*
 * What a preload adds to the start of a program: posix_spawn of `true` under each variant in turn, a thousand times.
 *
 *      startup [spawns=N] [program=PATH] NAME=LIB...      (LIB empty: no preload)
 *
 * Prints one line per variant: name, median and 10th percentile of microseconds from spawn to reaped, peak resident
 * KiB. Variants take turns within a round, in an order drawn anew for each: what comes after a large program finds the
 * caches cold, and that must not always be the same one. Static, so that its own pages, which
 * the kernel counts into the child's peak across vfork, stay below any dynamic program's.
 */
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define VARIANTS_MAX 16

struct variant {
	const char *name;
	char preload[4096];
	uint64_t *ns;
	long rss_kib;
};

extern char **environ;

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t spawn(struct variant *v, const char *program, char **env, size_t nr_env)
{
	char *argv[] = { (char *)(uintptr_t)program, NULL };
	const uint64_t start = bench_now();
	struct rusage ru;
	int status;
	pid_t pid;

	env[nr_env] = v->preload[0] != '\0' ? v->preload : NULL;
	if (posix_spawn(&pid, program, NULL, NULL, argv, env) != 0 || wait4(pid, &status, 0, &ru) != pid ||
	    status != 0)
		bench_die("%s under %s did not end well", program, v->name);
	v->rss_kib = ru.ru_maxrss > v->rss_kib ? ru.ru_maxrss : v->rss_kib;
	return bench_now() - start;
}

static void shuffle(unsigned *order, unsigned nr, uint64_t *random)
{
	for (unsigned i = nr; i > 1; i--) {
		const unsigned k = (unsigned)(bench_random(random) % i), other = order[k];

		order[k] = order[i - 1];
		order[i - 1] = other;
	}
}

int main(int argc, char **argv)
{
	const unsigned spawns = (unsigned)bench_arg(argc, argv, "spawns", 1000);
	const char *program = bench_arg_string(argc, argv, "program", "/bin/true");
	static struct variant variant[VARIANTS_MAX];
	unsigned nr = 0, order[VARIANTS_MAX];
	uint64_t random = 1;
	size_t nr_env = 0;
	char **env;

	for (int i = 1; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (equals == NULL || strncmp(argv[i], "spawns=", 7) == 0 || strncmp(argv[i], "program=", 8) == 0)
			continue;
		if (nr == VARIANTS_MAX)
			bench_die("at most %d variants", VARIANTS_MAX);
		*equals = '\0';
		variant[nr].name = argv[i];
		if (equals[1] != '\0')
			snprintf(variant[nr].preload, sizeof(variant[nr].preload), "LD_PRELOAD=%s", equals + 1);
		variant[nr].ns = malloc(spawns * sizeof(uint64_t));
		nr++;
	}
	if (nr == 0 || spawns == 0)
		bench_die("no variants");
	for (char **e = environ; *e != NULL; e++)
		nr_env++;
	env = calloc(nr_env + 2, sizeof(*env));
	nr_env = 0;
	for (char **e = environ; *e != NULL; e++)
		if (strncmp(*e, "LD_PRELOAD=", 11) != 0)
			env[nr_env++] = *e;
	for (unsigned i = 0; i < nr; i++)
		order[i] = i;
	for (unsigned round = 0; round < spawns; round++) {
		shuffle(order, nr, &random);
		for (unsigned i = 0; i < nr; i++)
			variant[order[i]].ns[round] = spawn(&variant[order[i]], program, env, nr_env);
	}
	for (unsigned i = 0; i < nr; i++) {
		qsort(variant[i].ns, spawns, sizeof(uint64_t), by_value);
		printf("%s %.1f us median %.1f us p10 %ld KiB\n", variant[i].name,
		       (double)variant[i].ns[spawns / 2] * 1e-3, (double)variant[i].ns[spawns / 10] * 1e-3,
		       variant[i].rss_kib);
	}
	return 0;
}
