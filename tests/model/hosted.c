/* SPDX-License-Identifier: MIT */
/* Running, shrinking and printing lists of operations in a hosted program. */
#include "model/hosted.h"

#include "model/engine.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* One world runs at a time: the core's bug report says which model, this says where to return to. */
static jmp_buf bug_return;
static char bug_text[160];
static ash_pfn_t bug_pfn;
static unsigned long bug_a, bug_b;

static void on_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b)
{
	(void)z;
	snprintf(bug_text, sizeof(bug_text), "the core reports a bug: %s", what);
	bug_pfn = pfn;
	bug_a = a;
	bug_b = b;
	longjmp(bug_return, 1);
}

void hosted_open(struct hosted_world *w, const struct model_config *config)
{
	static const struct ash_zone_ops ops = { .bug = on_bug };

	memset(w, 0, sizeof(*w));
	w->config = *config;
	w->config.ops = &ops;
	w->size = ash_align_up(model_size(config), 64);
	w->mem = aligned_alloc(64, w->size);
	if (w->mem == NULL)
		abort();
}

void hosted_close(struct hosted_world *w)
{
	free(w->mem);
	memset(w, 0, sizeof(*w));
}

bool hosted_reset(struct hosted_world *w)
{
	if (setjmp(bug_return) != 0)
		return false;
	w->m = model_init(w->mem, &w->config);
	return w->m != NULL;
}

static bool bug_caught(struct model *m)
{
	return model_fail(m, bug_text, bug_pfn, bug_a, bug_b);
}

bool hosted_step(struct hosted_world *w, const struct model_op *op)
{
	if (setjmp(bug_return) != 0)
		return bug_caught(w->m);
	return model_step(w->m, op);
}

bool hosted_finish(struct hosted_world *w)
{
	if (setjmp(bug_return) != 0)
		return bug_caught(w->m);
	return model_finish(w->m);
}

bool hosted_run(struct hosted_world *w, const struct model_op *ops, size_t n)
{
	if (!hosted_reset(w))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!hosted_step(w, &ops[i]))
			return false;
	}
	return hosted_finish(w);
}

size_t hosted_shrink(struct hosted_world *w, struct model_op *ops, size_t n)
{
	struct model_op *trial = malloc(n * sizeof(*ops));

	for (size_t cut = n / 2; cut > 0 && trial != NULL; cut = cut > 1 && cut * 8 > n ? cut / 2 : cut - 1) {
		bool removed = true;

		while (removed) {
			removed = false;
			for (size_t at = 0; at + cut <= n;) {
				memcpy(trial, ops, at * sizeof(*ops));
				memcpy(trial + at, ops + at + cut, (n - at - cut) * sizeof(*ops));
				if (!hosted_run(w, trial, n - cut)) {
					n -= cut;
					memcpy(ops, trial, n * sizeof(*ops));
					removed = true;
				} else {
					at += cut;
				}
			}
		}
	}
	free(trial);
	(void)hosted_run(w, ops, n);
	return n;
}

static const char *const code_names[MODEL_NR_CODES] = {
	[MODEL_ALLOC] = "MODEL_ALLOC",
	[MODEL_ALLOC_RUN] = "MODEL_ALLOC_RUN",
	[MODEL_FREE] = "MODEL_FREE",
	[MODEL_FREE_PART] = "MODEL_FREE_PART",
	[MODEL_EXTEND] = "MODEL_EXTEND",
	[MODEL_REPORT_BEGIN] = "MODEL_REPORT_BEGIN",
	[MODEL_REPORT_END] = "MODEL_REPORT_END",
	[MODEL_DRAIN] = "MODEL_DRAIN",
	[MODEL_ONLINE] = "MODEL_ONLINE",
	[MODEL_ISOLATE] = "MODEL_ISOLATE",
	[MODEL_UNISOLATE] = "MODEL_UNISOLATE",
	[MODEL_TEST_RANGE] = "MODEL_TEST_RANGE",
	[MODEL_CONTIG] = "MODEL_CONTIG",
	[MODEL_CONTIG_FIND] = "MODEL_CONTIG_FIND",
	[MODEL_FREE_TAIL] = "MODEL_FREE_TAIL",
	[MODEL_FREE_TRYLOCK] = "MODEL_FREE_TRYLOCK",
	[MODEL_GO_OFFLINE] = "MODEL_GO_OFFLINE",
	[MODEL_COMPACT] = "MODEL_COMPACT",
	[MODEL_ALLOC_COMPACT] = "MODEL_ALLOC_COMPACT",
	[MODEL_PCP_OFF] = "MODEL_PCP_OFF",
	[MODEL_PCP_ON] = "MODEL_PCP_ON",
	[MODEL_PIN] = "MODEL_PIN",
};

static void print_op(const struct model_op *op)
{
	printf("#	{ %s, %u, %u, %u, %u, %u, %u },\n", code_names[op->code], op->order, op->mt, op->flags, op->cpu,
		       op->a,
	       op->b);
}

void hosted_print_error(const struct model *m)
{
	const struct model_error *e = &m->error;

	if (e->invariant != 0)
		printf("# invariant I%d:\n", e->invariant);
	printf("# step %llu: %s (pfn %lu, %lu, %lu) in\n", (unsigned long long)e->step, e->what, (unsigned long)e->pfn,
	       e->a, e->b);
	print_op(&e->op);
}

void hosted_print_ops(const struct hosted_world *w, const struct model_op *ops, size_t n)
{
	const struct model_config *c = &w->config;

	printf("# geometry (%u,%u), %u frames, online [%u, +%u) %s, %u cpus, %zu operations:\n",
	       c->geometry.pageblock_order, c->geometry.max_order, c->nr_frames, c->online_start, c->online_nr,
	       c->zeroed ? "zeroed" : "dirty", c->nr_cpus, n);
	for (size_t i = 0; i < n; i++)
		print_op(&ops[i]);
}

bool hosted_long(void)
{
	return getenv("ASH_TEST_LONG") != NULL;
}

double hosted_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

const struct ash_lock_ops hosted_lock_ops = { futex_wait, futex_wake };
