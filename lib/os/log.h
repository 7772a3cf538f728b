/* SPDX-License-Identifier: MIT */
/* The library's few words to a person: whole lines on standard error, each by one write(2), no allocation. */
#ifndef ASH_OS_LOG_H
#define ASH_OS_LOG_H

/* Writes "ashlar: <line>\n". Async-signal-safe. errno is not touched. Failures are ignored. */
void ash_log(const char *line);

#endif
