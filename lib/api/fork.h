/* SPDX-License-Identifier: MIT */
/* The handlers of fork, and what fork.c and fork_fault.c share. */
#ifndef ASH_API_FORK_H
#define ASH_API_FORK_H

/* For pthread_atfork(), before any of the program's. */
void ash_fork_prepare(void);
void ash_fork_parent(void);
void ash_fork_child(void);

/*
 * From here until ash_fork_fault_end() the forking thread survives a touch of memory that the child does not have yet.
 * Both are called with the locks of fork held, and with every signal blocked but what is said here.
 */
void ash_fork_fault_begin(void);
/* In parent and child. After it, and with the program's own mask in place, ash_fork_fault_settle(). */
void ash_fork_fault_end(void);
void ash_fork_fault_settle(void);

#endif
