/* SPDX-License-Identifier: MIT */
/* Writing to the program's descriptors; see output.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "os/output.h"
#include "os/sys.h"

/* Out of the way of programs that count on low numbers or close the few they know. */
#define KEPT_FD_MIN 200

static int write_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		const long written = ash_sys(__NR_write, fd, (long)bytes, (long)n, 0, 0, 0);

		if (written == -EINTR)
			continue;
		if (written < 0)
			return (int)written;
		bytes += written;
		n -= (size_t)written;
	}
	return 0;
}

/* SIGPIPE is blocked meanwhile, and one that our own write raised is taken off again. */
int ash_output_write(int fd, const char *bytes, size_t n)
{
	const uint64_t pipe_bit = (uint64_t)1 << (SIGPIPE - 1);
	const struct timespec no_wait = { 0 };
	uint64_t blocked = 0, pending = 0;
	int err;

	(void)ash_sys(__NR_rt_sigprocmask, SIG_BLOCK, (long)&pipe_bit, (long)&blocked, sizeof(blocked), 0, 0);
	(void)ash_sys(__NR_rt_sigpending, (long)&pending, sizeof(pending), 0, 0, 0, 0);
	err = write_all(fd, bytes, n);
	if (err == -EPIPE && (pending & pipe_bit) == 0)
		(void)ash_sys(__NR_rt_sigtimedwait, (long)&pipe_bit, 0, (long)&no_wait, sizeof(pipe_bit), 0, 0);
	(void)ash_sys(__NR_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, sizeof(blocked), 0, 0);
	return err;
}

int ash_output_open(const char *path)
{
	return (int)ash_sys(__NR_openat, AT_FDCWD, (long)path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
			    0666, 0, 0);
}

void ash_output_close(int fd)
{
	(void)ash_sys(__NR_close, fd, 0, 0, 0, 0, 0);
}

static int identify(int fd, struct ash_kept_fd *id)
{
	struct stat st;
	const int err = (int)ash_sys(__NR_fstat, fd, (long)&st, 0, 0, 0, 0);

	if (err != 0)
		return err;
	id->dev = st.st_dev;
	id->ino = st.st_ino;
	return 0;
}

int ash_output_keep(int fd, struct ash_kept_fd *kept)
{
	int err = identify(fd, kept);

	kept->fd = -1;
	kept->origin = fd;
	if (err != 0)
		return err;
	err = (int)ash_sys(__NR_fcntl, fd, F_DUPFD_CLOEXEC, KEPT_FD_MIN, 0, 0, 0);
	if (err < 0)
		return err;
	kept->fd = err;
	return 0;
}

static bool still_is(int fd, const struct ash_kept_fd *kept)
{
	struct ash_kept_fd now;

	return fd >= 0 && identify(fd, &now) == 0 && now.dev == kept->dev && now.ino == kept->ino;
}

int ash_output_kept(const struct ash_kept_fd *kept)
{
	if (still_is(kept->fd, kept))
		return kept->fd;
	return still_is(kept->origin, kept) ? kept->origin : -1;
}
