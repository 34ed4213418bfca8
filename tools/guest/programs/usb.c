/* Input devices in the guest: USB ones attached by USB/IP, and what the input layer makes of all of them.
 *
 *   usb attach HOST PORT BUSID SLOT           import from that server, and plug in to this port of vhci_hcd
 *   usb events NAME COUNT TIMEOUT EVENT       EVENT is announced once the input device NAME is open; then COUNT lines
 *                                             follow, each what came up to one SYN_REPORT: TYPE:CODE:VALUE ...
 *   usb range NAME                            the axes of input device NAME: CODE:LOWEST:HIGHEST ...
 *
 * NAME may end in :abs or :rel, for the one of several of that name that has places or movements.
 * Of events only keys, movements and places are shown, all numbers decimal. Exit status 2: wrong use or nothing there;
 * 3: timed out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/input.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common.h"

enum { VERSION = 0x0111, REQ_IMPORT = 0x8003, BUSID = 32, COMMON = 8, DEVICE = 312, BUSNUM = 256 + BUSID };

static uint32_t word(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static int attach(const char *host, uint16_t port, const char *busid, unsigned slot)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	uint8_t ask[COMMON + BUSID] = { VERSION >> 8, VERSION & 255, REQ_IMPORT >> 8, REQ_IMPORT & 255 };
	uint8_t said[COMMON + DEVICE];
	char line[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0), sys, length;

	if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof to))
		die("connect");
	strncpy((char *)ask + COMMON, busid, BUSID - 1);
	if (send(fd, ask, sizeof ask, 0) != sizeof ask)
		die("send");
	if (recv(fd, said, COMMON, MSG_WAITALL) != COMMON || word(said + 4)) {
		fprintf(stderr, "%s: refused\n", busid);
		return 2;
	}
	if (recv(fd, said + COMMON, DEVICE, MSG_WAITALL) != DEVICE)
		die("receive");
	const uint8_t *numbers = said + COMMON + BUSNUM;
	uint32_t bus = word(numbers), device = word(numbers + 4), speed = word(numbers + 8);

	length = snprintf(line, sizeof line, "%u %d %u %u", slot, fd, bus << 16 | device, speed);
	sys = open("/sys/devices/platform/vhci_hcd.0/attach", O_WRONLY);
	if (sys < 0 || write(sys, line, length) != length)
		die("attach");
	printf("%s is in port %u, speed %u\n", busid, slot, speed);
	return 0;
}

static int has(int fd, int type)
{
	unsigned long types = 0;

	return ioctl(fd, EVIOCGBIT(0, sizeof types), &types) >= 0 && types >> type & 1;
}

static int find(const char *called)
{
	char name[128];
	int type = EV_SYN; /* any has that */

	snprintf(name, sizeof name, "%s", called);
	char *end = strrchr(name, ':');

	if (end && (!strcmp(end, ":abs") || !strcmp(end, ":rel"))) {
		type = end[1] == 'a' ? EV_ABS : EV_REL;
		*end = 0;
	}
	for (int n = 0; n < 32; n++) {
		char path[32], is[128] = "";
		int fd;

		snprintf(path, sizeof path, "/dev/input/event%d", n);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (ioctl(fd, EVIOCGNAME(sizeof is - 1), is) >= 0 && !strcmp(is, name) && has(fd, type))
			return fd;
		close(fd);
	}
	fprintf(stderr, "no input device is called '%s'\n", called);
	exit(2);
}

static int events(const char *name, uint32_t count, const char *ready)
{
	struct input_event seen;
	int fd = find(name), shown = 0;

	event(ready);
	while (count) {
		if (read(fd, &seen, sizeof seen) != sizeof seen)
			die("read");
		if (seen.type == EV_KEY && seen.value == 2)
			continue; /* a key that is held, told again by Linux itself */
		if (seen.type == EV_KEY || seen.type == EV_REL || seen.type == EV_ABS) {
			printf("%s%u:%u:%d", shown++ ? " " : "", seen.type, seen.code, seen.value);
		} else if (seen.type == EV_SYN && seen.code == SYN_REPORT && shown) {
			puts("");
			fflush(stdout);
			shown = 0;
			count--;
		}
	}
	return 0;
}

static int range(const char *name)
{
	struct input_absinfo axis;
	uint8_t axes[ABS_CNT / 8] = { 0 };
	int fd = find(name);

	if (ioctl(fd, EVIOCGBIT(EV_ABS, sizeof axes), axes) < 0)
		die("axes");
	for (int n = 0; n < ABS_CNT; n++)
		if (axes[n / 8] >> n % 8 & 1 && ioctl(fd, EVIOCGABS(n), &axis) >= 0)
			printf("%d:%d:%d ", n, axis.minimum, axis.maximum);
	puts("");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "attach"))
		return attach(argv[2], number(argv[3], 65535), argv[4], number(argv[5], 7));
	if (argc == 6 && !strcmp(argv[1], "events")) {
		deadline(number(argv[4], 86400));
		return events(argv[2], number(argv[3], UINT32_MAX), argv[5]);
	}
	if (argc == 3 && !strcmp(argv[1], "range"))
		return range(argv[2]);
	fputs("usb attach HOST PORT BUSID SLOT | events NAME COUNT TIMEOUT EVENT | range NAME\n", stderr);
	return 2;
}
