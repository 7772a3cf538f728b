/* SPDX-License-Identifier: MIT */
/* Two processes and one buffer: the owner sends it over a socket, the peer answers in it. */
#define _DEFAULT_SOURCE
#include <ashlar/dma.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int peer(int socket)
{
	size_t bytes;
	char *p = ash_dma_receive(socket, &bytes);

	if (p == NULL)
		return 1;
	printf("peer: got %lu KiB: %s\n", (unsigned long)bytes / 1024, p);
	strcpy(p, "and back again");
	fflush(stdout);
	return ash_dma_free(p);
}

int main(void)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	int sockets[2], status;
	pid_t pid;
	char *p;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0)
		return 1;
	pid = fork();
	if (pid == 0)
		_exit(peer(sockets[1]));
	attr.flags = ASH_DMA_SHARED;
	p = ash_dma_alloc(100000, &attr);
	if (p == NULL)
		return 1;
	strcpy(p, "there");
	if (ash_dma_send(sockets[0], p) != 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return 1;
	printf("owner: %s\n", p);
	return ash_dma_free(p);
}
