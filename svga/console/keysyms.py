"""X11 keysyms as keys of a US keyboard: XT scan codes (set 1), an extended one with 0x80 added.

Ref: X.Org keysymdef.h; the IBM PC's scan codes. A viewer that sends scan codes itself needs none of this.
"""

SHIFT, CAPS_LOCK = 0x2A, 0x3A
SHIFTS = (0x2A, 0x36)

_ROWS = (  # first scan code; keys without shift; with
    (0x02, "1234567890-=", "!@#$%^&*()_+"),
    (0x10, "qwertyuiop[]", "QWERTYUIOP{}"),
    (0x1E, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (0x2B, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
)
PLAIN = {ord(letter): first + n for first, letters, _ in _ROWS for n, letter in enumerate(letters)} | {0x20: 0x39}
SHIFTED = {ord(letter): first + n for first, _, letters in _ROWS for n, letter in enumerate(letters)}

NAMED = {
    0xFF08: 0x0E,  # BackSpace
    0xFF09: 0x0F,  # Tab
    0xFE20: 0x0F,  # ISO_Left_Tab
    0xFF0D: 0x1C,  # Return
    0xFF13: 0xC6,  # Pause
    0xFF14: 0x46,  # Scroll_Lock
    0xFF1B: 0x01,  # Escape
    0xFF50: 0xC7,  # Home
    0xFF51: 0xCB,  # Left
    0xFF52: 0xC8,  # Up
    0xFF53: 0xCD,  # Right
    0xFF54: 0xD0,  # Down
    0xFF55: 0xC9,  # Page_Up
    0xFF56: 0xD1,  # Page_Down
    0xFF57: 0xCF,  # End
    0xFF61: 0xB7,  # Print
    0xFF63: 0xD2,  # Insert
    0xFF67: 0xDD,  # Menu
    0xFF7F: 0x45,  # Num_Lock
    0xFF8D: 0x9C,  # KP_Enter
    0xFF95: 0x47,  # KP_Home
    0xFF96: 0x4B,  # KP_Left
    0xFF97: 0x48,  # KP_Up
    0xFF98: 0x4D,  # KP_Right
    0xFF99: 0x50,  # KP_Down
    0xFF9A: 0x49,  # KP_Page_Up
    0xFF9B: 0x51,  # KP_Page_Down
    0xFF9C: 0x4F,  # KP_End
    0xFF9D: 0x4C,  # KP_Begin
    0xFF9E: 0x52,  # KP_Insert
    0xFF9F: 0x53,  # KP_Delete
    0xFFAA: 0x37,  # KP_Multiply
    0xFFAB: 0x4E,  # KP_Add
    0xFFAC: 0x53,  # KP_Separator
    0xFFAD: 0x4A,  # KP_Subtract
    0xFFAE: 0x53,  # KP_Decimal
    0xFFAF: 0xB5,  # KP_Divide
    **dict(zip(range(0xFFB0, 0xFFBA), (0x52, 0x4F, 0x50, 0x51, 0x4B, 0x4C, 0x4D, 0x47, 0x48, 0x49), strict=True)),
    **{0xFFBE + n: 0x3B + n for n in range(10)},  # F1 to F10
    0xFFC8: 0x57,  # F11
    0xFFC9: 0x58,  # F12
    0xFFE1: 0x2A,  # Shift_L
    0xFFE2: 0x36,  # Shift_R
    0xFFE3: 0x1D,  # Control_L
    0xFFE4: 0x9D,  # Control_R
    0xFFE5: 0x3A,  # Caps_Lock
    0xFFE7: 0x38,  # Meta_L
    0xFFE8: 0xB8,  # Meta_R
    0xFFE9: 0x38,  # Alt_L
    0xFFEA: 0xB8,  # Alt_R
    0xFE03: 0xB8,  # ISO_Level3_Shift
    0xFFEB: 0xDB,  # Super_L
    0xFFEC: 0xDC,  # Super_R
    0xFFFF: 0xD3,  # Delete
}


def find(keysym: int) -> tuple[int, bool | None] | None:
    """(scan code, whether shift goes with it; None: either way) of the key that makes this; None: there is none."""
    if keysym in NAMED:
        return NAMED[keysym], None
    if keysym in PLAIN:
        return PLAIN[keysym], False
    return (SHIFTED[keysym], True) if keysym in SHIFTED else None
