/* SPDX-License-Identifier: MIT */
/*
 * A network card's descriptor ring: physically contiguous, crossing no 64 KiB boundary; and the packets it points to,
 * from a pool. Nothing here needs root; without it the card would have to be behind an IOMMU (ash_dma_iommu_vfio()).
 */
#include <ashlar/dma.h>
#include <stdio.h>

enum { DESCRIPTORS = 512, PACKET = 2048 };

struct descriptor {
	uint64_t address;
	uint32_t length, flags;
};

int main(void)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_error error = { 0 };
	struct ash_dma_info info = { 0 };
	struct ash_dma_pool *packets;
	struct descriptor *ring;
	char why[512];
	unsigned i;

	error.size = sizeof(error);
	info.size = sizeof(info);
	attr.boundary = 65536;
	attr.level = ASH_DMA_PHYSICAL;
	attr.flags = ASH_DMA_ZERO;
	attr.error = &error;
	ring = ash_dma_alloc(DESCRIPTORS * sizeof(*ring), &attr);
	if (ring == NULL) {
		/* Neither huge pages nor pins are to be had: the message says what there is. */
		ash_dma_explain(&error, why, sizeof(why));
		printf("no ring: %s\n", why);
		return 0;
	}
	attr = (struct ash_dma_attr)ASH_DMA_ATTR_INIT;
	attr.boundary = 4096;
	packets = ash_dma_pool_create("packets", PACKET, DESCRIPTORS, ASH_DMA_POOL_NO_CACHE, &attr);
	if (packets == NULL)
		return 1;
	for (i = 0; i < DESCRIPTORS; i++) {
		ring[i].address = ash_dma_translate(ash_dma_pool_get(packets), NULL);
		ring[i].length = PACKET;
	}
	ash_dma_info_read(ring, &info);
	printf("ring: %u descriptors, %lu segment, level %u, address %s\n", DESCRIPTORS,
	       (unsigned long)info.nr_segments, info.level,
	       ash_dma_translate(ring, NULL) == ASH_DMA_UNKNOWN ? "hidden" : "known");
	return ash_dma_free(ring);
}
