/* SPDX-License-Identifier: MIT */
/*
 * Boot and exit of the process.
 *
 * Programs close standard error before the library's last destructor runs (GNU coreutils do, in an atexit handler), so
 * a report that goes there needs a descriptor of its own, made at boot and recognised at exit by device and inode: a
 * program that closes descriptors it does not know may since have opened something else under that number.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ctl/stats.h"
#include "os/clock.h"
#include "os/env.h"
#include "os/sys.h"

/* The duplicate of standard error stays out of the way of programs that count on low numbers. */
#define REPORT_FD_MIN 200

enum { UNREAD, READING, READ };

static struct {
	_Atomic int state;
	struct ash_options options;
	uint64_t boot_ms;
	int report_fd; /* -1: none */
	dev_t report_dev;
	ino_t report_ino;
} ctl = { .report_fd = -1 };

static void check_variable(void *arg, const char *entry)
{
	const char *equals = strchr(entry, '=');

	if (equals != NULL)
		ash_options_check_variable(entry, (size_t)(equals - entry), arg);
}

static bool fd_is(int fd, dev_t dev, ino_t ino)
{
	struct stat st;

	return ash_sys(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) == 0 && st.st_dev == dev && st.st_ino == ino;
}

static void keep_stderr(void)
{
	struct stat st;
	long fd;

	if (ctl.options.report != ASH_REPORT_EXIT || ctl.options.report_file[0] != '\0')
		return;
	if (ash_sys(SYS_fstat, 2, (long)&st, 0, 0, 0, 0) != 0)
		return;
	fd = ash_sys(SYS_fcntl, 2, F_DUPFD_CLOEXEC, REPORT_FD_MIN, 0, 0, 0);
	ctl.report_fd = fd < 0 ? -1 : (int)fd;
	ctl.report_dev = st.st_dev;
	ctl.report_ino = st.st_ino;
}

static void read_options(void)
{
	struct ash_writer diag;

	ash_writer_init_fd(&diag, 2);
	ash_options_load(&ctl.options, ash_env_get, ash_env_secure(), &diag);
	if (!ash_env_secure())
		ash_env_each(check_variable, &diag);
	/* Complaints that nobody can read are lost; the program goes on. */
	(void)!ash_writer_finish(&diag);
	ctl.boot_ms = ash_clock_ms();
	keep_stderr();
}

int ash_ctl_boot(void)
{
	int expected = UNREAD;

	/* Release: pairs with the acquires here and in ash_ctl_options(). */
	if (atomic_compare_exchange_strong_explicit(&ctl.state, &expected, READING, memory_order_acquire,
						    memory_order_acquire)) {
		read_options();
		atomic_store_explicit(&ctl.state, READ, memory_order_release);
	}
	while (atomic_load_explicit(&ctl.state, memory_order_acquire) != READ)
		ash_sys(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	return ash_arena_init(&ctl.options.arena);
}

void ash_ctl_options(struct ash_options *out)
{
	if (atomic_load_explicit(&ctl.state, memory_order_acquire) == READ)
		*out = ctl.options;
	else
		ash_options_default(out);
}

uint64_t ash_ctl_boot_ms(void)
{
	return ctl.boot_ms;
}

/* The name of the report's file with %p made the process id; false when it does not fit. */
static bool report_path(char path[ASH_REPORT_FILE_MAX], const char *name)
{
	struct ash_memory_sink memory = { .buffer = path, .size = ASH_REPORT_FILE_MAX };
	struct ash_writer w;

	ash_writer_init_memory(&w, &memory);
	for (; *name != '\0'; name++) {
		if (name[0] == '%' && name[1] == 'p') {
			ash_write(&w, "%ld", ash_sys(SYS_getpid, 0, 0, 0, 0, 0, 0));
			name++;
		} else {
			ash_write_bytes(&w, name, 1);
		}
	}
	return ash_writer_finish(&w) == 0;
}

static void complain_file(const char *path, int err)
{
	struct ash_writer w;

	ash_writer_init_fd(&w, 2);
	ash_write(&w, "ashlar: cannot write the report to ");
	ash_write_clean(&w, path, strlen(path), ASH_REPORT_FILE_MAX);
	ash_write(&w, " (errno %d)\n", -err);
	(void)!ash_writer_finish(&w);
}

static int open_report(void)
{
	char path[ASH_REPORT_FILE_MAX];
	long fd = -ENAMETOOLONG;

	if (report_path(path, ctl.options.report_file))
		fd = ash_sys(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
			     0666, 0, 0);
	if (fd < 0)
		complain_file(ctl.options.report_file, (int)fd);
	return (int)fd;
}

/*
 * A reader that has gone away must not turn the end of a program into death by SIGPIPE: the signal is blocked while
 * the report is written, and one that our own write raised is taken off again.
 */
static void write_without_sigpipe(int fd)
{
	const uint64_t pipe_bit = (uint64_t)1 << (SIGPIPE - 1);
	const struct timespec no_wait = { 0 };
	struct ash_writer w;
	uint64_t old = 0, pending = 0;

	ash_sys(SYS_rt_sigprocmask, SIG_BLOCK, (long)&pipe_bit, (long)&old, sizeof(old), 0, 0);
	ash_sys(SYS_rt_sigpending, (long)&pending, sizeof(pending), 0, 0, 0, 0);
	ash_writer_init_fd(&w, fd);
	if (ash_stats_write(&w, ctl.options.report_format) == -EPIPE && (pending & pipe_bit) == 0)
		ash_sys(SYS_rt_sigtimedwait, (long)&pipe_bit, 0, (long)&no_wait, sizeof(pipe_bit), 0, 0);
	ash_sys(SYS_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, sizeof(old), 0, 0);
}

void ash_ctl_exit(void)
{
	int fd;

	if (atomic_load_explicit(&ctl.state, memory_order_acquire) != READ || ctl.options.report != ASH_REPORT_EXIT)
		return;
	if (ctl.options.report_file[0] != '\0') {
		fd = open_report();
		if (fd < 0)
			return;
		write_without_sigpipe(fd);
		ash_sys(SYS_close, fd, 0, 0, 0, 0, 0);
	} else if (ctl.report_fd >= 0 && fd_is(ctl.report_fd, ctl.report_dev, ctl.report_ino)) {
		write_without_sigpipe(ctl.report_fd);
	} else if (fd_is(2, ctl.report_dev, ctl.report_ino)) {
		write_without_sigpipe(2);
	}
}
