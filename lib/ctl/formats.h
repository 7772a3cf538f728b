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

/* The part of a snapshot that is by node (nodes.c), and the report on it (format_nodes.c). Nothing on one node. */
void ash_snapshot_take_nodes(struct ash_snapshot *s);
void ash_format_text_nodes(struct ash_writer *w, const struct ash_snapshot *s);
/* "0", or the policy that an arena is bound by. */
void ash_write_arena_node(struct ash_writer *w, const struct ash_snapshot_arena *a);
/* Why memory came from elsewhere: a word, and why the node that was wanted did not give it. */
extern const char *const ash_spill_names[ASH_SPILL_REASONS], *const ash_spill_texts[ASH_SPILL_REASONS];

/* "T" and "H"; "1G", "2M", "THP", "base". */
extern const char *const ash_arena_kind_names[ASH_ARENA_KINDS];
extern const char *const ash_backing_names[ASH_BACKING_NR];

#endif
