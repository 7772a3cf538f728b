/* SPDX-License-Identifier: MIT */
/* The scenes of the scenario tests. */
#include "base/bits.h"
#include "page/frame.h"
#include "page/zone_struct.h"
#include "scenario/scene.h"

#include <stdarg.h>

static const char letters[ASH_MT_NR + 1] = "UMRHCI";

static void must(bool good, int line)
{
	if (good)
		return;
	fprintf(stderr, "scene.c:%d: the scene cannot be set up\n", line);
	abort();
}

const struct ash_mover_ops *scene_mover;
void (*scene_config)(struct ash_zone_config *config, struct ash_zone_ops *ops);
const char *scene_bug;
ash_pfn_t scene_bug_pfn;
unsigned long scene_bug_a, scene_bug_b;
jmp_buf scene_bug_return;

static void on_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	(void)z;
	scene_bug = what;
	scene_bug_pfn = pfn;
	scene_bug_a = a;
	scene_bug_b = b;
	longjmp(scene_bug_return, 1);
}

static void write_types(struct scene *s, const char *types)
{
	struct ash_zone *z = s->z;

	ash_zone_lock(z);
	for (size_t block = 0; types[block] != '\0'; block++) {
		const char *at = strchr(letters, types[block]);

		ash_pageblock_set_type(z, (ash_pfn_t)(block << z->pageblock_order),
				       (enum ash_migratetype)(at - letters));
	}
	ash_zone_unlock(z);
}

void scene_open_edge(struct scene *s, unsigned pageblock_order, unsigned max_order, const char *types,
		     ash_pfn_t first, ash_pfn_t end, unsigned nr_cpus)
{
	static struct ash_zone_ops ops;
	void *mem;
	const ash_pfn_t nr = (ash_pfn_t)(strlen(types) << pageblock_order);
	const struct ash_geometry geometry = { (uint8_t)pageblock_order, (uint8_t)max_order };
	const size_t zone_size = ash_align_up(ash_zone_struct_size(), 64);
	const size_t frames_size = ash_align_up(ash_frames_size(nr), 64);
	const size_t blocks_size = ash_align_up(ash_zone_nr_pageblocks(nr, geometry), 64);
	const size_t size = zone_size + frames_size + blocks_size + ash_align_up(ash_pcp_struct_size() * nr_cpus, 64);
	struct ash_zone_config config = { .nr_frames = end != 0 ? end : nr, .geometry = geometry, .nr_cpus = nr_cpus,
					  .ops = &ops };

	ops = (struct ash_zone_ops){ .bug = on_bug, .mover = scene_mover };
	free(s->mem);
	mem = aligned_alloc(64, size);
	must(mem != NULL, __LINE__);
	memset(mem, 0, size);
	memset(s, 0, sizeof(*s));
	s->mem = mem;
	s->z = mem;
	s->nr_frames = config.nr_frames;
	config.frames = (void *)((char *)mem + zone_size);
	config.pageblocks = (void *)((char *)mem + zone_size + frames_size);
	config.pcps = nr_cpus == 0 ? NULL : (void *)((char *)mem + zone_size + frames_size + blocks_size);
	if (scene_config != NULL)
		scene_config(&config, &ops);
	must(ash_zone_init(s->z, &config) == 0, __LINE__);
	must(ash_zone_online(s->z, first, config.nr_frames - first, false) == 0, __LINE__);
	for (ash_pfn_t pfn = first; pfn < config.nr_frames; pfn++)
		must(scene_alloc(s, 0, ASH_MT_MOVABLE, 0) != ASH_PFN_NONE, __LINE__);
	write_types(s, types);
	for (ash_pfn_t pfn = first; pfn < config.nr_frames; pfn++) {
		const enum ash_migratetype mt = ash_pageblock_type(s->z, pfn);

		scene_used(s, pfn, 0, ash_mt_mergeable(mt) ? mt : ASH_MT_MOVABLE);
	}
	must(*scene_freelist(s) == 0, __LINE__);
	scene_mark(s);
}

void scene_open(struct scene *s, unsigned pageblock_order, unsigned max_order, const char *types)
{
	scene_open_edge(s, pageblock_order, max_order, types, 0, 0, 0);
}

void scene_used(struct scene *s, ash_pfn_t pfn, unsigned order, enum ash_migratetype mt)
{
	for (ash_pfn_t i = pfn; i < pfn + (1u << order); i++) {
		const enum ash_frame_state state = ash_word_state(ash_frame_load(s->z->frames, i));

		must(state == ASH_FRAME_USED || state == ASH_FRAME_NONE, __LINE__);
		ash_frame_store(s->z->frames, i, 0);
	}
	ash_frame_store(s->z->frames, pfn, ash_frame_word(ASH_FRAME_USED, order, mt, 0));
}

void scene_free(struct scene *s, const char *list)
{
	while (*list != '\0') {
		char *end;
		const ash_pfn_t pfn = (ash_pfn_t)strtoul(list, &end, 10);
		const unsigned order = (unsigned)strtoul(end + 1, &end, 10);

		scene_used(s, pfn, order, ASH_MT_MOVABLE);
		ash_zone_free(s->z, pfn, order, ASH_CPU_NONE);
		list = end + strcspn(end, ",");
		list += *list == ',';
	}
	scene_mark(s);
}

void scene_mark(struct scene *s)
{
	ash_zone_stats(s->z, &s->before);
	s->digest = ash_zone_digest(s->z);
}

bool scene_same(const struct scene *s)
{
	return ash_zone_digest(s->z) == s->digest;
}

static ASH_PRINTF(2, 3) void append(struct scene *s, const char *format, ...)
{
	const size_t n = strlen(s->text);
	va_list args;

	va_start(args, format);
	vsnprintf(s->text + n, sizeof(s->text) - n, format, args);
	va_end(args);
}

const char *scene_freelist(struct scene *s)
{
	s->text[0] = '\0';
	for (ash_pfn_t pfn = 0; pfn < s->nr_frames;) {
		const uint32_t word = ash_frame_load(s->z->frames, pfn);

		if (ash_word_state(word) == ASH_FRAME_BUDDY)
			append(s, "%s%u:%u %c", s->text[0] ? ", " : "", pfn, ash_word_order(word),
			       letters[ash_word_type(word)]);
		pfn += 1u << ash_word_order(word);
	}
	return s->text;
}

const char *scene_types(struct scene *s)
{
	s->text[0] = '\0';
	for (ash_pfn_t pfn = 0; pfn < s->nr_frames; pfn += 1u << s->z->pageblock_order)
		append(s, "%c%s", letters[ash_pageblock_stored_type(s->z, pfn)],
		       ash_pageblock_type(s->z, pfn) == ASH_MT_ISOLATE ? "*" : "");
	return s->text;
}

const char *scene_list(struct scene *s, unsigned order, enum ash_migratetype mt)
{
	const struct ash_freelist *l = &s->z->freelist[mt][order];

	s->text[0] = '\0';
	for (unsigned zeroed = 0; zeroed < 2; zeroed++) {
		for (ash_pfn_t pfn = l->first[zeroed]; pfn != ASH_PFN_NONE; pfn = ash_frame_at(s->z->frames, pfn)->next)
			append(s, "%s%u", s->text[0] ? " " : "", pfn);
	}
	return s->text;
}

void scene_pcp_marks(struct scene *s, uint32_t batch, uint32_t high_min, uint32_t high_max)
{
	atomic_store(&s->z->pcp_batch, batch);
	atomic_store(&s->z->pcp_high_min, high_min);
	atomic_store(&s->z->pcp_high_max, high_max);
}

ash_pfn_t scene_alloc(struct scene *s, unsigned order, enum ash_migratetype mt, unsigned flags)
{
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };

	return ash_zone_alloc(s->z, order, mt, flags, ASH_CPU_NONE, &grant) == 0 ? grant.pfn : ASH_PFN_NONE;
}

struct ash_zone_stats scene_stats(struct scene *s)
{
	struct ash_zone_stats stats;

	ash_zone_stats(s->z, &stats);
	return stats;
}

const char *scene_fault(struct scene *s)
{
	struct ash_zone_fault fault = { 0 };

	if (ash_zone_check(s->z, &fault) == 0)
		return NULL;
	s->text[0] = '\0';
	append(s, "invariant I%d is broken at pfn %u: %s (%lu, %lu)", fault.invariant, fault.pfn, fault.what, fault.a,
	       fault.b);
	return s->text;
}
