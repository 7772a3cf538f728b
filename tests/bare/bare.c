/* SPDX-License-Identifier: MIT */
/*
 * The freestanding proof: the page core under its model in a static program that has no libc and no start files.
 *
 * All memory is .bss. 1.4 million random operations over the geometries; the exit status is 0 only when every check
 * held. With an argument the program plants a lie in the core (a grant of owned frames) and must then fail.
 */
#include "bare/start.h"
#include "model/model.h"

#define OPS_PER_CONFIG 200000u

static _Alignas(64) unsigned char memory[1u << 20];

static const struct model_config configs[] = {
	{ .geometry = { 3, 3 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 2 },
	{ .geometry = { 3, 4 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 1, .zeroed = true },
	{ .geometry = { 4, 6 }, .nr_frames = 192, .online_nr = 192, .nr_cpus = 2, .pcp_batch = 7, .pcp_owned = true },
	{ .geometry = { 3, 5 }, .nr_frames = 128, .online_nr = 128, .nr_cpus = 1 },
	{ .geometry = { 3, 6 }, .nr_frames = 128, .online_nr = 128, .nr_cpus = 0 },
	{ .geometry = { 4, 5 }, .nr_frames = 125, .online_start = 3, .online_nr = 119, .nr_cpus = 2, .zeroed = true },
	{ .geometry = { 9, 12 }, .nr_frames = 8192, .online_nr = 8000, .nr_cpus = 2, .check_every = 512 },
};

static void on_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	(void)z;
	(void)a;
	(void)b;
	bare_write("bare: the core reports a bug: ");
	bare_write(what);
	bare_write(" at pfn ");
	bare_write_number(pfn);
	bare_write("\n");
	bare_exit(1);
}

static const struct ash_zone_ops ops = { .bug = on_bug };

static bool run(struct model_config config, const struct model_target *target, uint64_t seed, struct model_counts *sum)
{
	struct model *m;
	bool good;

	config.ops = &ops;
	config.target = target;
	if (model_size(&config) > sizeof(memory))
		return false;
	m = model_init(memory, &config);
	if (m == NULL)
		return false;
	good = model_run(m, OPS_PER_CONFIG, seed);
	sum->steps += m->counts.steps;
	sum->checks += m->counts.checks;
	if (!good) {
		bare_write("bare: step ");
		bare_write_number(m->error.step);
		bare_write(": ");
		bare_write(m->error.what);
		bare_write("\n");
	}
	return good;
}

int bare_main(int argc, const char *const *argv)
{
	struct model_target target = model_core;
	struct model_counts sum = { 0 };

	(void)argv;
	if (argc > 1)
		target.alloc = model_alloc_twice;
	for (unsigned i = 0; i < ASH_ARRAY_LEN(configs); i++) {
		if (!run(configs[i], &target, i + 1, &sum))
			return 1;
	}
	bare_write("bare: ");
	bare_write_number(sum.steps);
	bare_write(" operations and ");
	bare_write_number(sum.checks);
	bare_write(" full checks with no libc\n");
	return sum.steps >= 1000000 && sum.checks > 0 ? 0 : 1;
}
