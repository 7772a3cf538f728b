/* SPDX-License-Identifier: MIT */
/* The table of options and the arenas agree on what a process without options gets. */
#include "harness/test.h"

#include "arena/arena.h"
#include "ctl/options.h"

TEST(defaults_of_the_table_are_the_arenas_own)
{
	struct ash_arena_config arena;
	struct ash_options o;

	ash_options_default(&o);
	ash_arena_config_default(&arena);
	EXPECT_EQ(o.arena.huge, arena.huge);
	EXPECT_EQ(o.arena.fork, arena.fork);
	EXPECT_EQ(o.arena.strict, arena.strict);
	EXPECT_EQ(o.arena.quiet, arena.quiet);
	EXPECT_EQ(o.arena.decay_ms, arena.decay_ms);
	EXPECT_EQ(o.arena.small_start, arena.small_start);
	EXPECT_EQ(o.arena.limit, arena.limit);
	EXPECT_EQ(o.arena.reserve, arena.reserve);
	EXPECT_EQ(o.arena.poison, arena.poison);
	EXPECT_EQ(o.arena.init_on_free, arena.init_on_free);
	EXPECT_EQ(o.arena.init_on_alloc, arena.init_on_alloc);
	EXPECT_EQ(o.arena.guard, arena.guard);
	EXPECT_EQ(memcmp(&o.arena.policy, &arena.policy, sizeof(arena.policy)), 0);
}
