/* SPDX-License-Identifier: MIT */
/* ashlar stat: what a running process has for devices; see stat_dma.h. */
#include "stat_dma.h"

#include <ashlar/dma.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"

enum { COUNT_SHIFT = 40, LEVELS = ASH_DMA_PHYSICAL + 1 }; /* as lib/dma/internal.h has them */

struct figures {
	const struct remote *r;
	unsigned arenas;
	uint64_t free, grows;
	uint64_t buffers[LEVELS]; /* number above, frames below COUNT_SHIFT */
	struct remote_record rest;
};

static const char *const level_names[LEVELS] = { "virtual", "segments", "physical" };
static const char *const page_names[] = { "hugetlb_1g", "hugetlb_2m", "thp", "base" };
static const char *const page_words[] = { "1 GiB pages", "2 MiB pages", "THP", "base pages" };
static const char *const reason_names[ASH_DMA_REASONS] = {
	[ASH_DMA_OK] = "other",
	[ASH_DMA_BAD_REQUEST] = "bad_request",
	[ASH_DMA_NO_MEMORY] = "no_memory",
	[ASH_DMA_NOT_CONTIGUOUS] = "not_contiguous",
	[ASH_DMA_OVER_LIMIT] = "over_limit",
	[ASH_DMA_HIDDEN] = "hidden",
};

static bool each_arena(void *arg, const struct remote_record *record)
{
	struct figures *f = arg;
	struct remote_record zone;

	if (!remote_read_record(f->r, remote_number(record, "zone", 0), f->r->dma.zone, &zone))
		return false;
	f->arenas++;
	f->free += remote_number(&zone, "free", 0) << ASH_PAGE_SHIFT;
	f->grows += remote_number(record, "growths", 0);
	return true;
}

static bool each_part(void *arg, const struct remote_record *record)
{
	struct figures *f = arg;

	for (unsigned level = 0; level < LEVELS; level++)
		f->buffers[level] += remote_number(record, "level", level);
	return true;
}

static bool the_rest(void *arg, const struct remote_record *record)
{
	((struct figures *)arg)->rest = *record;
	return true;
}

/* false: the process is gone. */
static bool read_figures(const struct remote *r, struct figures *f)
{
	*f = (struct figures){ .r = r };
	return !r->has_dma ||
	       (remote_each(r, r->dma.arenas, each_arena, f) && remote_each(r, r->dma.buffers, each_part, f) &&
		remote_each(r, r->dma.figures, the_rest, f));
}

static uint64_t number(const struct figures *f, const char *name)
{
	return remote_number(&f->rest, name, 0);
}

static uint64_t nr_buffers(const struct figures *f, unsigned level)
{
	return f->buffers[level] >> COUNT_SHIFT;
}

static uint64_t buffer_bytes(const struct figures *f, unsigned level)
{
	return (f->buffers[level] & (((uint64_t)1 << COUNT_SHIFT) - 1)) << ASH_PAGE_SHIFT;
}

static void print_size(const char *label, uint64_t bytes)
{
	printf("  %s %" PRIu64 ".%" PRIu64 " MiB", label, bytes >> 20, (bytes & 0xfffff) * 10 >> 20);
}

static void print_if(const char *label, uint64_t bytes)
{
	if (bytes != 0)
		print_size(label, bytes);
}

static void print_memory(const struct figures *f)
{
	uint64_t memory = 0;

	for (unsigned i = 0; i < ASH_ARRAY_LEN(page_words); i++)
		memory += remote_number(&f->rest, "backed", i);
	fputs("for devices:", stdout);
	print_size("memory", memory);
	print_size("free", f->free);
	print_size("pinned", number(f, "pinned"));
	print_size("of known address", number(f, "known"));
	fputs("\n    on:", stdout);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(page_words); i++)
		print_if(page_words[i], remote_number(&f->rest, "backed", i));
	putchar('\n');
}

static void print_buffers(const struct figures *f)
{
	fputs("    buffers by level:", stdout);
	for (unsigned level = 0; level < LEVELS; level++) {
		print_size(level_names[level], buffer_bytes(f, level));
		printf(" (%" PRIu64 ")", nr_buffers(f, level));
	}
	printf("\n    pools: %" PRIu64, number(f, "pools"));
	print_size("slabs", number(f, "pool_bytes"));
	printf("; objects that give way: %" PRIu64, number(f, "objects"));
	print_size("", number(f, "object_bytes"));
	printf("\n    reserves: %" PRIu64, number(f, "reserves"));
	print_size("", number(f, "reserved"));
	print_size("out", number(f, "reserved_out"));
	print_size("; registered", number(f, "registered"));
	print_size("; mapped for devices", number(f, "iova"));
	fputs("\n    refused:", stdout);
	for (unsigned i = 0; i < ASH_DMA_REASONS; i++) {
		const uint64_t n = remote_number(&f->rest, "refused", i);

		if (n != 0 || i == ASH_DMA_NO_MEMORY)
			printf("  %s %" PRIu64, reason_names[i], n);
	}
	putchar('\n');
}

bool stat_dma_print(const struct remote *r)
{
	struct figures f;

	if (!read_figures(r, &f))
		return false;
	if (f.arenas > 0) {
		print_memory(&f);
		print_buffers(&f);
	}
	return true;
}

static void print_json_list(const char *name, const char *const *names, unsigned nr, const struct figures *f,
			    const char *field)
{
	printf(",\"%s\":{", name);
	for (unsigned i = 0; i < nr; i++)
		printf("%s\"%s\":%" PRIu64, i > 0 ? "," : "", names[i], remote_number(&f->rest, field, i));
	putchar('}');
}

bool stat_dma_print_json(const struct remote *r)
{
	static const struct {
		const char *name, *field;
	} plain[] = {
		{ "pinned_bytes", "pinned" }, { "known_bytes", "known" }, { "pools", "pools" },
		{ "pool_bytes", "pool_bytes" }, { "objects", "objects" }, { "object_bytes", "object_bytes" },
		{ "reserves", "reserves" }, { "reserved_bytes", "reserved" }, { "reserved_out_bytes", "reserved_out" },
		{ "registered_bytes", "registered" }, { "iova_bytes", "iova" },
	};
	struct figures f;

	if (!read_figures(r, &f))
		return false;
	if (f.arenas == 0)
		return true;
	printf(",\"dma\":{\"arenas\":%u,\"free_bytes\":%" PRIu64 ",\"grows\":%" PRIu64, f.arenas, f.free, f.grows);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(plain); i++)
		printf(",\"%s\":%" PRIu64, plain[i].name, number(&f, plain[i].field));
	print_json_list("backed_bytes", page_names, ASH_ARRAY_LEN(page_names), &f, "backed");
	print_json_list("refused", reason_names, ASH_DMA_REASONS, &f, "refused");
	fputs(",\"buffers\":{", stdout);
	for (unsigned level = 0; level < LEVELS; level++)
		printf("%s\"%s\":{\"number\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", level > 0 ? "," : "",
		       level_names[level], nr_buffers(&f, level), buffer_bytes(&f, level));
	fputs("}}", stdout);
	return true;
}
