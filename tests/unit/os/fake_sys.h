/* SPDX-License-Identifier: MIT */
/*
 * A kernel that can be told what to do: fails chosen system calls, serves files that do not exist, turns the clock.
 * Whatever it is not told about goes to the real kernel. One thread at a time.
 */
#ifndef ASH_TESTS_UNIT_OS_FAKE_SYS_H
#define ASH_TESTS_UNIT_OS_FAKE_SYS_H

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "os/sys.h"

enum { FAKE_RULES = 8, FAKE_FILES = 32, FAKE_FD = 1000000, FAKE_NR_MAX = 1024 };

struct fake_rule {
	long nr;
	bool (*match)(long nr, long a, long b, long c, long d); /* NULL: all calls of this number */
	unsigned skip, times; /* let this many pass, then fail this many */
	long ret;
};

static struct {
	struct fake_rule rules[FAKE_RULES];
	unsigned nr_rules;
	struct {
		const char *path, *text;
	} files[FAKE_FILES];
	unsigned nr_files;
	size_t offset;          /* of the one fake file that can be open */
	bool files_only;        /* files not listed do not exist */
	uint64_t now_ms;        /* 0: the real clock */
	unsigned calls[FAKE_NR_MAX];
	unsigned total;
	char log[4096];         /* what went to standard error, when capture is on */
	size_t log_len;
	bool capture;
	/* A larger fake in front: true when it has answered. */
	bool (*front)(long nr, long a, long b, long c, long d, long e, long *ret);
} fake;

static long fake_open(const char *path, bool *mine)
{
	for (unsigned i = 0; i < fake.nr_files; i++) {
		if (strcmp(fake.files[i].path, path) == 0) {
			*mine = true;
			fake.offset = 0;
			return FAKE_FD + (long)i;
		}
	}
	*mine = fake.files_only;
	return -ENOENT;
}

static long fake_read(long fd, char *buf, size_t size)
{
	const char *text = fake.files[fd - FAKE_FD].text + fake.offset;
	size_t n = strlen(text) < size ? strlen(text) : size;

	memcpy(buf, text, n);
	fake.offset += n;
	return (long)n;
}

static bool fake_rule_hit(long nr, long a, long b, long c, long d, long *ret)
{
	for (unsigned i = 0; i < fake.nr_rules; i++) {
		struct fake_rule *r = &fake.rules[i];

		if (r->nr != nr || (r->match != NULL && !r->match(nr, a, b, c, d)) || r->times == 0)
			continue;
		if (r->skip > 0) {
			r->skip--;
			continue;
		}
		r->times--;
		*ret = r->ret;
		return true;
	}
	return false;
}

static long fake_call(long nr, long a, long b, long c, long d, long e, long f)
{
	bool mine = false;
	long ret = 0;

	fake.total++;
	if (nr < FAKE_NR_MAX)
		fake.calls[nr]++;
	if (fake_rule_hit(nr, a, b, c, d, &ret))
		return ret;
	if (fake.front != NULL && fake.front(nr, a, b, c, d, e, &ret))
		return ret;
	if (nr == __NR_openat) {
		ret = fake_open((const char *)b, &mine);
		if (mine)
			return ret;
	}
	if ((nr == __NR_read || nr == __NR_close) && a >= FAKE_FD)
		return nr == __NR_close ? 0 : fake_read(a, (char *)b, (size_t)c);
	if (nr == __NR_write && a == 2 && fake.capture) {
		size_t n = (size_t)c < sizeof(fake.log) - 1 - fake.log_len ? (size_t)c
									   : sizeof(fake.log) - 1 - fake.log_len;

		memcpy(fake.log + fake.log_len, (const char *)b, n);
		fake.log_len += n;
		fake.log[fake.log_len] = '\0';
		return c;
	}
	return ash_sys_kernel(nr, a, b, c, d, e, f);
}

static uint64_t fake_now(void)
{
	return fake.now_ms;
}

static struct ash_sys_ops fake_ops = { .call = fake_call };

static inline void fake_on(void)
{
	memset(&fake, 0, sizeof(fake));
	fake_ops.now_ms = NULL;
	ash_sys_hook = &fake_ops;
}

static inline void fake_off(void)
{
	ash_sys_hook = NULL;
}

static inline void fake_clock(uint64_t ms)
{
	fake.now_ms = ms;
	fake_ops.now_ms = fake_now;
}

static inline void fake_file(const char *path, const char *text)
{
	fake.files[fake.nr_files].path = path;
	fake.files[fake.nr_files++].text = text;
}

/* times UINT_MAX: always. */
static inline void fake_fail(long nr, bool (*match)(long, long, long, long, long), unsigned skip, unsigned times,
			     long ret)
{
	fake.rules[fake.nr_rules++] = (struct fake_rule){ nr, match, skip, times, ret };
}

#endif
