/* SPDX-License-Identifier: MIT */
/* The public names of mappings: <ashlar/map.h>. */
#include <ashlar/map.h>
#include <errno.h>

#include "base/compiler.h"
#include "heap/heap.h"
#include "map/map.h"

static void *address_or_errno(long ret)
{
	if (ASH_LIKELY((unsigned long)ret < (unsigned long)-4095))
		return (void *)ret;
	errno = (int)-ret;
	return NULL;
}

void *ash_map_policy(size_t bytes, const struct ash_policy *policy)
{
	/* Whoever allocates first boots; without arenas the kernel serves. */
	if (ash_heap_boot() == 0)
		ash_map_enable(false);
	return address_or_errno(ash_map_new(bytes, policy));
}

void *ash_map(size_t bytes)
{
	return ash_map_policy(bytes, NULL);
}

int ash_unmap(void *addr, size_t bytes)
{
	return (int)ash_map_end(addr, bytes);
}

void *ash_remap(void *addr, size_t old_bytes, size_t new_bytes)
{
	return address_or_errno(ash_map_resize(addr, old_bytes, new_bytes));
}

void ash_pin(const void *addr, size_t bytes)
{
	ash_map_pin(addr, bytes);
}

void ash_unpin(const void *addr, size_t bytes)
{
	ash_map_unpin(addr, bytes);
}

int ash_map_events_register(ash_map_event_fn fn, void *arg)
{
	const int err = fn == NULL ? -EINVAL : ash_heap_boot();

	return err < 0 ? err : ash_map_listen(fn, arg);
}

int ash_map_events_unregister(ash_map_event_fn fn, void *arg)
{
	return fn == NULL ? -ENOENT : ash_map_unlisten(fn, arg);
}
