/* What a driver says of each frame it received: queue, checksum, VLAN tag, hash, merged segments, as packet sockets see it.
 *
 *   seen list IFACE QUEUES SOURCE COUNT TIMEOUT [EVENT]
 *   seen count IFACE QUEUES SOURCE COUNT TIMEOUT [EVENT]
 *
 * Only frames from station SOURCE (a MAC address) count; after COUNT of them it ends. EVENT is announced to the host once
 * all sockets listen. `list` prints a line for each, queue by queue:
 *
 *   queue=Q len=L csum=none|valid|partial vlan=TCI|- hash=HEX gso=-|tcp4:SIZE|tcp6:SIZE ms=N crc=HEX
 *
 * crc is over the frame as it lies in the guest's memory (a stripped tag is not in it), hash what the stack goes by (the
 * driver's where that is one over addresses and ports), ms when the stack got it; queue=- when the driver named none.
 * `count` compares with what frames claim of themselves instead: one that ends in "PVDEVSAY", a hash (32 bits, 0: any)
 * and a queue (32 bits, ffffffff: any), both big-endian. It prints `queues A,B,... other N wrong_hash N wrong_queue N`.
 * Exit status 0: all came (and none was wrong); 1: not; 2: wrong use or no interface; 3: timed out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common.h"

enum { QUEUES_MAX = 32, BLOCK = 1 << 17, BLOCKS = 32, SLOTS = QUEUES_MAX + 1, CLAIM = 16, GROUP = 7 };
enum { RETIRE_MS = 100 }; /* a block with anything in it is ours then: BLOCKS times as long we need not look */

struct ring {
	uint8_t *memory;
	unsigned next; /* block */
	uint32_t frames;
};

static struct ring rings[SLOTS]; /* 0: no queue recorded; q + 1: queue q, as the kernel counts them */
static struct pollfd waits[SLOTS];
static uint32_t wrong_hash, wrong_queue;

static void only_from(int fd, const uint8_t *mac)
{
	uint32_t high = (uint32_t)mac[0] << 24 | mac[1] << 16 | mac[2] << 8 | mac[3], low = mac[4] << 8 | mac[5];
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 10),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0x40000),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = { sizeof code / sizeof *code, code };

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter))
		die("filter");
}

/* Slot i of a fan-out group by queue takes what has queue mapping i. */
static void open_slot(unsigned slot, int index, const uint8_t *mac)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index };
	struct tpacket_req3 room = { .tp_block_size = BLOCK, .tp_block_nr = BLOCKS, .tp_frame_size = 2048,
				     .tp_frame_nr = BLOCK / 2048 * BLOCKS, .tp_retire_blk_tov = RETIRE_MS,
				     .tp_feature_req_word = TP_FT_REQ_FILL_RXHASH };
	int version = TPACKET_V3, on = 1, group = PACKET_FANOUT_QM << 16 | GROUP;
	int fd = socket(AF_PACKET, SOCK_RAW, 0); /* no protocol: nothing comes before the filter stands */

	if (fd < 0)
		die("socket");
	only_from(fd, mac);
	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) ||
	    setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &room, sizeof room))
		die("ring");
	rings[slot].memory = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rings[slot].memory == MAP_FAILED)
		die("mmap");
	if (bind(fd, (struct sockaddr *)&address, sizeof address) ||
	    setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof group))
		die("fan-out");
	waits[slot] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static void list(unsigned slot, const struct tpacket3_hdr *head, const struct virtio_net_hdr *net, const uint8_t *frame)
{
	const char *csum = head->tp_status & TP_STATUS_CSUMNOTREADY ? "partial" :
			   head->tp_status & TP_STATUS_CSUM_VALID   ? "valid" :
								      "none";
	char queue[12] = "-", vlan[12] = "-", gso[24] = "-";

	if (slot)
		snprintf(queue, sizeof queue, "%u", slot - 1);
	if (head->tp_status & TP_STATUS_VLAN_VALID)
		snprintf(vlan, sizeof vlan, "%04x", head->hv1.tp_vlan_tci);
	if (net->gso_type)
		snprintf(gso, sizeof gso, "tcp%d:%u", net->gso_type == VIRTIO_NET_HDR_GSO_TCPV6 ? 6 : 4, net->gso_size);
	printf("queue=%s len=%u csum=%s vlan=%s hash=%08x gso=%s ms=%llu crc=%08x\n", queue, head->tp_len, csum, vlan,
	       head->hv1.tp_rxhash, gso, head->tp_sec * 1000ull + head->tp_nsec / 1000000,
	       crc32(0, frame, head->tp_snaplen));
}

static void compare(unsigned slot, const struct tpacket3_hdr *head, const uint8_t *frame)
{
	const uint8_t *claim = frame + head->tp_snaplen - CLAIM;
	uint32_t hash, queue;

	if (head->tp_snaplen < CLAIM || memcmp(claim, "PVDEVSAY", 8))
		return;
	memcpy(&hash, claim + 8, 4);
	memcpy(&queue, claim + 12, 4);
	wrong_hash += hash && ntohl(hash) != head->hv1.tp_rxhash;
	wrong_queue += queue != UINT32_MAX && ntohl(queue) + 1 != slot;
}

/* Judge what closed blocks of a slot hold; returns how many frames. */
static uint32_t drain(unsigned slot, int listing)
{
	struct ring *ring = &rings[slot];
	uint32_t before = ring->frames;

	for (;;) {
		struct tpacket_block_desc *block = (void *)(ring->memory + (size_t)ring->next * BLOCK);
		const uint8_t *at;

		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			return ring->frames - before;
		at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
		for (uint32_t n = 0; n < block->hdr.bh1.num_pkts; n++) {
			const struct tpacket3_hdr *head = (const void *)at;
			const uint8_t *frame = at + head->tp_mac;

			if (listing)
				list(slot, head, (const void *)(frame - sizeof(struct virtio_net_hdr)), frame);
			else
				compare(slot, head, frame);
			ring->frames++;
			at += head->tp_next_offset;
		}
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		ring->next = (ring->next + 1) % BLOCKS;
	}
}

int main(int argc, char **argv)
{
	int listing = argc > 1 && !strcmp(argv[1], "list"), index;
	unsigned bytes[6], queues;
	uint32_t want, got = 0;
	uint8_t mac[6];

	if (argc < 7 || argc > 8 || (!listing && strcmp(argv[1], "count"))) {
		fputs("seen list|count IFACE QUEUES SOURCE COUNT TIMEOUT [EVENT]\n", stderr);
		return 2;
	}
	if (sscanf(argv[4], "%x:%x:%x:%x:%x:%x", bytes, bytes + 1, bytes + 2, bytes + 3, bytes + 4, bytes + 5) != 6)
		errno = EINVAL, die(argv[4]);
	for (int i = 0; i < 6; i++)
		mac[i] = bytes[i];
	if (!(index = if_nametoindex(argv[2])))
		die(argv[2]);
	queues = number(argv[3], QUEUES_MAX);
	want = number(argv[5], UINT32_MAX);
	deadline(number(argv[6], 86400));
	for (unsigned slot = 0; slot <= queues; slot++)
		open_slot(slot, index, mac);
	if (argc == 8)
		event(argv[7]);
	while (got < want) {
		for (unsigned slot = 0; slot <= queues; slot++)
			got += drain(slot, listing);
		fflush(stdout); /* what came is told even if the rest never does */
		if (got < want)
			poll(waits, queues + 1, 1000);
	}
	if (!listing) {
		printf("queues ");
		for (unsigned slot = 1; slot <= queues; slot++)
			printf("%s%u", slot > 1 ? "," : "", rings[slot].frames);
		printf(" other %u wrong_hash %u wrong_queue %u\n", rings[0].frames, wrong_hash, wrong_queue);
	}
	return got != want || wrong_hash || wrong_queue;
}
