/* SPDX-License-Identifier: MIT */
/* Print a comparison: medians with their spread and ashlar's ratio to each, as a table or as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ashlar.h"
#include "compare.h"

static const struct {
	const char *title, *json;
	double scale; /* printed value = measured / scale */
	int decimals;
} metrics[METRIC_NR] = {
	[METRIC_WALL] = { "wall s", "wall_seconds", 1, 3 },
	[METRIC_USER] = { "user s", "user_seconds", 1, 3 },
	[METRIC_SYSTEM] = { "system s", "system_seconds", 1, 3 },
	[METRIC_PEAK] = { "peak MiB", "peak_bytes", 1 << 20, 1 },
	[METRIC_FAULTS] = { "page faults", "page_faults", 1, 0 },
};

struct summary {
	double median, min, max;
};

static int compare_doubles(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of at least one sample. */
static struct summary summarize(const struct contender *x, unsigned metric)
{
	double sorted[RUNS_MAX];
	struct summary s;

	memcpy(sorted, x->samples[metric], x->runs * sizeof(*sorted));
	qsort(sorted, x->runs, sizeof(*sorted), compare_doubles);
	s.min = sorted[0];
	s.max = sorted[x->runs - 1];
	s.median = (sorted[(x->runs - 1) / 2] + sorted[x->runs / 2]) / 2;
	return s;
}

static bool comparable(const struct contender *x)
{
	return x->failed == NULL && x->runs > 0;
}

/* Whose ratios are printed: ashlar's, else the last one's. NULL: nobody's. */
static const struct contender *subject_of(const struct comparison *c)
{
	const struct contender *subject = NULL;

	for (unsigned i = 0; i < c->nr; i++) {
		if (comparable(c->contenders[i]) && (subject == NULL || strcmp(subject->name, "ashlar") != 0))
			subject = c->contenders[i];
	}
	return subject;
}

static void print_medians(const struct comparison *c)
{
	printf("%-12s", "");
	for (unsigned m = 0; m < METRIC_NR; m++)
		printf(" %17s", metrics[m].title);
	putchar('\n');
	for (unsigned i = 0; i < c->nr; i++) {
		const struct contender *x = c->contenders[i];

		printf("%-12s", x->name);
		if (!comparable(x)) {
			printf(" failed: %s\n", x->failed);
			continue;
		}
		for (unsigned m = 0; m < METRIC_NR; m++) {
			const struct summary s = summarize(x, m);
			const double spread = s.median > 0 ? (s.max - s.min) / 2 / s.median * 100 : 0;

			printf(" %10.*f ±%3.0f %%", metrics[m].decimals, s.median / metrics[m].scale, spread);
		}
		putchar('\n');
	}
}

static void print_ratios(const struct comparison *c, const struct contender *subject)
{
	printf("\n%s's share of what each needs (below 1: %s needs less)\n", subject->name, subject->name);
	for (unsigned i = 0; i < c->nr; i++) {
		const struct contender *x = c->contenders[i];

		if (x == subject || !comparable(x))
			continue;
		printf("%-12s", x->name);
		for (unsigned m = 0; m < METRIC_NR; m++) {
			const double theirs = summarize(x, m).median;

			if (theirs > 0)
				printf(" %10.2f       ", summarize(subject, m).median / theirs);
			else
				printf(" %10s       ", "-");
		}
		putchar('\n');
	}
}

void compare_print_table(const struct comparison *c)
{
	const struct contender *subject = subject_of(c);

	fputs("command:", stdout);
	for (char **word = c->command; *word != NULL; word++)
		printf(" %s", *word);
	printf("\n%u run%s of each, interleaved, after one to warm up; medians ± half the range\n\n", c->runs,
	       c->runs == 1 ? "" : "s");
	print_medians(c);
	if (subject != NULL && c->nr > 1)
		print_ratios(c, subject);
	for (unsigned i = 0; i < c->nr_left_out; i++)
		printf("\nleft out: %s", c->left_out[i]);
	if (c->nr_left_out > 0)
		putchar('\n');
}

/* Bytes that are not printable ASCII as the code point of the same number: right for control characters, always JSON.
 */
static void json_string(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		const unsigned char byte = (unsigned char)*text;

		if (byte == '"' || byte == '\\')
			printf("\\%c", byte);
		else if (byte < ' ' || byte > '~')
			printf("\\u%04x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

static void json_contender(const struct contender *x)
{
	printf("{\"name\":");
	json_string(x->name);
	printf(",\"library\":");
	if (x->library != NULL)
		json_string(x->library);
	else
		printf("null");
	printf(",\"failed\":");
	if (x->failed != NULL)
		json_string(x->failed);
	else
		printf("null");
	for (unsigned m = 0; m < METRIC_NR; m++) {
		printf(",\"%s\":{", metrics[m].json);
		if (comparable(x)) {
			const struct summary s = summarize(x, m);

			printf("\"median\":%.6f,\"min\":%.6f,\"max\":%.6f,", s.median, s.min, s.max);
		}
		printf("\"samples\":[");
		for (unsigned r = 0; r < x->runs; r++)
			printf("%s%.6f", r > 0 ? "," : "", x->samples[m][r]);
		printf("]}");
	}
	putchar('}');
}

static void json_ratios(const struct comparison *c, const struct contender *subject)
{
	const char *between = "";

	printf(",\"ratios\":{\"of\":");
	json_string(subject->name);
	printf(",\"to\":{");
	for (unsigned i = 0; i < c->nr; i++) {
		const struct contender *x = c->contenders[i];

		if (x == subject || !comparable(x))
			continue;
		printf("%s", between);
		between = ",";
		json_string(x->name);
		printf(":{");
		for (unsigned m = 0; m < METRIC_NR; m++) {
			const double theirs = summarize(x, m).median;

			printf("%s\"%s\":", m > 0 ? "," : "", metrics[m].json);
			if (theirs > 0)
				printf("%.6f", summarize(subject, m).median / theirs);
			else
				printf("null");
		}
		putchar('}');
	}
	printf("}}");
}

void compare_print_json(const struct comparison *c)
{
	const struct contender *subject = subject_of(c);

	printf("{\"command\":[");
	for (char **word = c->command; *word != NULL; word++) {
		printf("%s", word == c->command ? "" : ",");
		json_string(*word);
	}
	printf("],\"runs\":%u,\"conf\":", c->runs);
	if (c->conf != NULL)
		json_string(c->conf);
	else
		printf("null");
	printf(",\"allocators\":[");
	for (unsigned i = 0; i < c->nr; i++) {
		printf("%s", i > 0 ? "," : "");
		json_contender(c->contenders[i]);
	}
	printf("],\"left_out\":[");
	for (unsigned i = 0; i < c->nr_left_out; i++) {
		printf("%s", i > 0 ? "," : "");
		json_string(c->left_out[i]);
	}
	printf("]");
	if (subject != NULL)
		json_ratios(c, subject);
	puts("}");
}
