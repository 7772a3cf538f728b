/* SPDX-License-Identifier: MIT */
/*
 * ashlar pool: show and change the machine's pools of huge pages.
 *
 * The kernel takes any number into nr_hugepages and makes as many pages as it can, silently. Here a change is made
 * whole or not at all: the file is read back, memory is compacted once when pages are missing, and what cannot be had
 * is undone and said. Pages that programs hold are never taken from them: a pool that shrinks below its use shrinks as
 * they let go.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ashlar.h"
#include "ctl/writer.h"
#include "os/numa.h"

enum { OPT_NODE = 256, OPT_ON_DEMAND, OPT_DEMOTE, OPT_ROOT, OPT_HELP };

static const struct option long_options[] = {
	{ "node", required_argument, NULL, OPT_NODE },
	{ "on-demand", no_argument, NULL, OPT_ON_DEMAND },
	{ "demote", no_argument, NULL, OPT_DEMOTE },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: ashlar pool\n"
	"       ashlar pool [--node N] SIZE [+|-]COUNT\n"
	"       ashlar pool --on-demand SIZE COUNT\n"
	"       ashlar pool --demote [--node N] SIZE COUNT\n"
	"\n"
	"Without arguments, shows the machine's pools of huge pages, by size and node. "
	"With a size (2M, 1G, ...) the pool gets\n"
	"COUNT pages, or so many more or fewer: all of them, or the pool stays as it was and the status is 1. "
	"Needs root.\n"
	"The change lasts until the machine is booted again; docs/huge-pages.md says how to make it last.\n"
	"\n"
	"      --node N            the pool of one NUMA node\n"
	"      --on-demand         how many pages programs may have beyond the pool while there are any\n"
	"      --demote            split COUNT free pages of SIZE into pages of the next smaller size\n"
	"      --root DIR          a folder that stands for /\n";

struct pool {
	const char *root;
	long node; /* -1: of the machine */
	unsigned long long kib;
	char size[32]; /* "2.0 MiB" */
};

static char *pool_path(const struct pool *p, const char *file)
{
	if (p->node < 0)
		return format_text("%s/sys/kernel/mm/hugepages/hugepages-%llukB/%s", p->root, p->kib, file);
	return format_text("%s/sys/devices/system/node/node%ld/hugepages/hugepages-%llukB/%s", p->root, p->node, p->kib,
			   file);
}

/* -1, with errno, when there is no such number. */
static long long read_number(const struct pool *p, const char *file)
{
	char *path = pool_path(p, file), text[32];
	const long n = read_small_file(path, text, sizeof(text));

	free(path);
	if (n < 0)
		return -1;
	errno = EINVAL;
	return n == 0 || text[strspn(text, "0123456789")] != '\0' ? -1 : strtoll(text, NULL, 10);
}

/* 0 or an errno. */
static int write_text(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

static int write_number(const struct pool *p, const char *file, long long value)
{
	char *path = pool_path(p, file), text[32];
	int error;

	snprintf(text, sizeof(text), "%lld\n", value);
	error = write_text(path, text);
	if (error != 0)
		complain("%s: %s%s", path, strerror(error), error == EACCES || error == EPERM ? "; it takes root" : "");
	free(path);
	return error;
}

static void print_row(const struct pool *p)
{
	char where[32] = "machine";

	if (p->node >= 0)
		snprintf(where, sizeof(where), "node %ld", p->node);
	printf("%-10s %-9s", p->node < 0 ? p->size : "", where);
	for (size_t i = 0; i < 5; i++) {
		static const char *const files[] = { "nr_hugepages", "free_hugepages", "resv_hugepages",
						     "surplus_hugepages", "nr_overcommit_hugepages" };
		const long long n = read_number(p, files[i]);

		if (n < 0)
			printf(" %10s", "");
		else
			printf(" %10lld", n);
	}
	putchar('\n');
}

static int is_pool(const struct dirent *entry)
{
	return strncmp(entry->d_name, "hugepages-", strlen("hugepages-")) == 0;
}

static int show(const char *root)
{
	char *folder = format_text("%s/sys/kernel/mm/hugepages", root);
	struct dirent **entries;
	const int n = scandir(folder, &entries, is_pool, versionsort);

	if (n <= 0) {
		complain("this kernel has no huge page pools (%s)", folder);
		free(folder);
		return STATUS_FAILED;
	}
	printf("%-10s %-9s %10s %10s %10s %10s %10s\n", "size", "of", "pages", "free", "promised", "surplus",
	       "on demand");
	for (int i = 0; i < n; i++) {
		struct pool p = { .root = root, .node = -1 };

		p.kib = strtoull(entries[i]->d_name + strlen("hugepages-"), NULL, 10);
		snprintf(p.size, sizeof(p.size), "%s", ash_size_text(p.kib << 10).text);
		print_row(&p);
		for (p.node = 0; p.node < ASH_NODES_MAX; p.node++)
			if (read_number(&p, "nr_hugepages") >= 0)
				print_row(&p);
		free(entries[i]);
	}
	free(entries);
	free(folder);
	return STATUS_OK;
}

/* KiB that the machine could give to anyone, or -1. */
static long long available_kib(const char *root)
{
	char *path = format_text("%s/proc/meminfo", root), text[8192];
	const char *line = read_small_file(path, text, sizeof(text)) < 0 ? NULL : strstr(text, "MemAvailable:");

	free(path);
	return line == NULL ? -1 : strtoll(line + strlen("MemAvailable:"), NULL, 10);
}

static void compact_memory(const char *root)
{
	char *path = format_text("%s/proc/sys/vm/compact_memory", root);

	(void)write_text(path, "1\n");
	free(path);
}

/* What the pool has after it was asked to have so many; memory is compacted once for what is missing. -1: said why. */
static long long resize(const struct pool *p, long long wanted)
{
	long long got;

	for (unsigned attempt = 0;; attempt++) {
		if (write_number(p, "nr_hugepages", wanted) != 0)
			return -1;
		got = read_number(p, "nr_hugepages");
		if (got >= wanted || attempt == 1)
			return got;
		compact_memory(p->root);
	}
}

static int set_pool(const struct pool *p, long long wanted)
{
	const long long was = read_number(p, "nr_hugepages"), available = available_kib(p->root);
	long long got;

	if (wanted > was && available >= 0 &&
	    (unsigned long long)(wanted - was) > (unsigned long long)available / p->kib) {
		complain("%lld more pages of %s are more than the machine can give: %s are available", wanted - was,
			 p->size, ash_size_text((uint64_t)available << 10).text);
		return STATUS_FAILED;
	}
	got = resize(p, wanted);
	if (got >= 0 && got < wanted) {
		complain("wanted %lld pages of %s, and the kernel could make %lld: its memory is in use or in pieces; "
			 "the pool is put back to %lld",
			 wanted, p->size, got, was);
		(void)write_number(p, "nr_hugepages", was);
		return STATUS_FAILED;
	}
	if (got < 0)
		return STATUS_FAILED;
	printf("%s: %lld pages (%lld before), %lld free\n", p->size, got, was, read_number(p, "free_hugepages"));
	if (got > wanted)
		printf("programs hold %lld of those that are to go; they go as they are let go\n", got - wanted);
	return STATUS_OK;
}

static int set_on_demand(const struct pool *p, long long wanted)
{
	if (write_number(p, "nr_overcommit_hugepages", wanted) != 0)
		return STATUS_FAILED;
	printf("%s: %lld pages on demand\n", p->size, read_number(p, "nr_overcommit_hugepages"));
	return STATUS_OK;
}

static int demote(const struct pool *p, long long count)
{
	const long long was = read_number(p, "nr_hugepages"), unused = read_number(p, "free_hugepages");
	long long now;

	if (count > unused) {
		complain("%lld pages of %s are to be split and %lld are free", count, p->size, unused < 0 ? 0 : unused);
		return STATUS_FAILED;
	}
	if (write_number(p, "demote", count) != 0)
		return STATUS_FAILED;
	now = read_number(p, "nr_hugepages");
	printf("%s: %lld pages (%lld before)\n", p->size, now, was);
	return was - now == count ? STATUS_OK : STATUS_FAILED;
}

/* A count, with its sign told apart: '+', '-' or 0. */
static long long parse_count(const char *text, char *sign)
{
	const char *digits = text + (*text == '+' || *text == '-');
	char *end;
	long long n;

	*sign = digits != text ? *text : '\0';
	errno = 0;
	n = strtoll(digits, &end, 10);
	if (*digits < '0' || *digits > '9' || *end != '\0' || errno != 0)
		usage_error("pool", "\"%s\" is not a number of pages", text);
	return n;
}

static long parse_node(const char *text)
{
	char *end;
	const unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || n >= ASH_NODES_MAX)
		usage_error("pool", "\"%s\" is not a node", text);
	return (long)n;
}

static void parse_size(struct pool *p, const char *text)
{
	static const char letters[] = "KMG";
	char *end;
	const unsigned long long n = strtoull(text, &end, 10);
	const char *letter = *end != '\0' ? strchr(letters, *end) : NULL;

	if (*text < '0' || *text > '9' || n == 0 || n > 1ull << 20 || letter == NULL || end[1] != '\0')
		usage_error("pool", "\"%s\" is not a size, such as 2M or 1G", text);
	p->kib = n << 10 * (letter - letters);
	snprintf(p->size, sizeof(p->size), "%s", ash_size_text(p->kib << 10).text);
	if (read_number(p, "nr_hugepages") < 0)
		usage_error("pool", p->node < 0 ? "this machine has no pool of pages of %s" :
						  "that node has no pool of pages of %s", p->size);
}

struct request {
	struct pool pool;
	int what; /* 0, OPT_ON_DEMAND or OPT_DEMOTE */
};

static void parse_options(struct request *r, int argc, char **argv)
{
	int c;

	/* A count may begin with a minus, so options end at the size. */
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_NODE:
			r->pool.node = parse_node(optarg);
			break;
		case OPT_ROOT:
			r->pool.root = optarg;
			break;
		case OPT_ON_DEMAND:
		case OPT_DEMOTE:
			if (r->what != 0 && r->what != c)
				usage_error("pool", "--on-demand and --demote are two things");
			r->what = c;
			break;
		case OPT_HELP:
			fputs(help_text, stdout);
			exit(STATUS_OK);
		case ':':
			usage_error("pool", "option %s needs a value", argv[optind - 1]);
		default:
			unknown_option("pool", argv);
		}
	}
}

int cmd_pool(int argc, char **argv)
{
	struct request r = { .pool = { .root = "", .node = -1 } };
	long long count;
	char sign;

	parse_options(&r, argc, argv);
	if (optind == argc && r.what == 0 && r.pool.node < 0)
		return show(r.pool.root);
	if (optind != argc - 2)
		usage_error("pool", "a size and a number of pages are needed");
	parse_size(&r.pool, argv[optind]);
	count = parse_count(argv[optind + 1], &sign);
	if (sign != '\0' && r.what != 0)
		usage_error("pool", "\"%s\": only the pool itself can grow or shrink by a number", argv[optind + 1]);
	if (r.what == OPT_ON_DEMAND && r.pool.node >= 0)
		usage_error("pool", "pages on demand are the machine's, not a node's");
	if (r.what == OPT_ON_DEMAND)
		return set_on_demand(&r.pool, count);
	if (r.what == OPT_DEMOTE)
		return demote(&r.pool, count);
	if (sign == '+')
		count += read_number(&r.pool, "nr_hugepages");
	else if (sign == '-')
		count = read_number(&r.pool, "nr_hugepages") - count;
	return set_pool(&r.pool, count > 0 ? count : 0);
}
