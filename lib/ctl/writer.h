/* SPDX-License-Identifier: MIT */
/*
 * A bounded writer: formatted text to a file descriptor, a callback or memory, without malloc, stdio or locale.
 *
 * Text gathers in a buffer inside the struct and is handed to the sink when the buffer is full and at the end, so a
 * report is a few write(2) calls. The first error of the sink is kept and everything after it is dropped.
 *
 * Thread safety: a writer belongs to one thread. Works before libc constructors and in exit handlers.
 */
#ifndef ASH_CTL_WRITER_H
#define ASH_CTL_WRITER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define ASH_WRITER_BUFFER 1024

/* Takes all n bytes: 0, or a negative errno that ends the output. */
typedef int (*ash_writer_sink_t)(void *context, const char *bytes, size_t n);

struct ash_writer {
	ash_writer_sink_t sink;
	void *context;
	int error;   /* first error of the sink */
	size_t used; /* bytes in buffer */
	char buffer[ASH_WRITER_BUFFER];
};

void ash_writer_init(struct ash_writer *w, ash_writer_sink_t sink, void *context);
/* To a file descriptor; never raises SIGPIPE (os/output.h). */
void ash_writer_init_fd(struct ash_writer *w, int fd);

/* Into memory, always terminated; -ENOSPC once it is full (what fitted stays). size is at least 1. */
struct ash_memory_sink {
	char *buffer;
	size_t size, used;
};
void ash_writer_init_memory(struct ash_writer *w, struct ash_memory_sink *memory);

/*
 * Formatted output: a subset of printf(3) that the compiler checks as such. Conversions d i u x c s and %; flags
 * '-' and '0'; width as a number or '*'; precision for s only (".N" or ".*"); lengths l, ll, z. Nothing else: an
 * unknown conversion is written out as it stands.
 */
void ash_write(struct ash_writer *w, const char *format, ...) ASH_PRINTF(2, 3);
void ash_writev(struct ash_writer *w, const char *format, va_list args) ASH_PRINTF(2, 0);
void ash_write_bytes(struct ash_writer *w, const char *bytes, size_t n);

/* Untrusted text for a terminal: at most max characters of it, those that are not printable ASCII as '?'. */
void ash_write_clean(struct ash_writer *w, const char *text, size_t n, size_t max);

/* Untrusted text between double quotes as a JSON string (also right for Prometheus label values). */
void ash_write_json_string(struct ash_writer *w, const char *text);

/* Untrusted text for an XML attribute or element. */
void ash_write_xml_text(struct ash_writer *w, const char *text);

/* Hand the rest to the sink: 0 or the first error. */
ASH_MUST_USE int ash_writer_finish(struct ash_writer *w);

/* Bytes for people: "0", "512 B", "1.5 KiB", "64.0 MiB"; rounds down, so that nothing reads as more than it is. */
struct ash_size_text {
	char text[16];
};
struct ash_size_text ash_size_text(uint64_t bytes);

#endif
