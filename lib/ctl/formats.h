/* SPDX-License-Identifier: MIT */
/* The encodings of a snapshot, for stats.c only: one function and one file per reader. */
#ifndef ASH_CTL_FORMATS_H
#define ASH_CTL_FORMATS_H

#include "ctl/stats.h"

/* For people: the exit report (format_text.c). */
void ash_format_text(struct ash_writer *w, const struct ash_snapshot *s);

/* One JSON object; the Prometheus text exposition, version 0.0.4 (format_metrics.c). */
void ash_format_json(struct ash_writer *w, const struct ash_snapshot *s);
void ash_format_prometheus(struct ash_writer *w, const struct ash_snapshot *s);

/* As glibc's malloc_info(3) and the kernel's /proc/buddyinfo and /proc/pagetypeinfo (format_likes.c). */
void ash_format_malloc_info(struct ash_writer *w, const struct ash_snapshot *s);
void ash_format_buddyinfo(struct ash_writer *w, const struct ash_snapshot *s);
void ash_format_pagetypeinfo(struct ash_writer *w, const struct ash_snapshot *s);

/* "T" and "H"; "1G", "2M", "THP", "base". */
extern const char *const ash_arena_kind_names[ASH_ARENA_KINDS];
extern const char *const ash_backing_names[ASH_BACKING_NR];

#endif
