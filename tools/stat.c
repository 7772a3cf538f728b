/* SPDX-License-Identifier: MIT */
/* ashlar stat: the numbers of a running process, and what the kernel says of its memory. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/arena.h"
#include "ashlar.h"
#include "ctl/formats.h"
#include "ctl/writer.h"
#include "os/smaps.h"
#include "remote.h"
#include "stat_dma.h"
#include "stat_map.h"
#include "stat_nodes.h"

enum { ARENAS_MAX = ASH_ZONELIST_MAX, OPT_JSON = 256, OPT_MAP, OPT_HELP };

static const struct option long_options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "map", no_argument, NULL, OPT_MAP },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: ashlar stat [--json | --map] PID\n"
	"\n"
	"Shows what ashlar holds in a running process: per arena what is online, in use, free and returned, and what\n"
	"backs it by the kernel's accounting; and what it has for devices. The process is neither stopped nor slowed. "
	"Needs the process's user or\n"
	"root; a program that carries libashlar.a inside is not recognised.\n"
	"\n"
	"      --json              as JSON, in bytes\n"
	"      --map               with a picture of each arena, a sign for each pageblock of 2 MiB\n";

/* Bytes, unless named otherwise. */
struct arena {
	int node;
	bool hugetlb;
	uint64_t start, online, peak_online, in_use, free, returned, grows, fallbacks;
	struct ash_smaps actual;
	bool actual_known;
	struct zone_place place;
	bool nodes_known;
	struct node_bytes nodes;
};

/* What was asked of a node: struct ash_numastat. */
struct node {
	uint64_t hit, miss, foreign, local, other;
};

struct stat {
	pid_t pid;
	char name[32];
	const char *library;
	struct arena arenas[ARENAS_MAX], total;
	int nr_arenas, nr_nodes;
	struct node nodes[ASH_NODES_MAX];
	int nr_spills;
	struct ash_spill spills[ASH_SNAPSHOT_SPILLS];
	uint64_t slabs, large, large_count;
	int nr_heaps;
};

static uint64_t bytes_of(const struct remote_record *record, const char *frames)
{
	return remote_number(record, frames, 0) << ASH_PAGE_SHIFT;
}

static uint64_t less(uint64_t from, uint64_t what)
{
	return from - ash_min(from, what);
}

static bool read_arena(const struct remote *r, const struct remote_record *record, struct arena *a)
{
	const uint64_t span = bytes_of(record, "nr_frames");
	struct remote_record zone;
	char smaps[64];

	if (!remote_read_record(r, remote_number(record, "zone", 0), r->view.zone, &zone))
		return false;
	a->node = (int16_t)remote_number(record, "node", 0);
	a->hugetlb = remote_number(record, "kind", 0) == ASH_ARENA_H;
	a->start = remote_number(record, "start", 0);
	a->online = bytes_of(record, "online");
	a->peak_online = bytes_of(record, "peak_online");
	a->free = bytes_of(&zone, "free");
	/* H: pageblocks that are with the pool; T: free ones without memory behind them. */
	a->returned = (remote_number(record, "returned", 0) << ASH_PAGEBLOCK_ORDER) << ASH_PAGE_SHIFT;
	a->place = (struct zone_place){
		.start = a->start,
		.frames = remote_number(&zone, "frames", 0),
		.pageblocks = remote_number(&zone, "pageblocks", 0),
		.nr_frames = remote_number(&zone, "nr_frames", 0),
		.pageblock_order = (unsigned)remote_number(&zone, "pageblock_order", 0),
	};
	a->in_use = less(less(a->online, a->free), a->returned);
	if (!a->hugetlb) {
		a->returned = bytes_of(&zone, "free_zeroed");
		a->free = less(a->free, a->returned);
	}
	a->grows = remote_number(record, "grows", 0);
	a->fallbacks = remote_number(record, "fallbacks", 0);
	snprintf(smaps, sizeof(smaps), "/proc/%d/smaps", (int)r->pid);
	a->actual_known = ash_smaps_read_file(smaps, a->start, a->start + span, &a->actual) == 0;
	a->nodes_known = node_bytes_read(r->pid, a->start, a->start + span, &a->nodes);
	return true;
}

static void add(struct arena *sum, const struct arena *a)
{
	sum->online += a->online;
	sum->peak_online += a->peak_online;
	sum->in_use += a->in_use;
	sum->free += a->free;
	sum->returned += a->returned;
	sum->fallbacks += a->fallbacks;
	sum->actual.base += a->actual.base;
	sum->actual.thp += a->actual.thp;
	sum->actual.huge_2m += a->actual.huge_2m;
	sum->actual.huge_1g += a->actual.huge_1g;
	sum->actual_known = a->actual_known;
}

struct reading {
	const struct remote *remote;
	struct stat *to;
};

static bool each_arena(void *arg, const struct remote_record *record)
{
	const struct reading *reading = arg;
	struct stat *s = reading->to;

	if (s->nr_arenas == ARENAS_MAX || !read_arena(reading->remote, record, &s->arenas[s->nr_arenas]))
		return false;
	add(&s->total, &s->arenas[s->nr_arenas++]);
	return true;
}

static bool each_node(void *arg, const struct remote_record *record)
{
	struct stat *s = ((const struct reading *)arg)->to;

	if (s->nr_nodes == ASH_NODES_MAX)
		return false;
	s->nodes[s->nr_nodes++] = (struct node){
		.hit = bytes_of(record, "hit"),
		.miss = bytes_of(record, "miss"),
		.foreign = bytes_of(record, "foreign"),
		.local = bytes_of(record, "local"),
		.other = bytes_of(record, "other"),
	};
	return true;
}

/* Another process's memory may say anything. */
static bool each_spill(void *arg, const struct remote_record *record)
{
	struct stat *s = ((const struct reading *)arg)->to;
	const struct ash_spill spill =
		ash_spill_of((uint32_t)remote_number(record, "key", 0), remote_number(record, "runs", 0),
			     remote_number(record, "frames", 0));

	if (spill.reason != ASH_SPILL_NONE && spill.reason < ASH_SPILL_REASONS && s->nr_spills < ASH_SNAPSHOT_SPILLS)
		s->spills[s->nr_spills++] = spill;
	return true;
}

/* There is more to tell of nodes than that there is one. */
static bool is_told(const struct stat *s, int i)
{
	const struct node *n = &s->nodes[i];

	return i < s->nr_nodes && (n->hit | n->miss | n->foreign) != 0;
}

static bool each_heap(void *arg, const struct remote_record *record)
{
	struct stat *s = ((const struct reading *)arg)->to;

	s->nr_heaps++;
	s->slabs += less(bytes_of(record, "slab_frames"), bytes_of(record, "empty_frames"));
	/* Balances of each heap, which mean something in the sum only. */
	s->large += bytes_of(record, "large_frames");
	s->large_count += remote_number(record, "large_count", 0);
	return true;
}

/* Names are the process's own choice, and a terminal obeys what it is shown. */
static void clean(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static void print_mib(uint64_t bytes)
{
	printf(" %" PRIu64 ".%" PRIu64 " MiB", bytes >> 20, (bytes & 0xfffff) * 10 >> 20);
}

static void print_size(const char *label, uint64_t bytes)
{
	printf("  %s", label);
	print_mib(bytes);
}

static void print_row(const struct arena *a)
{
	print_size("online", a->online);
	print_size("in use", a->in_use);
	print_size("free", a->free);
	print_size("without memory", a->returned);
	putchar('\n');
	if (!a->actual_known) {
		puts("    backed by: not known, its smaps cannot be read");
		return;
	}
	fputs("    backed by:", stdout);
	print_size("1 GiB pages", a->actual.huge_1g);
	print_size("2 MiB pages", a->actual.huge_2m);
	print_size("THP", a->actual.thp);
	print_size("base pages", a->actual.base);
	putchar('\n');
}

static void print_arena_nodes(const struct arena *a)
{
	char label[32];

	if (!a->nodes_known) {
		puts("    by node: not known, its numa_maps cannot be read");
		return;
	}
	printf("    by node (%s):", a->nodes.policy[0] != '\0' ? a->nodes.policy : "nothing yet");
	for (int node = 0; node < ASH_NODES_MAX; node++) {
		snprintf(label, sizeof(label), "node %d", node);
		if (a->nodes.on[node] != 0)
			print_size(label, a->nodes.on[node]);
	}
	putchar('\n');
}

static void print_nodes(const struct stat *s)
{
	for (int i = 0; i < s->nr_nodes; i++) {
		const struct node *n = &s->nodes[i];

		if (!is_told(s, i))
			continue;
		printf("asked of node %d:", i);
		print_size("hit", n->hit);
		print_size("miss", n->miss);
		print_size("foreign", n->foreign);
		print_size("local", n->local);
		print_size("other", n->other);
		putchar('\n');
	}
}

/* What was decided here; and what the kernel did by itself, when a node was full or pages were moved. */
static void print_spills(const struct stat *s)
{
	for (int i = 0; i < s->nr_spills; i++) {
		printf("for node %d, taken from node %d:", s->spills[i].from, s->spills[i].to);
		print_mib(s->spills[i].frames * ASH_PAGE_SIZE);
		printf(" in %" PRIu64 " runs: %s\n", s->spills[i].runs, ash_spill_texts[s->spills[i].reason]);
	}
	for (int i = 0; i < s->nr_arenas; i++) {
		const struct arena *a = &s->arenas[i];

		for (int node = 0; a->nodes_known && a->node >= 0 && node < ASH_NODES_MAX; node++) {
			if (node == a->node || a->nodes.on[node] == 0)
				continue;
			printf("for node %d, put on node %d by the kernel:", a->node, node);
			print_mib(a->nodes.on[node]);
			puts(": no room when it was touched, or moved since");
		}
	}
}

static void print_whose(const struct arena *a)
{
	if (a->node >= 0)
		printf("node %d, ", a->node);
	else
		fputs("a policy's, ", stdout);
	fputs(a->hugetlb ? "hugetlb:" : "ordinary memory:", stdout);
}

/* What can be read of it: a process may end meanwhile. */
static void print_text(const struct stat *s, const struct remote *map)
{
	printf("process %d (%s) on %s\n", (int)s->pid, s->name, s->library);
	if (s->nr_arenas == 0) {
		puts("no allocation has been made yet");
		return;
	}
	for (int i = 0; i < s->nr_arenas; i++) {
		print_whose(&s->arenas[i]);
		print_row(&s->arenas[i]);
		if (s->nr_nodes > 0)
			print_arena_nodes(&s->arenas[i]);
		if (map != NULL && !stat_map_print(map, &s->arenas[i].place))
			puts("    its pageblocks cannot be read");
	}
	if (map != NULL)
		stat_map_print_legend();
	if (s->nr_arenas > 1) {
		fputs("all:", stdout);
		print_row(&s->total);
	}
	print_nodes(s);
	print_spills(s);
	printf("heaps: %d,", s->nr_heaps);
	print_size("slabs", s->slabs);
	print_size("large blocks", s->large);
	printf(" (%" PRIu64 ")\n", s->large_count);
	if (s->total.fallbacks != 0)
		printf("a lesser kind of page was taken %" PRIu64 " times\n", s->total.fallbacks);
}

static void print_json_arena(const struct arena *a)
{
	printf("{\"node\":%d,\"kind\":\"%s\",\"start\":%" PRIu64 ",\"online_bytes\":%" PRIu64
	       ",\"peak_online_bytes\":%" PRIu64 ",\"in_use_bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64
	       ",\"absent_bytes\":%" PRIu64 ",\"grows\":%" PRIu64 ",\"fallbacks\":%" PRIu64,
	       a->node, a->hugetlb ? "hugetlb" : "thp", a->start, a->online, a->peak_online, a->in_use, a->free,
	       a->returned, a->grows, a->fallbacks);
	if (a->actual_known)
		printf(",\"resident_bytes\":{\"hugetlb_1g\":%zu,\"hugetlb_2m\":%zu,\"thp\":%zu,\"base\":%zu}",
		       a->actual.huge_1g, a->actual.huge_2m, a->actual.thp, a->actual.base);
	if (a->nodes_known) {
		const char *comma = "";

		/* The kernel's word has no character that JSON would want escaped. */
		printf(",\"policy\":\"%s\",\"node_bytes\":{", a->nodes.policy);
		for (int node = 0; node < ASH_NODES_MAX; node++) {
			if (a->nodes.on[node] == 0)
				continue;
			printf("%s\"%d\":%" PRIu64, comma, node, a->nodes.on[node]);
			comma = ",";
		}
		putchar('}');
	}
	putchar('}');
}

static void print_json_nodes(const struct stat *s)
{
	const char *comma = "";

	fputs("],\"nodes\":[", stdout);
	for (int i = 0; i < s->nr_nodes; i++) {
		const struct node *n = &s->nodes[i];

		if (!is_told(s, i))
			continue;
		printf("%s{\"node\":%d,\"numa_hit_bytes\":%" PRIu64 ",\"numa_miss_bytes\":%" PRIu64
		       ",\"numa_foreign_bytes\":%" PRIu64 ",\"local_node_bytes\":%" PRIu64
		       ",\"other_node_bytes\":%" PRIu64 "}",
		       comma, i, n->hit, n->miss, n->foreign, n->local, n->other);
		comma = ",";
	}
}

static void print_json_spills(const struct stat *s)
{
	fputs("],\"spills\":[", stdout);
	for (int i = 0; i < s->nr_spills; i++) {
		const struct ash_spill *spill = &s->spills[i];

		printf("%s{\"from\":%d,\"to\":%d,\"reason\":\"%s\",\"runs\":%" PRIu64 ",\"spilled_bytes\":%" PRIu64 "}",
		       i > 0 ? "," : "", spill->from, spill->to, ash_spill_names[spill->reason], spill->runs,
		       spill->frames * ASH_PAGE_SIZE);
	}
}

static void print_json(const struct stat *s, const struct remote *r)
{
	struct ash_writer w;

	printf("{\"pid\":%d,\"name\":", (int)s->pid);
	fflush(stdout);
	ash_writer_init_fd(&w, 1);
	ash_write_json_string(&w, s->name);
	ash_write(&w, ",\"library\":");
	ash_write_json_string(&w, s->library);
	(void)!ash_writer_finish(&w);
	fputs(",\"arenas\":[", stdout);
	for (int i = 0; i < s->nr_arenas; i++) {
		if (i > 0)
			putchar(',');
		print_json_arena(&s->arenas[i]);
	}
	print_json_nodes(s);
	print_json_spills(s);
	printf("],\"heaps\":%d,\"slab_bytes\":%" PRIu64 ",\"large_bytes\":%" PRIu64 ",\"large_count\":%" PRIu64,
	       s->nr_heaps, s->slabs, s->large, s->large_count);
	/* A process that has ended since is without. */
	(void)stat_dma_print_json(r);
	puts("}");
}

static pid_t parse_pid(const char *text)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || pid <= 0 || pid > INT_MAX)
		usage_error("stat", "\"%s\" is not a process id", text);
	return (pid_t)pid;
}

/* OPT_JSON, OPT_MAP or 0. */
static int parse(int argc, char **argv)
{
	int how = 0, c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == OPT_HELP) {
			fputs(help_text, stdout);
			exit(STATUS_OK);
		}
		if (c != OPT_JSON && c != OPT_MAP)
			unknown_option("stat", argv);
		if (how != 0 && how != c)
			usage_error("stat", "--json has no picture");
		how = c;
	}
	if (optind != argc - 1)
		usage_error("stat", optind == argc ? "no process id" : "one process id at a time");
	return how;
}

int cmd_stat(int argc, char **argv)
{
	static struct stat s;
	static struct remote r;
	const int how = parse(argc, argv);
	struct reading reading = { &r, &s };
	char path[64], *why = NULL;
	int status;

	s.pid = parse_pid(argv[optind]);
	status = remote_open(&r, s.pid, &why);
	if (status != STATUS_OK) {
		complain("%s", why);
		return status;
	}
	s.library = r.library;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)s.pid);
	if (read_small_file(path, s.name, sizeof(s.name)) < 0)
		s.name[0] = '\0';
	if (!remote_each(&r, r.view.nodes, each_node, &reading) ||
	    !remote_each(&r, r.view.spills, each_spill, &reading) ||
	    !remote_each(&r, r.view.arenas, each_arena, &reading) ||
	    !remote_each(&r, r.view.heaps, each_heap, &reading)) {
		complain("process %d ended, or its memory is not what ashlar left there", (int)s.pid);
		return STATUS_FAILED;
	}
	if (how == OPT_JSON) {
		print_json(&s, &r);
	} else {
		clean(s.name);
		clean(r.library);
		print_text(&s, how == OPT_MAP ? &r : NULL);
		(void)stat_dma_print(&r);
	}
	return STATUS_OK;
}
