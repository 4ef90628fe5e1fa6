"""Passcodes against argon2 hashes: a few at a time, in threads, and never more often than needed.

A hash costs 64 MiB and a quarter of a second on purpose. So what was found right is remembered for
a while, under a digest that means nothing outside this process; a user who is not there costs as
much as a wrong passcode; and no more than so many wait for their turn.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio
from argon2 import DEFAULT_RANDOM_SALT_LENGTH, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from stompd.server.users import LOCKED, User

Verify = Callable[[str, bytes], bool]

_MOST_REMEMBERED: Final = 10_000
_DIGEST_OCTETS: Final = 32
# Of those who wait, one address has no more than this part.
_SHARE: Final = 4


class TooManyError(Exception):
    """So many wait for their passcode to be checked that one more is not taken."""


def octets_of(passcode: str) -> bytes:
    """Return a passcode as the octets that are hashed: those that a client wrote."""
    return passcode.encode("utf-8", "surrogateescape")


def make_hash(passcode: str) -> str:
    """Return an argon2 hash of a passcode; takes a quarter of a second, and blocks."""
    return PasswordHasher().hash(octets_of(passcode))


def verify(encoded: str, passcode: bytes) -> bool:
    """Return whether a passcode has this hash; takes a quarter of a second, and blocks."""
    try:
        return PasswordHasher().verify(encoded, passcode)
    except (VerificationError, InvalidHashError):
        return False


def nobodys_hash(hashes: Iterable[str]) -> str:
    """Return a hash that no passcode has, and that takes as long as most of these.

    To be made it takes no time.
    """
    costs = Counter(encoded.rpartition("$")[0].rpartition("$")[0] for encoded in hashes)
    costs.pop("", None)
    if costs:
        cost = costs.most_common(1)[0][0]
    else:
        usual = PasswordHasher()
        cost = f"$argon2id$v=19$m={usual.memory_cost},t={usual.time_cost},p={usual.parallelism}"
    salt = _base64(secrets.token_bytes(DEFAULT_RANDOM_SALT_LENGTH))
    return f"{cost}${salt}${_base64(secrets.token_bytes(_DIGEST_OCTETS))}"


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii").rstrip("=")


class _Asked:
    """A passcode that somebody has checked; ``right`` is None until that is known, or given up."""

    __slots__ = ("done", "right")

    def __init__(self) -> None:
        self.right: bool | None = None
        self.done = trio.Event()


class Passcodes:
    """Says whose passcode is right. ``verify`` does the work, and is called in a thread."""

    def __init__(
        self,
        at_once: int = 1,
        waiting: int = 100,
        remember: float = 300.0,
        *,
        verify: Verify = verify,
    ) -> None:
        self._verify = verify
        self._turn = trio.CapacityLimiter(at_once)
        self._threads = trio.CapacityLimiter(at_once)
        self.configure(at_once, waiting, remember)
        # Those that are checked or wait for it, by address.
        self.waiting: Counter[str] = Counter()
        # What is checked or waits for it, by name and digest: who says the same waits for that.
        self._asked: dict[tuple[str, bytes], _Asked] = {}
        # What ends the waiting of those that have not had their turn, by address; the latest last.
        self._places: dict[str, list[trio.CancelScope]] = {}
        self._key = secrets.token_bytes(_DIGEST_OCTETS)
        # Until when what is known by this digest is right; the oldest comes first.
        self._right: dict[bytes, float] = {}
        self._users: Mapping[str, User] = {}
        self._nobodys = nobodys_hash(())

    def configure(self, at_once: int, waiting: int, remember: float) -> None:
        """Check that many ``at_once``, and have that many more ``waiting`` at most.

        Who was found right is taken at his word for ``remember`` seconds.
        """
        self._turn.total_tokens = self._threads.total_tokens = at_once
        self._most_waiting = at_once + waiting
        self._most_from_one = at_once + waiting // _SHARE
        self._remember = remember

    @property
    def users(self) -> Mapping[str, User]:
        """Those whose passcodes are checked."""
        return self._users

    def know(self, users: Mapping[str, User]) -> None:
        """Check the passcodes of these users from now on."""
        self._users = users
        self._nobodys = nobodys_hash(user.hash for user in users.values())

    async def check(self, name: str, passcode: str, address: str) -> User | None:
        """Return the user if the passcode is right, None for a wrong one or an unknown user.

        Who says the same as somebody who waits is answered with him, and takes no place: a program
        with many connections has them all at once. Raises `TooManyError` if too many wait already,
        altogether or from this address; or later, if all places are taken and somebody comes from
        an address that has fewer of them.
        """
        user = self._users.get(name)
        encoded = self._nobodys if user is None or user.hash == LOCKED else user.hash
        octets = octets_of(passcode)
        digest = hmac.digest(self._key, encoded.encode() + b"\0" + octets, "sha256")
        if self._remembers(digest):
            return user
        while (same := self._asked.get((name, digest))) is not None:
            await same.done.wait()
            if same.right is not None:
                return user if same.right else None
        asked = self._asked[name, digest] = _Asked()
        try:
            asked.right = await self._verified(encoded, octets, address)
        finally:
            del self._asked[name, digest]
            asked.done.set()
        if not asked.right:
            return None
        self._right.pop(digest, None)
        self._right[digest] = trio.current_time() + self._remember
        if len(self._right) > _MOST_REMEMBERED:
            del self._right[next(iter(self._right))]
        return user

    async def _verified(self, encoded: str, octets: bytes, address: str) -> bool:
        """Return whether a passcode has a hash, when its turn has come; raises `TooManyError`."""
        if self.waiting[address] >= self._most_from_one:
            raise TooManyError
        if self.waiting.total() >= self._most_waiting:
            self._displace(self.waiting[address])
        self.waiting[address] += 1
        try:
            await self._take_turn(address)
            try:
                return await trio.to_thread.run_sync(
                    self._verify, encoded, octets, limiter=self._threads
                )
            finally:
                self._turn.release()
        finally:
            self.waiting[address] -= 1
            if not self.waiting[address]:
                del self.waiting[address]

    def _displace(self, count: int) -> None:
        """Take a place from an address that has many, for one that has ``count``.

        Else a handful of addresses could keep everybody out. Raises `TooManyError` if that would
        only turn the unfairness round.
        """
        places = max(self._places.values(), key=len, default=[])
        if len(places) <= count + 1:
            raise TooManyError
        places.pop().cancel()

    async def _take_turn(self, address: str) -> None:
        """Wait for a turn, which is to be released; raises `TooManyError` if the place is lost."""
        place = trio.CancelScope()
        places = self._places.setdefault(address, [])
        places.append(place)
        try:
            with place:
                await self._turn.acquire()
        finally:
            if place in places:
                places.remove(place)
            if not places and self._places.get(address) is places:
                del self._places[address]
        if place.cancelled_caught:
            raise TooManyError

    def _remembers(self, digest: bytes) -> bool:
        until = self._right.get(digest)
        if until is None:
            return False
        if until > trio.current_time():
            return True
        del self._right[digest]
        return False
