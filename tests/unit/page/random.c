/* SPDX-License-Identifier: MIT */
/* A short random run per geometry with the walker after every step; the reference model's tests go deeper. */
#include "fixture.h"

#define LIVE 64

static void churn(unsigned pageblock_order, unsigned max_order, unsigned nr_cpus)
{
	struct {
		ash_pfn_t pfn, nr;
		bool piece; /* as ash_zone_alloc() gave it */
	} live[LIVE];
	unsigned nr_live = 0, done = 0;
	uint64_t rng = test_seed * 1000 + pageblock_order * 16 + max_order;
	struct fixture f;

	fixture_init(&f, 256 + 5, pageblock_order, max_order, nr_cpus);
	EXPECT_EQ(ash_zone_online(f.z, 3, 256, true), 0);
	for (unsigned step = 0; step < 3000; step++) {
		const uint64_t r = test_random(&rng);
		const enum ash_migratetype mt = (enum ash_migratetype)(r % 3);
		struct ash_page_grant g;

		if (nr_live < LIVE && (r >> 8) % 2 == 0) {
			const unsigned order = (unsigned)(r >> 16) % (max_order + 1);
			const ash_pfn_t nr = (r >> 24) % 2 ? 1u << order : 1 + (ash_pfn_t)(r >> 32) % 40;
			const bool run = nr != 1u << order;

			if ((run ? ash_zone_alloc_run(f.z, nr, 0, mt, 0, &g) :
				   ash_zone_alloc(f.z, order, mt, 0, (unsigned)(r >> 40) % (nr_cpus + 1), &g)) == 0) {
				live[nr_live].pfn = g.pfn;
				live[nr_live].piece = !run;
				live[nr_live++].nr = nr;
				done++;
			}
		} else if (nr_live > 0) {
			const unsigned i = (unsigned)(r >> 16) % nr_live;
			const ash_pfn_t nr = live[i].nr, part = 1 + (ash_pfn_t)(r >> 32) % nr;

			if (live[i].piece && (r >> 12) % 4 != 0) {
				ash_zone_free(f.z, live[i].pfn, (unsigned)__builtin_ctz(nr),
					      (unsigned)(r >> 40) % (nr_cpus + 1));
				live[i] = live[--nr_live];
			} else {
				ash_zone_free_run(f.z, live[i].pfn, part);
				live[i].piece = false;
				live[i].pfn += part;
				live[i].nr -= part;
				if (live[i].nr == 0)
					live[i] = live[--nr_live];
			}
		}
		fixture_check(&f);
	}
	EXPECT_GT(done, 100);
	while (nr_live > 0) {
		nr_live--;
		ash_zone_free_run(f.z, live[nr_live].pfn, live[nr_live].nr);
	}
	ash_zone_drain(f.z);
	EXPECT_EQ(stats(&f).free, 256);
	fixture_end(&f);
}

TEST(random_geometries)
{
	for (unsigned pb = 0; pb <= 4; pb++) {
		for (unsigned above = 0; above <= 3; above++) {
			churn(pb, pb + above, 0);
			churn(pb, pb + above, 2);
		}
	}
}
