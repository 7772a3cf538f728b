/* SPDX-License-Identifier: MIT */
/* The process's environment and limits, readable before libc's constructors have run. */
#ifndef ASH_OS_ENV_H
#define ASH_OS_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/*
 * The value of name in the environment, or NULL. The string is the process's own: valid until the program changes that
 * variable. Before libc has set environ it is found on the initial stack.
 */
const char *ash_env_get(const char *name);

/* Calls each(arg, "NAME=value") for the whole environment. */
void ash_env_each(void (*each)(void *arg, const char *entry), void *arg);

/* Whether the environment has a variable whose name begins with prefix. Touches nothing but the environment itself. */
bool ash_env_has_prefix(const char *prefix);

/* The program runs with privileges its caller has not (AT_SECURE): the environment is not to be trusted. */
bool ash_env_secure(void);

/* Bytes of RAM in the machine; 0 when the kernel will not say. */
size_t ash_env_ram(void);

/* The kernel's page size from the auxiliary vector. */
size_t ash_env_page_size(void);

/* RLIMIT_AS in bytes; SIZE_MAX: unlimited. */
size_t ash_env_address_limit(void);

/* RLIMIT_MEMLOCK in bytes; SIZE_MAX: unlimited. Whoever has CAP_IPC_LOCK need not care. */
size_t ash_env_lock_limit(void);

/* Whether the kernel counts memory before it is touched: vm.overcommit_memory=2, or a limit on data (RLIMIT_DATA). */
bool ash_env_counts_untouched(void);

#endif
