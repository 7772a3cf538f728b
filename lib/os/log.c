/* SPDX-License-Identifier: MIT */
/* One line, one write; see log.h. */
#include <sys/syscall.h>

#include "os/log.h"
#include "os/sys.h"
#include "os/text.h"

void ash_log(const char *line)
{
	char buf[512];
	struct ash_text t;

	ash_text_init(&t, buf, sizeof(buf) - 1);
	ash_text_str(&t, "ashlar: ");
	ash_text_str(&t, line);
	buf[t.len++] = '\n';
	(void)ash_sys(__NR_write, 2, (long)buf, (long)t.len, 0, 0, 0);
}
