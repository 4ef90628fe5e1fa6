"""Fuzz the decoder. The invariant: any octets give frames or exactly one RemoteProtocolError.

Never another exception; nothing comes after the error; the same octets split otherwise give the
same frames and the same verdict; what is held (`pending`) never exceeds the limits by more than
one feed; and a head remembered from one connection never changes what another one reads.

A run mutates valid sessions at random, prints its seed, and comes out the same for the same seed:

    python spec-tests/fuzz.py --seconds 60
    python spec-tests/fuzz.py --seed 7 --runs 5000
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from stompd.protocol.decoder import Decoder, HeadTable, Limits
from stompd.protocol.errors import RemoteProtocolError

Role = Literal["server", "client"]
Frames = list[tuple[str, list[tuple[str, str]], bytes]]
Pieces = list[bytes]

LIMITS: Final = Limits(command=20, line=120, headers=12, head=300, body=400)
PIVOTS: Final = ("CONNECT", "STOMP", "CONNECTED")

# What clients and servers say; every session starts where the connection starts.
CLIENT: Final = (
    b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:x\nheart-beat:0,0\n\n\0",
    b"STOMP\r\naccept-version:1.2\r\nhost:x\r\nlogin:u\r\npasscode:p\\c\r\n\r\n\0\r\n",
    b"\n\0CONNECT\nlogin: u\n\n\n\0\n",
    b"\xff\xfb\x1f\xff\xfd\x01CONNECT\n\n\0",
    b"\xff\xfa\x18\0xterm\xff\xf0\xff\xfd\x06",
    b"SEND\ndestination:/queue/a\n\nhello\0",
    b"SEND\ndestination:/queue/a\ncontent-length:7\nreceipt:r-1\n\na\0b\n\n\0c\0\n",
    b"SEND\r\ndestination:/queue/a\r\nk\\cey:a\\rb\\nc\\\\\r\n\r\nbody\r\n\0\r\n",
    "SEND\ndestination:/queue/é\nk:汉\nk:again\nempty:\nu:a:b\n\n😀\0".encode(),
    b"SEND\n destination : /queue/a \nx:\xff\xfe\n\nold\0",
    b"SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client-individual\n\n\0",
    b"ACK\nid:m-1\ncontent-length:0\n\n\0NACK\nid:m-2\n\0",
    b"BEGIN\ntransaction:t\n\n\0SEND\ntransaction:t\ndestination:q\n\nx\0COMMIT\ntransaction:t\n\n\0",
    b"UNSUBSCRIBE\nid:0\n\n\0ABORT\ntransaction:t\n\n\r\n\0",
    b"DISCONNECT\nreceipt:77\n\0",
)
SERVER: Final = (
    b"CONNECTED\nversion:1.2\nsession:s-1\nserver:stompd/1.0\nheart-beat:1000,1000\n\n\0\n",
    b"MESSAGE\ndestination:/queue/a\nmessage-id:m-1\nsubscription:0\nack:m-1\n\nhello\0\n",
    b"MESSAGE\r\ndestination:/queue/a\r\ncontent-length:5\r\n\r\na\0b\r\n\0\r\n",
    b"RECEIPT\nreceipt-id:a\\cb\n\n\0\n\n",
    b"ERROR\nmessage:no\ncontent-type:text/plain\ncontent-length:4\n\nwhy\n\0",
    b"ERROR\nmessage:no\n\0",
)
# What matters to the grammar, to be put anywhere.
SCRAPS: Final = (
    *(
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\n\n",
        b"\n\0",
        b"\r\0",
        b"\r\n\r\n",
        b":",
        b"\\",
        b"\\t",
        b" ",
    ),
    *(
        b"\xff",
        b"\xff\xf4",
        b"\xff\xfd\x06",
        b"\xff\xfa",
        b"\xff\xf0",
        b"\x04",
        b"\xc3",
        b"\xed\xa0",
    ),
    *(b"content-length:", b"content-length:3\n", b"content-length:99999999999\n", b"receipt:x\n"),
    *(b"SEND\n", b"send\n", b"MESSAGE\n", b"CONNECT\n", b"GET / HTTP/1.1\r\n", b"A" * 130),
)


class Broken(AssertionError):  # noqa: N818 - it is the invariant that is broken
    """The invariant does not hold; the text says where and for which octets."""


@dataclass(frozen=True)
class Case:
    """One stream of octets, and how it is read."""

    role: Role
    first: str | None
    later: str
    telnet: bool
    wire: bytes


def cases(source: random.Random) -> Iterator[Case]:
    """Mutated sessions without end; the same ones for the same state of ``source``."""
    while True:
        role: Role = source.choice(("server", "server", "client"))
        corpus = CLIENT if role == "server" else SERVER
        first = source.choice((None, "1.0", "1.1", "1.2"))
        parts = source.choices(corpus, k=source.randrange(1, 6))
        if first is None and source.random() < 0.8:
            parts.insert(0, corpus[0])
        wire = bytearray(b"".join(parts))
        for _ in range(source.choice((0, 1, 1, 2, 3, 8))):
            mutate(wire, source)
        later = source.choice(("1.0", "1.1", "1.2"))
        yield Case(role, first, later, source.random() < 0.5, bytes(wire))


def mutate(wire: bytearray, source: random.Random) -> None:
    """Change ``wire`` at one place."""
    at = source.randrange(len(wire) + 1)
    length = source.choice((1, 1, 2, 5, 20))
    match source.randrange(7):
        case 0:
            wire[at:at] = source.choice(SCRAPS)
        case 1:
            wire[at : at + length] = source.choice(SCRAPS)
        case 2:
            del wire[at : at + length]
        case 3:
            wire[at:at] = wire[at : at + length] * source.choice((1, 2, 40))
        case 4:
            wire[at : at + 1] = source.randbytes(1)
        case 5:
            wire[at:at] = source.randbytes(length)
        case _:
            del wire[at:]


def pieces(wire: bytes, source: random.Random) -> Pieces:
    """``wire``, cut at a few places."""
    cuts = sorted(source.randrange(len(wire) + 1) for _ in range(source.randrange(5)))
    return [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


def decode(case: Case, split: Pieces, table: HeadTable | None) -> tuple[Frames, str | None]:
    """Return the frames and the message of the error; raise `Broken` if the invariant is."""
    decoder = Decoder(case.role, LIMITS, telnet=case.telnet, table=table)
    if case.first is not None:
        decoder.begin(case.first)
    # Of a frame: head or body; beside the lines' CRs and the octets that decide about its end. Of
    # telnet: 256 octets at most.
    most = max(LIMITS.head + LIMITS.headers + 4, LIMITS.body)
    frames: Frames = []
    for piece in split:
        try:
            new = decoder.feed(piece)
            if decoder.version is None and new and new[-1][0].command in PIVOTS:
                decoder.begin(case.later)
                new += decoder.feed(b"")
        except Exception as fault:
            raise Broken(f"{type(fault).__name__}: {fault}\n{case}\n{split}") from fault
        frames += [(head.command, list(head.headers.items()), body) for head, body in new]
        if decoder.pending > most + len(piece):
            raise Broken(f"{decoder.pending} octets are held\n{case}\n{split}")
    error = decoder.error
    if error is not None and (
        type(error) is not RemoteProtocolError
        or "\n" in error.message + error.detail
        or not (error.message + error.detail).isprintable()
        or decoder.pending
        or decoder.feed(b"SEND\n\n\0MESSAGE\n\n\0")
        or decoder.error is not error
    ):
        raise Broken(f"{error!r}\n{case}\n{split}")
    if len(decoder.answers) > case.wire.count(b"\xff\xfd\x06"):
        raise Broken(f"{len(decoder.answers)} telnet answers\n{case}\n{split}")
    return frames, None if error is None else error.message


def check(case: Case, source: random.Random, tables: dict[Role, HeadTable]) -> tuple[int, str]:
    """Read a case in several ways; return the number of its frames and the verdict."""
    frames, message = decode(case, [case.wire], None)
    octet_by_octet = [case.wire[at : at + 1] for at in range(len(case.wire))]
    for split, table in (
        ([case.wire], tables[case.role]),
        (pieces(case.wire, source), None),
        (pieces(case.wire, source), tables[case.role]),
        (octet_by_octet, None),
    ):
        others, other = decode(case, split, table)
        if others != frames or (other is None) != (message is None):
            raise Broken(f"{frames}, {message}\nis not\n{others}, {other}\n{case}\n{split}")
    return len(frames), message.split('"')[0].strip() if message else "no error"


def fuzz(seed: int, *, runs: int | None = None, seconds: float | None = None) -> Counter[str]:
    """Check cases until ``runs`` are done or ``seconds`` are over; return what came of them.

    Raises `Broken` with the octets at fault.
    """
    source = random.Random(seed)  # noqa: S311 - replayable is what it has to be
    tables: dict[Role, HeadTable] = {
        "server": HeadTable("server"),
        "client": HeadTable("client"),
    }
    end = None if seconds is None else time.monotonic() + seconds
    seen: Counter[str] = Counter()
    for case in cases(source):
        if seen["cases"] == runs or (end is not None and time.monotonic() >= end):
            break
        number, verdict = check(case, source, tables)
        seen["cases"] += 1
        seen["octets"] += len(case.wire)
        seen["frames"] += number
        seen[f"verdict: {verdict}"] += 1
    return seen


def main() -> int:
    """Run from the command line; 1 if the invariant is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, help="how long to run (30 without --runs)")
    parser.add_argument("--runs", type=int, help="how many streams to try")
    parser.add_argument("--seed", type=int, help="repeat the run with this seed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    seconds = 30.0 if options.seconds is None and options.runs is None else options.seconds
    print(f"seed {seed}", flush=True)  # noqa: T201 - a program's output
    try:
        seen = fuzz(seed, runs=options.runs, seconds=seconds)
    except Broken as broken:
        print(f"BROKEN with seed {seed}: {broken}")  # noqa: T201
        return 1
    for what, number in sorted(seen.items()):
        print(f"{number:10} {what}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
