/* SPDX-License-Identifier: MIT */
/*
 * Boot and exit of the process.
 *
 * Programs close standard error before the library's last destructor runs (GNU coreutils do, in an atexit handler), so
 * a report that goes there needs a descriptor of its own, kept from boot to exit. It is made only when such a report
 * was asked for.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "ctl/stats.h"
#include "map/map.h"
#include "os/clock.h"
#include "os/env.h"
#include "os/output.h"
#include "os/process.h"
#include "os/sync.h"

static struct {
	struct ash_lock lock; /* held once, while the options are read; they may complain, so over write(2) */
	_Atomic bool read;    /* the rest is constant */
	struct ash_options options;
	uint64_t boot_ms;
	struct ash_kept_fd report;
} ctl = { .report = { .fd = -1, .origin = -1 } };

static bool reports_at_exit(void)
{
	return ctl.options.report == ASH_REPORT_EXIT &&
	       (ctl.options.report_pid == 0 || ctl.options.report_pid == (size_t)ash_process_id());
}

static ASH_EARLY void read_options(void)
{
	struct ash_writer diag;

	ash_writer_init_fd(&diag, 2);
	ash_options_load(&ctl.options, ash_env_each, ash_env_secure(), &diag);
	/* Complaints that nobody can read are lost; the program goes on. */
	(void)!ash_writer_finish(&diag);
	ctl.boot_ms = ash_clock_ms();
	if (reports_at_exit() && ctl.options.report_file[0] == '\0')
		(void)ash_output_keep(2, &ctl.report);
}

static bool options_are_read(void)
{
	/* Acquire: pairs with the release in read_options_once(). */
	return atomic_load_explicit(&ctl.read, memory_order_acquire);
}

static ASH_EARLY void read_options_once(void)
{
	if (options_are_read())
		return;
	ash_lock(&ctl.lock, &ash_futex_ops);
	if (!options_are_read()) {
		read_options();
		atomic_store_explicit(&ctl.read, true, memory_order_release);
	}
	ash_unlock(&ctl.lock, &ash_futex_ops);
}

ASH_EARLY int ash_ctl_boot(void)
{
	int err;

	read_options_once();
	err = ash_arena_init(&ctl.options.arena);
	if (err == 0 && ctl.options.map)
		ash_map_enable(true);
	return err;
}

ASH_AT_START void ash_ctl_start(void)
{
	char prefix[] = ASH_OPTIONS_PREFIX;

	if (ASH_LIKELY(!ash_env_has_prefix(prefix)))
		return;
	read_options_once();
	/* If it fails, the first allocation tries again, and says so. */
	if (ctl.options.map)
		(void)!ash_ctl_boot();
}

void ash_ctl_fork_prepare(void)
{
	ash_lock(&ctl.lock, &ash_futex_ops);
}

void ash_ctl_fork_done(void)
{
	ash_unlock(&ctl.lock, &ash_futex_ops);
}

void ash_ctl_options(struct ash_options *out)
{
	if (options_are_read())
		*out = ctl.options;
	else
		ash_options_default(out);
}

uint64_t ash_ctl_boot_ms(void)
{
	return options_are_read() ? ctl.boot_ms : 0;
}

/* The report's file with %p made the process id: 0, or -ENAMETOOLONG. */
static int report_path(char path[ASH_REPORT_FILE_MAX], const char *name)
{
	struct ash_memory_sink memory = { .buffer = path, .size = ASH_REPORT_FILE_MAX };
	struct ash_writer w;

	ash_writer_init_memory(&w, &memory);
	for (; *name != '\0'; name++) {
		if (name[0] == '%' && name[1] == 'p') {
			ash_write(&w, "%d", ash_process_id());
			name++;
		} else {
			ash_write_bytes(&w, name, 1);
		}
	}
	return ash_writer_finish(&w) == 0 ? 0 : -ENAMETOOLONG;
}

static void complain_report(int err)
{
	struct ash_writer w;

	ash_writer_init_fd(&w, 2);
	ash_write(&w, "ashlar: cannot write the report to ");
	ash_write_clean(&w, ctl.options.report_file, strlen(ctl.options.report_file), ASH_REPORT_FILE_MAX);
	ash_write(&w, " (errno %d)\n", -err);
	(void)!ash_writer_finish(&w);
}

static int report_to(int fd)
{
	struct ash_writer w;

	ash_writer_init_fd(&w, fd);
	return ash_stats_write(&w, ctl.options.report_format);
}

static void report_to_file(void)
{
	char path[ASH_REPORT_FILE_MAX];
	int err = report_path(path, ctl.options.report_file), fd;

	if (err == 0) {
		fd = ash_output_open(path);
		err = fd < 0 ? fd : report_to(fd);
		if (fd >= 0)
			ash_output_close(fd);
	}
	if (err != 0)
		complain_report(err);
}

ASH_AT_START void ash_ctl_exit(void)
{
	/* In the code: where constants are, every process would meet a page fault for it. */
	char prefix[] = ASH_OPTIONS_PREFIX;
	int fd;

	/*
	 * A process that never allocated has not booted; who asked for a report is told so. Most such processes are as
	 * short as processes can be, and are asked nothing: reading the options would be a fifth of their start.
	 */
	if (!options_are_read() && !ash_env_has_prefix(prefix))
		return;
	read_options_once();
	if (!reports_at_exit())
		return;
	if (ctl.options.report_file[0] != '\0') {
		report_to_file();
		return;
	}
	fd = ash_output_kept(&ctl.report);
	/* A reader of standard error that has gone away has nobody to be told. */
	if (fd >= 0)
		(void)!report_to(fd);
}
