"""VNC authentication: a challenge encrypted with DES, its key the password, each byte's bits the other way round.

Weak by design: eight characters, and nothing after it is encrypted. It keeps out who should not look, not who listens.
Ref: RFC 6143 7.2.2.
"""

import hmac

from pvdev.errors import ConfigError

LENGTH_MOST = 8


def key(password: str) -> bytes:
    """The DES key. Raises `ConfigError` for a password that clients could not send."""
    try:
        data = password.encode("latin-1")
    except UnicodeEncodeError:
        data = b""
    if not 0 < len(data) <= LENGTH_MOST:
        raise ConfigError(f"a VNC password has 1 to {LENGTH_MOST} characters of Latin-1; give another")
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in data.ljust(LENGTH_MOST, b"\0"))


def response(password_key: bytes, challenge: bytes) -> bytes:
    """What a client answers that knows the password."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    encryptor = Cipher(TripleDES(password_key * 3), modes.ECB()).encryptor()  # three equal keys: DES
    return encryptor.update(challenge) + encryptor.finalize()


def right(password_key: bytes, challenge: bytes, answer: bytes) -> bool:
    return hmac.compare_digest(response(password_key, challenge), answer)
