/* SPDX-License-Identifier: MIT */
/* Buffers as a driver asks for them, with whatever memory this machine has; each test in a process of its own. */
#include "arena/child.h"
#include "dma/witness.h"
#include "unit/os/fake_sys.h"

#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/capability.h>

/* Whether ordinary memory comes in huge pages, and can be pinned, is the machine's affair and may change at any
 * time. */
static void *get_physical(size_t bytes, uint32_t pages)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	void *p;

	attr.pages = pages;
	attr.error = &error;
	p = ash_dma_alloc(bytes, &attr);
	if (p == NULL && (error.reason == ASH_DMA_NOT_CONTIGUOUS || error.reason == ASH_DMA_HIDDEN))
		SKIP("the kernel gives no transparent huge pages, or no pins");
	EXPECT(p != NULL);
	return p;
}

static void *get(size_t bytes, struct ash_dma_attr attr)
{
	void *p = ash_dma_alloc(bytes, &attr);

	if (p == NULL)
		TEST_FAIL("no buffer of %zu bytes: errno %d", bytes, errno);
	return p;
}

CHILD_TEST(a_buffer_is_what_its_description_says)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char *p = get(KIB(20), attr);
	struct ash_dma_info info = describe(p);

	EXPECT(info.start == p);
	EXPECT_EQ(info.bytes, KIB(20));
	EXPECT_GE(info.nr_segments, 1);
	memset(p, 0x5a, KIB(20));
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_info_read(p, &info), -EINVAL);
}

CHILD_TEST(without_a_pool_two_mebibytes_are_contiguous_and_pinned_by_the_kernel)
{
	struct ash_dma_info info;
	char *p;

	if (!witness_sees())
		SKIP("physical addresses are hidden from this process");
	p = get_physical(MIB(2), ASH_DMA_PAGES_THP);
	info = describe(p);
	EXPECT_EQ(info.pages, ASH_DMA_PAGES_THP);
	EXPECT_EQ(info.pinned, ASH_DMA_PINNED_KERNEL);
	EXPECT_EQ(info.level, ASH_DMA_PHYSICAL);
	witness_agrees(p, MIB(2));
	EXPECT_EQ(ash_dma_verify(), 0);
}

CHILD_TEST(small_buffers_lie_in_physical_order)
{
	char *p[64];
	uint64_t phys[64];

	if (!witness_sees())
		SKIP("physical addresses are hidden from this process");
	for (unsigned i = 0; i < 64; i++) {
		p[i] = get_physical(KIB(4) << i % 8, ASH_DMA_PAGES_ANY);
		if (describe(p[i]).phys_known == 0)
			SKIP("no huge pages to be had: base pages have no address");
		phys[i] = ash_dma_translate(p[i], NULL);
		witness_agrees(p[i], KIB(4) << i % 8);
	}
	for (unsigned i = 0; i < 64; i++) {
		/* Of one node: a thread is where it is scheduled. */
		for (unsigned k = 0; k < 64; k++) {
			if (describe(p[i]).node == describe(p[k]).node)
				EXPECT_EQ(p[i] < p[k], phys[i] < phys[k]);
		}
	}
}

CHILD_TEST(alignment_and_boundary_hold_for_both_addresses)
{
	static const size_t sizes[] = { 1, 4096, 5000, KIB(12), KIB(68), KIB(300), MIB(1) + 1, MIB(2) };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t align = 64; align <= MIB(2); align *= 4) {
			struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
			size_t boundary = 4096;
			uint64_t phys;
			char *p;

			while (boundary < sizes[i])
				boundary *= 2;
			attr.align = align;
			attr.boundary = boundary;
			p = get(sizes[i], attr);
			EXPECT_EQ((uintptr_t)p % align, 0);
			EXPECT_EQ((uintptr_t)p / boundary, ((uintptr_t)p + sizes[i] - 1) / boundary);
			phys = ash_dma_translate(p, NULL);
			if (phys != ASH_DMA_UNKNOWN) {
				EXPECT_EQ(phys % align, 0);
				EXPECT_EQ(phys / boundary, (phys + sizes[i] - 1) / boundary);
			}
			EXPECT_EQ(ash_dma_free(p), 0);
		}
	}
}

CHILD_TEST(a_request_that_contradicts_itself_is_refused)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	char text[256];

	attr.error = &error;
	attr.align = 48;
	EXPECT(ash_dma_alloc(4096, &attr) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(error.reason, ASH_DMA_BAD_REQUEST);
	attr.align = 0;
	attr.boundary = 4096;
	EXPECT(ash_dma_alloc(4097, &attr) == NULL);
	attr.boundary = 0;
	attr.node = -2;
	EXPECT(ash_dma_alloc(4096, &attr) == NULL);
	attr.node = 63;
	attr.flags = ASH_DMA_NODE_STRICT;
	EXPECT(ash_dma_alloc(4096, &attr) == NULL);
	EXPECT_EQ(errno, EINVAL);
	attr = (struct ash_dma_attr)ASH_DMA_ATTR_INIT;
	EXPECT(ash_dma_alloc(0, &attr) == NULL);
	attr.level = 3;
	EXPECT(ash_dma_alloc(1, &attr) == NULL);
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 20);
	EXPECT(strstr(text, "contradicts") != NULL);
}

CHILD_TEST(a_buffer_ends_once)
{
	char *p = get(KIB(8), wish(ASH_DMA_VIRTUAL)), local;

	EXPECT_EQ(ash_dma_free(NULL), 0);
	EXPECT_EQ(ash_dma_free(&local), -EINVAL);
	EXPECT_EQ(ash_dma_free(p + 4096), -EINVAL);
	EXPECT_EQ(ash_dma_free(p + 1), -EINVAL);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_free(p), -EINVAL);
	EXPECT_EQ(ash_dma_free_sensitive(p), -EINVAL);
}

CHILD_TEST(a_sensitive_end_wipes)
{
	char *p = get(KIB(64), wish(ASH_DMA_VIRTUAL));

	memset(p, 0x77, KIB(64));
	EXPECT_EQ(ash_dma_free_sensitive(p), 0);
	/* The frames stay in the arena, readable, and nobody has asked since. */
	for (size_t i = 0; i < KIB(64); i++)
		EXPECT_EQ(p[i], 0);
}

CHILD_TEST(zero_means_zero_also_the_second_time)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char *p;

	attr.flags = ASH_DMA_ZERO;
	for (unsigned round = 0; round < 3; round++) {
		p = get(MIB(1), attr);
		for (size_t i = 0; i < MIB(1); i++)
			EXPECT_EQ(p[i], 0);
		memset(p, 0xff, MIB(1));
		EXPECT_EQ(ash_dma_free(p), 0);
	}
}

CHILD_TEST(realloc_keeps_what_was_there)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char *p = ash_dma_realloc(NULL, KIB(8), &attr), *q;

	EXPECT(p != NULL);
	memset(p, 0x31, KIB(8));
	q = ash_dma_realloc(p, KIB(100), &attr);
	EXPECT(q != NULL);
	for (size_t i = 0; i < KIB(8); i++)
		EXPECT_EQ(q[i], 0x31);
	attr.boundary = 4096;
	EXPECT(ash_dma_realloc(q, KIB(8), &attr) == NULL);
	EXPECT_EQ(q[KIB(8) - 1], 0x31);
	EXPECT_EQ(describe(q).bytes, KIB(100));
}

CHILD_TEST(more_than_there_is_is_refused_and_nobody_is_killed)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);

	EXPECT(ash_dma_alloc((size_t)sysconf(_SC_PHYS_PAGES) * 4096, &attr) == NULL);
	EXPECT_EQ(errno, ENOMEM);
}

/* Beyond a cgroup's limit the kernel does not refuse, it kills. */
CHILD_TEST(more_than_a_cgroup_may_have_is_refused_and_the_limit_is_named)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char text[512];

	fake_on();
	fake_file("/proc/self/cgroup", "0::/small\n");
	fake_file("/sys/fs/cgroup/small/memory.max", "67108864\n");
	fake_file("/sys/fs/cgroup/small/memory.current", "33554432\n");
	attr.pages = ASH_DMA_PAGES_THP;
	attr.error = &error;
	EXPECT(ash_dma_alloc(MIB(40), &attr) == NULL);
	EXPECT_EQ(error.memory_limit, MIB(64));
	EXPECT_EQ(error.memory_used, MIB(32));
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
	EXPECT(strstr(text, "memory limit of the cgroup: 64 MiB, used: 32 MiB") != NULL);
	EXPECT(ash_dma_alloc(MIB(16), &attr) != NULL);
	fake_off();
}

/* Nor does it refuse what it could only give by killing somebody. */
CHILD_TEST(more_than_there_is_is_refused_and_what_there_is_is_named)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char text[512];

	fake_on();
	fake_file("/proc/meminfo", "MemTotal: 999999 kB\nMemFree: 80000 kB\nMemAvailable: 65536 kB\n");
	fake_file("/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 999999 kB\nNode 0 MemFree: 65536 kB\n");
	fake_file("/proc/sys/vm/min_free_kbytes", "0\n");
	attr.node = 0;
	attr.flags = ASH_DMA_NODE_STRICT;
	attr.pages = ASH_DMA_PAGES_THP;
	attr.error = &error;
	EXPECT(ash_dma_alloc(MIB(60), &attr) == NULL);
	EXPECT_EQ(error.available, MIB(64));
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
	EXPECT(strstr(text, "ordinary memory that could be had: 64 MiB") != NULL);
	/* Who knows the structure without it has its own sentence. */
	error.size = offsetof(struct ash_dma_error, available);
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
	EXPECT(strstr(text, "could be had") == NULL);
	EXPECT(ash_dma_alloc(MIB(16), &attr) != NULL);
	fake_off();
}

static char *inherited;

static void touch_inherited(void)
{
	EXPECT_EQ(ash_dma_free(inherited), -EINVAL);
	EXPECT_EQ(ash_dma_translate(inherited, NULL), ASH_DMA_UNKNOWN);
	/* A child has arenas of its own, elsewhere. */
	inherited = get(KIB(16), wish(ASH_DMA_VIRTUAL));
	memset(inherited, 1, KIB(16));
	EXPECT_EQ(ash_dma_free(inherited), 0);
}

CHILD_TEST(a_child_does_not_inherit_buffers_and_has_its_own)
{
	uint64_t before;

	inherited = get(KIB(16), wish(ASH_DMA_VIRTUAL));
	memset(inherited, 0x42, KIB(16));
	before = witness_phys(inherited);
	EXPECT_EQ(touch_signal(inherited), SIGSEGV);
	EXPECT_EQ(child_status(touch_inherited), 0);
	EXPECT_EQ(inherited[0], 0x42);
	/* Written after the fork: in place, not in a copy. */
	inherited[0] = 0x43;
	if (describe(inherited).pinned != ASH_DMA_PINNED_LOCKED)
		EXPECT_EQ(witness_phys(inherited), before);
	EXPECT_EQ(ash_dma_free(inherited), 0);
}

static void drop_admin(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	EXPECT_EQ(syscall(SYS_capget, &header, data), 0);
	for (unsigned i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = data[i].inheritable = 0;
	EXPECT_EQ(syscall(SYS_capset, &header, data), 0);
}

CHILD_TEST(without_rights_addresses_are_unknown_and_all_else_works)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	struct ash_dma_segment segments[8];
	struct ash_dma_info info;
	size_t len = MIB(8);
	char *p, text[512];

	drop_admin();
	p = get(MIB(5), attr);
	memset(p, 1, MIB(5));
	info = describe(p);
	EXPECT_EQ(info.phys_known, 0);
	EXPECT_EQ(ash_dma_translate(p, &len), ASH_DMA_UNKNOWN);
	EXPECT_GE(len, 4096);
	EXPECT_GE(ash_dma_segments(p, MIB(5), segments, 8), 2);
	EXPECT_EQ(segments[0].phys, ASH_DMA_UNKNOWN);
	EXPECT_EQ(ash_dma_verify(), -ENODATA);
	attr.error = &error;
	attr.address_bits = 32;
	EXPECT(ash_dma_alloc(MIB(1), &attr) == NULL);
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
	EXPECT_EQ(ash_dma_free(p), 0);
}

CHILD_TEST(trim_gives_back_what_has_no_buffer_and_nothing_else)
{
	char *keep = get(KIB(64), wish(ASH_DMA_VIRTUAL));
	char *p = get(MIB(48), wish(ASH_DMA_VIRTUAL));

	memset(keep, 9, KIB(64));
	memset(p, 1, MIB(48));
	EXPECT_LE(ash_dma_trim(), MIB(2));
	EXPECT_EQ(p[MIB(47)], 1);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_GE(ash_dma_trim(), MIB(46));
	EXPECT_EQ(keep[KIB(63)], 9);
	/* At its ends p may have had a page in common with keep. */
	EXPECT_EQ(touch_signal(p + MIB(24)), SIGSEGV);
	EXPECT_EQ(ash_dma_free(keep), 0);
	EXPECT_GT(ash_dma_trim(), 0);
	/* And it can come again. */
	p = get(MIB(4), wish(ASH_DMA_VIRTUAL));
	memset(p, 1, MIB(4));
	EXPECT_LE(ash_dma_verify(), 0);
}

CHILD_TEST(a_failure_names_what_there_is)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	char text[512], start[64], *p = get(KIB(4), wish(ASH_DMA_VIRTUAL));

	attr.node = describe(p).node;
	attr.flags = ASH_DMA_NO_GROW;
	attr.error = &error;
	EXPECT(ash_dma_alloc((size_t)1 << 40, &attr) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT_EQ(error.error, ENOMEM);
	EXPECT_EQ(error.wanted, (size_t)1 << 40);
	EXPECT(ash_dma_alloc(MIB(512), &attr) == NULL);
	EXPECT_EQ(error.wanted, MIB(512));
	EXPECT_EQ(error.free, MIB(2) - KIB(4));
	EXPECT_LE(error.largest, error.free);
	EXPECT_GE(error.largest, KIB(4));
	EXPECT(error.blocker == p || error.blocker == NULL);
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
	EXPECT_GT(snprintf(start, sizeof(start), "512 MiB on node %d", attr.node), 0);
	EXPECT(strstr(text, start) == text);
	EXPECT(strstr(text, "Free: 2044 KiB") != NULL);
}

CHILD_TEST(a_kind_that_is_insisted_on_is_found_behind_another)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	char *p[2];

	/* Three MiB that are no run in the machine leave a MiB of their kind free in the same arena. */
	attr.pages = ASH_DMA_PAGES_THP;
	p[0] = ash_dma_alloc(MIB(3), &attr);
	EXPECT(p[0] != NULL);
	attr.pages = ASH_DMA_PAGES_BASE;
	attr.flags = ASH_DMA_PAGES_STRICT;
	for (unsigned i = 0; i < 40; i++) {
		p[1] = ash_dma_alloc(KIB(64), &attr);
		EXPECT(p[1] != NULL);
		EXPECT_EQ(describe(p[1]).pages, ASH_DMA_PAGES_BASE);
	}
}
