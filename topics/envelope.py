"""The envelope of an encrypted value: what can be told of it without its key.

    "\\0S1"  3 bytes      no JSON begins like that
    id      1 + n bytes  the length of the key's id, and the id, UTF-8
    salt    16 bytes     of the cipher's own key, which is derived from the one that the id names
    nonce   12 bytes
    text    n + 16 bytes AES-256-GCM, the tag at its end

What is bound to the text beside it (the associated data): the topic's name in the contracts, a zero byte, and
the record's key. So a value that was moved to another topic or task does not open.
"""

from typing import NamedTuple

MAGIC = b"\0S1"
SALT_BYTES = 16
NONCE_BYTES = 12

CONTENT_TYPE = b"application/vnd.segue.encrypted"
"""Followed by `;of=` and the type of what is inside."""


class Envelope(NamedTuple):
    key_id: str
    salt: bytes
    nonce: bytes
    text: bytes

    def pack(self) -> bytes:
        name = self.key_id.encode()
        return b"".join((MAGIC, bytes((len(name),)), name, self.salt, self.nonce, self.text))


class Unreadable(bytes):
    """An encrypted value that could not be decrypted, as it came, and `why`."""

    why: str

    @classmethod
    def because(cls, why: str, value: bytes) -> "Unreadable":
        made = cls(value)
        made.why = why
        return made


class Clear(Unreadable):
    """A value in clear where only encrypted ones are taken: who wrote it has no key, and is not believed."""


def is_sealed(value: bytes | None) -> bool:
    return value is not None and value.startswith(MAGIC)


def unpack(value: bytes) -> Envelope | None:
    """None for what only begins like an envelope."""
    salt_at = len(MAGIC) + 1 + (value[len(MAGIC)] if len(value) > len(MAGIC) else 0)
    text_at = salt_at + SALT_BYTES + NONCE_BYTES
    if len(value) < text_at:
        return None
    name = value[len(MAGIC) + 1 : salt_at].decode(errors="replace")
    salt, nonce = value[salt_at : salt_at + SALT_BYTES], value[salt_at + SALT_BYTES : text_at]
    return Envelope(name, salt, nonce, value[text_at:])


def why_not_read(value: bytes) -> str | None:
    """Why a value is no record, if that is because it is encrypted."""
    if isinstance(value, Unreadable):
        return value.why
    if not is_sealed(value):
        return None
    envelope = unpack(value)
    if envelope is None:
        return "the value begins like an encrypted record, but it is cut off"
    return (
        f"the value is encrypted with key {envelope.key_id!r}, but this process has no keys: set "
        "SEGUE_ENCRYPTION_KEYS"
    )
