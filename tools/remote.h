/* SPDX-License-Identifier: MIT */
/*
 * Reading the numbers of another process: from its memory, by the places it publishes (base/view.h). Nothing is
 * stopped, traced or written. The kernel asks for the rights of a debugger: the same user, or CAP_SYS_PTRACE.
 */
#ifndef ASHLAR_TOOLS_REMOTE_H
#define ASHLAR_TOOLS_REMOTE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/view.h"

struct remote {
	pid_t pid;
	char library[PATH_MAX]; /* that carries ashlar in the process */
	struct ash_view view;
	bool has_dma;           /* an object in the process has the part for devices */
	struct ash_dma_view dma;
};

/* 0, or STATUS_FAILED with a sentence in *why (malloc'ed). */
int remote_open(struct remote *r, pid_t pid, char **why);

/* A structure's numbers, as they were when it was read. */
#define REMOTE_FIELDS 16
struct remote_record {
	unsigned nr;
	struct ash_view_field fields[REMOTE_FIELDS];
	uint64_t values[REMOTE_FIELDS][8];
};

/* Calls each() for every structure of a list until it says false, which is handed on. false as well when the process is
 * gone, or its memory is not what it should be. */
bool remote_each(const struct remote *r, const struct ash_view_list *where,
		 bool (*each)(void *arg, const struct remote_record *record), void *arg);
/* The structure at an address of the process. */
bool remote_read_record(const struct remote *r, uint64_t address, const struct ash_view_field *fields,
			struct remote_record *out);
/* Its memory as it is. */
bool remote_read(const struct remote *r, uint64_t address, void *to, size_t bytes);
/* 0 where the process's ashlar does not have the number. */
uint64_t remote_number(const struct remote_record *record, const char *name, unsigned index);

#endif
