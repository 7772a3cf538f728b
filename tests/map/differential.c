/* SPDX-License-Identifier: MIT */
/*
 * The same random mapping calls in two processes, one of them with served mappings: every answer, every byte looked at
 * and every right has to be the same.
 *
 * usage: differential PRELOAD STEPS [SEED [SEQUENCE]]     STEPS in all, or those of one sequence; ASHLAR_CONF, or
 * map:on
 *        differential child SEED FIRST END LEAVE_OUT      what it runs twice
 *
 * The first difference ends it. The sequence is run again with ever fewer of its steps, and what is left is printed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map/calls.h"

enum { BEFORE = 2 }; /* sequences run before the one in question: what is warm comes from them */

struct side {
	FILE *from;
	pid_t pid;
};

static const char *self, *preload;
static int report = -1; /* what the served process says of itself at its end, where it does */
static uint64_t seed;

static void put(const struct calls_record *record)
{
	if (fwrite(record, sizeof(*record), 1, stdout) != 1)
		exit(1);
}

static int child(char **argv)
{
	static char buffer[1 << 16];
	void *volatile first_block;
	const uint64_t leave_out = strtoull(argv[3], NULL, 0);
	const uint32_t end = (uint32_t)strtoul(argv[2], NULL, 0);

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	/* An allocator that reads its options at the first call has read them, if the compiler leaves that call in. */
	first_block = malloc(1);
	free(first_block);
	for (uint32_t i = (uint32_t)strtoul(argv[1], NULL, 0); i < end; i++)
		calls_run(strtoull(argv[0], NULL, 0), i, i == end - 1 ? leave_out : 0, put);
	return fflush(stdout) == 0 ? 0 : 1;
}

static struct side start(bool served, uint32_t first, uint32_t end, uint64_t leave_out)
{
	const char *given = getenv("ASHLAR_CONF");
	char text[4][32], options[256];
	struct side s;
	int fd[2];

	(void)snprintf(text[0], 32, "%" PRIu64, seed);
	(void)snprintf(text[1], 32, "%" PRIu32, first);
	(void)snprintf(text[2], 32, "%" PRIu32, end);
	(void)snprintf(text[3], 32, "0x%" PRIx64, leave_out);
	if (pipe2(fd, O_CLOEXEC) < 0)
		exit(2);
	s.pid = fork();
	if (s.pid == 0) {
		dup2(fd[1], 1);
		if (served) {
			(void)snprintf(options, sizeof(options), "%s,report:exit,report_file:/proc/self/fd/%d",
				       given != NULL ? given : "map:on", report);
			setenv("LD_PRELOAD", preload, 1);
			setenv("ASHLAR_CONF", options, 1);
		}
		execl(self, self, "child", text[0], text[1], text[2], text[3], NULL);
		_exit(127);
	}
	close(fd[1]);
	s.from = fdopen(fd[0], "r");
	return s;
}

static int stop(struct side *s, bool early)
{
	int status = 0;

	if (early)
		kill(s->pid, SIGKILL);
	(void)fclose(s->from);
	(void)waitpid(s->pid, &status, 0);
	return early ? 0 : status;
}

static bool same(const struct calls_record *a, const struct calls_record *b)
{
	return a->sequence == b->sequence && a->step == b->step && a->ret == b->ret && a->error == b->error &&
	       a->content == b->content && a->access == b->access && strcmp(a->what, b->what) == 0;
}

/*
 * A comparison of the kernel with itself proves nothing. Where the kernel cannot move pages, the report says that they
 * are asked for and not served; a preload that is not ours, as those at fault, says nothing.
 */
static bool nothing_was_served(void)
{
	static char text[1 << 14];
	const ssize_t bytes = pread(report, text, sizeof(text) - 1, 0);

	return bytes > 0 && strstr(text, "and not served") == NULL &&
	       (strstr(text, " served, ") == NULL || strstr(text, " 0 served, ") != NULL);
}

/* Records that were the same, or -1 with the first two that were not: [0] without us, [1] with. */
static long compare(uint32_t first, uint32_t end, uint64_t leave_out, struct calls_record differ[2])
{
	struct side a = start(false, first, end, leave_out), b = start(true, first, end, leave_out);
	int status;
	long n = 0;

	for (;; n++) {
		const size_t got_a = fread(&differ[0], sizeof(differ[0]), 1, a.from);
		const size_t got_b = fread(&differ[1], sizeof(differ[1]), 1, b.from);

		if (got_a == 0 && got_b == 0)
			break;
		if (got_a == 0)
			memset(&differ[0], 0xff, sizeof(differ[0])), differ[0].what[0] = '\0';
		if (got_b == 0)
			memset(&differ[1], 0xff, sizeof(differ[1])), differ[1].what[0] = '\0';
		if (got_a != got_b || !same(&differ[0], &differ[1])) {
			stop(&a, true);
			stop(&b, true);
			return -1;
		}
	}
	status = stop(&a, false) | stop(&b, false);
	if (status != 0)
		printf("a process ended with status 0x%x after %ld steps\n", status, n);
	if (status == 0 && n > 0 && nothing_was_served()) {
		printf("nothing was served\n");
		return -2;
	}
	return status != 0 ? -2 : n;
}

static void print(const char *who, const struct calls_record *r)
{
	printf("  %s: %s = %" PRId64 ", errno %d, content %08x, rights %08x\n", who, r->what, r->ret, r->error,
	       r->content, r->access);
}

static void print_steps(uint32_t sequence, uint64_t leave_out)
{
	struct side s = start(false, sequence, sequence + 1, leave_out);
	struct calls_record r;

	while (fread(&r, sizeof(r), 1, s.from) == 1) {
		if (((leave_out >> r.step) & 1) == 0)
			printf("  %2" PRIu32 ": %s = %" PRId64 " (%d)\n", r.step, r.what, r.ret, r.error);
	}
	stop(&s, false);
}

static uint32_t sequence_of(const struct calls_record differ[2])
{
	return differ[differ[0].sequence == UINT32_MAX].sequence;
}

/*
 * Whether the same calls from the same start differ there again. What is wrong with a call, or with memory that is warm
 * from earlier ones, does; what the machine did once (memory that had run out, a process that was killed) does not, and
 * is told and passed over, once.
 */
static bool comes_again(uint32_t first, const struct calls_record differ[2])
{
	struct calls_record again[2];
	const uint32_t sequence = sequence_of(differ);

	printf("seed %" PRIu64 ", sequence %" PRIu32 " differs:\n", seed, sequence);
	print("without", &differ[0]);
	print("with", &differ[1]);
	return compare(first, sequence + 1, 0, again) == -1;
}

static void explain(struct calls_record differ[2])
{
	const uint32_t sequence = sequence_of(differ);
	const uint32_t last = differ[differ[0].sequence == UINT32_MAX].step;
	const uint32_t first = sequence > BEFORE ? sequence - BEFORE : 0;
	uint64_t leave_out = 0;

	printf("seed %" PRIu64 ", sequence %" PRIu32 ", step %" PRIu32 ":\n", seed, sequence, last);
	print("without", &differ[0]);
	print("with", &differ[1]);
	if (compare(first, sequence + 1, 0, differ) != -1) {
		printf("not seen again when only the %d sequences before it are run\n", BEFORE);
		return;
	}
	for (uint32_t i = 0; i < CALLS_STEPS; i++) {
		if (compare(first, sequence + 1, leave_out | (uint64_t)1 << i, differ) == -1)
			leave_out |= (uint64_t)1 << i;
	}
	(void)compare(first, sequence + 1, leave_out, differ);
	printf("the least that differs, leaving out 0x%" PRIx64 ":\n", leave_out);
	print_steps(sequence, leave_out);
	print("without", &differ[0]);
	print("with", &differ[1]);
}

int main(int argc, char **argv)
{
	struct calls_record differ[2];
	uint32_t first = 0, end;
	long n;

	self = argv[0];
	if (argc == 6 && strcmp(argv[1], "child") == 0)
		return child(argv + 2);
	if (argc < 3)
		return 2;
	preload = argv[1];
	end = (uint32_t)((strtoul(argv[2], NULL, 0) + CALLS_STEPS - 1) / CALLS_STEPS);
	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	if (argc > 4) {
		end = (uint32_t)strtoul(argv[4], NULL, 0) + 1;
		first = end > BEFORE ? end - 1 - BEFORE : 0;
	}
	report = (int)syscall(SYS_memfd_create, "report", 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %" PRIu64 "\n", seed);
	n = compare(first, end, 0, differ);
	if (n == -1 && !comes_again(first, differ)) {
		printf("that did not come again: on with the next sequence\n");
		first = sequence_of(differ) + 1;
		n = compare(first, end, 0, differ);
		if (n == -1)
			printf("and another\n");
	}
	if (n == -1)
		explain(differ);
	if (n < 0)
		return 1;
	printf("%ld steps, no difference\n", n);
	return 0;
}
