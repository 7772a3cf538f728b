/* SPDX-License-Identifier: MIT */
/*
 * A registration cache for any memory of the program's. Registering a buffer with a card is dear, so what was used for
 * I/O stays registered, and the next transfer from the same place costs a look-up. What makes that dangerous is memory
 * that goes while it is registered and comes back as other pages at the same address: hence the listener, which gives
 * up what is idle and refuses what a transfer is using just now. (Where this one counts, an RDMA library would call its
 * card.)
 */
#include <ashlar/ashlar.h>
#include <ashlar/map.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
enum { ENTRIES = 64 };

struct entry {
	uintptr_t start, end; /* end 0: free */
	unsigned users;       /* transfers */
};

/* The listener takes the lock, so nothing that unmaps or returns memory may be called with it held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry cache[ENTRIES];
static unsigned registrations, hits, given_up;

static int on_event(enum ash_map_event event, void *addr, size_t bytes, void *arg)
{
	const uintptr_t start = (uintptr_t)addr, end = start + bytes;
	int busy = 0;
	unsigned i;

	(void)arg;
	if (event != ASH_MAP_EVENT_UNMAPPING)
		return 0;
	pthread_mutex_lock(&lock);
	for (i = 0; i < ENTRIES; i++) {
		if (cache[i].end == 0 || cache[i].start >= end || cache[i].end <= start)
			continue;
		if (cache[i].users > 0) {
			busy = 1;
		} else {
			cache[i].end = 0; /* deregistered */
			given_up++;
		}
	}
	pthread_mutex_unlock(&lock);
	return busy;
}

/* Begin a transfer. NULL: too many registrations. */
static struct entry *begin(const void *buffer, size_t bytes)
{
	const uintptr_t start = (uintptr_t)buffer, end = start + bytes;
	struct entry *e = NULL;
	unsigned i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < ENTRIES; i++) {
		if (cache[i].end != 0 && cache[i].start <= start && cache[i].end >= end) {
			e = &cache[i];
			hits++;
			break;
		}
		if (cache[i].end == 0 && e == NULL)
			e = &cache[i];
	}
	if (e != NULL && e->end == 0) {
		e->start = start;
		e->end = end;
		registrations++;
	}
	if (e != NULL)
		e->users++;
	pthread_mutex_unlock(&lock);
	return e;
}

static void end_transfer(struct entry *e)
{
	pthread_mutex_lock(&lock);
	e->users--;
	pthread_mutex_unlock(&lock);
}

static int transfer(const void *buffer, size_t bytes)
{
	struct entry *e = begin(buffer, bytes);

	if (e == NULL)
		return 1;
	end_transfer(e);
	return 0;
}

int main(void)
{
	char *mapping = ash_map(8 * MIB), *block = ash_malloc(8 * MIB);
	struct entry *e;
	unsigned i;

	if (mapping == NULL || block == NULL || ash_map_events_register(on_event, NULL) != 0)
		return 1;
	memset(block, 1, 8 * MIB);
	for (i = 0; i < 100; i++) {
		if (transfer(mapping, 8 * MIB) != 0 || transfer(block, 8 * MIB) != 0)
			return 1;
	}
	printf("cache: %u registrations, %u hits\n", registrations, hits);

	e = begin(mapping, 4096);
	if (e == NULL)
		return 1;
	printf("cache: unmapping during a transfer: %s\n", ash_unmap(mapping, 8 * MIB) != 0 ? "refused" : "done");
	end_transfer(e);
	printf("cache: after it: %s\n", ash_unmap(mapping, 8 * MIB) != 0 ? "refused" : "done");

	/* The block's registration outlives free(), which is what makes the next one cheap, and ends when its memory
	 * goes. */
	ash_free(block);
	printf("cache: %u given up after free\n", given_up);
	ash_trim();
	printf("cache: %u given up after trim\n", given_up);
	return ash_map_events_unregister(on_event, NULL);
}
