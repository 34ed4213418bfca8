/* Draw pictures of known content, each held until the host has seen it:
 *
 *   picture fb SEED                 over all of /dev/fb0, mapped
 *   picture drm WxH[,WxH...] SEED   on the first connected monitor, in dumb buffers: a whole picture (SEED), then a part
 *                                   of another (SEED + 1), told by DIRTYFB, then a cursor
 *   picture monitors SEED           over all monitors of a layout, as VMware's tools set it when the host says so: lines
 *                                   `layout N X Y W H ...`; each is announced as `monitors-WxH` of the desktop, and
 *                                   `done` is the end
 *
 * Pixel (x, y) of seed s is 0x00RRGGBB with R = 7 x + s, G = 5 y + s, B = x ^ y, each modulo 256. Every picture is
 * announced by an event `KIND-WxH`, and ends with the line `seen` from the host.
 */
#include "common.h"
#include "drm.h"

#include <fcntl.h>
#include <linux/fb.h>
#include <linux/kd.h>
#include <sys/mman.h>

enum { CURSOR = 64, MOST = 16, MODES = 256 };

static void draw(uint32_t *pixels, unsigned pitch, struct drm_clip area, unsigned seed)
{
	for (unsigned y = area.y1; y < area.y2; y++)
		for (unsigned x = area.x1; x < area.x2; x++)
			pixels[y * pitch / 4 + x] =
				((7 * x + seed) & 255) << 16 | ((5 * y + seed) & 255) << 8 | ((x ^ y) & 255);
}

/* The next line from the host. */
static void hear(char *line, size_t size)
{
	size_t used = 0;

	for (;;) {
		char byte;

		if (read(4, &byte, 1) != 1)
			die("no console to hear from");
		if (byte == '\n')
			break;
		if (used < size - 1)
			line[used++] = byte;
	}
	line[used] = 0;
}

static void announce(const char *kind, unsigned width, unsigned height)
{
	char text[64];

	snprintf(text, sizeof text, "%s-%ux%u", kind, width, height);
	event(text);
}

/* Announce a picture, and wait until the host has seen it. */
static void show(const char *kind, unsigned width, unsigned height)
{
	char line[64];

	announce(kind, width, height);
	do
		hear(line, sizeof line);
	while (strcmp(line, "seen"));
}

static void *map(int fd, size_t size, off_t at)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static int opened(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

static void ask(int fd, unsigned long request, void *argument, const char *what)
{
	if (ioctl(fd, request, argument) < 0)
		die(what);
}

static void on_fb(unsigned seed)
{
	int fd = opened("/dev/fb0"), tty = opened("/dev/tty1");
	struct fb_var_screeninfo mode;
	struct fb_fix_screeninfo facts;
	struct drm_clip all = { 0 };

	ask(tty, KDSETMODE, (void *)KD_GRAPHICS, "KDSETMODE"); /* no blinking text cursor in the picture */
	ask(fd, FBIOGET_VSCREENINFO, &mode, "FBIOGET_VSCREENINFO");
	ask(fd, FBIOGET_FSCREENINFO, &facts, "FBIOGET_FSCREENINFO");
	all.x2 = mode.xres;
	all.y2 = mode.yres;
	draw(map(fd, (size_t)facts.line_length * mode.yres, 0), facts.line_length, all, seed);
	show("fb", mode.xres, mode.yres);
	ask(tty, KDSETMODE, (void *)KD_TEXT, "KDSETMODE");
}

static uint32_t *dumb(int fd, struct drm_dumb *buffer)
{
	struct drm_map where = { 0 };

	buffer->bpp = 32;
	ask(fd, DRM_CREATE_DUMB, buffer, "CREATE_DUMB");
	where.handle = buffer->handle;
	ask(fd, DRM_MAP_DUMB, &where, "MAP_DUMB");
	return map(fd, buffer->size, where.offset);
}

/* The first connected monitor, and its mode of that size, for `crtc`. */
static void choose(int fd, struct drm_crtc *crtc, unsigned width, unsigned height, uint32_t *connector)
{
	static struct drm_mode modes[MODES];
	uint32_t crtcs[MOST], connectors[MOST], encoders[MOST];
	struct drm_resources card = { 0 };

	ask(fd, DRM_GETRESOURCES, &card, "GETRESOURCES");
	if (card.crtc_count > MOST || card.connector_count > MOST || card.encoder_count > MOST)
		die("monitors without end");
	card.fb_count = 0;
	card.crtcs = (uintptr_t)crtcs;
	card.connectors = (uintptr_t)connectors;
	card.encoders = (uintptr_t)encoders;
	ask(fd, DRM_GETRESOURCES, &card, "GETRESOURCES");
	for (unsigned n = 0; n < card.connector_count; n++) {
		struct drm_connector found = { .id = connectors[n] };
		unsigned count;

		ask(fd, DRM_GETCONNECTOR, &found, "GETCONNECTOR");
		count = found.mode_count < MODES ? found.mode_count : MODES;
		if (found.connection != DRM_CONNECTED)
			continue;
		found = (struct drm_connector){ .id = connectors[n], .mode_count = count, .modes = (uintptr_t)modes };
		ask(fd, DRM_GETCONNECTOR, &found, "GETCONNECTOR");
		for (unsigned m = 0; m < count; m++)
			if (modes[m].width == width && modes[m].height == height) {
				crtc->id = crtcs[0];
				crtc->mode = modes[m];
				crtc->mode_valid = crtc->connector_count = 1;
				*connector = connectors[n];
				crtc->connectors = (uintptr_t)connector;
				return;
			}
	}
	fprintf(stderr, "no connected monitor has a mode of %ux%u\n", width, height);
	exit(1);
}

static void on_drm(int fd, unsigned width, unsigned height, unsigned seed)
{
	struct drm_dumb buffer = { .width = width, .height = height }, image = { .width = CURSOR, .height = CURSOR };
	uint32_t *pixels = dumb(fd, &buffer), *cursor = dumb(fd, &image), connector;
	struct drm_fb fb = { .width = width, .height = height, .pitch = buffer.pitch, .bpp = 32, .depth = 24,
			     .handle = buffer.handle };
	struct drm_clip all = { .x2 = width, .y2 = height };
	struct drm_clip part = { width / 4, height / 4, width / 2 + 1, height / 2 + 1 };
	struct drm_dirty dirty = { .clip_count = 1, .clips = (uintptr_t)&part };
	struct drm_cursor point = { .width = CURSOR, .height = CURSOR, .handle = image.handle, .x = width / 2,
				    .y = height / 3, .flags = DRM_CURSOR_BO };
	struct drm_crtc crtc = { 0 };

	choose(fd, &crtc, width, height, &connector);
	draw(pixels, buffer.pitch, all, seed);
	ask(fd, DRM_ADDFB, &fb, "ADDFB");
	crtc.fb = dirty.fb = fb.id;
	ask(fd, DRM_SETCRTC, &crtc, "SETCRTC");
	show("drm", width, height);

	draw(pixels, buffer.pitch, part, seed + 1);
	ask(fd, DRM_DIRTYFB, &dirty, "DIRTYFB");
	show("dirty", width, height);

	for (unsigned n = 0; n < CURSOR * CURSOR; n++)
		cursor[n] = n % CURSOR < CURSOR / 2 ? 0xFF000000 | n * 16 : 0x80402010;
	point.crtc = crtc.id;
	if (!ioctl(fd, DRM_CURSOR, &point)) {
		point.flags = DRM_CURSOR_MOVE;
		ask(fd, DRM_CURSOR, &point, "CURSOR");
		show("cursor", width, height);
		point.flags = DRM_CURSOR_BO;
		point.handle = 0;
		ask(fd, DRM_CURSOR, &point, "CURSOR");
		show("hidden", width, height);
	} else if (errno != ENXIO) { /* a driver that has no hardware cursor here says so */
		die("CURSOR");
	}
	ask(fd, DRM_RMFB, &fb.id, "RMFB");
}

/* The mode of that size of a connected monitor; whether there is one. */
static int mode_of(int fd, uint32_t connector, unsigned width, unsigned height, struct drm_mode *mode)
{
	static struct drm_mode modes[MODES];
	struct drm_connector found = { .id = connector };
	unsigned count;

	ask(fd, DRM_GETCONNECTOR, &found, "GETCONNECTOR");
	count = found.mode_count < MODES ? found.mode_count : MODES;
	if (found.connection != DRM_CONNECTED)
		return 0;
	found = (struct drm_connector){ .id = connector, .mode_count = count, .modes = (uintptr_t)modes };
	ask(fd, DRM_GETCONNECTOR, &found, "GETCONNECTOR");
	for (unsigned m = 0; m < count; m++)
		if (modes[m].width == width && modes[m].height == height) {
			*mode = modes[m];
			return 1;
		}
	return 0;
}

/* Every unit off, one after the other: the legacy ones show the same framebuffer, and vmwgfx stumbles over one that is
 * taken from several at once. */
static void go_dark(int fd)
{
	uint32_t crtcs[MOST];
	struct drm_resources card = { .crtcs = (uintptr_t)crtcs, .crtc_count = MOST };

	ask(fd, DRM_GETRESOURCES, &card, "GETRESOURCES");
	for (unsigned n = 0; n < card.crtc_count && n < MOST; n++) {
		struct drm_crtc crtc = { .id = crtcs[n] };

		ask(fd, DRM_SETCRTC, &crtc, "SETCRTC");
	}
}

/* Monitors as a line says, one picture over all of them; those there were before and are not wanted go dark. */
static void arrange(int fd, char *line, unsigned seed)
{
	struct vmw_rect rects[MOST];
	struct vmw_layout layout = { .rects = (uintptr_t)rects };
	uint32_t crtcs[MOST], connectors[MOST], encoders[MOST], *pixels;
	struct drm_resources card = { .crtcs = (uintptr_t)crtcs, .connectors = (uintptr_t)connectors,
				      .encoders = (uintptr_t)encoders, .crtc_count = MOST, .connector_count = MOST,
				      .encoder_count = MOST };
	struct drm_dumb buffer = { 0 };
	struct drm_fb fb = { .bpp = 32, .depth = 24 };
	struct drm_clip all = { 0 };
	struct drm_dirty dirty = { .clip_count = 1, .clips = (uintptr_t)&all };
	char *word = strtok(line, " ");

	layout.count = number((word = strtok(NULL, " ")) ? word : "", MOST);
	for (unsigned n = 0; n < layout.count; n++) {
		uint32_t values[4];

		for (unsigned k = 0; k < 4; k++)
			values[k] = number((word = strtok(NULL, " ")) ? word : "", 16384);
		rects[n] = (struct vmw_rect){ values[0], values[1], values[2], values[3] };
		if (values[0] + values[2] > buffer.width)
			buffer.width = values[0] + values[2];
		if (values[1] + values[3] > buffer.height)
			buffer.height = values[1] + values[3];
	}
	ask(fd, VMW_UPDATE_LAYOUT, &layout, "VMW_UPDATE_LAYOUT");
	ask(fd, DRM_GETRESOURCES, &card, "GETRESOURCES");
	pixels = dumb(fd, &buffer);
	all.x2 = fb.width = buffer.width;
	all.y2 = fb.height = buffer.height;
	fb.pitch = buffer.pitch;
	fb.handle = buffer.handle;
	draw(pixels, buffer.pitch, all, seed);
	ask(fd, DRM_ADDFB, &fb, "ADDFB");
	go_dark(fd);
	for (unsigned n = 0; n < layout.count; n++) {
		struct drm_crtc crtc = { .id = crtcs[n], .fb = fb.id, .x = rects[n].x, .y = rects[n].y, .mode_valid = 1,
					 .connector_count = 1, .connectors = (uintptr_t)&connectors[n] };

		if (!mode_of(fd, connectors[n], rects[n].width, rects[n].height, &crtc.mode)) {
			fprintf(stderr, "monitor %u has no mode of %ux%u\n", n, rects[n].width, rects[n].height);
			exit(1);
		}
		ask(fd, DRM_SETCRTC, &crtc, "SETCRTC");
	}
	dirty.fb = fb.id;
	ask(fd, DRM_DIRTYFB, &dirty, "DIRTYFB");
	announce("monitors", fb.width, fb.height);
}

static void on_monitors(int fd, unsigned seed)
{
	char line[256];

	announce("monitors", 0, 0);
	for (;;) {
		hear(line, sizeof line);
		if (!strncmp(line, "layout ", 7))
			arrange(fd, line, seed);
		else if (!strcmp(line, "done"))
			break;
	}
	go_dark(fd);
}

int main(int argc, char **argv)
{
	deadline(120);
	if (argc == 3 && !strcmp(argv[1], "fb")) {
		on_fb(number(argv[2], 255));
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "drm")) {
		int fd = opened("/dev/dri/card0");

		for (char *size = strtok(argv[2], ","); size; size = strtok(NULL, ",")) {
			unsigned width, height;

			if (sscanf(size, "%ux%u", &width, &height) != 2)
				return 2;
			on_drm(fd, width, height, number(argv[3], 255));
		}
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "monitors")) {
		on_monitors(opened("/dev/dri/card0"), number(argv[2], 255));
		return 0;
	}
	fprintf(stderr, "usage: picture fb SEED | picture drm WxH[,WxH...] SEED | picture monitors SEED\n");
	return 2;
}
