/* SPDX-License-Identifier: MIT */
/*
 * The heap on a machine so large that frames of the reservation are not counted by 32 bits: nodes of a fake kernel,
 * with spans of the largest size. Address space only.
 */
#include "arena/child.h"

#include <linux/mempolicy.h>

#include "base/bits.h"
#include "heap/heap.h"
#include "unit/os/fake_sys.h"

static bool two_nodes(long nr, long a, long b, long c, ASH_UNUSED long d, long e, long *ret)
{
	if (nr != __NR_get_mempolicy && nr != __NR_mbind)
		return false;
	*ret = 0;
	if (nr == __NR_get_mempolicy && c < 2) {
		*ret = -EINVAL; /* no room for two nodes */
	} else if (nr == __NR_get_mempolicy && e == MPOL_F_MEMS_ALLOWED) {
		memset((void *)b, 0, (size_t)c / 8);
		*(unsigned long *)b = 3;
	} else if (nr == __NR_get_mempolicy) {
		*(int *)a = MPOL_DEFAULT;
	}
	return true;
}

static void start(void)
{
	struct ash_arena_config config = test_config();

	fake_on();
	fake.front = two_nodes;
	fake_file("/sys/devices/system/node/has_memory", "0-1\n");
	fake_file("/sys/devices/system/node/online", "0-1\n");
	config.reserve = ASH_GIB(8192);
	EXPECT_EQ(ash_arena_init(&config), 0);
	if (ash_registry.nr_frames >> 32 == 0)
		SKIP("no address space for two nodes of 16 TiB");
}

enum { OBJECTS = 3000 };

static void check(struct ash_heap *h, size_t size, unsigned node_slot)
{
	static unsigned char *p[OBJECTS];

	for (unsigned i = 0; i < OBJECTS; i++) {
		p[i] = ash_heap_new_alloc(h, 1, size, false);
		EXPECT(p[i] != NULL);
		EXPECT_EQ(ash_frame_index(p[i]) >> ash_registry.span_frame_shift, 2 * node_slot);
		memset(p[i], (int)i, size);
	}
	for (unsigned i = 0; i < OBJECTS; i++) {
		EXPECT_GE(ash_heap_usable(p[i]), size);
		EXPECT(p[i][0] == (unsigned char)i && p[i][size - 1] == (unsigned char)i);
		ash_heap_free(p[i]);
	}
}

CHILD_TEST(objects_lie_where_their_descriptors_say)
{
	struct ash_heap *near, *far;

	start();
	near = ash_heap_new(0);
	far = ash_heap_new(1);
	EXPECT(near != NULL && far != NULL);
	for (unsigned round = 0; round < 2; round++) {
		check(near, 100, 0);
		check(far, 100, 1);
		EXPECT(ash_heap_new_alloc(far, 1, 100000, true) != NULL);
		ash_heap_new_reset(far);
	}
	ash_heap_new_destroy(far);
	ash_heap_new_destroy(near);
	check_zones();
}
