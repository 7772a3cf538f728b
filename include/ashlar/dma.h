/* SPDX-License-Identifier: MIT */
/*
 * Buffers for devices: contiguous, pinned, of known physical address, on a node, below an address.
 *
 *      struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
 *
 *      attr.boundary = 65536;
 *      attr.address_bits = 32;
 *      attr.level = ASH_DMA_PHYSICAL;
 *      ring = ash_dma_alloc(16384, &attr);
 *      device->ring_address = ash_dma_translate(ring, NULL);
 *
 * Memory comes from arenas of its own, one pair per node, made when first used; no start-up call, no files, no daemon.
 * The arenas grow by huge pages: hugetlb pages where a pool has some, else transparent huge pages that the kernel pins
 * for us, else locked base pages; ash_dma_info_read() says what a buffer got. Where physical addresses may be read
 * (CAP_SYS_ADMIN) memory lies in physical order: neighbours in address are neighbours in the machine. Where they may
 * not, every address is ASH_DMA_UNKNOWN, huge pages are still contiguous inside, and all else works.
 *
 * What a buffer promises: it is populated (touching it raises no signal), stays where it is until it is freed (as
 * ash_dma_info says how firmly), is not inherited by a child of fork (there its addresses fault, and ash_dma_free() of
 * them does nothing), and takes part in no core dump.
 *
 * All functions may be called from any thread; none is async-signal-safe. After fork() the child starts without
 * arenas and may allocate at once. docs/dma.md has the whole story.
 */
#ifndef ASHLAR_DMA_H
#define ASHLAR_DMA_H

#include <ashlar/policy.h>
#include <ashlar/types.h>

ASH_API_BEGIN

/* A physical address that cannot be known. */
#define ASH_DMA_UNKNOWN UINT64_MAX

/* How contiguous memory is; each level includes those before it. */
enum ash_dma_level {
	ASH_DMA_VIRTUAL,  /* one range of addresses of the process */
	ASH_DMA_SEGMENTS, /* so many physically contiguous segments at most */
	ASH_DMA_PHYSICAL  /* one segment */
};

/* What backs memory, best first; a wish names the first kind to try. */
enum ash_dma_pages {
	ASH_DMA_PAGES_ANY, /* 2 MiB hugetlb, 1 GiB hugetlb for what 2 MiB pages cannot do, THP, base pages */
	ASH_DMA_PAGES_1G,  /* hugetlb */
	ASH_DMA_PAGES_2M,  /* hugetlb */
	ASH_DMA_PAGES_THP, /* ordinary memory in 2 MiB pages, pinned */
	ASH_DMA_PAGES_BASE /* ordinary memory, locked where RLIMIT_MEMLOCK lets it be */
};

/* How firmly memory stays where it is. */
enum ash_dma_pinned {
	/* not swapped (where it could be locked), but the kernel may migrate it: no physical address */
	ASH_DMA_PINNED_LOCKED,
	/* as hugetlb pages: migrated only where somebody asks for it (move_pages, memory going offline) */
	ASH_DMA_PINNED_HUGETLB,
	ASH_DMA_PINNED_KERNEL   /* the kernel holds a long-term pin and refuses every migration */
};

enum ash_dma_flags {
	ASH_DMA_NODE_STRICT = 1,  /* from attr.node or not at all */
	ASH_DMA_PAGES_STRICT = 2, /* of attr.pages or not at all */
	ASH_DMA_ZERO = 4,         /* reads as zero */
	ASH_DMA_NO_GROW = 8,      /* only from memory that the arenas have */
	/* in a file of its own, in whole pages of 2 MiB: ash_dma_export(). Level virtual only. */
	ASH_DMA_SHARED = 16,
	ASH_DMA_INHERIT = 32      /* with SHARED: a child of fork has the memory too, as memory: it cannot free it */
};

/* Why a request failed. */
enum ash_dma_reason {
	ASH_DMA_OK,
	ASH_DMA_BAD_REQUEST,   /* it contradicts itself, or names what does not exist */
	ASH_DMA_NO_MEMORY,     /* no pool, no memory, or a limit (wanted_pool, rlimit_memlock) */
	ASH_DMA_NOT_CONTIGUOUS,/* there is memory, but no run of it is long enough */
	ASH_DMA_OVER_LIMIT,    /* there is memory, but none below address_bits */
	ASH_DMA_HIDDEN,        /* the request needs physical addresses, which this process may not read */
	ASH_DMA_REASONS        /* their number */
};

/* What was found when a request failed. Sizes in bytes. */
struct ash_dma_error {
	uint32_t size;          /* of this structure, set by the caller */
	int32_t error;          /* positive errno */
	int32_t reason;         /* enum ash_dma_reason */
	int32_t node;           /* the node asked for */
	uint64_t wanted;
	uint64_t free;          /* free in the node's arenas */
	uint64_t largest;       /* longest physically contiguous free run in them */
	uint64_t largest_isolated; /* the same after moving and dropping what can be moved and dropped */
	uint64_t pool_total, pool_free; /* the node's hugetlb pool of 2 MiB pages */
	uint64_t cgroup_limit;  /* hugetlb limit (pages of 2 MiB) of the process's cgroup; UINT64_MAX: none is known */
	uint64_t rlimit_memlock;/* UINT64_MAX: none */
	const void *blocker;    /* the first allocation in the way of a longer run; NULL: none */
	uint64_t blocker_bytes; /* how much of it */
	uint64_t memory_limit;  /* nearest memory limit of the process's cgroups; UINT64_MAX: none is known */
	uint64_t memory_used;   /* of it, not counting what the kernel can drop */
	/* ordinary memory that the node could give, of which an eighth is left; UINT64_MAX: unknown */
	uint64_t available;
	uint64_t cgroup_used;   /* of cgroup_limit */
};

/* A request. Begin with ASH_DMA_ATTR_INIT; 0 in a field means no such wish. */
struct ash_dma_attr {
	uint32_t size;        /* of this structure, for compatibility */
	/* NUMA node; ASH_NODE_LOCAL: as the policy says (ashlar/policy.h), which may be the thread's own */
	int32_t node;
	size_t align;         /* power of two up to 1 GiB, of the address and of the physical address (0: 64) */
	/* power of two: the buffer crosses no multiple of it, in either address; at least its size */
	size_t boundary;
	uint32_t address_bits;/* physical addresses lie below 2^address_bits */
	uint32_t level;       /* enum ash_dma_level: the least that is accepted */
	uint32_t max_segments;/* with ASH_DMA_SEGMENTS: how many (0: any number, of known extent) */
	uint32_t pages;       /* enum ash_dma_pages */
	uint32_t flags;       /* enum ash_dma_flags */
	struct ash_dma_error *error; /* filled when the request fails; NULL: errno has to do */
	/* from the reserve of this name only; node, pages, policy and NO_GROW then mean nothing */
	const char *reserve;
	/* With ASH_NODE_LOCAL: in place of the thread's policy (ashlar/policy.h). Read during the call. NULL, DEFAULT:
	 * the thread's. */
	const struct ash_policy *policy;
};
#define ASH_DMA_ATTR_INIT { sizeof(struct ash_dma_attr), ASH_NODE_LOCAL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL }

/*
 * bytes of memory as attr asks (NULL: anywhere near, virtually contiguous), uninitialised unless ASH_DMA_ZERO. The
 * caller owns it and ends it with ash_dma_free(). Alignment and boundary above 2 MiB hold for the physical address only
 * where ASH_DMA_PHYSICAL is asked for. Memory is taken in whole frames of 4 KiB; below that, for requests without
 * a limit, wish for pages or strictness, in powers of two from 64 bytes on.
 * NULL: errno EINVAL (bad request), ENOMEM (no such memory), ENODATA (needs physical addresses, which are hidden); more
 * in *attr->error. A failed call keeps no memory.
 */
ASH_API void *ash_dma_alloc(size_t bytes, const struct ash_dma_attr *attr) ASH_API_MUST_USE;

/*
 * End p. Its memory stays in the arena, for the next buffer, until ash_dma_trim(). NULL: nothing happens.
 * 0; -EBUSY: p is shared and a listener (an IOMMU) still needs it, or is being told of it and calls this; -EINVAL: p is
 * no buffer of this process, or one that has ended.
 */
ASH_API int ash_dma_free(void *p);

/* As ash_dma_free(), after overwriting all of it with zeros in a way that the compiler cannot leave out. */
ASH_API int ash_dma_free_sensitive(void *p);

/*
 * Change the size of p to bytes, under the same attr as it was allocated with (the attr is not remembered: pass it
 * again); the bytes up to the smaller size stay. The answer may be another address with another physical address; p is
 * gone unless the call failed. p NULL: as ash_dma_alloc().
 * NULL: as ash_dma_alloc(), or errno EBUSY (p cannot be ended, see ash_dma_free()) or EINVAL (p is no buffer, or is an
 * object: ash_dma_alloc_object()); p is as before.
 */
ASH_API void *ash_dma_realloc(void *p, size_t bytes, const struct ash_dma_attr *attr) ASH_API_MUST_USE;

/* Give huge pages without a buffer on them back to the system. Returns the bytes given back; before Linux 6.12 or so
 * they are there a moment later, when the kernel has let go of its pins. Of buffers below 4 KiB, what lies in the
 * caches of other threads counts as in use. */
ASH_API size_t ash_dma_trim(void);

/* A piece of memory that is physically contiguous. */
struct ash_dma_segment {
	void *va;
	uint64_t phys; /* or ASH_DMA_UNKNOWN */
	size_t len;
};

/* What a buffer is. */
struct ash_dma_info {
	uint32_t size;      /* of this structure, set by the caller */
	uint32_t level;     /* enum ash_dma_level: what was reached */
	void *start;        /* of the buffer */
	size_t bytes;       /* usable, at least what was asked for */
	size_t nr_segments;
	int32_t node;       /* of its arena */
	uint32_t pages;     /* enum ash_dma_pages: the least good kind under it */
	uint32_t pinned;    /* enum ash_dma_pinned: the least firm kind under it */
	uint32_t phys_known;/* 1: every segment has its physical address */
};

/* Describe the buffer that begins at p. 0; -EINVAL: p is no buffer, or info->size is too small. */
ASH_API int ash_dma_info_read(const void *p, struct ash_dma_info *info);

/*
 * The physical address of p, and in *len, unless len is NULL, for how many bytes from p memory is physically
 * contiguous: at most the *len given, and possibly beyond the buffer that p is in. Any address in the arenas, or in
 * registered memory, will do.
 * ASH_DMA_UNKNOWN: hidden (*len is right all the same), or p is not ours (*len is 0). A few nanoseconds, no system
 * call, no lock; async-signal-safe.
 */
ASH_API uint64_t ash_dma_translate(const void *p, size_t *len);

/*
 * The segments of [p, p + bytes), in order, into the n entries of segments (which may be NULL with n 0).
 * The number of segments there are, which may be more than n. 0: not all of the range is ours.
 */
ASH_API size_t ash_dma_segments(const void *p, size_t bytes, struct ash_dma_segment *segments, size_t n);

/*
 * Read where the kernel has the pages of every arena now, and compare with what ash_dma_translate() says. The number of
 * pages that are elsewhere: 0, or a promise is broken. -ENODATA: addresses are hidden. About a microsecond per huge
 * page.
 */
ASH_API long ash_dma_verify(void);

/* *error as sentences: node, wanted, free, largest, blocker, limits, what would help. Returns the length without NUL;
 * what does not fit in size is cut. */
ASH_API size_t ash_dma_explain(const struct ash_dma_error *error, char *text, size_t size);

/* A physically contiguous run of an arena's memory. */
struct ash_dma_run {
	int32_t node;
	uint32_t pages;    /* enum ash_dma_pages, of its first page: neighbours may be of another kind */
	uint32_t pinned;   /* enum ash_dma_pinned, likewise */
	void *va;
	uint64_t phys;
	size_t len;
};

/* Call fn for each run of every arena, in address order, until it returns non-zero; that is then returned, else 0. No
 * lock is held meanwhile: what comes and goes during the walk may or may not be met. */
ASH_API int ash_dma_walk_runs(int (*fn)(const struct ash_dma_run *run, void *arg), void *arg);

/* All arenas together; sizes in bytes. */
struct ash_dma_stats {
	uint32_t size;           /* of this structure, set by the caller */
	uint32_t arenas, reserves;
	uint32_t unused;
	uint64_t memory_bytes;   /* that the arenas have, shared buffers and reserves included */
	uint64_t backed_bytes[4];/* of it: pages of 1 GiB, of 2 MiB, THP, base pages */
	uint64_t free_bytes;     /* without a buffer or a slab on it; what is reserved is not counted */
	uint64_t pinned_bytes;   /* with a long-term pin of the kernel */
	uint64_t known_bytes;    /* with known physical addresses */
	uint64_t longest_run_bytes; /* longest physically contiguous run, free or not */
	uint64_t reserved_bytes, reserved_free_bytes;
	uint64_t registered_bytes; /* memory of others (ash_dma_register) */
	uint64_t grows;          /* times that memory came */
	uint64_t failures;       /* requests refused */
	/* Buffers of whole frames, by the level that each reached when it was made (enum ash_dma_level); smaller ones,
	 * and objects of pools, lie in pools. */
	uint64_t buffers[3], buffer_bytes[3];
	uint64_t pools, pool_bytes;       /* pools, the library's own included, and the memory of their slabs */
	uint64_t objects, object_bytes;   /* that can be moved or dropped */
	/* mapped for devices by ash_dma_iommu_...(), in all address spaces together */
	uint64_t iova_bytes;
	uint64_t refused[6];              /* requests, by enum ash_dma_reason */
};
/* Each figure was true at some moment during the call. 0; -EINVAL: stats->size is too small. */
ASH_API int ash_dma_stats_read(struct ash_dma_stats *stats);

/*
 * Pools: objects of one size, got and put in a few nanoseconds by any number of threads (of one process: in a child of
 * fork its parent's pools can be destroyed, whatever is out, and no more). Each thread has a cache of up to
 * 254 free objects that no other thread can take from, so a pool with a limit should have that many to spare per thread
 * (or ASH_DMA_POOL_NO_CACHE).
 */
enum ash_dma_pool_flags {
	/* Every object is poisoned while free, has a redzone behind it, and is known to be out or not: a write to a
	 * free object, one behind an object, and a double or foreign put each end the process with a line that says so.
	 * Slow. */
	ASH_DMA_POOL_DEBUG = 1,
	ASH_DMA_POOL_NO_CACHE = 2
};

struct ash_dma_pool;

/*
 * A pool of objects of bytes each, with the alignment (0: 64) and boundary of attr; level, node, address_bits and pages
 * are those of the slabs they lie in, 2 MiB at most unless an object is larger; neither shared nor from a reserve.
 * limit: so many objects and no more, all there from the start; 0: as many as there is memory for. name is copied, up
 * to 31 characters; NULL: none. NULL: errno as ash_dma_alloc().
 */
ASH_API struct ash_dma_pool *ash_dma_pool_create(const char *name, size_t bytes, size_t limit, unsigned flags,
						 const struct ash_dma_attr *attr) ASH_API_MUST_USE;

/* End a pool nobody uses any more. 0; -EBUSY: objects are out (with ASH_DMA_POOL_DEBUG ash_dma_pool_walk() tells
 * which), and the pool stays. NULL: nothing happens. */
ASH_API int ash_dma_pool_destroy(struct ash_dma_pool *pool);

/* An object, uninitialised. NULL: errno ENOMEM. */
ASH_API void *ash_dma_pool_get(struct ash_dma_pool *pool) ASH_API_MUST_USE;
/* Give back an object of this pool. */
ASH_API void ash_dma_pool_put(struct ash_dma_pool *pool, void *object);

/* n objects or none: 0 or -ENOMEM. */
ASH_API int ash_dma_pool_get_bulk(struct ash_dma_pool *pool, void **objects, size_t n);
ASH_API void ash_dma_pool_put_bulk(struct ash_dma_pool *pool, void *const *objects, size_t n);

/*
 * The four calls above, inlined: objects in the thread's own cache are had, or put there, without a call. Define
 * ASH_DMA_NO_INLINE before including this header to call the functions always. What follows is for these only; its
 * layout is part of what the library's soname promises.
 */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(ASH_DMA_NO_INLINE)
struct ash_dma_pool_cache {
	uint64_t nr;
	void *object[255];
};
struct ash_dma_pool_face {
	struct ash_dma_pool_cache *caches; /* by thread number; those of 0 are always empty */
	size_t cache_max;
};
ASH_API extern __thread uint32_t ash_dma_thread;

static __inline__ struct ash_dma_pool_cache *ash_dma_pool_own_cache(const struct ash_dma_pool *pool)
{
	return &((const struct ash_dma_pool_face *)(const void *)pool)->caches[ash_dma_thread];
}

static __inline__ void *ash_dma_pool_get_inline(struct ash_dma_pool *pool)
{
	struct ash_dma_pool_cache *c = ash_dma_pool_own_cache(pool);

	return __builtin_expect(c->nr > 0, 1) ? c->object[--c->nr] : ash_dma_pool_get(pool);
}

static __inline__ void ash_dma_pool_put_inline(struct ash_dma_pool *pool, void *object)
{
	struct ash_dma_pool_cache *c = ash_dma_pool_own_cache(pool);

	/* An empty cache may be nobody's; a full one has to be flushed. */
	if (__builtin_expect(c->nr - 1 < ((const struct ash_dma_pool_face *)(const void *)pool)->cache_max - 1, 1))
		c->object[c->nr++] = object;
	else
		ash_dma_pool_put(pool, object);
}

static __inline__ int ash_dma_pool_get_bulk_inline(struct ash_dma_pool *pool, void **objects, size_t n)
{
	struct ash_dma_pool_cache *c = ash_dma_pool_own_cache(pool);

	if (__builtin_expect(c->nr < n, 0))
		return ash_dma_pool_get_bulk(pool, objects, n);
	c->nr -= n;
	__builtin_memcpy(objects, &c->object[c->nr], n * sizeof(void *));
	return 0;
}

static __inline__ void ash_dma_pool_put_bulk_inline(struct ash_dma_pool *pool, void *const *objects, size_t n)
{
	struct ash_dma_pool_cache *c = ash_dma_pool_own_cache(pool);
	const size_t most = ((const struct ash_dma_pool_face *)(const void *)pool)->cache_max;

	if (__builtin_expect(c->nr > 0 && n <= most && c->nr <= most - n, 1)) {
		__builtin_memcpy(&c->object[c->nr], objects, n * sizeof(void *));
		c->nr += n;
	} else {
		ash_dma_pool_put_bulk(pool, objects, n);
	}
}

#define ash_dma_pool_get_bulk(pool, objects, n) ash_dma_pool_get_bulk_inline(pool, objects, n)
#define ash_dma_pool_put_bulk(pool, objects, n) ash_dma_pool_put_bulk_inline(pool, objects, n)
#define ash_dma_pool_get(pool) ash_dma_pool_get_inline(pool)
#define ash_dma_pool_put(pool, object) ash_dma_pool_put_inline(pool, object)
#endif

/* Call fn for every object there is, free or not, until it returns non-zero, which is then returned; else 0. out is 1
 * or 0 in a debug pool and -1 in others. Nobody may use the pool meanwhile. */
ASH_API int ash_dma_pool_walk(struct ash_dma_pool *pool, int (*fn)(void *object, int out, void *arg), void *arg);

struct ash_dma_pool_info {
	uint32_t size;       /* of this structure, set by the caller */
	uint32_t slabs;
	size_t object_bytes, stride;
	size_t objects, free; /* free: those in caches included; a snapshot */
	size_t slab_bytes;   /* of all slabs */
	char name[32];
};
/* 0; -EINVAL: info->size is too small. */
ASH_API int ash_dma_pool_info_read(struct ash_dma_pool *pool, struct ash_dma_pool_info *info);

/*
 * Objects that make room: memory whose owner can do without its present address, or without it, so that long runs can
 * still be had when an arena is full of small things. No device may hold an object's address. Its functions are called
 * from calls that allocate, or trim, in any thread: who makes one holds no lock that they take.
 */
struct ash_dma_object_ops {
	/*
	 * Copy bytes from `from` to `to` and make everything that refers to the object refer to `to`, under whatever
	 * lock its users take; then return 0. Non-zero: it cannot be moved now, or is no longer there. Must not
	 * allocate; may free other objects, and later, from anywhere, this one.
	 */
	int (*move)(void *to, void *from, size_t bytes, void *arg);
	/* Instead of move: end the object with ash_dma_free() and return 0. Non-zero: it is needed. Must not
	 * allocate. */
	int (*drop)(void *p, size_t bytes, void *arg);
};

/*
 * An object of bytes (up to 2 MiB, in whole powers of two of 4 KiB), aligned to its size, from node (ASH_NODE_LOCAL: as
 * the policy says, ashlar/policy.h) or the nearest to it that has memory; exactly one of ops->move and ops->drop is
 * set. flags: ASH_DMA_NO_GROW, ASH_DMA_NODE_STRICT. Ended with ash_dma_free(), by an owner who makes sure that it is
 * not freed under a move that has found it (the same lock).
 * NULL: errno EINVAL, ENOMEM.
 */
ASH_API void *ash_dma_alloc_object(size_t bytes, const struct ash_dma_object_ops *ops, void *arg, int node,
				   unsigned flags) ASH_API_MUST_USE;

/* The same under a policy of its own instead of the thread's, as ash_dma_attr's. It is kept to when the object is made,
 * and while it moves: objects move within their node. NULL, DEFAULT: the thread's. */
ASH_API void *ash_dma_alloc_object_policy(size_t bytes, const struct ash_dma_object_ops *ops, void *arg,
					  const struct ash_policy *policy, unsigned flags) ASH_API_MUST_USE;

/*
 * Named reserves: bytes (rounded up to 2 MiB) of physically contiguous memory set aside under a name of up to 31
 * characters, with node, pages, address_bits and alignment of attr (NULL: none), for requests that name it in
 * attr.reserve. Nothing else is put there but movable objects, which are moved out when the memory is wanted (as CMA
 * does). The option dma_reserve (ashlar(7)) makes them as the library is loaded, when long runs are still there to be
 * had. ash_dma_reserve: 0; -EEXIST; -EINVAL; -ENOSPC: there are 16; -ENOMEM, -ENODATA as ash_dma_alloc(), also in
 * *attr->error. ash_dma_unreserve: 0; -ENOENT; -EBUSY: a buffer is out, or a borrower cannot move. Not while others use
 * the name.
 */
ASH_API int ash_dma_reserve(const char *name, size_t bytes, const struct ash_dma_attr *attr);
ASH_API int ash_dma_unreserve(const char *name);

struct ash_dma_reserve_info {
	uint32_t size;     /* of this structure */
	int32_t node;
	char name[32];
	void *start;
	uint64_t phys;
	size_t bytes, free; /* free: not out as buffers; it may be lent */
};
/* Call fn for each reserve until it returns non-zero, which is then returned; else 0. */
ASH_API int ash_dma_walk_reserves(int (*fn)(const struct ash_dma_reserve_info *info, void *arg), void *arg);

/*
 * Sharing. A buffer allocated with ASH_DMA_SHARED lies in a file in memory that has no name, a sealed size, and nothing
 * else in it: whoever gets the descriptor can read and write that buffer and no more. When the last process that has it
 * ends, by whatever signal, it is gone.
 *
 * ash_dma_export: a new descriptor, which the caller closes, and where in it the buffer is. -EINVAL: not a shared
 * buffer. ash_dma_import: the same memory as a buffer of this process, in its arenas (it translates, it is told to
 * listeners), ended with ash_dma_free(). The descriptor stays the caller's; offset and bytes are multiples of 2 MiB and
 * of its page. NULL: errno EPERM (its size is not sealed: the peer could take memory away), EINVAL, ENOMEM.
 * ash_dma_send, ash_dma_receive: both by one call over a connected Unix socket. Receiving blocks as the socket does.
 */
ASH_API int ash_dma_export(const void *p, uint64_t *offset, size_t *bytes);
ASH_API void *ash_dma_import(int fd, uint64_t offset, size_t bytes) ASH_API_MUST_USE;
ASH_API int ash_dma_send(int socket, const void *p);
ASH_API void *ash_dma_receive(int socket, size_t *bytes) ASH_API_MUST_USE;

/* A dma-buf of a shared buffer for drivers that import such (Linux's udmabuf): a descriptor, which the caller closes.
 * -ENOENT or -EACCES: no /dev/udmabuf; -EINVAL: not a shared buffer, or the driver's limits. */
ASH_API int ash_dma_export_udmabuf(const void *p);

/* Make n buffers (64 at most) the fixed buffers 0..n-1 of an io_uring, and unmake all of them. 0 or a negative
 * errno. */
ASH_API int ash_dma_uring_register(int ring, void *const *buffers, unsigned n);
ASH_API int ash_dma_uring_unregister(int ring);

/*
 * Memory that is not ours (the program's own, a mapped file, another library's), registered for devices: [p, p +
 * bytes), whole pages of 4 KiB, 16 GiB at most, writable, 128 registrations at a time that do not overlap. It is
 * populated and pinned as buffers are; ash_dma_translate(), ash_dma_segments() and what builds on them work in it,
 * listeners hear of it, and an IOMMU maps it (registered before it or after). Translation searches the registrations:
 * tens of nanoseconds. The memory stays the caller's, who unregisters it before it is unmapped or given back. Across
 * fork the parent's pages stay the parent's; in the child nothing is registered.
 *
 * ash_dma_register: enum ash_dma_pinned: ASH_DMA_PINNED_KERNEL, or ASH_DMA_PINNED_LOCKED where it could not be pinned
 * (RLIMIT_MEMLOCK, no io_uring): then its addresses are ASH_DMA_UNKNOWN, and an IOMMU's own mapping is what holds it.
 * -EINVAL: not whole pages, or memory of ours; -EFAULT: some of it is not there, or read-only; -EEXIST: some of it is
 * registered; -ENOSPC; -EBUSY: a listener refused; -ENOMEM.
 * ash_dma_unregister: 0; -ENOENT: no registration begins at p; -EBUSY: a listener (an IOMMU) still needs it. With
 * ASH_DMA_UNMAP the caller knows that no device uses it any more: listeners are told, not asked.
 */
enum { ASH_DMA_UNMAP = 1 };
ASH_API int ash_dma_register(void *p, size_t bytes);
ASH_API int ash_dma_unregister(void *p, unsigned flags);

/*
 * Events. A listener is told of all memory that the arenas have (MAPPED, when it registers), get and give back, a range
 * at a time, and of memory that is registered in the same way. MAPPED comes before any buffer is there and UNMAPPING
 * after the last has gone; either may be refused by returning non-zero: then the memory is not used (the request that
 * wanted it fails), or it stays. Those that had been told are told UNMAPPED or STAYS. UNMAPPED comes last, with the
 * memory still readable; when a listener unregisters it hears UNMAPPED for all there is. A range may go in other pieces
 * than it came in.
 *
 * Listeners are called with no lock held: they may do anything, calls of this library included, and take locks under
 * which others call it. Of one range a listener hears in order and never twice at a time; of several it may hear at the
 * same time, from several threads. What it must not do is fork and return, or leave by longjmp.
 *
 *  - Memory that comes because of what a listener does is told to it when its call returns, and it cannot refuse that.
 *  - In a listener nobody is waited for. What others are telling of at the time is told later by them: MAPPED to one
 *    that is registered there (who then cannot refuse it), UNMAPPED to one that unregisters. Ending a shared buffer or
 *    a registration that is being told of is -EBUSY there.
 *  - Elsewhere both calls wait for listeners that are running: do not hold a lock that one of them takes. Once
 *    ash_dma_events_unregister() has returned, no call of the listener runs or will.
 *
 * ash_dma_events_register: 0; -EBUSY: it refused what there is; -ENOSPC: there are 32 already; -ENOMEM; -EINVAL: no fn.
 * ash_dma_events_unregister: 0; -ENOENT: no such pair.
 */
enum ash_dma_event { ASH_DMA_EVENT_MAPPED, ASH_DMA_EVENT_UNMAPPING, ASH_DMA_EVENT_STAYS, ASH_DMA_EVENT_UNMAPPED };
typedef int (*ash_dma_event_fn)(enum ash_dma_event event, void *va, size_t bytes, void *arg);
ASH_API int ash_dma_events_register(ash_dma_event_fn fn, void *arg);
ASH_API int ash_dma_events_unregister(ash_dma_event_fn fn, void *arg);

/* Which addresses a device is given behind an IOMMU. */
enum ash_dma_iova {
	ASH_DMA_IOVA_PHYS,  /* the physical ones: one address for devices with and without IOMMU; needs to know them */
	ASH_DMA_IOVA_VA,    /* the process's own: for IOMMUs of 48 bits and more */
	ASH_DMA_IOVA_OFFSET /* from 4 GiB on, as low as the arenas are large: for IOMMUs of few bits */
};

struct ash_dma_iommu;

/*
 * Map all that the arenas have, and from now on all they get, for the devices of a VFIO container (an open
 * /dev/vfio/vfio with its IOMMU type set, which stays the caller's) or of an iommufd's address space. Mapped memory is
 * neither moved nor given back (ash_dma_trim() leaves it) until ash_dma_iommu_end().
 * NULL: errno ENODATA (physical addresses are hidden), ENOMEM (RLIMIT_MEMLOCK), or what the kernel said.
 */
ASH_API struct ash_dma_iommu *ash_dma_iommu_vfio(int container, enum ash_dma_iova how) ASH_API_MUST_USE;
ASH_API struct ash_dma_iommu *ash_dma_iommu_iommufd(int iommufd, uint32_t ioas, enum ash_dma_iova how)
	ASH_API_MUST_USE;
/*
 * Unmap everything; in a child of fork, whose parent's device it is, nothing. The device must have been stopped. NULL:
 * nothing happens. These three not in a listener.
 */
ASH_API void ash_dma_iommu_end(struct ash_dma_iommu *iommu);

/* The address of p for a device behind iommu (NULL: without an IOMMU, the physical address), and *len as
 * ash_dma_translate() has it. ASH_DMA_UNKNOWN: there is none. */
ASH_API uint64_t ash_dma_iova(const struct ash_dma_iommu *iommu, const void *p, size_t *len);

/* What a device reads or writes in one go. */
struct ash_dma_sg {
	uint64_t address;
	size_t len;
};

/*
 * [p, p + bytes) as a scatter/gather list for a device behind iommu (or NULL), no entry longer than most (0: any), into
 * the n entries of sg. The entries it takes, which may be more than n; 0: some of it has no device address.
 */
ASH_API size_t ash_dma_sg_fill(const struct ash_dma_iommu *iommu, const void *p, size_t bytes, size_t most,
			  struct ash_dma_sg *sg, size_t n);

struct iovec; /* <sys/uio.h> */
/* The same range as an iovec per physically contiguous segment. The entries it takes; 0: not ours. */
ASH_API size_t ash_dma_iovec(const void *p, size_t bytes, struct iovec *iov, size_t n);

/*
 * [p, p + bytes) as an NVMe command wants it (NVM Express base specification, "Physical Region Page Entry and List"),
 * for pages of 4 KiB: prp[0] and prp[1], and in list, page-aligned DMA memory of list_bytes, what does not fit in
 * those; lists of several pages are chained. p is aligned to 4.
 * 0; -EINVAL: not so aligned; -ENOSPC: the list is too short; -ENODATA: some address is unknown. prp is written on
 * success only.
 */
ASH_API int ash_dma_nvme_prp(const struct ash_dma_iommu *iommu, const void *p, size_t bytes, uint64_t *list,
			     size_t list_bytes, uint64_t prp[2]);

ASH_API_END

#endif
