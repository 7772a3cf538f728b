/* SPDX-License-Identifier: MIT */
/* Random operations: the whole language, under every degree of memory pressure. */
#include "base/bits.h"
#include "model/model.h"

uint64_t model_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

/* How often, out of 256, each operation comes while the zone fills and while it empties. */
static const uint8_t weights[2][MODEL_NR_CODES] = {
	{
		[MODEL_ALLOC] = 130,
		[MODEL_ALLOC_RUN] = 30,
		[MODEL_FREE] = 50,
		[MODEL_FREE_PART] = 10,
		[MODEL_EXTEND] = 20,
		[MODEL_REPORT_BEGIN] = 5,
		[MODEL_REPORT_END] = 6,
		[MODEL_DRAIN] = 2,
		[MODEL_ONLINE] = 6,
		[MODEL_ISOLATE] = 3,
		[MODEL_UNISOLATE] = 4,
		[MODEL_TEST_RANGE] = 1,
		[MODEL_CONTIG] = 4,
		[MODEL_CONTIG_FIND] = 4,
		[MODEL_PIN] = 2,
		[MODEL_FREE_TRYLOCK] = 8,
		[MODEL_GO_OFFLINE] = 2,
		[MODEL_COMPACT] = 2,
		[MODEL_ALLOC_COMPACT] = 5,
		[MODEL_PCP_OFF] = 1,
		[MODEL_PCP_ON] = 2,
		[MODEL_FREE_TAIL] = 1,
	},
	{
		[MODEL_ALLOC] = 60,
		[MODEL_ALLOC_RUN] = 15,
		[MODEL_FREE] = 110,
		[MODEL_FREE_PART] = 40,
		[MODEL_EXTEND] = 15,
		[MODEL_REPORT_BEGIN] = 6,
		[MODEL_REPORT_END] = 5,
		[MODEL_DRAIN] = 4,
		[MODEL_ONLINE] = 4,
		[MODEL_ISOLATE] = 5,
		[MODEL_UNISOLATE] = 6,
		[MODEL_TEST_RANGE] = 1,
		[MODEL_CONTIG] = 6,
		[MODEL_CONTIG_FIND] = 6,
		[MODEL_PIN] = 1,
		[MODEL_FREE_TRYLOCK] = 15,
		[MODEL_GO_OFFLINE] = 2,
		[MODEL_COMPACT] = 2,
		[MODEL_ALLOC_COMPACT] = 3,
		[MODEL_PCP_OFF] = 1,
		[MODEL_PCP_ON] = 2,
		[MODEL_FREE_TAIL] = 1,
	},
};

/* Steps in a phase of filling or emptying: long enough, for the small zones of the tests, to reach the end of it. */
#define PHASE_STEPS 192

static uint8_t pick_code(unsigned phase, uint64_t *rng)
{
	unsigned sum = 0, at;

	for (unsigned code = 0; code < MODEL_NR_CODES; code++)
		sum += weights[phase][code];
	at = (unsigned)(model_random(rng) >> 32) % sum;
	for (uint8_t code = 0;; code++) {
		if (at < weights[phase][code])
			return code;
		at -= weights[phase][code];
	}
}

static const uint8_t flag_rolls[16] = {
	[0] = ASH_ALLOC_NOFRAGMENT, [1] = ASH_ALLOC_TRYLOCK,	[2] = ASH_ALLOC_CMA,
	[3] = ASH_ALLOC_CMA,	    [4] = ASH_ALLOC_NOFRAGMENT | ASH_ALLOC_CMA,
	[5] = ASH_ALLOC_HIGHATOMIC,
};

struct model_op model_random_op(const struct model *m, uint64_t *rng)
{
	const unsigned max_order = m->config.geometry.max_order;
	const uint64_t r = model_random(rng);
	struct model_op op = {
		.code = pick_code(m->counts.steps / PHASE_STEPS & 1, rng),
		/* Small orders are common, large ones (the merge and straddle cases) common enough. */
		.order = (uint8_t)(r & 3 ? ash_ctz(r >> 2 | 1ull << max_order) : (r >> 8) % (max_order + 1)),
		.mt = (uint8_t)(m->config.movable && (r >> 22) % 8 != 0 ? ASH_MT_MOVABLE : (r >> 20) % ASH_MT_PCPTYPES),
		.cpu = (uint32_t)((r >> 24) % (m->config.nr_cpus + 1)),
		.a = (uint32_t)(model_random(rng) >> 16),
		.b = (uint32_t)(model_random(rng) >> 16),
	};

	switch (op.code) {
	case MODEL_ALLOC:
	case MODEL_ALLOC_RUN:
	case MODEL_ALLOC_COMPACT:
		op.flags = flag_rolls[(r >> 32) % ASH_ARRAY_LEN(flag_rolls)];
		if (op.code == MODEL_ALLOC_RUN)
			op.a %= 2u << (r >> 40) % (max_order + 1);
		break;
	case MODEL_ISOLATE:
	case MODEL_UNISOLATE:
	case MODEL_TEST_RANGE:
	case MODEL_CONTIG:
	case MODEL_CONTIG_FIND:
		/* Mostly a few pageblocks, and any length now and then. */
		if ((r >> 40) % 8 != 0)
			*(op.code == MODEL_CONTIG_FIND ? &op.a : &op.b) %= 3u << m->config.geometry.pageblock_order;
		op.flags = (uint8_t)((r >> 32) % 2 == 0 ? MODEL_MOVER_WORKS : (r >> 33) % MODEL_MOVER_MODES);
		break;
	case MODEL_COMPACT:
		op.flags = (uint8_t)((r >> 32) % 4);
		break;
	case MODEL_ONLINE:
		/* Mostly what offlining took: whole pageblocks. */
		if ((r >> 40) % 4 != 0) {
			const unsigned pb = m->config.geometry.pageblock_order;

			op.a = (uint32_t)(op.a % m->nr_pageblocks) << pb;
			op.b = (1u << pb) - 1;
		}
		ASH_FALLTHROUGH;
	default:
		op.flags = (uint8_t)((r >> 32) & 1);
	}
	return op;
}
