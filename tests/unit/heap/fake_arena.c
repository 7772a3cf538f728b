/* SPDX-License-Identifier: MIT */
/* See fake_arena.h. Not thread-safe beyond one lock around everything. */
#include "fake_arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arena/arena.h"

struct ash_registry ash_registry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char used[FAKE_FRAMES], dirty[FAKE_FRAMES], gone[FAKE_FRAMES];
static size_t nr_used, nr_discarded;
static int64_t nr_away;
static unsigned fail_in, faults;
static _Atomic unsigned meta_allocs;
static void (*before_discard)(void);
static _Atomic bool shared;
static bool zeroed;
static struct ash_arena_config the_config;
static struct ash_zonelist the_zonelist = { .nr = 1 };
const struct ash_zonelist ash_zonelist_by_node;

void fake_arena_fail_at(unsigned n)
{
	fail_in = n;
}

size_t fake_arena_used_frames(void)
{
	return nr_used;
}

unsigned fake_arena_faults(void)
{
	return faults;
}

static void fault(const char *what, size_t frame)
{
	printf("# fake arena: %s at frame %zu\n", what, frame);
	faults++;
}

static bool refuse(void)
{
	if (fail_in == 0)
		return false;
	if (fail_in == 1)
		return true;
	fail_in--;
	return false;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void ash_arena_config_default(struct ash_arena_config *config)
{
	memset(config, 0, sizeof(*config));
	config->decay_ms = UINT32_MAX;
}

void fake_arena_decay_ms(uint32_t ms)
{
	the_config.decay_ms = ms;
}

int ash_arena_init(const struct ash_arena_config *config)
{
	const size_t bytes = (size_t)FAKE_FRAMES << ASH_PAGE_SHIFT, align = (size_t)1 << 21;
	char *p;

	if (ash_registry.nr_frames != 0)
		return 0;
	the_config = *config;
	p = map(bytes + align);
	ash_registry.tags = map(FAKE_FRAMES * sizeof(uint32_t));
	if (p == NULL || ash_registry.tags == NULL)
		return -ENOMEM;
	ash_registry.base = ash_align_up((uintptr_t)p, align);
	ash_registry.nr_frames = FAKE_FRAMES;
	ash_registry.nr_spans = 1;
	return 0;
}

bool ash_arena_ready(void)
{
	return ash_registry.nr_frames != 0;
}

const struct ash_arena_config *ash_arena_config(void)
{
	return &the_config;
}

const struct ash_zonelist *ash_zonelist_for(int node)
{
	(void)node;
	return &the_zonelist;
}

const struct ash_zonelist *ash_zonelist_of_thread(void)
{
	return ash_zonelist_for(-1);
}

static bool is_free(size_t first, size_t nr)
{
	return first + nr <= FAKE_FRAMES && memchr(used + first, 1, nr) == NULL;
}

static bool take(size_t first, size_t nr)
{
	const bool zeroed = memchr(dirty + first, 1, nr) == NULL;

	memset(used + first, 1, nr);
	memset(dirty + first, 1, nr);
	memset(gone + first, 0, nr);
	nr_used += nr;
	return zeroed;
}

int ash_run_alloc(const struct ash_zonelist *zl, size_t nr, unsigned align_order, enum ash_migratetype mt,
		  struct ash_run *out)
{
	const size_t step = (size_t)1 << align_order;
	int rc = -ENOMEM;

	(void)zl;
	(void)mt;
	pthread_mutex_lock(&lock);
	for (size_t first = 0; first + nr <= FAKE_FRAMES && !refuse(); first += step) {
		if (!is_free(first, nr))
			continue;
		out->addr = ash_frame_address(first);
		out->nr_frames = nr;
		out->zeroed = take(first, nr);
		rc = 0;
		break;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

void ash_run_free(void *addr, size_t nr)
{
	const size_t first = ash_frame_index(addr);

	pthread_mutex_lock(&lock);
	for (size_t f = first; f < first + nr; f++) {
		if (!used[f])
			fault("free of a free frame", f);
		if (ash_tag_load(f) != 0)
			fault("free of a tagged frame", f);
		used[f] = 0;
	}
	memset(addr, 0xdb, nr << ASH_PAGE_SHIFT);
	nr_used -= nr;
	pthread_mutex_unlock(&lock);
}

/* Whether there was anything: all that nobody has touched since it was discarded reads as zero. */
static bool discard(size_t f)
{
	unsigned char *const frame = ash_frame_address(f);
	size_t n = 0;

	while (gone[f] && n < ASH_PAGE_SIZE && frame[n] == 0)
		n++;
	memset(frame, 0, ASH_PAGE_SIZE);
	gone[f] = 1;
	return n < ASH_PAGE_SIZE;
}

void fake_arena_before_discard(void (*fn)(void))
{
	before_discard = fn;
}

bool ash_run_discard(void *addr, size_t nr)
{
	const size_t first = ash_frame_index(addr);

	if (before_discard != NULL)
		before_discard();
	pthread_mutex_lock(&lock);
	for (size_t f = first; f < first + nr; f++)
		if (!used[f] || ((uintptr_t)addr & (ASH_PAGE_SIZE - 1)) != 0)
			fault("discard of what is not in use", f);
		else
			nr_discarded += discard(f);
	pthread_mutex_unlock(&lock);
	return true;
}

void ash_run_note_discarded(const void *addr, int64_t nr)
{
	(void)addr;
	pthread_mutex_lock(&lock);
	nr_away += nr;
	pthread_mutex_unlock(&lock);
}

int64_t fake_arena_away_frames(void)
{
	return nr_away;
}

size_t fake_arena_discarded_frames(void)
{
	return nr_discarded;
}

/* Without page tables: copied. */
void ash_run_move(void *to, void *from, size_t nr_blocks, bool to_empty)
{
	const size_t nr = nr_blocks << ASH_PAGEBLOCK_ORDER;

	(void)to_empty;
	memcpy(to, from, nr << ASH_PAGE_SHIFT);
	ash_run_free(from, nr);
}

void ash_run_fill(struct ash_run *run)
{
	memset(run->addr, 0xdb, run->nr_frames << ASH_PAGE_SHIFT);
	run->zeroed = false;
}

int ash_run_extend(void *addr, size_t old_nr, size_t new_nr, enum ash_migratetype mt, bool *zeroed)
{
	const size_t first = ash_frame_index(addr) + old_nr, nr = new_nr - old_nr;
	int rc = -EBUSY;

	(void)mt;
	pthread_mutex_lock(&lock);
	if (!refuse() && is_free(first, nr)) {
		*zeroed = take(first, nr);
		rc = 0;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

void *ash_meta_alloc(size_t bytes)
{
	meta_allocs++;
	return map(bytes);
}

unsigned fake_arena_meta_allocs(void)
{
	return meta_allocs;
}

void *ash_meta_table(size_t entry_bytes, unsigned shift)
{
	const size_t bytes = (ash_registry.nr_frames >> shift) * entry_bytes;
	char *table = map(bytes);

	return table != NULL ? table + bytes - entry_bytes : NULL;
}

size_t ash_arena_decay(void)
{
	return 0;
}

size_t ash_arena_decay_at(uint64_t now_ms)
{
	(void)now_ms;
	return 0;
}

void ash_arena_note_shared(void)
{
	shared = true;
}

bool fake_arena_is_shared(void)
{
	return shared;
}

void ash_arena_note_zeroed(void)
{
	zeroed = true;
}

bool fake_arena_was_zeroed(void)
{
	const bool was = zeroed;

	zeroed = false;
	return was;
}

size_t ash_arena_trim(void)
{
	return 0;
}

unsigned ash_arena_count(void)
{
	return 1;
}

bool ash_arena_stats(unsigned index, struct ash_arena_stats *out)
{
	(void)index;
	memset(out, 0, sizeof(*out));
	out->start = ash_registry.base;
	out->peak_online = FAKE_FRAMES;
	return true;
}

/* Nothing here has nodes. */
void ash_run_come_home(const void *addr, size_t nr_frames)
{
	(void)addr;
	(void)nr_frames;
}
