/* SPDX-License-Identifier: MIT */
/*
 * Setting up: the reservation, the registry, arenas.
 *
 * The reservation, with the metadata before the arenas, is address space only. Its size is a multiple of the machine's
 * RAM, because arenas grow at their end only and fragmentation of addresses must never be what stops them; where a
 * limit on address space (RLIMIT_AS) or on locked memory (RLIMIT_MEMLOCK, after mlockall(MCL_FUTURE)) counts such
 * space, it is kept to a share of the limit instead, and spans are then cut to fit. It is given back only where a limit
 * on address space comes later (fit.c).
 *
 * A process starts with one arena, T of the node it runs on; others are made when first asked for.
 */
#include <errno.h>

#include "arena/internal.h"
#include "os/env.h"
#include "os/numa.h"

#define NO_POINTER ((uintptr_t)1 << 63) /* so far above every pointer that all of them are foreign */
#define MIN_SPAN ASH_MIB(32)            /* a span below this is not worth having, */
#define MIN_TIGHT ASH_PB_BYTES          /* except where there is no more */
enum { RAM_MULTIPLE = 4, FEW_POLICIES = 8 };

struct ash_registry ash_registry = { .base = NO_POINTER };
struct ash_arenas ash_arenas;

ASH_EARLY void ash_arena_config_default(struct ash_arena_config *config)
{
	*config = (struct ash_arena_config){
		.huge = ASH_HUGE_AUTO,
		.fork = ASH_FORK_COPY,
		.decay_ms = 10000,
		.small_start = ASH_MIB(2),
	};
}

ASH_EARLY const struct ash_arena_config *ash_arena_config(void)
{
	return &ash_arenas.config;
}

ASH_EARLY bool ash_arena_ready(void)
{
	return atomic_load_explicit(&ash_arenas.ready, memory_order_acquire);
}

/*
 * Reserve bytes at *base, aligned to align, and as many as before, or more, from *start to there. No more than that
 * where tight, else without trimming (fewer system calls): all ends at *end.
 */
static int reserve_aligned(size_t before, size_t bytes, size_t align, bool tight, uintptr_t *start, uintptr_t *base,
			   uintptr_t *end)
{
	const size_t all = before + bytes + align;
	void *addr;
	int err = ash_vmem_reserve(all, false, &addr);

	if (err < 0)
		return err;
	*start = (uintptr_t)addr;
	*base = ash_align_up(*start + before, align);
	*end = *start + all;
	if (tight) {
		*end = *base + bytes;
		(void)ash_vmem_unmap((void *)*end, *start + all - *end);
		if (*base - before > *start)
			(void)ash_vmem_unmap(addr, *base - before - *start);
		*start = *base - before;
	}
	return 0;
}

static ASH_EARLY int try_layout(size_t span, size_t total, size_t align, bool tight)
{
	const size_t meta = ash_meta_bytes(total >> ASH_PAGE_SHIFT);
	uintptr_t start, base, end;
	int err = reserve_aligned(meta, total, align, tight, &start, &base, &end);

	if (err == 0) {
		err = ash_meta_init((void *)start, base - start, total >> ASH_PAGE_SHIFT);
		if (err < 0)
			(void)ash_vmem_unmap((void *)start, base + total - start);
	}
	if (err < 0)
		return err;
	ash_arenas.align_order = ash_log2_floor(align >> ASH_PAGE_SHIFT);
	ash_registry.span_frame_shift = ash_log2_floor(span >> ASH_PAGE_SHIFT);
	ash_registry.nr_spans = (unsigned)((total + span - 1) / span);
	ash_arenas.slack_frames = (uint32_t)((end - base - total) >> ASH_PAGE_SHIFT);
	ash_registry.base = base;
	/* What is above is read without a lock by whoever has a pointer of ours, and so came after this. */
	ash_registry.nr_frames = total >> ASH_PAGE_SHIFT;
	return 0;
}

/*
 * Under RLIMIT_AS, or RLIMIT_MEMLOCK: five eighths of the limit for arenas, the rest is the program's own. Too little
 * to be divided among nodes: first touch has to place it. A single span may end anywhere, so that the power of two does
 * not cost up to half. Smaller until it fits.
 */
static int reserve_tight(size_t limit)
{
	const unsigned spans = ash_wants_hugetlb() ? ASH_ARENA_KINDS : 1;

	ash_nodes_use_one(ash_numa_current());
	for (size_t total = ash_arenas_share(limit); total / spans >= MIN_TIGHT; total /= 2) {
		size_t span = (size_t)1 << ash_log2_floor(total / spans);
		size_t bytes = span * spans;
		size_t align = ash_max(ash_min(span / 8, ASH_MIB(64)), ASH_PB_BYTES);

		if (spans == 1) {
			bytes = ash_align_down(total, ASH_PB_BYTES);
			span = (size_t)1 << ash_log2_ceil(bytes);
		}
		if (try_layout(span, bytes, align, true) == 0)
			return 0;
	}
	return -ENOMEM;
}

static size_t span_for(size_t ram)
{
	const size_t most = (size_t)1 << (ASH_PAGE_SHIFT + 32 - 1); /* a pfn has 32 bits, one value of them is taken */
	size_t span = ash_arenas.config.reserve;

	if (span == 0)
		span = ash_max(ram * RAM_MULTIPLE, ASH_GIB(64));
	span = (size_t)1 << ash_log2_ceil(ash_max(span, MIN_SPAN));
	return ash_min(span, most);
}

/* Nodes with long spans are worth more than many policies. */
static ASH_EARLY int try_spans(size_t span)
{
	const unsigned most = ash_arenas.nr_policy_slots;
	int err;

	do {
		const size_t spans = (ash_arenas.nr_node_slots + ash_arenas.nr_policy_slots) * ASH_ARENA_KINDS;

		err = try_layout(span, span * spans, ash_min(span, ASH_GIB(1)), false);
		if (err == 0 || ash_arenas.nr_policy_slots <= FEW_POLICIES)
			break;
		ash_arenas.nr_policy_slots /= 2;
	} while (true);
	if (err < 0)
		ash_arenas.nr_policy_slots = most;
	return err;
}

/*
 * The limit is asked for only when it is in the way: most processes have none. -EAGAIN is that of locked memory: all
 * that is mapped after mlockall(MCL_FUTURE) counts, touched or not.
 */
static int reserve(void)
{
	size_t span = span_for(ash_env_ram());
	const int err = try_spans(span);
	size_t limit;

	if (err == 0)
		return 0;
	limit = ash_env_address_limit();
	if (err == -EAGAIN)
		limit = ash_min(limit, ash_env_lock_limit());
	if (limit != SIZE_MAX)
		return reserve_tight(limit);
	for (span /= 2; span >= MIN_SPAN; span /= 2) {
		if (try_spans(span) == 0)
			return 0;
	}
	return -ENOMEM;
}

static int zone_create(struct ash_arena *a, size_t first)
{
	const struct ash_zone_config config = {
		.nr_frames = a->span_frames,
		.geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER },
		.frames = ash_meta_frames(first),
		.pageblocks = ash_meta_pageblocks(first),
		.ops = &ash_arena_zone_ops,
		.owner = a,
		.hardening = {
			.poison = ash_arenas.config.poison,
			.init_on_free = ash_arenas.config.init_on_free,
			.init_on_alloc = ash_arenas.config.init_on_alloc,
			.guard_order = ash_arena_guard_order(ash_arenas.config.guard),
		},
	};

	/* Written before it is read, as in ash_meta_alloc(). */
	atomic_store_explicit(&config.pageblocks[0], 0, memory_order_relaxed);
	a->zone = ash_meta_alloc(ash_zone_struct_size());
	return a->zone != NULL ? ash_zone_init(a->zone, &config) : -ENOMEM;
}

/* Caller holds the setup turn. */
static ASH_EARLY struct ash_arena *arena_create(unsigned index)
{
	const size_t first = (size_t)index << ash_registry.span_frame_shift;
	const unsigned slot = index / ASH_ARENA_KINDS;
	struct ash_arena *a = ash_meta_alloc(sizeof(*a));

	if (a == NULL)
		return NULL;
	a->index = (uint16_t)index;
	a->kind = (enum ash_arena_kind)(index % ASH_ARENA_KINDS);
	a->policy = ash_arena_policy(slot);
	a->node = a->policy == NULL ? ash_arenas.nodes[slot] : -1;
	a->span_frames = (ash_pfn_t)ash_min((size_t)1 << ash_registry.span_frame_shift, ash_nr_frames() - first);
	a->tabled = a->span_frames;
	atomic_store_explicit(&a->nr_frames, a->span_frames, memory_order_relaxed);
	a->start = (uintptr_t)ash_frame_address(first);
	a->backing = ash_meta_backing(first);
	if (a->kind == ASH_ARENA_T)
		ash_start_init(a);
	if (zone_create(a, first) < 0)
		return NULL;
	/* Where placement is forbidden (seccomp in containers), the kernel's own choice has to do. */
	if (a->kind == ASH_ARENA_T && ash_arenas.bind && !ash_arena_is_pieced(a))
		(void)!ash_arena_place(a, (void *)a->start, 0, (size_t)a->span_frames << ASH_PAGE_SHIFT, ASH_PAGE_SIZE);
	atomic_store_explicit(&ash_arenas.arenas[index], a, memory_order_release);
	return a;
}

ASH_EARLY struct ash_arena *ash_arena_get(unsigned index)
{
	struct ash_arena *a = ash_arena_peek(index);

	if (a != NULL)
		return a;
	ash_lock(&ash_arenas.setup, &ash_futex_ops);
	a = ash_arena_peek(index);
	if (a == NULL && index < ash_registry.nr_spans && !ash_arenas.fitted)
		a = arena_create(index);
	ash_unlock(&ash_arenas.setup, &ash_futex_ops);
	return a;
}

static int set_up(const struct ash_arena_config *config)
{
	const struct ash_zonelist *zl;
	int err;

	if (ash_env_page_size() != ASH_PAGE_SIZE)
		return -ENOSYS;
	ash_arenas.config = *config;
	ash_arenas.config.small_start = ash_align_up(config->small_start, ASH_PB_BYTES);
	ash_nodes_find();
	err = reserve();
	if (err < 0)
		return err;
	zl = ash_nodes_start() == 0 ? ash_zonelist_first() : NULL;
	if (zl == NULL || arena_create(ash_align_down(zl->arena[0], ASH_ARENA_KINDS) + ASH_ARENA_T) == NULL) {
		ash_registry.nr_frames = 0;
		return -ENOMEM;
	}
	return 0;
}

ASH_EARLY int ash_arena_init(const struct ash_arena_config *config)
{
	int err = 0;

	if (ash_arena_ready())
		return 0;
	ash_lock(&ash_arenas.setup, &ash_futex_ops);
	if (!atomic_load_explicit(&ash_arenas.ready, memory_order_relaxed)) {
		err = set_up(config);
		if (err == 0)
			atomic_store_explicit(&ash_arenas.ready, true, memory_order_release);
	}
	ash_unlock(&ash_arenas.setup, &ash_futex_ops);
	return err;
}

ASH_EARLY void ash_arenas_take_turns(void)
{
	ash_lock(&ash_arenas.setup, &ash_futex_ops);
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL)
			ash_arena_take_turn(a);
	}
}

bool ash_arenas_busy(void)
{
	bool busy = ash_lock_is_held(&ash_arenas.contig) || ash_lock_is_held(&ash_arenas.setup);

	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		busy |= a != NULL && (ash_lock_is_held(&a->growth) || ash_zone_locks_held(a->zone));
	}
	return busy;
}

ASH_EARLY void ash_arenas_end_turns(void)
{
	for (unsigned i = ash_registry.nr_spans; i-- > 0;) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL)
			ash_arena_end_turn(a);
	}
	ash_unlock(&ash_arenas.setup, &ash_futex_ops);
}
