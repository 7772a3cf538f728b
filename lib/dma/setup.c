/* SPDX-License-Identifier: MIT */
/*
 * Setting up: one reservation of address space for all arenas, tables for each arena, nothing else.
 *
 * The size of a DIRECT arena is that of the node's physical addresses, holes included, which the kernel tells everybody
 * (/proc/zoneinfo). Where it does not, or where so much address space is not to be had (RLIMIT_AS), the windows are
 * smaller, and memory whose physical address lies beyond them is put into LOOSE arenas.
 *
 * A child of fork has none of this memory (MADV_DONTFORK) and begins anew: its state is wiped by the child handler,
 * before it can ask for anything. The reservation stays in place there, so that no address of the parent's buffers
 * becomes one of the child's.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "dma/pool.h"
#include "os/env.h"
#include "os/log.h"
#include "os/text.h"
#include "os/vmem.h"

#define GIB ASH_GIB(1)
#define GIB_FRAMES ((ash_pfn_t)1 << ASH_MAX_ORDER)
#define STRIDE_MAX ((size_t)1 << (ASH_PAGE_SHIFT + 31)) /* a pfn has 32 bits, one value of them is taken */

struct ash_dma_state ash_dma;

static void start_anew(void)
{
	const int fd = ash_dma.pin_fd;

	/* The child's copy of the descriptor would keep the parent's pages pinned after the parent's end. */
	if (atomic_load_explicit(&ash_dma.ready, memory_order_relaxed) && fd >= 0)
		ash_pin_close(fd);
	ash_listen_forget(&ash_dma_listeners);
	ash_dma_foreign_forget();
	ash_dma_reserves_forget();
	ash_dma_objects_forget();
	ash_dma_threads_forget();
	ash_dma_small_forget();
	memset(&ash_dma, 0, sizeof(ash_dma));
}

static void bug(ASH_UNUSED const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	char line[256];
	struct ash_text t;

	ash_text_init(&t, line, sizeof(line));
	ash_text_str(&t, "dma: page allocator: ");
	ash_text_str(&t, what);
	ash_text_str(&t, ": pfn ");
	ash_text_num(&t, pfn);
	ash_text_str(&t, ", 0x");
	ash_text_hex(&t, a);
	ash_text_str(&t, ", 0x");
	ash_text_hex(&t, b);
	ash_log(line);
}

static const struct ash_zone_ops zone_ops = {
	.lock = { .wait = ash_futex_wait, .wake = ash_futex_wake },
	.bug = bug,
	.mover = &ash_dma_mover,
	.shrinker = &ash_dma_shrinker,
};

/* Where the window of a node begins and how long it would be. */
static size_t window(int node, uint64_t *phys)
{
	uint64_t start, end;

	*phys = 0;
	if (ash_phys_span(node, &start, &end) < 0)
		return ash_max(ash_env_ram(), GIB);
	*phys = ash_align_down(start, GIB);
	return ash_align_up(end, GIB) - *phys;
}

static int reserve(void)
{
	size_t stride = GIB;
	int err = -ENOMEM;

	for (unsigned i = 0; i < ash_dma_nr_nodes(); i++) {
		uint64_t phys;

		stride = ash_max(stride, window(ash_dma.nodes[i], &phys));
	}
	ash_dma.nr_arenas = ash_dma.nr_places * ASH_DMA_KINDS;
	stride = ash_min((size_t)1 << ash_log2_ceil(stride), STRIDE_MAX);
	for (; err < 0 && stride >= ASH_MIB(64); stride /= 2) {
		void *addr;

		err = ash_vmem_reserve(ash_dma.nr_arenas * stride + GIB, true, &addr);
		/* Rather no room for nodes to come than little for those that are there. */
		if (err < 0 && ash_dma.nr_places > ash_dma_nr_nodes()) {
			ash_dma.nr_places = ash_dma_nr_nodes();
			ash_dma.nr_arenas = ash_dma.nr_places * ASH_DMA_KINDS;
			err = ash_vmem_reserve(ash_dma.nr_arenas * stride + GIB, true, &addr);
		}
		if (err == 0) {
			(void)ash_vmem_name(addr, ash_dma.nr_arenas * stride + GIB, "ashlar dma");
			ash_dma.base = ash_align_up((uintptr_t)addr, GIB);
			ash_dma.shift = ash_log2_floor(stride);
		}
	}
	return err;
}

int ash_dma_setup(void)
{
	static _Atomic bool fork_handled;
	int err = 0;

	if (ASH_LIKELY(atomic_load_explicit(&ash_dma.ready, memory_order_acquire)))
		return 0;
	ash_lock(&ash_dma.setup, &ash_futex_ops);
	if (!atomic_load_explicit(&ash_dma.ready, memory_order_relaxed)) {
		atomic_store_explicit(&ash_dma.nr_nodes, 0, memory_order_relaxed);
		ash_dma_nodes_find();
		err = ash_env_page_size() == ASH_PAGE_SIZE ? reserve() : -ENOSYS;
		/* Registered once: the child inherits the handler. */
		if (err == 0 && !atomic_exchange_explicit(&fork_handled, true, memory_order_relaxed))
			err = -pthread_atfork(NULL, NULL, start_anew);
		if (err == 0) {
			ash_dma.pin_fd = ash_pin_open();
			atomic_store_explicit(&ash_dma.ready, true, memory_order_release);
		}
	}
	ash_unlock(&ash_dma.setup, &ash_futex_ops);
	return err;
}

/* The parts of an arena's tables, each beginning on a page. */
struct tables {
	size_t pcps, pageblocks, slots, covered, at_once; /* offsets, and the end of what is writable at once */
	size_t frames, tags, small, end;
};

static struct tables lay_out(size_t nr)
{
	const size_t nr_slots = nr >> ASH_DMA_SLOT_ORDER;
	struct tables t = { .pcps = ash_align_up(sizeof(struct ash_dma_arena) + ash_zone_struct_size(), 64) };

	t.pageblocks = ash_align_up(t.pcps + ASH_DMA_PCPS * ash_pcp_struct_size(), 64);
	t.slots = ash_align_up(t.pageblocks + nr_slots, 64);
	t.covered = t.slots + nr_slots * sizeof(struct ash_dma_slot);
	t.at_once = ash_align_up(t.covered + ((nr >> ASH_MAX_ORDER) / 64 + 1) * sizeof(uint64_t), ASH_PAGE_SIZE);
	t.frames = t.at_once;
	t.tags = ash_align_up(t.frames + ash_frames_size(nr + 1), ASH_PAGE_SIZE);
	t.small = ash_align_up(t.tags + nr * sizeof(uint64_t), ASH_PAGE_SIZE);
	t.end = ash_align_up(t.small + nr * sizeof(uint64_t), ASH_PAGE_SIZE);
	return t;
}

static struct ash_dma_arena *map_tables(struct tables t)
{
	void *base;

	if (ash_vmem_map_zeros(t.end, &base) < 0)
		return NULL;
	if (ash_vmem_commit(base, t.at_once) < 0) {
		(void)ash_vmem_unmap(base, t.end);
		return NULL;
	}
	(void)ash_vmem_advise(base, t.end, ASH_VMEM_NOHUGE);
	(void)ash_vmem_advise(base, t.end, ASH_VMEM_DONTDUMP);
	(void)ash_vmem_advise(base, t.end, ASH_VMEM_DONTFORK);
	return base;
}

/* Caller holds the setup turn. */
static struct ash_dma_arena *arena_create(unsigned index)
{
	const size_t stride = (size_t)1 << ash_dma.shift;
	const int node = ash_dma.nodes[index / ASH_DMA_KINDS];
	const struct tables t = lay_out(stride >> ASH_PAGE_SHIFT);
	struct ash_dma_arena *a = map_tables(t);
	struct ash_zone_config config;

	if (a == NULL)
		return NULL;
	a->zone = (struct ash_zone *)(a + 1);
	a->start = ash_dma.base + ((uintptr_t)index << ash_dma.shift);
	a->kind = (enum ash_dma_kind)(index % ASH_DMA_KINDS);
	a->node = node;
	a->nr_frames = (ash_pfn_t)(stride >> ASH_PAGE_SHIFT);
	a->slots = (struct ash_dma_slot *)((char *)a + t.slots);
	a->covered = (uint64_t *)((char *)a + t.covered);
	a->frames = (struct ash_frame *)((char *)a + t.frames);
	a->tags = (_Atomic uint64_t *)((char *)a + t.tags);
	a->small = (_Atomic uint64_t *)((char *)a + t.small);
	(void)window(node, &a->phys);
	config = (struct ash_zone_config){
		.nr_frames = a->nr_frames,
		.geometry = { ASH_PAGEBLOCK_ORDER, ASH_MAX_ORDER },
		.frames = a->frames,
		.pageblocks = (_Atomic uint8_t *)a + t.pageblocks,
		.pcps = (struct ash_pcp *)((char *)a + t.pcps),
		.nr_cpus = ASH_DMA_PCPS,
		.ops = &zone_ops,
		.owner = a,
	};
	if (ash_zone_init(a->zone, &config) < 0) {
		(void)ash_vmem_unmap(a, t.end);
		return NULL;
	}
	atomic_store_explicit(&ash_dma.arenas[index], a, memory_order_release);
	return a;
}

struct ash_dma_arena *ash_dma_arena_get(unsigned place, enum ash_dma_kind kind)
{
	const unsigned index = place * ASH_DMA_KINDS + kind;
	struct ash_dma_arena *a = ash_dma_arena_peek(index);

	if (a != NULL)
		return a;
	ash_lock(&ash_dma.setup, &ash_futex_ops);
	a = ash_dma_arena_peek(index);
	if (a == NULL)
		a = arena_create(index);
	ash_unlock(&ash_dma.setup, &ash_futex_ops);
	return a;
}

static int commit_range(const void *from, const void *to)
{
	const uintptr_t start = ash_align_down((uintptr_t)from, ASH_PAGE_SIZE);

	return ash_vmem_commit((void *)start, ash_align_up((uintptr_t)to, ASH_PAGE_SIZE) - start);
}

int ash_dma_cover(struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end)
{
	for (ash_pfn_t g = first >> ASH_MAX_ORDER; g <= (end - 1) >> ASH_MAX_ORDER; g++) {
		const size_t from = (size_t)g << ASH_MAX_ORDER, to = ash_min(from + GIB_FRAMES, a->nr_frames);
		int err;

		if ((a->covered[g / 64] >> (g % 64) & 1) != 0)
			continue;
		err = commit_range((char *)a->frames + ash_frames_size(from), (char *)a->frames + ash_frames_size(to));
		if (err == 0)
			err = commit_range(&a->tags[from], &a->tags[to]);
		if (err == 0)
			err = commit_range(&a->small[from], &a->small[to]);
		if (err < 0)
			return err;
		a->covered[g / 64] |= 1ull << (g % 64);
	}
	return 0;
}
