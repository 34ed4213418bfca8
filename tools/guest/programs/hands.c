/* Say what the input layer reports, from every /dev/input/event* there is, until the key Escape is let go.
 *
 *   hands COUNT      once so many devices are there
 *
 * Events for the host: `ready`, then `key-CODE-VALUE` (buttons too), `wheel-VALUE`, and after each report that moved
 * it `at-X-Y`, the place in 65536ths of the way (rounded).
 */
#include "common.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/input.h>
#include <poll.h>
#include <sys/ioctl.h>

enum { MOST = 16, FULL = 65535 };

static long scaled(int fd, unsigned axis, long value)
{
	struct input_absinfo range;

	if (ioctl(fd, EVIOCGABS(axis), &range) < 0)
		die("EVIOCGABS");
	if (range.maximum <= range.minimum)
		die("an axis without a range");
	return ((value - range.minimum) * FULL + (range.maximum - range.minimum) / 2) / (range.maximum - range.minimum);
}

int main(int argc, char **argv)
{
	struct pollfd files[MOST];
	long place[2] = { 0, 0 };
	int moved = 0;
	size_t count = 0;
	glob_t found;
	char text[64];

	if (argc != 2) {
		fprintf(stderr, "usage: hands COUNT\n");
		return 2;
	}
	deadline(90);
	for (unsigned tries = 0;; tries++) {
		if (!glob("/dev/input/event*", 0, NULL, &found) && found.gl_pathc >= number(argv[1], MOST))
			break;
		if (tries == 100)
			die("too few devices");
		usleep(100000);
	}
	for (; count < found.gl_pathc && count < MOST; count++) {
		files[count].fd = open(found.gl_pathv[count], O_RDONLY | O_NONBLOCK);
		files[count].events = POLLIN;
		if (files[count].fd < 0)
			die(found.gl_pathv[count]);
	}
	event("ready");
	for (;;) {
		if (poll(files, count, -1) < 0)
			die("poll");
		for (size_t n = 0; n < count; n++) {
			struct input_event input;

			while (read(files[n].fd, &input, sizeof input) == sizeof input) {
				if (input.type == EV_ABS && input.code <= ABS_Y) {
					place[input.code] = scaled(files[n].fd, input.code, input.value);
					moved = 1;
				} else if (input.type == EV_SYN && moved) {
					snprintf(text, sizeof text, "at-%ld-%ld", place[0], place[1]);
					event(text);
					moved = 0;
				} else if (input.type == EV_REL && input.code == REL_WHEEL) {
					snprintf(text, sizeof text, "wheel-%d", input.value);
					event(text);
				} else if (input.type == EV_KEY && input.value != 2) {
					snprintf(text, sizeof text, "key-%d-%d", input.code, input.value);
					event(text);
					if (input.code == KEY_ESC && !input.value)
						return 0;
				}
			}
		}
	}
}
