/* SPDX-License-Identifier: MIT */
/* A preload that does nothing: the floor of what any preload costs at start. */
const char bench_empty_preload[] = "nothing";
