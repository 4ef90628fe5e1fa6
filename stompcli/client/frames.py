"""Frames as the library writes them: the headers that it adds or keeps for itself."""

from collections.abc import Iterable, Mapping
from typing import Final

from stompcli.client import body as bodies
from stompcli.client.errors import UsageError
from stompcli.client.transaction import Transaction
from stompd.protocol.encoder import encode, with_length
from stompd.protocol.errors import LocalProtocolError

# What the library writes itself, and so nobody else.
_OURS: Final = frozenset(
    ("destination", "content-length", "receipt", "transaction", "id", "ack", "message-id")
)


def send_frame(
    destination: str,
    body: bytes | str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    content_type: str | None = None,
    encoding: str | None = None,
    transaction: Transaction | str | None = None,
    content_length: bool = True,  # noqa: FBT001, FBT002 - passed through by position
) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body of the SEND that `Client.send` would write for these arguments."""
    if not destination:
        raise UsageError("a message needs a destination")
    given = extra_headers(headers)
    kinds = [value for name, value in given if name == "content-type"]
    if kinds and content_type is not None:
        raise UsageError("the content type is given twice")
    octets, kind = bodies.encode(body, kinds[0] if kinds else content_type, encoding)
    pairs = [("destination", destination)]
    pairs += [pair for pair in given if pair[0] != "content-type"]
    pairs += transaction_header(transaction)
    if kind:
        pairs.append(("content-type", kind))
    if content_length:
        pairs = with_length(pairs, octets)
    return pairs, octets


def encoded(
    command: str, pairs: Iterable[tuple[str, str]], body: bytes = b"", *, version: str
) -> bytes:
    """Return the octets of a frame; raises `UsageError` for what STOMP cannot express."""
    try:
        return encode(command, pairs, body, version=version)
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error


def extra_headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
) -> list[tuple[str, str]]:
    """Return a program's headers as pairs; raises `UsageError` for those that are ours to write."""
    if headers is None:
        return []
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    for name, _ in pairs:
        if name in _OURS:
            raise UsageError(f'the header "{name}" is written by the client; it has an argument')
    return pairs


def transaction_header(transaction: Transaction | str | None) -> list[tuple[str, str]]:
    """Return the header that puts a frame into a transaction, if it belongs to one."""
    if transaction is None:
        return []
    return [("transaction", transaction if isinstance(transaction, str) else transaction.id)]


def merged(
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None, made: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return a program's headers and those made of its options; raises `UsageError` for both."""
    pairs = extra_headers(headers)
    given = {name for name, _ in pairs}
    for name, _ in made:
        if name in given:
            raise UsageError(f'the header "{name}" is given twice, as such and as an option')
    return pairs + made
