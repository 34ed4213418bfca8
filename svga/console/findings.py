"""What `pvdev doctor` looks for: whether this machine can show a guest's screen."""

from importlib.util import find_spec

from pvdev.errors import ConfigError

Finding = tuple[bool, str, str]  # fine, what was found, the mend
NEEDED = ("numpy", "PIL", "websockets", "cryptography", "qemu")


def console() -> Finding:
    """`--display` of any kind."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return False, f"the console lacks {', '.join(missing)}", "pip install 'pvdev[console]'"
    return True, "what --display needs", ""


def browser() -> Finding:
    """`--display web:`."""
    if not console()[0]:
        return console()
    from svga.console.web import find_novnc

    try:
        return True, str(find_novnc()), ""
    except ConfigError as error:
        return False, str(error), "apt install novnc"
