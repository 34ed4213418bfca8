/* What `picture` asks of the kernel's DRM: numbers and structures of Linux include/uapi/drm/drm_mode.h, as far as used
 * (libdrm's and the kernel's headers are not on every machine that can compile).
 */
#include <stdint.h>
#include <sys/ioctl.h>

struct drm_resources { /* struct drm_mode_card_res */
	uint64_t fbs, crtcs, connectors, encoders;
	uint32_t fb_count, crtc_count, connector_count, encoder_count;
	uint32_t min_width, max_width, min_height, max_height;
};

struct drm_mode { /* struct drm_mode_modeinfo */
	uint32_t clock;
	uint16_t width, hsync_start, hsync_end, htotal, hskew, height, vsync_start, vsync_end, vtotal, vscan;
	uint32_t vrefresh, flags, type;
	char name[32];
};

struct drm_connector { /* struct drm_mode_get_connector */
	uint64_t encoders, modes, properties, values;
	uint32_t mode_count, property_count, encoder_count;
	uint32_t encoder, id, type, type_id, connection, width_mm, height_mm, subpixel, pad;
};

struct drm_crtc { /* struct drm_mode_crtc */
	uint64_t connectors;
	uint32_t connector_count, id, fb, x, y, gamma_size, mode_valid;
	struct drm_mode mode;
};

struct drm_fb { /* struct drm_mode_fb_cmd */
	uint32_t id, width, height, pitch, bpp, depth, handle;
};

struct drm_clip { /* struct drm_clip_rect */
	uint16_t x1, y1, x2, y2;
};

struct drm_dirty { /* struct drm_mode_fb_dirty_cmd */
	uint32_t fb, flags, color, clip_count;
	uint64_t clips;
};

struct drm_cursor { /* struct drm_mode_cursor */
	uint32_t flags, crtc;
	int32_t x, y;
	uint32_t width, height, handle;
};

struct drm_dumb { /* struct drm_mode_create_dumb */
	uint32_t height, width, bpp, flags, handle, pitch;
	uint64_t size;
};

struct drm_map { /* struct drm_mode_map_dumb */
	uint32_t handle, pad;
	uint64_t offset;
};

struct vmw_rect { /* struct drm_vmw_rect of include/uapi/drm/vmwgfx_drm.h */
	int32_t x, y;
	uint32_t width, height;
};

struct vmw_layout { /* struct drm_vmw_update_layout_arg */
	uint32_t count, pad;
	uint64_t rects;
};

enum { DRM_CONNECTED = 1, DRM_CURSOR_BO = 1, DRM_CURSOR_MOVE = 2 };

#define DRM_GETRESOURCES _IOWR('d', 0xA0, struct drm_resources)
#define DRM_SETCRTC _IOWR('d', 0xA2, struct drm_crtc)
#define DRM_CURSOR _IOWR('d', 0xA3, struct drm_cursor)
#define DRM_GETCONNECTOR _IOWR('d', 0xA7, struct drm_connector)
#define DRM_ADDFB _IOWR('d', 0xAE, struct drm_fb)
#define DRM_RMFB _IOWR('d', 0xAF, uint32_t)
#define DRM_DIRTYFB _IOWR('d', 0xB1, struct drm_dirty)
#define DRM_CREATE_DUMB _IOWR('d', 0xB2, struct drm_dumb)
#define VMW_UPDATE_LAYOUT _IOW('d', 0x40 + 20, struct vmw_layout)
#define DRM_MAP_DUMB _IOWR('d', 0xB3, struct drm_map)
