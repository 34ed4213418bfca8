/* A UDP echo service, IPv4 and IPv6: each datagram goes back to where it came from.
 *
 *   reflect PORT COUNT TIMEOUT [EVENT]
 *
 * Ends when COUNT have gone back. EVENT is announced to the host once the socket listens.
 * Exit status 0: all done; 2: wrong use or no socket; 3: timed out.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "common.h"

enum { BATCH = 64, SIZE = 2048 };

static uint8_t buffers[BATCH][SIZE];
static struct sockaddr_in6 from[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];

static int service(uint16_t port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int room = 64 << 20, fd = socket(AF_INET6, SOCK_DGRAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address))
		die("bind");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room))
		die("socket buffer");
	return fd;
}

int main(int argc, char **argv)
{
	uint32_t count, done = 0;
	int fd;

	if (argc < 4 || argc > 5) {
		fputs("reflect PORT COUNT TIMEOUT [EVENT]\n", stderr);
		return 2;
	}
	fd = service(number(argv[1], 65535));
	count = number(argv[2], UINT32_MAX);
	deadline(number(argv[3], 86400));
	if (argc == 5)
		event(argv[4]);
	while (done < count) {
		int filled, sent = 0;

		for (int i = 0; i < BATCH; i++) {
			pieces[i] = (struct iovec){ buffers[i], SIZE };
			batch[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_namelen = sizeof from[i],
							    .msg_iov = &pieces[i], .msg_iovlen = 1 };
		}
		filled = recvmmsg(fd, batch, BATCH, MSG_WAITFORONE, NULL);
		if (filled < 0)
			die("receive");
		for (int i = 0; i < filled; i++)
			pieces[i].iov_len = batch[i].msg_len;
		while (sent < filled) {
			int more = sendmmsg(fd, batch + sent, filled - sent, 0);

			if (more > 0)
				sent += more;
			else if (errno == ENOBUFS || errno == EAGAIN)
				poll(NULL, 0, 1); /* the queue below is full; the deadline bounds how often */
			else
				die("send");
		}
		done += filled;
	}
	printf("reflected %u\n", done);
	return 0;
}
