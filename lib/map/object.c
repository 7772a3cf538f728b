/* SPDX-License-Identifier: MIT */
/*
 * Memory of the program that gives way: objects whose owner moves them, and caches whose owner drops them.
 *
 * The rules between the page core and the owner are those of page/mover.h, and the owner keeps them by its own locks: a
 * function is called with an address, the owner looks whether it still has an object there, and refuses if not. So all
 * that is kept here is whose functions to call. An object is found by its number, which is in its piece's word; the
 * word may be an earlier user's, so the address is compared.
 *
 * The lock is held over no function of an owner.
 */
#include <errno.h>

#include "map/internal.h"
#include "os/sync.h"

enum { PER_TABLE = 4096, TABLES = 64 };

struct object {
	struct ash_object_ops ops;
	void *arg;
	void *addr;    /* NULL: the number is free */
	uint32_t order;
	uint32_t next; /* of the free ones; 0: none */
};

/* Under the lock. Number 0 is nobody. */
static struct {
	struct ash_lock lock;
	struct object **tables; /* [TABLES], each [PER_TABLE] or NULL */
	uint32_t used, free;
} objects;

static struct object *object_at(uint32_t n)
{
	struct object *const table =
		objects.tables != NULL && n / PER_TABLE < TABLES ? objects.tables[n / PER_TABLE] : NULL;

	return table != NULL ? &table[n % PER_TABLE] : NULL;
}

static uint32_t take_number(void)
{
	uint32_t n = objects.free;

	if (n != 0) {
		objects.free = object_at(n)->next;
		return n;
	}
	n = objects.used + 1;
	if (objects.tables == NULL)
		objects.tables = ash_meta_alloc(TABLES * sizeof(struct object *));
	if (objects.tables == NULL || n / PER_TABLE >= TABLES)
		return 0;
	if (objects.tables[n / PER_TABLE] == NULL)
		objects.tables[n / PER_TABLE] = ash_meta_alloc(PER_TABLE * sizeof(struct object));
	if (objects.tables[n / PER_TABLE] == NULL)
		return 0;
	objects.used = n;
	return n;
}

static void give_number(uint32_t n)
{
	object_at(n)->addr = NULL;
	object_at(n)->next = objects.free;
	objects.free = n;
}

/* What is at addr, by the word of its piece. false: no object, or another. */
static bool find(const void *addr, uint32_t word, struct object *out)
{
	const struct object *o;
	bool found;

	ash_lock(&objects.lock, &ash_futex_ops);
	o = (word & ASH_WORD_OBJECT) != 0 ? object_at(word & ~ASH_WORD_OBJECT) : NULL;
	found = o != NULL && o->addr == addr;
	if (found)
		*out = *o;
	ash_unlock(&objects.lock, &ash_futex_ops);
	return found;
}

/* Where the object with this number is from now on. */
static void set_address(uint32_t word, void *addr)
{
	ash_lock(&objects.lock, &ash_futex_ops);
	object_at(word & ~ASH_WORD_OBJECT)->addr = addr;
	ash_unlock(&objects.lock, &ash_futex_ops);
}

int ash_object_isolate(void *addr, unsigned order, uint32_t word)
{
	struct object o;

	return find(addr, word, &o) && o.order == order && o.ops.migrate != NULL &&
			       o.ops.isolate(addr, ASH_PAGE_SIZE << order, o.arg) == 0 ?
		       0 :
		       -EBUSY;
}

/* The new address is one that can be freed before the owner makes it known. */
int ash_object_migrate(void *to, void *from, unsigned order, uint32_t word)
{
	struct object o;

	if (!find(from, word, &o))
		return -EBUSY;
	set_address(word, to);
	if (o.ops.migrate(to, from, ASH_PAGE_SIZE << order, o.arg) == 0)
		return 0;
	set_address(word, from);
	return -EBUSY;
}

void ash_object_putback(void *addr, unsigned order, uint32_t word)
{
	struct object o;

	if (find(addr, word, &o))
		o.ops.putback(addr, ASH_PAGE_SIZE << order, o.arg);
}

int ash_object_drop(void *addr, unsigned order, uint32_t word)
{
	struct object o;

	return find(addr, word, &o) && o.ops.drop != NULL && o.ops.drop(addr, ASH_PAGE_SIZE << order, o.arg) == 0
		       ? 0
		       : -EBUSY;
}

static uint32_t enter(const struct ash_object_ops *ops, void *arg, void *addr, unsigned order)
{
	uint32_t n;

	ash_lock(&objects.lock, &ash_futex_ops);
	n = take_number();
	if (n != 0)
		*object_at(n) = (struct object){ *ops, arg, addr, order, 0 };
	ash_unlock(&objects.lock, &ash_futex_ops);
	return n;
}

void *ash_object_alloc(size_t bytes, const struct ash_object_ops *ops, void *arg, int *err)
{
	const enum ash_migratetype mt = ops->migrate != NULL ? ASH_MT_MOVABLE : ASH_MT_RECLAIMABLE;
	const unsigned order = bytes == 0 ? 0 : ash_log2_ceil(ash_bytes_to_pages(bytes));
	struct ash_zonelist zl;
	struct ash_run run;
	uint32_t n;

	*err = -EINVAL;
	if (bytes == 0 || bytes > PB_BYTES || (ops->migrate == NULL) == (ops->drop == NULL) ||
	    (ops->migrate != NULL && (ops->isolate == NULL || ops->putback == NULL)))
		return NULL;
	ash_map_use_mover();
	ash_zonelist_ordinary(&zl, -1);
	*err = -ENOMEM;
	if (ash_run_alloc(&zl, (size_t)1 << order, order, mt, &run) < 0)
		return NULL;
	n = enter(ops, arg, run.addr, order);
	if (n == 0) {
		ash_run_free(run.addr, run.nr_frames);
		return NULL;
	}
	ash_run_set_word(run.addr, ASH_WORD_OBJECT | n);
	return run.addr;
}

int ash_object_free(void *addr)
{
	unsigned order = 0;
	uint32_t word;
	bool found;

	if (ash_is_foreign(addr) || (uintptr_t)addr % ASH_PAGE_SIZE != 0)
		return -EINVAL;
	word = ash_run_word(addr);
	ash_lock(&objects.lock, &ash_futex_ops);
	found = (word & ASH_WORD_OBJECT) != 0 && object_at(word & ~ASH_WORD_OBJECT) != NULL &&
		object_at(word & ~ASH_WORD_OBJECT)->addr == addr;
	if (found) {
		order = object_at(word & ~ASH_WORD_OBJECT)->order;
		give_number(word & ~ASH_WORD_OBJECT);
	}
	ash_unlock(&objects.lock, &ash_futex_ops);
	if (!found)
		return -EINVAL;
	ash_run_free(addr, (size_t)1 << order);
	return 0;
}

/* Have purgeable objects dropped, the oldest numbers first, until so many bytes are free. How many are. */
size_t ash_object_purge(size_t bytes)
{
	size_t freed = 0;

	for (uint32_t n = 1; freed < bytes; n++) {
		struct object o = { .addr = NULL };
		bool last;

		ash_lock(&objects.lock, &ash_futex_ops);
		last = n > objects.used;
		if (!last)
			o = *object_at(n);
		ash_unlock(&objects.lock, &ash_futex_ops);
		if (last)
			break;
		if (o.addr != NULL && o.ops.drop != NULL && o.ops.drop(o.addr, ASH_PAGE_SIZE << o.order, o.arg) == 0)
			freed += ASH_PAGE_SIZE << o.order;
	}
	return freed;
}

void ash_object_fork_prepare(void)
{
	ash_lock(&objects.lock, &ash_futex_ops);
}

void ash_object_fork_done(void)
{
	ash_unlock(&objects.lock, &ash_futex_ops);
}
