/* SPDX-License-Identifier: MIT */
/*
 * ashlar doctor: what this machine's set-up allows, and the line that mends what it does not. It reads and never
 * writes.
 */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ashlar.h"
#include "ctl/writer.h"
#include "measure.h"

void finding(struct doctor *d, enum severity severity, const char *format, ...)
{
	static const char *const marks[] = { "ok      ", "note    ", "problem " };
	va_list args;

	d->count[severity]++;
	fputs(marks[severity], stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void fix(const char *format, ...)
{
	va_list args;

	fputs("   fix: ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

long long doctor_number(const struct doctor *d, const char *format, ...)
{
	char path[PATH_MAX], text[64], *end;
	const size_t n = (size_t)snprintf(path, sizeof(path), "%s", d->root);
	long long value;
	va_list args;

	va_start(args, format);
	vsnprintf(path + n, sizeof(path) - n, format, args);
	va_end(args);
	if (read_small_file(path, text, sizeof(text)) < 0)
		return -1;
	if (strcmp(text, "max") == 0)
		return -2;
	errno = 0;
	value = strtoll(text, &end, 10);
	return end == text || errno != 0 || value < 0 ? -1 : value;
}

static void check_kernel(struct doctor *d)
{
	char *path = format_text("%s/proc/sys/kernel/osrelease", d->root), release[128];
	const long page = sysconf(_SC_PAGESIZE);

	if (read_small_file(path, release, sizeof(release)) < 0)
		finding(d, FINDING_PROBLEM, "%s: %s; is /proc mounted?", path, strerror(errno));
	else if (page != 4096)
		finding(d, FINDING_PROBLEM, "kernel %s with base pages of %ld bytes; ashlar needs 4096", release, page);
	else
		finding(d, FINDING_OK, "kernel %s, base pages of 4 KiB", release);
	free(path);
}

static void check_thp(struct doctor *d)
{
	static const char fix_line[] = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";

	switch (thp_mode(d->root)) {
	case THP_ALWAYS:
		finding(d, FINDING_OK, "transparent huge pages: always");
		break;
	case THP_MADVISE:
		finding(d, FINDING_OK, "transparent huge pages: for programs that ask, as ashlar does (madvise)");
		break;
	case THP_NEVER:
		finding(d, FINDING_PROBLEM, "transparent huge pages are off: without a hugetlb pool all is base pages");
		fix("%s", fix_line);
		break;
	case THP_UNKNOWN:
		finding(d, FINDING_PROBLEM, "this kernel has no transparent huge pages, or /sys is not mounted");
		break;
	}
	if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1) {
		finding(d, FINDING_PROBLEM, "transparent huge pages are off for this process and its children");
		fix("start from a service or shell without PR_SET_THP_DISABLE");
	}
}

/* Sorted names in folder that begin with prefix; the caller frees them. */
static int list(const char *folder, const char *prefix, char ***names)
{
	struct dirent **entries;
	const int n = scandir(folder, &entries, NULL, versionsort);
	int kept = 0;

	*names = need(calloc((size_t)(n > 0 ? n : 0) + 1, sizeof(**names)));
	for (int i = 0; i < n; i++) {
		if (strncmp(entries[i]->d_name, prefix, strlen(prefix)) == 0)
			(*names)[kept++] = format_text("%s", entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return kept;
}

static void free_list(char **names, int n)
{
	while (n > 0)
		free(names[--n]);
	free(names);
}

/* The pool on each node: a machine's free pages are of no use on the node that has none. */
static void print_pool_nodes(const struct doctor *d, const char *pool)
{
	char *folder = format_text("%s/sys/devices/system/node", d->root), **nodes;
	const int n = list(folder, "node", &nodes);

	for (int i = 0; i < n; i++) {
		const long long all =
			doctor_number(d, "/sys/devices/system/node/%s/hugepages/%s/nr_hugepages", nodes[i], pool);
		const long long unused =
			doctor_number(d, "/sys/devices/system/node/%s/hugepages/%s/free_hugepages", nodes[i], pool);

		if (all >= 0)
			printf("        %s: %lld pages, %lld free\n", nodes[i], all, unused);
	}
	free_list(nodes, n);
	free(folder);
}

static void check_pool(struct doctor *d, const char *pool)
{
	static const char base[] = "/sys/kernel/mm/hugepages";
	const unsigned long long kib = strtoull(pool + strlen("hugepages-"), NULL, 10);
	const struct ash_size_text size = ash_size_text(kib * 1024);
	const long long all = doctor_number(d, "%s/%s/nr_hugepages", base, pool);
	const long long unused = doctor_number(d, "%s/%s/free_hugepages", base, pool);
	const long long promised = doctor_number(d, "%s/%s/resv_hugepages", base, pool);
	const long long overcommit = doctor_number(d, "%s/%s/nr_overcommit_hugepages", base, pool);
	/* A GiB's worth as the example; pages larger than that, one. */
	const unsigned long long example = kib >= 1 << 20 ? 1 : (1 << 20) / kib;

	if (all <= 0 && overcommit <= 0) {
		finding(d, FINDING_NOTE, "hugetlb %s: no pages reserved (only --huge-pages 2M and 1G need any)",
			size.text);
		fix("echo %llu | sudo tee %s/%s/nr_hugepages", example, base, pool);
		return;
	}
	finding(d, unused - promised > 0 || overcommit > 0 ? FINDING_OK : FINDING_NOTE,
		"hugetlb %s: %lld pages, %lld free, %lld of these promised, %lld more on demand", size.text, all,
		unused, promised, overcommit > 0 ? overcommit : 0);
	print_pool_nodes(d, pool);
	if (unused - promised <= 0 && overcommit <= 0)
		fix("echo %llu | sudo tee %s/%s/nr_hugepages", (unsigned long long)all + example, base, pool);
}

static void check_pools(struct doctor *d)
{
	char *folder = format_text("%s/sys/kernel/mm/hugepages", d->root), **pools;
	const int n = list(folder, "hugepages-", &pools);

	for (int i = 0; i < n; i++)
		check_pool(d, pools[i]);
	if (n == 0)
		finding(d, FINDING_NOTE, "this kernel has no hugetlb pages (%s)", folder);
	free_list(pools, n);
	free(folder);
}

/* "Mems_allowed_list:\t0-1" of this process. */
static void check_nodes(struct doctor *d)
{
	char *path = format_text("%s/proc/self/status", d->root), status[8192], **nodes;
	char *folder = format_text("%s/sys/devices/system/node", d->root), *allowed = NULL;
	const int n = list(folder, "node", &nodes);
	int with_digit = 0;

	for (int i = 0; i < n; i++)
		with_digit += nodes[i][4] >= '0' && nodes[i][4] <= '9';
	if (read_small_file(path, status, sizeof(status)) > 0) {
		allowed = strstr(status, "Mems_allowed_list:");
		if (allowed != NULL) {
			allowed += strlen("Mems_allowed_list:");
			allowed += strspn(allowed, " \t");
			allowed[strcspn(allowed, "\n")] = '\0';
		}
	}
	finding(d, FINDING_OK, "%d NUMA node%s; memory allowed from node%s %s", with_digit > 0 ? with_digit : 1,
		with_digit > 1 ? "s" : "", allowed != NULL && strpbrk(allowed, "-,") != NULL ? "s" : "",
		allowed != NULL ? allowed : "(not known)");
	free_list(nodes, n);
	free(folder);
	free(path);
}

static void check_limit(struct doctor *d, int resource, const char *what, const char *ulimit_letter)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return;
	finding(d, FINDING_NOTE, "%s is limited to %s", what, ash_size_text(limit.rlim_cur).text);
	fix("ulimit -%s unlimited", ulimit_letter);
}

static void check_limits(struct doctor *d)
{
	const long long overcommit = doctor_number(d, "/proc/sys/vm/overcommit_memory");
	struct rlimit memlock;

	check_limit(d, RLIMIT_AS, "address space (RLIMIT_AS)", "v");
	check_limit(d, RLIMIT_DATA, "private memory (RLIMIT_DATA)", "d");
	if (getrlimit(RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY)
		finding(d, FINDING_OK, "locked memory is limited to %s (matters only for pinned buffers; ulimit -l)",
			ash_size_text(memlock.rlim_cur).text);
	if (overcommit == 2) {
		finding(d, FINDING_NOTE,
			"vm.overcommit_memory is 2: memory is counted when it is mapped, so ashlar's "
			"arenas count as they grow");
		fix("sudo sysctl vm.overcommit_memory=0");
	}
}

/* Loads it for real, into this very program asked for its version. */
static void check_preload(struct doctor *d)
{
	char *why = NULL, *preload = preload_find(&why), version[] = "version", name[] = "ashlar";
	char *argv[] = { name, version, NULL };
	struct target self = { 0 };
	struct run_cost cost;

	snprintf(self.path, sizeof(self.path), "/proc/self/exe");
	if (preload == NULL) {
		finding(d, FINDING_PROBLEM, "%s", why);
	} else if (!measure_run(&self, argv, preload, NULL, false, &cost, &why)) {
		finding(d, FINDING_PROBLEM, "a program cannot be run with %s: %s", preload, why);
	} else if (cost.preload_refused || cost.status != 0) {
		finding(d, FINDING_PROBLEM, "%s cannot be preloaded (status %d)", preload, cost.status);
		fputs(cost.errors, stdout);
	} else {
		finding(d, FINDING_OK, "the preloaded library loads: %s", preload);
	}
	free(why);
	free(preload);
}

static void parse(struct doctor *d, int argc, char **argv)
{
	static const struct option long_options[] = { { "root", required_argument, NULL, 'r' },
						      { "help", no_argument, NULL, 'h' },
						      { NULL, 0, NULL, 0 } };
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		switch (c) {
		case 'r':
			d->root = optarg;
			break;
		case 'h':
			puts("Usage: ashlar doctor [--root DIR]\n\n"
			     "Says what this machine's set-up allows, with the line that mends what it does not. "
			     "Reads\n"
			     "/proc and /sys (below DIR) and changes nothing. The status is 1 when there is a "
			     "problem.");
			exit(STATUS_OK);
		case ':':
			usage_error("doctor", "option %s needs a value", argv[optind - 1]);
		default:
			unknown_option("doctor", argv);
		}
	}
	if (optind < argc)
		usage_error("doctor", "unexpected \"%s\"", argv[optind]);
	if (*d->root != '\0' && access(d->root, X_OK) != 0)
		usage_error("doctor", "--root: %s: %s", d->root, strerror(errno));
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor d = { .root = "" };

	parse(&d, argc, argv);
	check_kernel(&d);
	check_thp(&d);
	check_pools(&d);
	check_cgroups(&d);
	check_nodes(&d);
	check_limits(&d);
	check_preload(&d);
	printf("\n%u problem%s, %u note%s\n", d.count[FINDING_PROBLEM], d.count[FINDING_PROBLEM] == 1 ? "" : "s",
	       d.count[FINDING_NOTE], d.count[FINDING_NOTE] == 1 ? "" : "s");
	return d.count[FINDING_PROBLEM] > 0 ? STATUS_FAILED : STATUS_OK;
}
