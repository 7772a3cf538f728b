/* SPDX-License-Identifier: MIT */
/* Reading small kernel files; see file.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "os/file.h"
#include "os/sys.h"
#include "os/text.h"

static long file_open(const char *path)
{
	return ash_sys(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

static long fd_read(long fd, char *buf, size_t size)
{
	long n;

	do
		n = ash_sys(__NR_read, fd, (long)buf, (long)size, 0, 0, 0);
	while (n == -EINTR);
	return n;
}

static void fd_close(long fd)
{
	(void)ash_sys(__NR_close, fd, 0, 0, 0, 0, 0);
}

long ash_file_read(const char *path, char *buf, size_t size)
{
	long fd = file_open(path);
	size_t len = 0;
	long n = 0;

	if (fd < 0)
		return fd;
	while (len < size - 1 && (n = fd_read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	fd_close(fd);
	buf[len] = '\0';
	return n < 0 ? n : (long)len;
}

int ash_file_num(const char *path, uint64_t *out)
{
	char buf[64];
	const char *s = buf;
	long n = ash_file_read(path, buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	if (ash_after_prefix(buf, "max") != NULL) {
		*out = UINT64_MAX;
		return 0;
	}
	return ash_parse_num(&s, 10, out) ? 0 : -EINVAL;
}

struct line_cutter {
	char line[512];
	size_t len;
	int (*each)(void *arg, const char *text);
	void *arg;
};

static int cut_lines(struct line_cutter *c, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int ret;

		if (buf[i] != '\n') {
			if (c->len < sizeof(c->line) - 1)
				c->line[c->len++] = buf[i];
			continue;
		}
		c->line[c->len] = '\0';
		c->len = 0;
		ret = c->each(c->arg, c->line);
		if (ret != 0)
			return ret;
	}
	return 0;
}

int ash_file_lines(const char *path, int (*line)(void *arg, const char *text), void *arg)
{
	struct line_cutter cutter = { .len = 0, .each = line, .arg = arg };
	long fd = file_open(path);
	char buf[4096];
	long n = 0;
	int ret = 0;

	if (fd < 0)
		return (int)fd;
	while (ret == 0 && (n = fd_read(fd, buf, sizeof(buf))) > 0)
		ret = cut_lines(&cutter, buf, (size_t)n);
	if (ret == 0 && n == 0 && cutter.len > 0)
		ret = cut_lines(&cutter, "\n", 1);
	fd_close(fd);
	return n < 0 ? (int)n : ret;
}
