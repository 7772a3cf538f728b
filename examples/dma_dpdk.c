/* SPDX-License-Identifier: MIT */
/*
 * A DPDK program whose packet buffers are ashlar's: DPDK gets a buffer as external memory (rte_extmem_register), with
 * the device addresses that ashlar knows, and makes a pool of packet buffers in it.
 *
 * DPDK itself starts without huge pages and without devices. A program with a driver would map the buffer for its
 * device with rte_dev_dma_map(), or have VFIO map it: ash_dma_iommu_vfio().
 */
#include <ashlar/dma.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>

enum { BYTES = 4 << 20, PAGE = 4096, PACKETS = 512 };

static int start_dpdk(void)
{
	static char *words[] = { (char *)"dma_dpdk", (char *)"--no-huge", (char *)"-m", (char *)"64",
				 (char *)"--no-pci", (char *)"--no-telemetry", (char *)"--no-shconf",
				 (char *)"--log-level=1", (char *)"-l", (char *)"0", NULL };

	return rte_eal_init(10, words);
}

/* Physical addresses where they are known; else the process's own, which an IOMMU can be given. */
static int give_to_dpdk(char *buffer, int known)
{
	static rte_iova_t iova[BYTES / PAGE];

	for (unsigned i = 0; i < BYTES / PAGE; i++)
		iova[i] = known ? ash_dma_translate(buffer + (size_t)i * PAGE, NULL)
				: (uintptr_t)(buffer + (size_t)i * PAGE);
	return rte_extmem_register(buffer, BYTES, iova, BYTES / PAGE, PAGE);
}

/* The pool's objects lie in the buffer, each in one page, with the address that ashlar gives. */
static unsigned wrong;

static void check(struct rte_mempool *pool, void *opaque, void *object, unsigned i)
{
	const char *p = object, *buffer = opaque;
	const uint64_t phys = ash_dma_translate(p, NULL);

	(void)pool;
	(void)i;
	if (p < buffer || p >= buffer + BYTES || (phys != ASH_DMA_UNKNOWN && rte_mempool_virt2iova(object) != phys))
		wrong++;
}

static struct rte_mempool *make_pool(char *buffer, int known)
{
	struct rte_mempool *pool = rte_mempool_create_empty("packets", PACKETS, RTE_MBUF_DEFAULT_BUF_SIZE, 32,
							    sizeof(struct rte_pktmbuf_pool_private), -1, 0);
	size_t done = 0;

	if (pool == NULL || rte_mempool_set_ops_byname(pool, "ring_mp_mc", NULL) != 0)
		return NULL;
	rte_pktmbuf_pool_init(pool, NULL);
	/* One physically contiguous piece after the other. */
	while (done < BYTES && pool->populated_size < PACKETS) {
		size_t len = BYTES - done;
		const uint64_t phys = ash_dma_translate(buffer + done, &len);

		if (rte_mempool_populate_iova(pool, buffer + done, known ? phys : (uintptr_t)(buffer + done), len, NULL,
					      NULL) < 0)
			return NULL;
		done += len;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

int main(void)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_info info = { .size = sizeof(info) };
	struct rte_mempool *pool;
	struct rte_mbuf *packet;
	char *buffer;

	attr.align = 2 << 20;
	buffer = ash_dma_alloc(BYTES, &attr);
	if (buffer == NULL || ash_dma_info_read(buffer, &info) != 0) {
		puts("dpdk: no buffer");
		return 1;
	}
	if (start_dpdk() < 0) {
		printf("dpdk: does not start here (%s)\n", rte_strerror(rte_errno));
		return 0;
	}
	if (give_to_dpdk(buffer, (int)info.phys_known) != 0) {
		printf("dpdk: refuses the memory (%s)\n", rte_strerror(rte_errno));
		return 1;
	}
	pool = make_pool(buffer, (int)info.phys_known);
	if (pool == NULL || pool->populated_size < PACKETS) {
		printf("dpdk: no pool (%s)\n", rte_strerror(rte_errno));
		return 1;
	}
	rte_mempool_obj_iter(pool, check, buffer);
	packet = rte_pktmbuf_alloc(pool);
	if (packet == NULL || rte_pktmbuf_append(packet, 1500) == NULL)
		return 1;
	printf("dpdk: %u packets in a buffer of ashlar, %u of them elsewhere, addresses %s\n", pool->populated_size,
	       wrong, info.phys_known ? "physical" : "virtual");
	rte_pktmbuf_free(packet);
	rte_mempool_free(pool);
	rte_extmem_unregister(buffer, BYTES);
	rte_eal_cleanup();
	return wrong != 0 || ash_dma_free(buffer) != 0;
}
