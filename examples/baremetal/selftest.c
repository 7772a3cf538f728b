/* SPDX-License-Identifier: MIT */
/* The page core's model test (tests/model), in memory that the page core itself hands out. */
#include "selftest.h"

#include "base/bits.h"
#include "machine.h"
#include "model/model.h"

#define SMALL_STEPS 8000u
#define MACHINE_STEPS 1000u

static const struct ash_zone_ops model_zone_ops = { .bug = on_bug };

static const struct model_config shapes[] = {
	{ .geometry = { 3, 3 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 1 },
	{ .geometry = { 3, 4 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 1, .zeroed = true },
	{ .geometry = { 3, 5 }, .nr_frames = 128, .online_nr = 128, .movable = true },
	{ .geometry = { 3, 6 }, .nr_frames = 128, .online_nr = 128, .nr_cpus = 2 },
	{ .geometry = { 4, 5 }, .nr_frames = 125, .online_start = 3, .online_nr = 119, .nr_cpus = 1, .pcp_batch = 5 },
	{ .geometry = { 2, 5 }, .nr_frames = 64, .online_nr = 64, .types = "CCCCHHMMMMUURRCM" },
};

/* Ranges of the machine that are not online yet. */
static bool online_rest(struct model *m)
{
	for (unsigned i = 1; i < nr_ranges; i++) {
		const struct model_op op = { .code = MODEL_ONLINE, .a = (uint32_t)(memory[i].start >> ASH_PAGE_SHIFT),
					     .b = (uint32_t)((memory[i].end - memory[i].start) >> ASH_PAGE_SHIFT) - 1 };

		if (!model_step(m, &op))
			return false;
	}
	return true;
}

static bool run_one(struct ash_zone *zone, struct model_config config, unsigned nr_steps, bool machine)
{
	struct model_target target = model_core;
	struct ash_page_grant grant;
	ash_pfn_t frames;
	ash_pfn_t online = 0;
	struct model *m;
	bool good;

	if (asked("break=grant"))
		target.alloc = model_alloc_twice;
	config.target = &target;
	config.ops = &model_zone_ops;
	frames = (ash_pfn_t)ash_bytes_to_pages(model_size(&config));
	if (ash_zone_alloc_run(zone, frames, 0, ASH_MT_UNMOVABLE, 0, &grant) != 0) {
		print("selftest: not enough contiguous memory for the model\n");
		return false;
	}
	m = model_init(at_address((uint64_t)grant.pfn << ASH_PAGE_SHIFT), &config);
	good = m != NULL && (!machine || online_rest(m));
	if (good)
		online = m->nr_online;
	good = good && model_run(m, nr_steps, 1);
	print("selftest: ");
	print_number(config.nr_frames);
	print(" frames, ");
	print_number(online);
	print(" online: ");
	print_number(m != NULL ? m->counts.steps : 0);
	print(" operations, ");
	print_number(m != NULL ? m->counts.checks : 0);
	print(" full checks: ");
	print(good ? "agreed" : m != NULL && m->error.what != NULL ? m->error.what : "refused");
	print("\n");
	ash_zone_free_run(zone, grant.pfn, frames);
	return good;
}

bool selftest(struct ash_zone *zone)
{
	const struct model_config machine = {
		.geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER },
		.nr_frames = (ash_pfn_t)(memory[nr_ranges - 1].end >> ASH_PAGE_SHIFT),
		.online_start = (ash_pfn_t)(memory[0].start >> ASH_PAGE_SHIFT),
		.online_nr = (ash_pfn_t)((memory[0].end - memory[0].start) >> ASH_PAGE_SHIFT),
		.nr_cpus = 1,
		.check_every = MACHINE_STEPS / 4,
	};

	for (unsigned i = 0; i < ASH_ARRAY_LEN(shapes); i++) {
		if (!run_one(zone, shapes[i], SMALL_STEPS, false))
			return false;
	}
	return run_one(zone, machine, MACHINE_STEPS, true);
}
