/* A QEMU plugin that carries port instructions of a TCG guest to pvdev, over a UNIX socket, before the processor would
 * check whether they are allowed: backdoor calls from kernels and programs alike, and dword accesses to ports that a
 * device of pvdev's claims. It answers CPUID's hypervisor leaves as VMware does.
 *
 * Arguments: socket=PATH, claims=PATH (a page of port ranges the other end keeps), bus-khz=N.
 * The wire is described in wire.py beside this file. Built by pvdev where it is used: no header of QEMU's is needed,
 * the few declarations below are our own. PLUGIN_API is 6 for QEMU 11.0, 7 from 11.1 on.
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* -- glib, as far as it is used ----------------------------------------------------------------------------------- */
typedef struct { uint8_t *data; unsigned len; } GByteArray;
typedef struct { char *data; unsigned len; } GArray;
extern GByteArray *g_byte_array_new(void);
extern GByteArray *g_byte_array_set_size(GByteArray *, unsigned);
extern uint8_t *g_byte_array_free(GByteArray *, int);
extern char *g_array_free(GArray *, int);

/* -- QEMU's plugin interface, as far as it is used ---------------------------------------------------------------- */
typedef uint64_t plugin_id;
struct tb;
struct insn;
struct handle;
typedef struct { struct handle *handle; const char *name, *feature; bool readonly; } register_facts;
typedef struct {
	const char *target;
	struct { int min, cur; } version;
	bool system;
	int processors, processors_max;
} info;
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *, void (*)(unsigned, void *), int, void *);
extern size_t qemu_plugin_tb_n_insns(const struct tb *);
extern struct insn *qemu_plugin_tb_get_insn(const struct tb *, size_t);
extern size_t qemu_plugin_insn_data(const struct insn *, void *, size_t);
extern size_t qemu_plugin_insn_size(const struct insn *);
extern uint64_t qemu_plugin_insn_vaddr(const struct insn *);
extern GArray *qemu_plugin_get_registers(void);
extern bool qemu_plugin_read_register(struct handle *, GByteArray *);
extern bool qemu_plugin_write_register(struct handle *, GByteArray *);
extern void qemu_plugin_set_pc(uint64_t) __attribute__((noreturn));
#if PLUGIN_API >= 7
#define VCPU_ARGUMENTS unsigned vcpu, void *unused
#define BLOCK_ARGUMENTS struct tb *block, void *unused
extern void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(unsigned, void *), void *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(struct tb *, void *), void *);
#define REGISTER(what, id, function) what(id, function, NULL)
#else
#define VCPU_ARGUMENTS plugin_id unused, unsigned vcpu
#define BLOCK_ARGUMENTS plugin_id unused, struct tb *block
extern void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned));
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct tb *));
#define REGISTER(what, id, function) what(id, function)
#endif
#define EXPORT __attribute__((visibility("default")))
enum { WITH_REGISTERS_AND_PC = 3 };

EXPORT int qemu_plugin_version = PLUGIN_API;

/* -- the wire ----------------------------------------------------------------------------------------------------- */
enum kind { HELLO, IN, REP_INSB, REP_OUTSB, OUT, CPUID };
enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RIP, CS, EFLAGS, CR0, CR3, CR4, EFER, REGISTERS };
enum { GENERAL = 7, VCPUS = 64 };
static const char *const names[REGISTERS] = {
	"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rip", "cs", "eflags", "cr0", "cr3", "cr4", "efer"};
struct call { uint32_t kind, vcpu; uint64_t registers[REGISTERS]; };
struct answer { uint32_t handled, reserved; uint64_t registers[GENERAL]; };
struct claims { uint32_t count; struct { uint16_t first, count; } ranges[16]; };

static const uint32_t MAGIC = 0x564D5868, BALLOON_MAGIC = 0x456C6D6F;
static int fd = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static struct handle *handles[VCPUS][REGISTERS];
static const volatile struct claims *claims;
static uint32_t tsc_khz, bus_khz = 1000000;

static bool move(bool out, void *data, size_t length)
{
	for (char *at = data; length;) {
		ssize_t done = out ? send(fd, at, length, MSG_NOSIGNAL) : recv(fd, at, length, 0);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		at += done;
		length -= done;
	}
	return true;
}

/* One exchange; false: nobody there, and nobody will be. */
static bool ask(struct call *call, struct answer *answer)
{
	pthread_mutex_lock(&turn);
	bool fine = fd >= 0 && move(true, call, sizeof *call) && move(false, answer, sizeof *answer);
	if (!fine && fd >= 0) {
		fprintf(stderr, "pvdev plugin: the host has gone; ports are empty from now on\n");
		close(fd);
		fd = -1;
	}
	pthread_mutex_unlock(&turn);
	return fine;
}

/* -- registers ---------------------------------------------------------------------------------------------------- */
static uint64_t get(unsigned vcpu, int number)
{
	uint64_t value = 0;
	GByteArray *bytes = g_byte_array_new();
	if (handles[vcpu][number] && qemu_plugin_read_register(handles[vcpu][number], bytes))
		memcpy(&value, bytes->data, bytes->len < 8 ? bytes->len : 8);
	g_byte_array_free(bytes, 1);
	return value;
}

static void set(unsigned vcpu, int number, uint64_t value)
{
	GByteArray *bytes = g_byte_array_set_size(g_byte_array_new(), 8);
	memcpy(bytes->data, &value, 8);
	qemu_plugin_write_register(handles[vcpu][number], bytes);
	g_byte_array_free(bytes, 1);
}

/* -- instructions ------------------------------------------------------------------------------------------------- */
static bool claimed(uint16_t port)
{
	if (!claims)
		return false;
	uint32_t count = claims->count;
	for (uint32_t i = 0; i < count && i < 16; i++)
		if ((uint16_t)(port - claims->ranges[i].first) < claims->ranges[i].count)
			return true;
	return false;
}

static bool cpuid(unsigned vcpu, uint32_t leaf)
{
	uint32_t out[4] = {0};
	if (leaf < 0x40000000 || leaf > 0x400000FF)
		return false;
	if (leaf == 0x40000000) {
		out[0] = 0x40000010;
		memcpy(out + 1, "VMwareVMware", 12);
	} else if (leaf == 0x40000010) {
		out[0] = tsc_khz;
		out[1] = bus_khz;
	}
	for (int i = 0; i < 4; i++)
		set(vcpu, i, out[i]);
	return true;
}

static bool carried(unsigned vcpu, enum kind kind)
{
	uint32_t eax = get(vcpu, RAX);
	if (kind == CPUID)
		return cpuid(vcpu, eax);
	uint16_t port = get(vcpu, RDX);
	bool backdoor = (eax == MAGIC && (port == 0x5658 || port == 0x5659)) || (eax == BALLOON_MAGIC && port == 0x5670);
	bool device = (kind == IN || kind == OUT) && claimed(port) && !(get(vcpu, CS) & 3);
	if (!backdoor && !device)
		return false;
	struct call call = {.kind = kind, .vcpu = vcpu};
	struct answer answer;
	for (int i = 0; i < REGISTERS; i++)
		call.registers[i] = get(vcpu, i);
	if (!ask(&call, &answer) || !answer.handled)
		return false;
	for (int i = 0; i < GENERAL; i++)
		if (answer.registers[i] != call.registers[i])
			set(vcpu, i, answer.registers[i]);
	return true;
}

/* `data`: where in its page the instruction begins, its length and its kind, 12, 4 and 4 bits. */
static void executed(unsigned vcpu, void *data)
{
	uintptr_t facts = (uintptr_t)data;
	if (vcpu >= VCPUS || !(get(vcpu, CR0) & 1) || !carried(vcpu, facts >> 16 & 15))
		return;
	/* RIP may be where the block begins; blocks are shared by mappings, so that only the offset in a page is known. */
	uint64_t block = get(vcpu, RIP), pc = (block & ~(uint64_t)0xFFF) | (facts & 0xFFF);
	if (pc < block)
		pc += 0x1000;
	qemu_plugin_set_pc(pc + (facts >> 12 & 15));
}

static void translated(BLOCK_ARGUMENTS)
{
	(void)unused;
	size_t count = qemu_plugin_tb_n_insns(block);
	for (size_t i = 0; i < count; i++) {
		struct insn *insn = qemu_plugin_tb_get_insn(block, i);
		uint8_t code[16] = {0};
		size_t length = qemu_plugin_insn_size(insn);
		uint64_t address = qemu_plugin_insn_vaddr(insn);
		if (length > 2 || address < 0x100000) /* firmware in real mode is left alone */
			continue;
		qemu_plugin_insn_data(insn, code, sizeof code);
		enum kind kind = HELLO;
		if (length == 1)
			kind = code[0] == 0xED ? IN : code[0] == 0xEF ? OUT : HELLO;
		else if (code[0] == 0xF3)
			kind = code[1] == 0x6C ? REP_INSB : code[1] == 0x6E ? REP_OUTSB : HELLO;
		else if (code[0] == 0x0F && code[1] == 0xA2)
			kind = CPUID;
		if (kind == HELLO)
			continue;
		uintptr_t facts = (address & 0xFFF) | length << 12 | (uintptr_t)kind << 16;
		qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, WITH_REGISTERS_AND_PC, (void *)facts);
	}
}

static void started(VCPU_ARGUMENTS)
{
	(void)unused;
	GArray *found = qemu_plugin_get_registers();
	const register_facts *facts = (const register_facts *)found->data;
	for (unsigned i = 0; vcpu < VCPUS && i < found->len; i++)
		for (int number = 0; number < REGISTERS; number++)
			if (!strcmp(facts[i].name, names[number]))
				handles[vcpu][number] = facts[i].handle;
	g_array_free(found, 1);
}

/* -- the beginning ------------------------------------------------------------------------------------------------ */
/* What a TCG guest's time stamp counter counts, in kHz: the host's own, or nanoseconds. */
static uint32_t measure(void)
{
#if defined(__x86_64__) || defined(__i386__)
	struct timespec from, to, pause = {.tv_nsec = 50000000};
	clock_gettime(CLOCK_MONOTONIC, &from);
	uint64_t first = __builtin_ia32_rdtsc();
	nanosleep(&pause, NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	uint64_t ticks = __builtin_ia32_rdtsc() - first;
	uint64_t ns = (to.tv_sec - from.tv_sec) * 1000000000ull + to.tv_nsec - from.tv_nsec;
	return ticks * 1000000 / ns;
#else
	return 1000000;
#endif
}

static int fail(const char *what, const char *path)
{
	fprintf(stderr, "pvdev plugin: %s %s: %s\n", what, path, strerror(errno));
	return 1;
}

EXPORT int qemu_plugin_install(plugin_id id, const info *info, int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "socket=", 7))
			snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[i] + 7);
		else if (!strncmp(argv[i], "bus-khz=", 8))
			bus_khz = strtoul(argv[i] + 8, NULL, 10);
		else if (!strncmp(argv[i], "claims=", 7)) {
			int page = open(argv[i] + 7, O_RDONLY | O_CLOEXEC);
			void *at = page < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, page, 0);
			if (at == MAP_FAILED)
				return fail("cannot read claims at", argv[i] + 7);
			close(page);
			claims = at;
		}
	}
	if (!info->system || strcmp(info->target, "x86_64")) {
		fprintf(stderr, "pvdev plugin: for qemu-system-x86_64 only\n");
		return 1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
		return fail("nobody at", address.sun_path);
	tsc_khz = measure();
	struct call hello = {.kind = HELLO, .registers = {info->version.cur, info->processors, tsc_khz, bus_khz}};
	struct answer answer;
	if (!ask(&hello, &answer))
		return 1;
	REGISTER(qemu_plugin_register_vcpu_init_cb, id, started);
	REGISTER(qemu_plugin_register_vcpu_tb_trans_cb, id, translated);
	return 0;
}
