/* What both test programs share: the byte table payloads are cut from, CRC-32, numbers from the command line, a deadline.
 *
 * Byte n of the table for a seed is the top byte of x[n + 1], where x[0] = seed and
 * x[n + 1] = x[n] * 6364136223846793005 + 1442695040888963407 (mod 2^64).
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void fill_table(uint8_t *table, size_t size, uint64_t seed)
{
	uint64_t x = seed;

	for (size_t n = 0; n < size; n++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		table[n] = x >> 56;
	}
}

/* CRC-32 as zlib has it; start with 0 and feed the last result back in to go on. */
static inline uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size)
{
	static uint32_t step[256];

	if (!step[1]) {
		for (uint32_t n = 0; n < 256; n++) {
			uint32_t value = n;

			for (int bit = 0; bit < 8; bit++)
				value = value & 1 ? value >> 1 ^ 0xEDB88320 : value >> 1;
			step[n] = value;
		}
	}
	crc = ~crc;
	for (size_t n = 0; n < size; n++)
		crc = crc >> 8 ^ step[(crc ^ data[n]) & 0xFF];
	return ~crc;
}

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

static inline uint64_t number(const char *text, uint64_t most)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || value > most) {
		fprintf(stderr, "'%s' is no number up to %llu\n", text, (unsigned long long)most);
		exit(2);
	}
	return value;
}

static void overdue(int signal)
{
	static const char text[] = "timed out\n";

	(void)signal;
	if (write(2, text, sizeof text - 1) < 0)
		_exit(4);
	_exit(3);
}

/* Whatever the program waits for later, it ends after so many seconds with exit status 3. */
static inline void deadline(unsigned seconds)
{
	signal(SIGALRM, overdue);
	alarm(seconds);
}

/* Tell the host: descriptor 3 is the console (see rootfs/init). */
static inline void event(const char *name)
{
	if (dprintf(3, "PVDEV-EVENT %s\n", name) < 0)
		fprintf(stderr, "no console to announce %s on\n", name);
}
