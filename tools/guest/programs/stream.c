/* A TCP stream with a known content, IPv4 or IPv6.
 *
 *   stream serve PORT BYTES SEED [TIMEOUT]     takes one connection, judges it, answers with its CRC-32
 *   stream send ADDRESS PORT BYTES SEED [TIMEOUT]
 *
 * Byte n of the stream is table byte n mod 65521 (common.h). ADDRESS may carry a zone: fe80::1%eth0.
 * Exit status 0: intact; 1: not; 2: wrong use or no connection; 3: timed out (60 s unless told).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common.h"

enum { PERIOD = 65521 };

static uint8_t table[2 * PERIOD]; /* twice, so that any PERIOD bytes from an offset lie in one piece */
static uint8_t got[PERIOD];

static int serve(uint16_t port, uint64_t bytes)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int on = 1, listener = socket(AF_INET6, SOCK_STREAM, 0), fd;
	uint64_t done = 0, wrong = 0;
	uint32_t crc = 0, answer;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1))
		die("listen");
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept");
	while (done < bytes) {
		ssize_t size = recv(fd, got, sizeof got, 0);

		if (size < 0)
			die("receive");
		if (!size)
			break;
		wrong += memcmp(got, table + done % PERIOD, size) != 0;
		crc = crc32(crc, got, size);
		done += size;
	}
	answer = htonl(crc);
	if (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
		die("answer");
	printf("served %llu crc %08x wrong pieces %llu\n", (unsigned long long)done, crc, (unsigned long long)wrong);
	return wrong || done != bytes;
}

static int connect_to(char *text, uint16_t port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	char *zone = strchr(text, '%');
	int fd;

	if (zone) {
		*zone++ = 0;
		v6.sin6_scope_id = if_nametoindex(zone);
	}
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&v4, sizeof v4))
			die(text);
	} else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
		fd = socket(AF_INET6, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&v6, sizeof v6))
			die(text);
	} else {
		errno = EINVAL;
		die(text);
	}
	return fd;
}

static int send_all(int fd, uint64_t bytes)
{
	uint64_t done = 0;
	uint32_t crc = 0, answer = 0;

	while (done < bytes) {
		const uint8_t *from = table + done % PERIOD;
		size_t most = bytes - done < PERIOD ? bytes - done : PERIOD;
		ssize_t size = send(fd, from, most, MSG_NOSIGNAL);

		if (size < 0)
			die("send");
		crc = crc32(crc, from, size);
		done += size;
	}
	if (recv(fd, &answer, sizeof answer, MSG_WAITALL) != sizeof answer)
		die("no answer");
	printf("sent %llu crc %08x answer %08x\n", (unsigned long long)done, crc, ntohl(answer));
	return crc != ntohl(answer);
}

int main(int argc, char **argv)
{
	int serving = argc >= 5 && argc <= 6 && !strcmp(argv[1], "serve");
	char **rest = argv + (serving ? 2 : 3);

	if (!serving && (argc < 6 || argc > 7 || strcmp(argv[1], "send"))) {
		fputs("stream serve PORT BYTES SEED [TIMEOUT] | send ADDRESS PORT BYTES SEED [TIMEOUT]\n", stderr);
		return 2;
	}
	deadline(rest[3] ? number(rest[3], 86400) : 60);
	fill_table(table, PERIOD, number(rest[2], UINT64_MAX));
	memcpy(table + PERIOD, table, PERIOD);
	if (serving)
		return serve(number(rest[0], 65535), number(rest[1], UINT64_MAX));
	return send_all(connect_to(argv[2], number(rest[0], 65535)), number(rest[1], UINT64_MAX));
}
