/* SPDX-License-Identifier: MIT */
/*
 * Why a request failed, in figures and in sentences: what there is, how long its longest run is now and would be if
 * everything movable were moved, who is in the way, and what pools and limits say. Only ever computed after a failure.
 */
#include <errno.h>
#include <string.h>

#include "dma/internal.h"
#include "os/cgroup.h"
#include "os/env.h"
#include "os/huge.h"
#include "os/text.h"
#include "page/migrate.h"

/* One walk over a run: the longest stretches of it that are free, or could be. */
struct survey {
	uint64_t free, largest, largest_isolated;
	uint64_t now, could;    /* of the stretches being walked, bytes */
	bool blocks;            /* the longest that could be is stopped by the next obstacle */
	const void *blocker;
	uint64_t blocker_bytes;
};

static void stretch(struct survey *s, uint64_t bytes, bool is_free, bool could_be)
{
	s->free += is_free ? bytes : 0;
	s->now = is_free ? s->now + bytes : 0;
	s->could = could_be ? s->could + bytes : 0;
	if (s->now > s->largest)
		s->largest = s->now;
	if (s->could > s->largest_isolated) {
		s->largest_isolated = s->could;
		s->blocks = true;
	}
}

static void obstacle(struct survey *s, const void *p, uint64_t bytes)
{
	/* It ends the longest stretch so far, or nothing at all has been free before it. */
	if (s->blocks || s->blocker == NULL) {
		s->blocker = p;
		s->blocker_bytes = bytes;
	}
	s->blocks = false;
}

static void survey_run(const struct ash_dma_arena *a, ash_pfn_t first, ash_pfn_t end, struct survey *s)
{
	ash_pfn_t head, next;

	s->now = s->could = 0;
	for (ash_pfn_t pfn = first; pfn < end; pfn = next) {
		const uint32_t word = ash_migrate_look(a->zone, pfn, end, &head, &next);
		const bool used = ash_word_state(word) == ASH_FRAME_USED;
		const bool could_be = !used || (a->zone->ops->mover != NULL && ash_word_type(word) == ASH_MT_MOVABLE) ||
				      (ash_word_type(word) == ASH_MT_RECLAIMABLE &&
				       ash_migrate_possible(a->zone, ASH_MT_RECLAIMABLE));
		const uint64_t bytes = (uint64_t)(next - pfn) << ASH_PAGE_SHIFT;

		if (word == 0)
			return;
		stretch(s, bytes, !used, could_be);
		if (!could_be)
			obstacle(s, ash_dma_address(a, head), bytes);
	}
	s->blocks = false;
}

static void survey_arena(struct ash_dma_arena *a, struct survey *s)
{
	ash_pfn_t pfn, first, end;

	ash_dma_take_turn(a);
	pfn = a->low;
	while (ash_dma_next_run(a, &pfn, &first, &end))
		survey_run(a, first, end, s);
	ash_dma_end_turn(a);
}

/* Of the pool, what the cgroup may still have. */
static uint64_t pool_bytes(const struct ash_dma_error *e)
{
	return ash_min(e->pool_free * ASH_DMA_SLOT_BYTES, e->cgroup_limit - ash_min(e->cgroup_limit, e->cgroup_used));
}

static enum ash_dma_reason reason_of(const struct ash_dma_request *r, int error, const struct ash_dma_error *e)
{
	if (error == EINVAL)
		return ASH_DMA_BAD_REQUEST;
	if (error == ENODATA)
		return ASH_DMA_HIDDEN;
	if (r->limit != UINT64_MAX && e->largest >= e->wanted)
		return ASH_DMA_OVER_LIMIT;
	if (r->scattered)
		return ASH_DMA_NOT_CONTIGUOUS;
	return e->free + pool_bytes(e) >= e->wanted ? ASH_DMA_NOT_CONTIGUOUS : ASH_DMA_NO_MEMORY;
}

static void survey_node(unsigned place, struct ash_dma_error *e)
{
	struct survey s = { 0 };

	for (unsigned kind = 0; kind < ASH_DMA_KINDS && place != ASH_DMA_NO_PLACE; kind++) {
		struct ash_dma_arena *a = ash_dma_arena_peek(place * ASH_DMA_KINDS + kind);

		if (a != NULL)
			survey_arena(a, &s);
	}
	e->free = s.free;
	e->largest = s.largest;
	e->largest_isolated = s.largest_isolated;
	e->blocker = s.blocker;
	e->blocker_bytes = s.blocker_bytes;
}

static uint64_t free_bytes(unsigned place)
{
	uint64_t frames = 0;

	for (unsigned kind = 0; kind < ASH_DMA_KINDS && place != ASH_DMA_NO_PLACE; kind++) {
		const struct ash_dma_arena *a = ash_dma_arena_peek(place * ASH_DMA_KINDS + kind);

		frames += a != NULL ? ash_counter_read(&a->zone->free) : 0;
	}
	return frames << ASH_PAGE_SHIFT;
}

static void read_limits(int node, struct ash_dma_error *e)
{
	struct ash_huge_pool pool;

	if (ash_huge_pool(ash_dma.bind ? node : -1, ASH_HUGE_2M_SHIFT, &pool) == 0) {
		e->pool_total = pool.total;
		e->pool_free = pool.free;
	}
	if (ash_huge_cgroup(ASH_HUGE_2M_SHIFT, &e->cgroup_limit, &e->cgroup_used) < 0) {
		e->cgroup_limit = UINT64_MAX;
		e->cgroup_used = 0;
	}
	if (ash_cgroup_memory(&e->memory_limit, &e->memory_used) < 0)
		e->memory_limit = UINT64_MAX;
	e->available = ash_numa_available(ash_dma.bind ? node : -1);
	e->rlimit_memlock = ash_env_lock_limit() == SIZE_MAX ? UINT64_MAX : ash_env_lock_limit();
}

void ash_dma_fail(const struct ash_dma_request *r, size_t bytes, int error, struct ash_dma_error *out)
{
	struct ash_dma_error e = { .error = error, .node = r->node, .wanted = bytes };

	/* Nobody asks why: the reason is only counted, and worth no survey. */
	if (out == NULL || out->size < sizeof(out->size)) {
		e.free = e.largest = free_bytes(ash_dma_place(r->node));
		ash_dma_figure(&ash_dma.figures.refused[reason_of(r, error, &e)], 1);
		return;
	}
	survey_node(ash_dma_place(r->node), &e);
	read_limits(r->node, &e);
	e.reason = reason_of(r, error, &e);
	ash_dma_figure(&ash_dma.figures.refused[e.reason], 1);
	e.size = (uint32_t)ash_min(out->size, sizeof(e));
	memcpy(out, &e, e.size);
}

static void sentence_of_reason(struct ash_text *t, const struct ash_dma_error *e)
{
	static const char *const words[] = {
		[ASH_DMA_OK] = "no error",
		[ASH_DMA_BAD_REQUEST] = "the request contradicts itself, or names what does not exist",
		[ASH_DMA_NO_MEMORY] = "not enough memory",
		[ASH_DMA_NOT_CONTIGUOUS] = "enough memory, but no run of it that is long enough",
		[ASH_DMA_OVER_LIMIT] = "enough memory, but none below the address limit",
		[ASH_DMA_HIDDEN] = "needs physical addresses, which only a process with CAP_SYS_ADMIN may read",
	};

	ash_text_str(t, words[e->reason < 0 || e->reason > ASH_DMA_HIDDEN ? ASH_DMA_BAD_REQUEST : e->reason]);
}

static void figure(struct ash_text *t, const char *what, uint64_t bytes)
{
	ash_text_str(t, what);
	ash_text_size(t, bytes);
}

static void sentence_of_blocker(struct ash_text *t, const struct ash_dma_error *e)
{
	if (e->blocker == NULL)
		return;
	figure(t, "; in the way: ", e->blocker_bytes);
	ash_text_str(t, " at 0x");
	ash_text_hex(t, (uintptr_t)e->blocker);
}

static void sentence_of_limits(struct ash_text *t, const struct ash_dma_error *e)
{
	ash_text_str(t, ". Pool of 2 MiB pages: ");
	ash_text_num(t, e->pool_free);
	ash_text_str(t, " of ");
	ash_text_num(t, e->pool_total);
	ash_text_str(t, " free");
	if (e->cgroup_limit != UINT64_MAX) {
		figure(t, "; hugetlb limit of the cgroup: ", e->cgroup_limit);
		figure(t, ", used: ", e->cgroup_used);
	}
	if (e->available != UINT64_MAX)
		figure(t, "; ordinary memory that could be had: ", e->available);
	if (e->memory_limit != UINT64_MAX) {
		figure(t, "; memory limit of the cgroup: ", e->memory_limit);
		figure(t, ", used: ", e->memory_used);
	}
	if (e->rlimit_memlock != UINT64_MAX)
		figure(t, "; RLIMIT_MEMLOCK: ", e->rlimit_memlock);
	if (e->reason != ASH_DMA_NO_MEMORY && e->reason != ASH_DMA_NOT_CONTIGUOUS)
		return;
	ash_text_str(t, ". What helps: ");
	if (e->pool_free == 0)
		ash_text_str(t, "more huge pages (ashlar hugetlb; of 1 GiB for long runs)");
	else if (pool_bytes(e) < ASH_DMA_SLOT_BYTES)
		ash_text_str(t, "a higher limit of huge pages for the cgroup");
	else
		ash_text_str(t, "pages of 1 GiB reserved at boot, or freeing what is in the way");
}

size_t ash_dma_explain(const struct ash_dma_error *error, char *text, size_t size)
{
	struct ash_dma_error e = { .memory_limit = UINT64_MAX, .available = UINT64_MAX };
	char none[1];
	struct ash_text t;

	memcpy(&e, error, ash_min(error->size, sizeof(e)));
	ash_text_init(&t, size > 0 ? text : none, size > 0 ? size : sizeof(none));
	figure(&t, "", e.wanted);
	ash_text_str(&t, " on node ");
	if (e.node < 0)
		ash_text_str(&t, "(any)");
	else
		ash_text_num(&t, (uint64_t)e.node);
	ash_text_str(&t, ": ");
	sentence_of_reason(&t, &e);
	if (e.reason == ASH_DMA_BAD_REQUEST || e.reason == ASH_DMA_OK)
		return t.len;
	figure(&t, ". Free: ", e.free);
	figure(&t, "; longest contiguous: ", e.largest);
	figure(&t, ", after moving what can move: ", e.largest_isolated);
	sentence_of_blocker(&t, &e);
	sentence_of_limits(&t, &e);
	return t.len;
}
