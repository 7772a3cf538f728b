/* SPDX-License-Identifier: MIT */
/*
 * The named reserves of the option dma_reserve, made as the library is loaded: before the program has taken the memory
 * that long runs could have been. In the API library only, since buffers for devices are.
 */
#include <ashlar/dma.h>
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "ctl/options.h"
#include "ctl/reserves.h"
#include "os/env.h"

static void complain(struct ash_writer *w, const struct ash_reserve_wish *wish, int err, const struct ash_dma_error *e)
{
	char why[512] = "";

	if (err == -ENOMEM || err == -ENODATA)
		(void)ash_dma_explain(e, why, sizeof(why));
	ash_write(w, "ashlar: dma_reserve: no reserve %s (errno %d)%s%s\n", wish->name, -err,
		  why[0] != '\0' ? ": " : "", why);
}

static void make(struct ash_writer *w, const struct ash_reserve_wish *wish)
{
	struct ash_dma_error e = { .size = sizeof(e), .memory_limit = UINT64_MAX };
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	int err;

	attr.error = &e;
	if (wish->node >= 0) {
		attr.node = wish->node;
		attr.flags = ASH_DMA_NODE_STRICT;
	}
	err = ash_dma_reserve(wish->name, wish->bytes, &attr);
	if (err < 0)
		complain(w, wish, err, &e);
}

static ASH_CONSTRUCTOR void reserves_start(void)
{
	struct ash_options o;
	struct ash_reserve_wish wish;
	char unread[16];
	struct ash_memory_sink nowhere = { .buffer = unread, .size = sizeof(unread) };
	struct ash_writer w;
	const char *at = o.dma_reserve;
	size_t n;

	if (!ash_env_has_prefix(ASH_OPTIONS_PREFIX))
		return;
	/* Who boots the allocator, and that may be a preloaded one, complains of what cannot be understood. */
	ash_writer_init_memory(&w, &nowhere);
	ash_options_load(&o, ash_env_each, ash_env_secure(), &w);
	ash_writer_init_fd(&w, 2);
	for (n = strlen(at); ash_reserve_next(&at, &n, &wish) > 0;)
		make(&w, &wish);
	(void)!ash_writer_finish(&w);
}
