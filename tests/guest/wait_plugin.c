/* SPDX-License-Identifier: MIT */
/* A plugin whose constructor, in the loader's hands and with its lock, waits for a thread that allocates. */
#include <pthread.h>
#include <semaphore.h>

extern sem_t plugin_is_loading, thread_has_allocated;

__attribute__((constructor)) static void wait_for_the_thread(void)
{
	sem_post(&plugin_is_loading);
	sem_wait(&thread_has_allocated);
}
