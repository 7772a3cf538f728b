/* SPDX-License-Identifier: MIT */
/*
 * What the sanitizers must see: one planted mistake per argument. tests/sanitize.sh runs each under the sanitizer that
 * is there to catch it, so that a build whose sanitizer does nothing does not pass.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shared;

static void *race(void *arg)
{
	for (int i = 0; i < 100000; i++)
		shared++;
	return arg;
}

static int planted_race(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, race, NULL) != 0)
		return 2;
	race(NULL);
	pthread_join(thread, NULL);
	return shared == 0;
}

static int planted_overflow(volatile size_t n)
{
	char *p = malloc(n);
	char c;

	if (p == NULL)
		return 2;
	memset(p, 1, n);
	c = p[n];
	free(p);
	return c == 100;
}

static int planted_undefined(volatile int shift)
{
	return (1 << shift) == 12345;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "race") == 0)
		return planted_race();
	if (strcmp(what, "overflow") == 0)
		return planted_overflow(10);
	if (strcmp(what, "undefined") == 0)
		return planted_undefined(40);
	fprintf(stderr, "usage: planted race|overflow|undefined\n");
	return 2;
}
