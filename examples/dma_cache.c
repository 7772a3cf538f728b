/* SPDX-License-Identifier: MIT */
/*
 * A registration cache that cannot go stale: it is told of memory before anybody can have a buffer there, and asked
 * before any goes. (An RDMA library would register with its card where this one counts.)
 */
#include <ashlar/dma.h>
#include <stdio.h>

static size_t registered;
static unsigned registrations;

static int on_event(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	(void)va;
	(void)arg;
	if (event == ASH_DMA_EVENT_MAPPED) {
		registered += bytes;
		registrations++;
	} else if (event == ASH_DMA_EVENT_UNMAPPED) {
		registered -= bytes;
	}
	return 0;
}

int main(void)
{
	void *p[8];
	unsigned i;

	if (ash_dma_events_register(on_event, NULL) != 0)
		return 1;
	for (i = 0; i < 8; i++) {
		p[i] = ash_dma_alloc(300000, NULL);
		if (p[i] == NULL)
			return 1;
	}
	printf("cache: 8 buffers, %u or fewer registrations, %lu MiB\n", registrations,
	       (unsigned long)(registered >> 20));
	for (i = 0; i < 8; i++)
		ash_dma_free(p[i]);
	ash_dma_trim();
	printf("cache: %lu MiB after trim\n", (unsigned long)(registered >> 20));
	return ash_dma_events_unregister(on_event, NULL);
}
