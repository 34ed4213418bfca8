/* Ethernet frames with a known content, sent or judged through AF_PACKET.
 *
 *   frames send IFACE COUNT SIZES SEED DSTMAC [TIMEOUT]
 *   frames recv IFACE COUNT SEED TIMEOUT [EVENT]
 *
 * SIZES is a cycle of frame lengths without FCS, as in 60,64,1500. EVENT is announced to the host once the socket
 * listens. A frame is: destination, source, type 0x88b5, sequence number (32 bits, from 0), frame length (16 bits), both
 * big-endian, then table bytes (common.h) from offset (sequence * 2654435761 mod 2^32) >> 16 on.
 * Digest over all frames in order: h = (h ^ crc32(frame)) * 0x100000001b3 mod 2^64, from h = 0xcbf29ce484222325.
 * Exit status 0: all sent, or all received intact and in order; 1: not; 2: wrong use or no interface; 3: timed out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "common.h"

enum { TYPE = 0x88B5, HEAD = 20, SIZE_MAX_ = 16384, BATCH = 64, SIZES_MAX = 64 };

static uint8_t table[65536 + SIZE_MAX_];
static uint8_t buffers[BATCH][SIZE_MAX_];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];

static const uint8_t *payload(uint32_t sequence)
{
	return table + (sequence * 2654435761u >> 16);
}

static uint64_t digest(uint64_t h, const uint8_t *frame, size_t size)
{
	return (h ^ crc32(0, frame, size)) * 0x100000001b3ull;
}

static int packet_socket(const char *iface)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE) };
	int room = 256 << 20, fd = socket(AF_PACKET, SOCK_RAW, 0);

	address.sll_ifindex = if_nametoindex(iface);
	if (fd < 0 || !address.sll_ifindex)
		die(iface);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
		die("receive buffer");
	if (bind(fd, (struct sockaddr *)&address, sizeof address))
		die("bind");
	for (int i = 0; i < BATCH; i++) {
		pieces[i] = (struct iovec){ buffers[i], SIZE_MAX_ };
		batch[i].msg_hdr = (struct msghdr){ .msg_iov = &pieces[i], .msg_iovlen = 1 };
	}
	return fd;
}

static int send_all(const char *iface, uint32_t count, char *sizes_text, const uint8_t *target)
{
	struct ifreq request = { 0 };
	unsigned sizes[SIZES_MAX], cycle = 0;
	uint64_t h = 0xcbf29ce484222325ull;
	int fd = packet_socket(iface);

	for (char *word = strtok(sizes_text, ","); word && cycle < SIZES_MAX; word = strtok(NULL, ","))
		if ((sizes[cycle++] = number(word, SIZE_MAX_)) < HEAD)
			errno = ERANGE, die(word);
	strncpy(request.ifr_name, iface, IFNAMSIZ - 1);
	if (!cycle || ioctl(fd, SIOCGIFHWADDR, &request))
		die(iface);

	for (uint32_t next = 0; next < count;) {
		unsigned filled = 0, sent = 0;

		for (; filled < BATCH && next < count; filled++, next++) {
			uint8_t *frame = buffers[filled];
			uint32_t sequence = htonl(next);
			uint16_t size = sizes[next % cycle], type = htons(TYPE), length = htons(size);

			memcpy(frame, target, 6);
			memcpy(frame + 6, request.ifr_hwaddr.sa_data, 6);
			memcpy(frame + 12, &type, 2);
			memcpy(frame + 14, &sequence, 4);
			memcpy(frame + 18, &length, 2);
			memcpy(frame + HEAD, payload(next), size - HEAD);
			pieces[filled].iov_len = size;
			h = digest(h, frame, size);
		}
		while (sent < filled) {
			int done = sendmmsg(fd, batch + sent, filled - sent, 0);

			if (done > 0)
				sent += done;
			else if (errno == ENOBUFS || errno == EAGAIN)
				poll(NULL, 0, 1); /* the queue below is full; the deadline bounds how often */
			else
				die("send");
		}
	}
	printf("sent %u digest %016llx\n", count, (unsigned long long)h);
	return 0;
}

static int receive_all(const char *iface, uint32_t count, const char *ready)
{
	uint32_t got = 0, misordered = 0, corrupt = 0, expected = 0;
	uint64_t h = 0xcbf29ce484222325ull, lost = 0;
	struct pollfd wait = { .fd = packet_socket(iface), .events = POLLIN };
	time_t idle = 0;

	if (ready)
		event(ready);
	while (got < count) {
		int filled = recvmmsg(wait.fd, batch, BATCH, MSG_DONTWAIT, NULL);

		if (filled < 0 && errno != EAGAIN)
			die("receive");
		if (filled <= 0) {
			if (!poll(&wait, 1, 1000) && got && ++idle == 5)
				break; /* it has begun, and nothing more came for 5 s */
			continue;
		}
		idle = 0;
		for (int i = 0; i < filled; i++, got++) {
			const uint8_t *frame = buffers[i];
			unsigned size = batch[i].msg_len, length = frame[18] << 8 | frame[19];
			uint32_t sequence = (uint32_t)frame[14] << 24 | frame[15] << 16 | frame[16] << 8 | frame[17];

			if (size < HEAD || length < HEAD || length > size || (length < size && size > 60) ||
			    memcmp(frame + HEAD, payload(sequence), length - HEAD)) {
				corrupt++;
				continue;
			}
			if (sequence < expected) {
				misordered++;
			} else {
				lost += sequence - expected;
				expected = sequence + 1;
			}
			h = digest(h, frame, length);
		}
	}
	if (expected < count)
		lost += count - expected;
	printf("received %u digest %016llx lost %llu misordered %u corrupt %u\n", got, (unsigned long long)h,
	       (unsigned long long)lost, misordered, corrupt);
	return lost || misordered || corrupt || got != count;
}

int main(int argc, char **argv)
{
	if ((argc == 7 || argc == 8) && !strcmp(argv[1], "send")) {
		unsigned mac[6];
		uint8_t target[6];

		if (sscanf(argv[6], "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6)
			errno = EINVAL, die(argv[6]);
		for (int i = 0; i < 6; i++)
			target[i] = mac[i];
		deadline(argc == 8 ? number(argv[7], 86400) : 60);
		fill_table(table, sizeof table, number(argv[5], UINT64_MAX));
		return send_all(argv[2], number(argv[3], UINT32_MAX), argv[4], target);
	}
	if ((argc == 6 || argc == 7) && !strcmp(argv[1], "recv")) {
		deadline(number(argv[5], 86400));
		fill_table(table, sizeof table, number(argv[4], UINT64_MAX));
		return receive_all(argv[2], number(argv[3], UINT32_MAX), argc == 7 ? argv[6] : NULL);
	}
	fputs("frames send IFACE COUNT SIZES SEED DSTMAC [TIMEOUT] | recv IFACE COUNT SEED TIMEOUT [EVENT]\n", stderr);
	return 2;
}
