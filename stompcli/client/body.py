"""Bodies: text and its ``content-type`` on the way out, and back."""

import codecs
import re
from typing import Final

from stompcli.client.errors import BodyError, UsageError

TEXT: Final = "text/plain"
OCTETS: Final = "application/octet-stream"

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER: Final = rf"\s*;\s*{_WORD}=(?:{_WORD}|\"[^\"\r\n]*\")"
_MIME: Final = re.compile(rf"{_WORD}/{_WORD}(?:{_PARAMETER})*\Z")
_CHARSET: Final = re.compile(rf";\s*charset=(?:\"([^\"]*)\"|({_WORD}))", re.IGNORECASE)


def encode(body: bytes | str, content_type: str | None, encoding: str | None) -> tuple[bytes, str]:
    """Return the octets of a body and its content-type, which is empty for an empty body.

    Text without a type is ``text/plain`` in UTF-8 (CT-08). Another encoding, and every type that
    is not ``text/``, is named by a charset parameter (CT-05, CT-06). Octets keep the type given
    and are ``application/octet-stream`` without one.
    Raises `UsageError` for what is no MIME type (CT-02), an unknown encoding, or text that the
    encoding cannot express.
    """
    if content_type is not None and _MIME.match(content_type) is None:
        raise UsageError(f'content type "{content_type}" is not type/subtype, such as text/plain')
    if isinstance(body, bytes):
        if encoding is not None:
            raise UsageError("an encoding is for text; this body is octets already")
        return body, content_type or (OCTETS if body else "")
    kind = content_type or TEXT
    named = charset(kind)
    if encoding is not None and named is not None and not _same(encoding, named):
        raise UsageError(f'content type "{kind}" contradicts the encoding {encoding}')
    codec = encoding or named or "utf-8"
    try:
        octets = body.encode(codec)
    except LookupError:
        raise UsageError(f'there is no encoding "{codec}"') from None
    except UnicodeEncodeError as error:
        raise UsageError(f"this text cannot be written in {codec}: {error.reason}") from error
    if not body and content_type is None:
        return octets, ""
    if named is None and not (kind.startswith("text/") and _same(codec, "utf-8")):
        kind = f"{kind};charset={codec}"
    return octets, kind


def decode(body: bytes, content_type: str | None) -> str:
    """Return a body as text: in the charset named, else UTF-8 (CT-04, CT-05).

    Raises `BodyError` if it is not such text, or in an encoding that Python does not know.
    """
    codec = charset(content_type or "") or "utf-8"
    try:
        return body.decode(codec)
    except LookupError:
        raise BodyError(f'the body is in an unknown encoding "{codec}"') from None
    except UnicodeDecodeError as error:
        raise BodyError(f"the body is not {codec} text: {error.reason}") from error


def charset(content_type: str) -> str | None:
    """Return the charset that a content-type names, None if it names none."""
    match = _CHARSET.search(content_type)
    return None if match is None else match[1] or match[2]


def _same(one: str, other: str) -> bool:
    try:
        return codecs.lookup(one) == codecs.lookup(other)
    except LookupError:
        return one.lower() == other.lower()
