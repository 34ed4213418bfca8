/* clock [DEVICE]: what a hardware clock (/dev/ptp0), or the system's, says, in nanoseconds since 1970. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct timespec now;
	int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;

	/* a clock id is made of a descriptor. Ref: Linux include/linux/posix-timers.h */
	if ((argc == 2 && fd < 0) || clock_gettime(argc == 2 ? (~(clockid_t)fd << 3) | 3 : CLOCK_REALTIME, &now)) {
		perror("clock");
		return 1;
	}
	printf("%lld\n", (long long)now.tv_sec * 1000000000 + now.tv_nsec);
	return 0;
}
