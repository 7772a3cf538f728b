/* SPDX-License-Identifier: MIT */
/* A file read through io_uring into a fixed buffer: the kernel looks the buffer up once, not at every read. No
 * liburing. */
#define _GNU_SOURCE
#include <ashlar/dma.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct io_uring_params params;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned *tail, *array, *cq_head;
	char *sq, *cq, *buffer = ash_dma_alloc(65536, NULL);
	int ring, fd = open(argv[0], O_RDONLY);
	void *buffers[1];

	(void)argc;
	memset(&params, 0, sizeof(params));
	ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0) {
		printf("uring: not allowed here\n");
		return 0;
	}
	buffers[0] = buffer;
	if (buffer == NULL || fd < 0 || ash_dma_uring_register(ring, buffers, 1) != 0)
		return 1;
	sq = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	sqe = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqe == MAP_FAILED)
		return 1;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)buffer + 4096;
	sqe->len = 4;
	sqe->buf_index = 0;
	tail = (unsigned *)(void *)(sq + params.sq_off.tail);
	array = (unsigned *)(void *)(sq + params.sq_off.array);
	array[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return 1;
	cq_head = (unsigned *)(void *)(cq + params.cq_off.head);
	cqe = (struct io_uring_cqe *)(void *)(cq + params.cq_off.cqes) + (*cq_head & (params.cq_entries - 1));
	printf("uring: read %d bytes into a fixed buffer: %.3s\n", cqe->res, buffer + 4097);
	return ash_dma_uring_unregister(ring);
}
