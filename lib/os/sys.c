/* SPDX-License-Identifier: MIT */
/* The hook that lets tests stand between the library and the kernel. */
#include "os/sys.h"

const struct ash_sys_ops *ash_sys_hook;
