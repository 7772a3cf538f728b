/* SPDX-License-Identifier: MIT */
/*
 * The heap: malloc over arenas. This is the interface that preload/, the API library and ctl use; the fast paths are
 * in heap/fast.h, the structures in heap/heap_internal.h, and lib/heap/README.md is the essay.
 *
 * Semantics are those of C17 7.22.3, C23 free_sized, POSIX and glibc, but that results of up to 8 bytes are aligned to
 * 8, others to 16: a size of 0 gives a unique pointer that must be freed, failures return NULL with errno ENOMEM
 * (EINVAL for bad alignments) and change nothing. errno is preserved by the free family. Thread-safe; not
 * async-signal-safe.
 */
#ifndef ASH_HEAP_HEAP_H
#define ASH_HEAP_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* A request above this fails with ENOMEM without being looked at: as glibc, PTRDIFF_MAX. */
#define ASH_MAX_REQUEST ((size_t)PTRDIFF_MAX)

ASH_MUST_USE void *ash_heap_malloc(size_t size);
ASH_MUST_USE void *ash_heap_calloc(size_t n, size_t size);
ASH_MUST_USE void *ash_heap_realloc(void *p, size_t size);
/* align: any power of two. */
ASH_MUST_USE void *ash_heap_aligned(size_t align, size_t size);
void ash_heap_free(void *p);
/* Bytes the caller may use at p: what realloc honours in place. 0 for NULL and foreign pointers. */
size_t ash_heap_usable(const void *p);

/*
 * What to do with a pointer that is not ours, from whoever links the heap. The preload's functions forward to the C
 * library's own malloc; without a handler a foreign free is ignored and counted, a foreign realloc fails with ENOMEM.
 * A constant, so that a process that starts writes no page for it.
 */
struct ash_foreign_ops {
	void (*free)(void *p);
	void *(*realloc)(void *p, size_t size);
	size_t (*usable)(const void *p);
};
extern ASH_HIDDEN const struct ash_foreign_ops *const ash_heap_foreign;

/*
 * Called when memory is needed for the first time, before any arena exists: parses the options and calls
 * ash_arena_init(). Defined by whoever links the heap (preload, API library; boot.c where neither is), so that the heap
 * does not read ctl. NULL: defaults.
 */
extern ASH_HIDDEN int (*ash_heap_boot)(void);

/* Give what the calling thread caches back to the arenas. */
void ash_heap_flush_thread(void);
/*
 * The same, and what orphaned heaps cache, and the parts of the thread's slabs that nothing alive touches; then the
 * arenas return what they have. The bytes.
 */
size_t ash_heap_trim(void);

/* The calling thread ends: its heap becomes an orphan that the next new thread adopts. Idempotent. */
void ash_heap_thread_exit(void);

/* fork, in this order around ash_arena_fork_*: prepare before, parent and child after. */
void ash_heap_fork_prepare(void);
void ash_heap_fork_parent(void);
void ash_heap_fork_child(void);
/*
 * In the child, also where nothing was prepared: what the calling thread's bins hold has a decay time from now on. By
 * the clock of a parent that rested all of it would be due, and the child would copy pages to put it away.
 */
void ash_heap_sweep_anew(void);

/* First-class heaps; see include/ashlar/heap.h for the contract. */
struct ash_heap;
struct ash_heap *ash_heap_new(int node);
void *ash_heap_new_alloc(struct ash_heap *h, size_t align, size_t size, bool zero);
void ash_heap_new_reset(struct ash_heap *h);
void ash_heap_new_destroy(struct ash_heap *h);

/*
 * Policies; see include/ashlar/policy.h. 0, -EINVAL, -ENOSPC, -ENOMEM. A first-class heap is NULL and *err says why.
 */
struct ash_policy;
ASH_MUST_USE int ash_heap_set_process_policy(const struct ash_policy *policy);
ASH_MUST_USE int ash_heap_set_thread_policy(const struct ash_policy *policy);
/*
 * The calling thread has just given itself a policy by set_mempolicy(2): what it caches was had under another, and goes
 * back with its next call. Async-signal-safe.
 */
void ash_heap_task_policy_changed(void);
/* Its memory and all that it takes from now on lie on node: 0, -EBUSY, and other errors, after which nothing
 * changed. */
ASH_MUST_USE int ash_heap_new_move(struct ash_heap *h, int node);
struct ash_heap *ash_heap_new_policy(const struct ash_policy *policy, int *err);

struct ash_heap_stats {
	size_t heaps, orphans;    /* thread heaps alive; of these without a thread */
	size_t slab_bytes;        /* bytes in slabs, and in large runs that thread heaps keep for a moment */
	size_t slab_free_bytes;   /* of these not in use (in slabs or thread caches; racy) */
	size_t large_bytes;       /* bytes in large runs */
	uint64_t large_count;     /* live large runs */
	uint64_t foreign_frees;
	uint64_t remote_frees;    /* objects sent home, counted as their batch leaves */
	unsigned nr_classes;
	struct {
		uint32_t size;
		uint64_t slabs, objects_total, objects_free;
	} classes[96];
};
void ash_heap_stats(struct ash_heap_stats *out);

/* The heaps for a reader in another process. */
extern ASH_HIDDEN const struct ash_view_list ash_heap_view;

#endif
