"""Checking passcodes: how often that costs a hash, who waits, and who is turned away."""

import threading
from collections.abc import Awaitable, Callable

import pytest
import trio
from argon2 import PasswordHasher, extract_parameters

from stompd.server.passcodes import Passcodes, TooManyError, make_hash, nobodys_hash, verify
from stompd.server.users import User

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Counted:
    """Stands for the hash: counts what it is asked, and knows a passcode by its hash."""

    def __init__(self, **passcodes: str) -> None:
        self.passcodes = {f"$argon2id$v=19$m=8,t=1,p=1$s${n}": p for n, p in passcodes.items()}
        self.users = {
            name: User(name, encoded)
            for name, encoded in zip(passcodes, self.passcodes, strict=True)
        }
        self.asked: list[str] = []
        self.busy = 0
        self.most = 0
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()

    def verify(self, encoded: str, passcode: bytes) -> bool:
        """Say whether a passcode has this hash, once the gate is open."""
        with self._lock:
            self.asked.append(encoded)
            self.busy += 1
            self.most = max(self.most, self.busy)
        self.gate.wait(20)
        with self._lock:
            self.busy -= 1
        expected = self.passcodes.get(encoded)
        return expected is not None and expected.encode() == passcode

    def passcodes_of(self, *numbers: float) -> Passcodes:
        """Return what checks the passcodes of its users."""
        made = Passcodes(*numbers, verify=self.verify)  # type: ignore[arg-type] # the three numbers
        made.know(self.users)
        return made


async def test_the_right_passcode_is_right() -> None:
    """And no other, nor a user who is not there, nor one whom no passcode lets in."""
    passcodes = Passcodes()
    ann = User("ann", QUICK.hash("secret"), ("ops",))
    passcodes.know({"ann": ann, "cert": User("cert", "*")})
    assert await passcodes.check("ann", "secret", "a") == ann
    for name, passcode in (("ann", "Secret"), ("ann", ""), ("bob", "secret"), ("cert", "*")):
        assert await passcodes.check(name, passcode, "a") is None


async def test_a_hash_of_stompds_own_is_verified() -> None:
    """As `stompd hash-password` makes it, of octets that are no UTF-8 as well."""
    encoded = make_hash("p\udcff")
    assert encoded.startswith("$argon2id$")
    assert verify(encoded, b"p\xff")
    assert not verify(encoded, b"p")
    assert not verify("nonsense", b"p")


@pytest.mark.parametrize(
    ("name", "passcode"), [("ann", "wrong"), ("nobody", "wrong"), ("", ""), ("locked", "x")]
)
async def test_every_refusal_costs_one_hash(name: str, passcode: str) -> None:
    """So that nobody can tell by the time who is there: an unknown user is as dear as a known."""
    counted = Counted(ann="secret")
    passcodes = counted.passcodes_of()
    passcodes.know({**counted.users, "locked": User("locked", "*")})
    for _ in range(2):
        assert await passcodes.check(name, passcode, "a") is None
    assert len(counted.asked) == 2


def test_the_hash_of_nobody_costs_what_most_others_cost() -> None:
    """Also where the users' are not of the usual cost."""
    usual = nobodys_hash(())
    assert extract_parameters(usual) == extract_parameters(make_hash("x"))
    dear = QUICK.hash("x")
    assert extract_parameters(nobodys_hash([usual, dear, dear, "*"])) == extract_parameters(dear)
    assert not verify(nobodys_hash([dear]), b"x")
    assert nobodys_hash([dear]) != nobodys_hash([dear])


async def test_what_was_right_is_remembered_for_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Not what was wrong, and not for another passcode, nor when the user's has changed."""
    counted = Counted(ann="secret")
    passcodes = counted.passcodes_of(1, 10, 60.0)
    for _ in range(3):
        assert await passcodes.check("ann", "secret", "a")
    assert len(counted.asked) == 1
    assert not await passcodes.check("ann", "other", "a")
    assert len(counted.asked) == 2
    autojump_clock.jump(61)
    assert await passcodes.check("ann", "secret", "a")
    assert len(counted.asked) == 3
    passcodes.know({"ann": User("ann", "$argon2id$v=19$m=8,t=1,p=1$s$new")})
    assert not await passcodes.check("ann", "secret", "a")
    passcodes.know({})
    assert not await passcodes.check("ann", "secret", "a")


async def test_many_of_one_user_wait_for_one_hash() -> None:
    """A program that connects again with all its connections costs one."""
    counted = Counted(ann="secret")
    counted.gate.clear()
    passcodes = counted.passcodes_of(1, 8)
    found = []

    async def check() -> None:
        found.append(await passcodes.check("ann", "secret", "a"))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        assert passcodes.waiting == {"a": 1}
        counted.gate.set()
    assert found == [counted.users["ann"]] * 100
    assert len(counted.asked) == 1


async def test_many_with_one_wrong_passcode_wait_for_one_hash() -> None:
    """As many as a program makes that has another one; another user of that name is another."""
    counted = Counted(ann="secret")
    counted.gate.clear()
    passcodes = counted.passcodes_of(1, 8)
    found = []

    async def check(name: str) -> None:
        found.append(await passcodes.check(name, "wrong", "a"))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(check, ("ann", "bob", "eve")[number % 3])
        await trio.testing.wait_all_tasks_blocked()
        counted.gate.set()
    assert found == [None] * 100
    assert len(counted.asked) == 3


async def test_who_waited_with_one_that_gave_up_goes_on() -> None:
    """The next of them has it checked."""
    counted = Counted(ann="secret")
    passcodes = counted.passcodes_of(1, 8)
    counted.gate.clear()
    found = []

    async def check() -> None:
        found.append(await passcodes.check("ann", "secret", "a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(passcodes.check, "bob", "x", "b")
        await trio.testing.wait_all_tasks_blocked()
        first = trio.CancelScope()
        nursery.start_soon(_cancelled_by, first, check)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(check)
        nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert passcodes.waiting == {"a": 1, "b": 1}
        counted.gate.set()
    assert found == [counted.users["ann"]] * 2
    assert len(counted.asked) == 2


async def _cancelled_by(scope: trio.CancelScope, task: Callable[[], Awaitable[None]]) -> None:
    with scope:
        await task()


@pytest.mark.parametrize("at_once", [1, 2])
async def test_a_flood_is_bounded(at_once: int) -> None:
    """So many are checked at once, so many wait, and all others are told at once to come again."""
    counted = Counted()
    counted.gate.clear()
    passcodes = counted.passcodes_of(at_once, 8)
    turned_away = 0

    async def check(number: int) -> None:
        nonlocal turned_away
        try:
            assert await passcodes.check(f"user{number}", "x", f"address{number}") is None
        except TooManyError:
            turned_away += 1

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(check, number)
        await trio.testing.wait_all_tasks_blocked()
        assert turned_away == 1000 - at_once - 8
        with trio.fail_after(20):
            while counted.busy < at_once:  # noqa: ASYNC110 - threads set no events
                await trio.sleep(0.01)
        counted.gate.set()
    assert len(counted.asked) == at_once + 8
    assert counted.most == at_once


async def test_one_address_does_not_take_all_places() -> None:
    """Whoever floods stompd from there leaves others their turn; who is remembered needs none."""
    counted = Counted(ann="secret", bob="secret")
    passcodes = counted.passcodes_of(1, 8)
    assert await passcodes.check("ann", "secret", "far")
    counted.gate.clear()
    refused = 0

    async def flood(number: int) -> None:
        nonlocal refused
        try:
            await passcodes.check("mallory", f"x{number}", "far")
        except TooManyError:
            refused += 1

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(flood, number)
        await trio.testing.wait_all_tasks_blocked()
        assert refused == 17
        assert await passcodes.check("ann", "secret", "far")
        nursery.start_soon(passcodes.check, "bob", "secret", "near")
        await trio.testing.wait_all_tasks_blocked()
        counted.gate.set()
    assert len(counted.asked) == 5


async def test_a_few_addresses_do_not_take_all_places() -> None:
    """One that has many gives one up for an address that has none; and there it ends."""
    counted = Counted(ann="secret", bob="secret")
    passcodes = counted.passcodes_of(1, 8)
    counted.gate.clear()
    refused: list[str] = []

    async def check(name: str, address: str) -> None:
        try:
            await passcodes.check(name, "secret", address)
        except TooManyError:
            refused.append(address)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(check, f"mallory{number}", f"far{number % 4}")
            await trio.testing.wait_all_tasks_blocked()
        assert passcodes.waiting.total() == 9
        refused.clear()
        nursery.start_soon(check, "ann", "near")
        await trio.testing.wait_all_tasks_blocked()
        assert len(refused) == 1
        assert refused[0].startswith("far")
        # Whoever comes from one address after the other gets no more than that either.
        for number in range(40):
            nursery.start_soon(check, f"marvin{number}", f"further{number}")
            await trio.testing.wait_all_tasks_blocked()
        assert passcodes.waiting.total() == 9
        assert max(passcodes.waiting.values()) == 2
        assert "near" not in refused
        refused.clear()
        counted.gate.set()
    assert refused == []
    assert not passcodes.waiting
    assert await passcodes.check("ann", "secret", "anywhere")
    assert counted.most == 1


async def test_who_gives_up_waiting_leaves_its_place() -> None:
    """A connection that is gone, or over its time, is not counted any more."""
    counted = Counted(ann="secret")
    counted.gate.clear()
    passcodes = counted.passcodes_of(1, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(passcodes.check, "ann", "secret", "a")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await passcodes.check("bob", "x", "b")
        nursery.start_soon(passcodes.check, "bob", "x", "b")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TooManyError):
            await passcodes.check("bob", "y", "c")
        counted.gate.set()
