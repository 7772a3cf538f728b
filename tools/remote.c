/* SPDX-License-Identifier: MIT */
/*
 * Another process's numbers; see remote.h.
 *
 * The symbol ash_view is looked up as the loader would, in the tables that a shared object has in memory: that needs no
 * file, which may have been replaced, or lie in another file system than ours.
 */
#include "remote.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "ashlar.h"

enum { NO_SYMBOL = 0, DYNAMIC_MAX = 128, CHAIN_MAX = 1 << 16, LISTED_MAX = 1 << 20 };

/* false, with errno, unless all of it could be read. */
static bool read_memory(pid_t pid, uint64_t address, void *to, size_t bytes)
{
	const struct iovec local = { to, bytes }, remote = { (void *)(uintptr_t)address, bytes };
	const ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	if (n >= 0 && (size_t)n != bytes)
		errno = EFAULT;
	return n >= 0 && (size_t)n == bytes;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name != '\0'; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

struct tables {
	pid_t pid;
	uint64_t bias, symbols, strings, hash;
};

/* Most loaders have added the bias to these already. */
static uint64_t relocated(const struct tables *t, uint64_t pointer)
{
	return pointer < t->bias ? pointer + t->bias : pointer;
}

static bool read_dynamic(struct tables *t, uint64_t address)
{
	ElfW(Dyn) d;

	for (unsigned i = 0; i < DYNAMIC_MAX; i++) {
		if (!read_memory(t->pid, address + i * sizeof(d), &d, sizeof(d)))
			return false;
		if (d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_SYMTAB)
			t->symbols = relocated(t, d.d_un.d_ptr);
		else if (d.d_tag == DT_STRTAB)
			t->strings = relocated(t, d.d_un.d_ptr);
		else if (d.d_tag == DT_GNU_HASH)
			t->hash = relocated(t, d.d_un.d_ptr);
	}
	return t->symbols != 0 && t->strings != 0 && t->hash != 0;
}

/* The tables of the object whose file begins at base. */
static bool find_tables(struct tables *t, uint64_t base)
{
	ElfW(Ehdr) header;
	ElfW(Phdr) p;
	uint64_t dynamic = 0;

	if (!read_memory(t->pid, base, &header, sizeof(header)) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32))
		return false;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		if (!read_memory(t->pid, base + header.e_phoff + i * sizeof(p), &p, sizeof(p)))
			return false;
		if (p.p_type == PT_LOAD && p.p_offset == 0)
			t->bias = base - p.p_vaddr;
		if (p.p_type == PT_DYNAMIC)
			dynamic = p.p_vaddr;
	}
	return dynamic != 0 && read_dynamic(t, t->bias + dynamic);
}

static uint64_t symbol_at(const struct tables *t, uint32_t index, const char *name)
{
	char found[32] = "";
	ElfW(Sym) s;

	if (!read_memory(t->pid, t->symbols + (uint64_t)index * sizeof(s), &s, sizeof(s)) || s.st_shndx == SHN_UNDEF ||
	    !read_memory(t->pid, t->strings + s.st_name, found, strlen(name) + 1) || strcmp(found, name) != 0)
		return NO_SYMBOL;
	return t->bias + s.st_value;
}

static uint64_t find_symbol(const struct tables *t, const char *name)
{
	struct {
		uint32_t nr_buckets, first, bloom_words, bloom_shift;
	} header;
	const uint32_t hash = gnu_hash(name);
	uint64_t buckets, chain;
	uint32_t index, h;

	if (!read_memory(t->pid, t->hash, &header, sizeof(header)) || header.nr_buckets == 0)
		return NO_SYMBOL;
	buckets = t->hash + sizeof(header) + (uint64_t)header.bloom_words * sizeof(ElfW(Addr));
	chain = buckets + (uint64_t)header.nr_buckets * sizeof(uint32_t);
	if (!read_memory(t->pid, buckets + (hash % header.nr_buckets) * sizeof(uint32_t), &index, sizeof(index)) ||
	    index < header.first)
		return NO_SYMBOL;
	for (unsigned i = 0; i < CHAIN_MAX; i++, index++) {
		if (!read_memory(t->pid, chain + (uint64_t)(index - header.first) * sizeof(h), &h, sizeof(h)))
			return NO_SYMBOL;
		if ((h | 1) == (hash | 1)) {
			const uint64_t address = symbol_at(t, index, name);

			if (address != NO_SYMBOL)
				return address;
		}
		if ((h & 1) != 0)
			break;
	}
	return NO_SYMBOL;
}

/* Of the preload and the library, which a process may have both, only the library has the part for devices. */
static bool view_of_object(struct remote *r, uint64_t base, bool *dma)
{
	struct tables t = { .pid = r->pid };
	uint64_t address;

	if (!find_tables(&t, base))
		return false;
	address = find_symbol(&t, "ash_dma_view");
	*dma = address != NO_SYMBOL && read_memory(r->pid, address, &r->dma, sizeof(r->dma)) &&
	       memcmp(r->dma.magic, ASH_VIEW_MAGIC, sizeof(r->dma.magic)) == 0;
	address = find_symbol(&t, "ash_view");
	return address != NO_SYMBOL &&
	       (r->library[0] != '\0' || read_memory(r->pid, address, &r->view, sizeof(r->view)));
}

static int refuse(char **why, pid_t pid, int error)
{
	if (error == ENOENT || error == ESRCH)
		*why = format_text("there is no process %d", (int)pid);
	else if (error == EACCES || error == EPERM)
		*why = format_text("no permission to read process %d: that takes its user or root, and where "
				   "/proc/sys/kernel/yama/ptrace_scope is not 0, root",
				   (int)pid);
	else
		*why = format_text("process %d cannot be read: %s", (int)pid, strerror(error));
	return STATUS_FAILED;
}

/* Every object that the loader mapped, from the file's first byte: the first with the symbol. errno 0: none has it. */
static bool find_view(struct remote *r, FILE *maps)
{
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	int denied = 0;

	while (getline(&line, &room, maps) > 0) {
		uint64_t start, offset;
		bool here, dma = false;
		int path = 0;

		if (sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64 " %*s %*s %n", &start, &offset, &path) < 2 ||
		    path == 0 || offset != 0 || line[path] != '/')
			continue;
		line[strcspn(line, "\n")] = '\0';
		errno = 0;
		here = view_of_object(r, start, &dma);
		if (here && !found)
			snprintf(r->library, sizeof(r->library), "%s", line + path);
		else if (!here && (errno == EPERM || errno == ESRCH))
			denied = errno;
		found = found || here;
		r->has_dma = r->has_dma || dma;
	}
	if (ferror(maps))
		denied = EACCES;
	free(line);
	errno = denied;
	return found;
}

int remote_open(struct remote *r, pid_t pid, char **why)
{
	char path[64];
	FILE *maps;
	bool found;
	int error;

	*r = (struct remote){ .pid = pid };
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	if (maps == NULL)
		return refuse(why, pid, errno);
	found = find_view(r, maps);
	error = errno;
	fclose(maps);
	if (!found && error != 0)
		return refuse(why, pid, error);
	if (!found) {
		*why = format_text("process %d does not run on ashlar", (int)pid);
		return STATUS_FAILED;
	}
	if (memcmp(r->view.magic, ASH_VIEW_MAGIC, sizeof(r->view.magic)) != 0) {
		*why = format_text("process %d runs on another version of ashlar (%s)", (int)pid, r->library);
		return STATUS_FAILED;
	}
	return STATUS_OK;
}

static uint64_t number_in(const unsigned char *bytes, unsigned width)
{
	uint64_t n = 0;

	memcpy(&n, bytes, width);
	/* Signed numbers are node numbers and balances; the reader knows which. */
	return n;
}

bool remote_read_record(const struct remote *r, uint64_t address, const struct ash_view_field *fields,
			struct remote_record *out)
{
	out->nr = 0;
	for (;;) {
		struct ash_view_field f;
		unsigned char bytes[sizeof(out->values[0])];

		if (!read_memory(r->pid, (uintptr_t)(fields + out->nr), &f, sizeof(f)))
			return false;
		f.name[ASH_VIEW_NAME_MAX] = '\0';
		if (f.name[0] == '\0')
			return true;
		if (out->nr == REMOTE_FIELDS || f.bytes == 0 || f.bytes > sizeof(uint64_t) || f.count > 8 ||
		    !read_memory(r->pid, address + f.offset, bytes, (size_t)f.bytes * f.count))
			return false;
		for (unsigned i = 0; i < f.count; i++)
			out->values[out->nr][i] = number_in(bytes + i * f.bytes, f.bytes);
		out->fields[out->nr++] = f;
	}
}

bool remote_each(const struct remote *r, const struct ash_view_list *where,
		 bool (*each)(void *arg, const struct remote_record *record), void *arg)
{
	struct remote_record record;
	struct ash_view_list list;
	uint64_t array, address;
	uint32_t nr;

	if (!read_memory(r->pid, (uintptr_t)where, &list, sizeof(list)) ||
	    !read_memory(r->pid, (uintptr_t)list.nr, &nr, sizeof(nr)) || nr > LISTED_MAX)
		return false;
	if (nr == 0)
		return true;
	array = (uintptr_t)list.array;
	if (list.indirect != 0 && !read_memory(r->pid, array, &array, sizeof(array)))
		return false;
	for (uint32_t i = 0; i < nr + (list.last != 0); i++) {
		if (!read_memory(r->pid, array + i * sizeof(address), &address, sizeof(address)))
			return false;
		if (address == 0)
			continue;
		if (!remote_read_record(r, address, list.fields, &record) || !each(arg, &record))
			return false;
	}
	return true;
}

bool remote_read(const struct remote *r, uint64_t address, void *to, size_t bytes)
{
	return read_memory(r->pid, address, to, bytes);
}

uint64_t remote_number(const struct remote_record *record, const char *name, unsigned index)
{
	for (unsigned i = 0; i < record->nr; i++)
		if (strcmp(record->fields[i].name, name) == 0 && index < record->fields[i].count)
			return record->values[i][index];
	return 0;
}
