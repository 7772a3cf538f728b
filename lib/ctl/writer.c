/* SPDX-License-Identifier: MIT */
/* The bounded writer: buffering, a small printf, and escapes. */
#include "ctl/writer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "os/output.h"

static int sink_fd(void *context, const char *bytes, size_t n)
{
	return ash_output_write((int)(intptr_t)context, bytes, n);
}

void ash_writer_init(struct ash_writer *w, ash_writer_sink_t sink, void *context)
{
	w->sink = sink;
	w->context = context;
	w->error = 0;
	w->used = 0;
}

ASH_EARLY void ash_writer_init_fd(struct ash_writer *w, int fd)
{
	ash_writer_init(w, sink_fd, (void *)(intptr_t)fd);
}

static int sink_memory(void *context, const char *bytes, size_t n)
{
	struct ash_memory_sink *m = context;
	const size_t room = m->size - 1 - m->used;
	const size_t taken = n < room ? n : room;

	memcpy(m->buffer + m->used, bytes, taken);
	m->used += taken;
	m->buffer[m->used] = '\0';
	return taken < n ? -ENOSPC : 0;
}

void ash_writer_init_memory(struct ash_writer *w, struct ash_memory_sink *memory)
{
	memory->used = 0;
	memory->buffer[0] = '\0';
	ash_writer_init(w, sink_memory, memory);
}

static void flush(struct ash_writer *w)
{
	if (w->used > 0 && w->error == 0)
		w->error = w->sink(w->context, w->buffer, w->used);
	w->used = 0;
}

ASH_EARLY int ash_writer_finish(struct ash_writer *w)
{
	flush(w);
	return w->error;
}

void ash_write_bytes(struct ash_writer *w, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t room = sizeof(w->buffer) - w->used;

		if (room == 0) {
			flush(w);
			room = sizeof(w->buffer);
		}
		if (room > n)
			room = n;
		memcpy(w->buffer + w->used, bytes, room);
		w->used += room;
		bytes += room;
		n -= room;
	}
}

static void write_repeat(struct ash_writer *w, char c, size_t n)
{
	while (n-- > 0)
		ash_write_bytes(w, &c, 1);
}

/* One conversion: what stands between '%' and its letter. */
struct spec {
	bool left, zero;
	size_t width;
	bool has_precision;
	size_t precision;
	unsigned longs; /* 0: int, 1: long or size_t, 2: long long */
	char letter;
};

static size_t parse_number(const char **f)
{
	size_t n = 0;

	while (**f >= '0' && **f <= '9')
		n = n * 10 + (size_t)(*(*f)++ - '0');
	return n;
}

static size_t star(va_list *args)
{
	const int n = va_arg(*args, int);

	return n < 0 ? 0 : (size_t)n;
}

static struct spec parse_spec(const char **format, va_list *args)
{
	struct spec s = { 0 };
	const char *f = *format;

	for (; *f == '-' || *f == '0'; f++) {
		s.left |= *f == '-';
		s.zero |= *f == '0';
	}
	if (*f == '*') {
		s.width = star(args);
		f++;
	} else {
		s.width = parse_number(&f);
	}
	if (*f == '.') {
		s.has_precision = true;
		f++;
		if (*f == '*') {
			s.precision = star(args);
			f++;
		} else {
			s.precision = parse_number(&f);
		}
	}
	for (; *f == 'l' || *f == 'z'; f++)
		s.longs++;
	s.letter = *f;
	*format = *f != '\0' ? f + 1 : f;
	return s;
}

static void write_padded(struct ash_writer *w, const struct spec *s, const char *text, size_t n)
{
	const size_t pad = s->width > n ? s->width - n : 0;

	if (!s->left)
		write_repeat(w, ' ', pad);
	ash_write_bytes(w, text, n);
	if (s->left)
		write_repeat(w, ' ', pad);
}

static void write_number(struct ash_writer *w, const struct spec *s, uint64_t value, bool negative)
{
	char digits[24];
	const unsigned radix = s->letter == 'x' ? 16 : 10;
	size_t at = sizeof(digits), n;

	do {
		digits[--at] = "0123456789abcdef"[value % radix];
		value /= radix;
	} while (value > 0);
	n = sizeof(digits) - at;
	if (s->zero && !s->left) {
		if (negative)
			ash_write_bytes(w, "-", 1);
		n += negative;
		write_repeat(w, '0', s->width > n ? s->width - n : 0);
		ash_write_bytes(w, digits + at, sizeof(digits) - at);
		return;
	}
	if (negative) {
		digits[--at] = '-';
		n++;
	}
	write_padded(w, s, digits + at, n);
}

static void write_conversion(struct ash_writer *w, const struct spec *s, va_list *args)
{
	switch (s->letter) {
	case 'd':
	case 'i': {
		const long long v = s->longs == 0   ? va_arg(*args, int)
				    : s->longs == 1 ? va_arg(*args, long)
						    : va_arg(*args, long long);

		write_number(w, s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
		break;
	}
	case 'u':
	case 'x':
		write_number(w, s,
			     s->longs == 0   ? va_arg(*args, unsigned)
			     : s->longs == 1 ? va_arg(*args, unsigned long)
					     : va_arg(*args, unsigned long long),
			     false);
		break;
	case 'c': {
		const char c = (char)va_arg(*args, int);

		write_padded(w, s, &c, 1);
		break;
	}
	case 's': {
		const char *text = va_arg(*args, const char *);
		const char *end = s->has_precision ? memchr(text, '\0', s->precision) : text + strlen(text);

		write_padded(w, s, text, end != NULL ? (size_t)(end - text) : s->precision);
		break;
	}
	default:
		ash_write_bytes(w, "%", 1);
		if (s->letter != '%' && s->letter != '\0')
			ash_write_bytes(w, &s->letter, 1);
	}
}

void ash_writev(struct ash_writer *w, const char *format, va_list args)
{
	va_list rest;

	va_copy(rest, args);
	while (*format != '\0') {
		const char *percent = strchrnul(format, '%');
		struct spec s;

		ash_write_bytes(w, format, (size_t)(percent - format));
		if (*percent == '\0')
			break;
		format = percent + 1;
		s = parse_spec(&format, &rest);
		write_conversion(w, &s, &rest);
	}
	va_end(rest);
}

void ash_write(struct ash_writer *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	ash_writev(w, format, args);
	va_end(args);
}

static bool printable(char c)
{
	return c >= ' ' && c <= '~';
}

void ash_write_clean(struct ash_writer *w, const char *text, size_t n, size_t max)
{
	for (size_t i = 0; i < n && i < max; i++)
		ash_write_bytes(w, printable(text[i]) ? &text[i] : "?", 1);
	if (n > max)
		ash_write_bytes(w, "...", 3);
}

void ash_write_json_string(struct ash_writer *w, const char *text)
{
	ash_write_bytes(w, "\"", 1);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			ash_write(w, "\\%c", *text);
		else
			ash_write_bytes(w, printable(*text) ? text : "?", 1);
	}
	ash_write_bytes(w, "\"", 1);
}

void ash_write_xml_text(struct ash_writer *w, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			ash_write(w, "&amp;");
			break;
		case '<':
			ash_write(w, "&lt;");
			break;
		case '>':
			ash_write(w, "&gt;");
			break;
		case '"':
			ash_write(w, "&quot;");
			break;
		default:
			ash_write_bytes(w, printable(*text) ? text : "?", 1);
		}
	}
}

struct ash_size_text ash_size_text(uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	struct ash_size_text out;
	struct ash_memory_sink memory = { .buffer = out.text, .size = sizeof(out.text) };
	struct ash_writer w;

	ash_writer_init_memory(&w, &memory);
	if (bytes == 0) {
		ash_write(&w, "0");
	} else if (bytes < 1024) {
		ash_write(&w, "%u B", (unsigned)bytes);
	} else {
		unsigned shift = 10;

		while (shift < 60 && bytes >> (shift + 10) != 0)
			shift += 10;
		/* The remainder below one unit, in tenths: it is below 2^60, so that ten of it still fit. */
		ash_write(&w, "%u.%u %ciB", (unsigned)(bytes >> shift),
			  (unsigned)(((bytes & (((uint64_t)1 << shift) - 1)) * 10) >> shift), units[shift / 10 - 1]);
	}
	/* The longest, "1023.9 KiB", fits. */
	(void)!ash_writer_finish(&w);
	return out;
}
