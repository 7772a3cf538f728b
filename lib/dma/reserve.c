/* SPDX-License-Identifier: MIT */
/*
 * Named reserves: physically contiguous memory set aside for who knows the name, as CMA areas of the page core. While
 * it is idle its frames are lent to movable objects, which are moved out when a buffer is wanted.
 */
#include <errno.h>
#include <string.h>

#include "dma/internal.h"
#include "os/vmem.h"
#include "page/cma.h"

enum { RESERVES_MAX = 16, NAME_MAX_BYTES = 32, TRIES = 4 };

struct reserve {
	char name[NAME_MAX_BYTES]; /* "": a free entry */
	bool ready;                /* false: its maker is still at it, and only the name counts */
	struct ash_dma_arena *arena;
	ash_pfn_t pfn, nr;
	struct ash_cma cma;
	void *bitmap;
};

static struct {
	struct ash_lock lock; /* names; an entry in use is constant but for its cma, which has a lock of its own */
	struct reserve of[RESERVES_MAX];
} reserves;

static size_t bitmap_bytes(ash_pfn_t nr)
{
	return ash_align_up(ash_cma_bitmap_bytes(nr, 0), ASH_PAGE_SIZE);
}

/* The entry of a name; NULL: none. Reserves' lock. */
static struct reserve *find(const char *name)
{
	for (unsigned i = 0; i < RESERVES_MAX; i++) {
		const struct reserve *r = &reserves.of[i];
		unsigned k = 0;

		while (k < NAME_MAX_BYTES && r->name[k] == name[k] && name[k] != '\0')
			k++;
		if (k < NAME_MAX_BYTES && r->name[k] == name[k] && r->name[0] != '\0')
			return &reserves.of[i];
	}
	return NULL;
}

/* One that can be used. */
static struct reserve *find_locked(const char *name)
{
	struct reserve *r;

	ash_lock(&reserves.lock, &ash_futex_ops);
	r = find(name);
	if (r != NULL && !r->ready)
		r = NULL;
	ash_unlock(&reserves.lock, &ash_futex_ops);
	return r;
}

/* Whole pageblocks that are neighbours in the machine, made a CMA area. Others may be quicker between free and area. */
static int set_aside(struct reserve *r, struct ash_dma_request *want)
{
	struct ash_dma_grant grant;
	int err = -EBUSY;

	for (unsigned i = 0; i < TRIES && err == -EBUSY; i++) {
		err = ash_dma_take(want, &grant);
		if (err < 0)
			return want->hidden ? -ENODATA : err;
		r->arena = grant.arena;
		r->pfn = grant.pfn;
		r->nr = want->nr;
		ash_dma_take_turn(r->arena);
		ash_zone_free_run(r->arena->zone, r->pfn, r->nr);
		err = ash_cma_init(&r->cma, r->arena->zone, r->name, 0);
		if (err == 0)
			err = ash_cma_add_range(&r->cma, r->pfn, r->nr, r->bitmap, NULL);
		ash_dma_objects_settle(r->arena);
		if (err == 0)
			ash_dma_slots_keep(r->arena, r->pfn, r->pfn + r->nr, true);
		ash_dma_end_turn(r->arena);
	}
	return err;
}

static int failed(const struct ash_dma_request *want, size_t bytes, int err, const struct ash_dma_attr *attr)
{
	ash_dma_fail(want, bytes, -err, attr != NULL && attr->size >= sizeof(*attr) ? attr->error : NULL);
	return err;
}

static int fill(struct reserve *r, size_t bytes, const struct ash_dma_attr *attr)
{
	struct ash_dma_request want = { .node = -1, .limit = UINT64_MAX };
	int err = ash_dma_request_read(attr, ash_align_up(bytes, ASH_DMA_SLOT_BYTES), &want);

	if (err < 0)
		return failed(&want, bytes, err, attr);
	want.level = ASH_DMA_PHYSICAL;
	want.max_segments = 1;
	want.align_order = want.align_order > ASH_DMA_SLOT_ORDER ? want.align_order : ASH_DMA_SLOT_ORDER;
	err = ash_vmem_map(bitmap_bytes(want.nr), &r->bitmap);
	if (err < 0)
		return -ENOMEM;
	err = set_aside(r, &want);
	if (err < 0) {
		(void)ash_vmem_unmap(r->bitmap, bitmap_bytes(want.nr));
		return failed(&want, bytes, err, attr);
	}
	return 0;
}

/* An entry that has the name from now on, so that of two who want it one is told that it exists. */
static int claim(const char *name, struct reserve **out)
{
	int err = -ENOSPC;

	ash_lock(&reserves.lock, &ash_futex_ops);
	if (find(name) != NULL)
		err = -EEXIST;
	for (unsigned i = 0; i < RESERVES_MAX && err == -ENOSPC; i++) {
		*out = &reserves.of[i];
		if ((*out)->name[0] == '\0')
			err = 0;
	}
	if (err == 0)
		memcpy((*out)->name, name, strnlen(name, NAME_MAX_BYTES - 1) + 1);
	ash_unlock(&reserves.lock, &ash_futex_ops);
	return err;
}

static void count_reserve(const struct reserve *r, int change)
{
	ash_dma_figure(&ash_dma.figures.reserves, change);
	ash_dma_figure(&ash_dma.figures.reserved, change * ((int64_t)r->nr << ASH_PAGE_SHIFT));
}

int ash_dma_reserve(const char *name, size_t bytes, const struct ash_dma_attr *attr)
{
	struct reserve *r = NULL;
	int err;

	if (name[0] == '\0' || strnlen(name, NAME_MAX_BYTES) == NAME_MAX_BYTES)
		return -EINVAL;
	err = claim(name, &r);
	if (err < 0)
		return err;
	err = fill(r, bytes, attr);
	ash_lock(&reserves.lock, &ash_futex_ops);
	if (err < 0) {
		memset(r, 0, sizeof(*r));
	} else {
		r->ready = true;
		count_reserve(r, 1);
	}
	ash_unlock(&reserves.lock, &ash_futex_ops);
	return err;
}

int ash_dma_unreserve(const char *name)
{
	struct reserve *r = find_locked(name);
	int err;

	if (r == NULL)
		return -ENOENT;
	ash_dma_take_turn(r->arena);
	err = ash_cma_destroy(&r->cma, NULL);
	ash_dma_objects_settle(r->arena);
	if (err == 0)
		ash_dma_slots_keep(r->arena, r->pfn, r->pfn + r->nr, false);
	ash_dma_end_turn(r->arena);
	if (err < 0)
		return err;
	(void)ash_vmem_unmap(r->bitmap, bitmap_bytes(r->nr));
	ash_lock(&reserves.lock, &ash_futex_ops);
	count_reserve(r, -1);
	memset(r, 0, sizeof(*r));
	ash_unlock(&reserves.lock, &ash_futex_ops);
	return 0;
}

int ash_dma_reserve_take(const char *name, const struct ash_dma_request *want, void **out, unsigned *number)
{
	struct reserve *r = find_locked(name);
	unsigned align = want->align_order;
	ash_pfn_t pfn;
	int err;

	if (r == NULL)
		return -EINVAL;
	/* On a multiple of its size rounded up, a buffer crosses no boundary it could keep to. */
	if (want->boundary != 0)
		align = (unsigned)ash_max(align, ash_log2_ceil(want->nr));
	ash_dma_take_turn(r->arena);
	err = ash_cma_alloc(&r->cma, want->nr, align, &pfn, NULL);
	ash_dma_objects_settle(r->arena);
	ash_dma_end_turn(r->arena);
	if (err < 0)
		return -ENOMEM;
	if (want->limit != UINT64_MAX &&
	    r->arena->phys + ((uint64_t)(pfn + want->nr) << ASH_PAGE_SHIFT) > want->limit) {
		(void)ash_cma_release(&r->cma, pfn, want->nr);
		return -ENOMEM;
	}
	ash_dma_figure(&ash_dma.figures.reserved_out, (int64_t)want->nr << ASH_PAGE_SHIFT);
	*out = ash_dma_address(r->arena, pfn);
	*number = (unsigned)(r - reserves.of);
	return 0;
}

void ash_dma_reserve_give(unsigned number, ash_pfn_t pfn, ash_pfn_t nr)
{
	ash_dma_figure(&ash_dma.figures.reserved_out, -((int64_t)nr << ASH_PAGE_SHIFT));
	(void)ash_cma_release(&reserves.of[number].cma, pfn, nr);
}

static void describe(const struct reserve *r, struct ash_dma_reserve_info *info)
{
	*info = (struct ash_dma_reserve_info){ .size = sizeof(*info), .node = r->arena->node };
	memcpy(info->name, r->name, sizeof(info->name));
	info->start = ash_dma_address(r->arena, r->pfn);
	info->phys = ash_dma_translate(info->start, NULL);
	info->bytes = (size_t)r->nr << ASH_PAGE_SHIFT;
	info->free = (size_t)r->cma.available << ASH_PAGE_SHIFT;
}

int ash_dma_walk_reserves(int (*fn)(const struct ash_dma_reserve_info *info, void *arg), void *arg)
{
	int ret = 0;

	for (unsigned i = 0; i < RESERVES_MAX && ret == 0; i++) {
		struct ash_dma_reserve_info info;
		bool there;

		ash_lock(&reserves.lock, &ash_futex_ops);
		there = reserves.of[i].ready;
		if (there)
			describe(&reserves.of[i], &info);
		ash_unlock(&reserves.lock, &ash_futex_ops);
		if (there)
			ret = fn(&info, arg);
	}
	return ret;
}

void ash_dma_reserves_forget(void)
{
	memset(&reserves, 0, sizeof(reserves));
}
