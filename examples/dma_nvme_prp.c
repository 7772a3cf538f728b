/* SPDX-License-Identifier: MIT */
/* An NVMe read of 40 KiB into the middle of a buffer: the two PRP entries of the command, and the list. */
#include <ashlar/dma.h>
#include <stdio.h>

int main(void)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	uint64_t prp[2] = { 0, 0 }, *list;
	char *data;
	int err;

	attr.align = 4096;
	data = ash_dma_alloc(65536, &attr);
	list = ash_dma_alloc(4096, &attr);
	if (data == NULL || list == NULL)
		return 1;
	err = ash_dma_nvme_prp(NULL, data + 512, 40960, list, 4096, prp);
	if (err != 0) {
		/* Without physical addresses a controller has to be behind an IOMMU: pass what ash_dma_iommu_vfio()
		 * gave. */
		printf("prp: no physical addresses\n");
		return 0;
	}
	printf("prp: %s, list of 10, first page at offset %lu\n",
	       prp[1] == ash_dma_translate(list, NULL) ? "second entry is the list" : "wrong",
	       (unsigned long)(prp[0] & 4095));
	return ash_dma_free(data) || ash_dma_free(list) || list[9] == 0;
}
