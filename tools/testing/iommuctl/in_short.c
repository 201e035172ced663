// SPDX-License-Identifier: GPL-2.0
/*
 * What the manual shows of a driver in userspace, then a wait for others to look at
 * what it has mapped. It says "ready" when it has.
 */
#include <err.h>

#include "edu.h"
#include "ioasid.h"

int main(void)
{
	uint64_t iova = 0x1000000, size = 1 << 20;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
#include "in_short.h"
	if (id < 0)
		errx(1, "there is no device");
	puts("ready");
	fflush(stdout);
	pause();
	return 1;
}
