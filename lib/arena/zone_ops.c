/* SPDX-License-Identifier: MIT */
/* What the zones of arenas ask of their embedder: waiting, reports, and the memory of frames for the hardening
 * layers. */
#include "arena/internal.h"
#include "os/log.h"
#include "os/text.h"

static void *frame_addr(const struct ash_zone *z, ash_pfn_t pfn)
{
	return ash_arena_address(ash_zone_owner(z), pfn);
}

static void report_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	char line[256];
	struct ash_text t;

	ash_text_init(&t, line, sizeof(line));
	ash_text_str(&t, "page allocator: ");
	ash_text_str(&t, what);
	ash_text_str(&t, ": at 0x");
	ash_text_hex(&t, (uintptr_t)frame_addr(z, pfn));
	ash_text_str(&t, " (pfn ");
	ash_text_num(&t, pfn);
	ash_text_str(&t, "), 0x");
	ash_text_hex(&t, a);
	ash_text_str(&t, ", 0x");
	ash_text_hex(&t, b);
	ash_log(line);
}

/* Without it, as in hugetlb pages, what is left over behind a run is still nobody's. */
static void guard(struct ash_zone *z, ash_pfn_t pfn, ash_pfn_t nr, bool on)
{
	void *addr = frame_addr(z, pfn);

	if (on)
		(void)ash_vmem_guard(addr, (size_t)nr << ASH_PAGE_SHIFT);
	else
		(void)ash_vmem_unguard(addr, (size_t)nr << ASH_PAGE_SHIFT);
}

const struct ash_zone_ops ash_arena_zone_ops = {
	.lock = { .wait = ash_futex_wait, .wake = ash_futex_wake },
	.bug = report_bug,
	.frame_addr = frame_addr,
	.guard = guard,
	.mover = &ash_arena_mover_ops,
	.shrinker = &ash_arena_shrinker_ops,
};

ASH_EARLY uint8_t ash_arena_guard_order(size_t bytes)
{
	return (uint8_t)(bytes <= ASH_PAGE_SIZE ? 0
						: ash_min(ash_log2_ceil(bytes >> ASH_PAGE_SHIFT), ASH_PAGEBLOCK_ORDER));
}
