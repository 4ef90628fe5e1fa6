"""Logging in through an authenticator: what it is asked, what is answered, and when."""

import threading
from pathlib import Path

import pytest
import trio
from argon2 import PasswordHasher
from server.edge import Peer, serving, settings

from stompd.broker.principal import ANONYMOUS, Principal
from stompd.broker.session import Login
from stompd.server.accounts import Accounts
from stompd.server.auth import Anonymous, LoginRefusedError, log_in
from stompd.server.config import Settings
from stompd.server.failures import FORGIVEN, REFUSAL_TIME, Failures, network_of


class Listed:
    """Lets in who stands in its list, and remembers what it was asked."""

    def __init__(self, **passcodes: str) -> None:
        self.passcodes = passcodes
        self.asked: list[tuple[str | None, str | None]] = []
        self.peers: list[str] = []

    async def authenticate(self, login: Login, peer: str) -> str | None:
        """Return the user's name; raises `LoginRefusedError`."""
        self.asked.append((login.user, login.passcode))
        self.peers.append(peer)
        await trio.lowlevel.checkpoint()
        if login.user is None or self.passcodes.get(login.user) != login.passcode:
            raise LoginRefusedError("wrong login or passcode")
        return login.user


class Never:
    """Never comes to a decision."""

    def __init__(self) -> None:
        self.asking = 0

    async def authenticate(self, login: Login, peer: str) -> str | None:  # noqa: ARG002
        """Wait."""
        self.asking += 1
        try:
            await trio.sleep_forever()
        finally:
            self.asking -= 1


async def connect(peer: Peer, login: str, passcode: str, command: str = "CONNECT") -> Peer:
    """Write CONNECT with these octets as login and passcode."""
    lines = f"accept-version:1.2\nhost:x\nlogin:{login}\npasscode:{passcode}"
    return await peer.write(f"{command}\n{lines}\n\n\0".encode())


# -- Letting in ------------------------------------------------------------------------------------


@pytest.mark.clause("C-12", "C-05")
@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
async def test_the_right_passcode_opens_a_session(command: str) -> None:
    """The authenticator is asked once, with the peer's address; its user is the session's."""
    users = Listed(ann="secret")
    async with serving(authenticator=users) as edge:
        peer = await connect(await edge.connect(), "ann", "secret", command)
        await peer.expect("CONNECTED")
        (session,) = edge.service.connections
        assert session.user == "ann"
        assert users.asked == [("ann", "secret")]
        assert users.peers == [session.peer]


@pytest.mark.clause("ESC-05")
async def test_the_passcode_is_taken_literally() -> None:
    r"""A passcode ``p\cq`` is those four octets; what they would mean elsewhere is not asked."""
    users = Listed(ann=r"p\cq")
    async with serving(authenticator=users) as edge:
        await (await connect(await edge.connect(), "ann", r"p\cq")).expect("CONNECTED")
        assert users.asked == [("ann", r"p\cq")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [(r"p\cq", "p:q"), (r"a\\b", "a\\b"), (r"a\nb", "a\nb"), (r"a\rb", "a\rb"), (r"\\c", "\\c")],
)
async def test_a_client_that_escapes_connect_is_let_in(written: str, meant: str) -> None:
    """What fails literally is compared once more as escaped (AMB-07)."""
    users = Listed(ann=meant)
    async with serving(authenticator=users) as edge:
        await (await connect(await edge.connect(), "ann", written)).expect("CONNECTED")
        assert users.asked == [("ann", written), ("ann", meant)]


async def test_an_escaped_login_is_understood_too() -> None:
    """The user's name may have been escaped as well."""
    users = Listed(**{"a:b": "p"})
    async with serving(authenticator=users) as edge:
        await (await connect(await edge.connect(), r"a\cb", "p")).expect("CONNECTED")
        (session,) = edge.service.connections
        assert session.user == "a:b"


async def test_frames_behind_connect_wait_for_the_decision() -> None:
    """What is sent in one piece with CONNECT is carried out after the log-in, not before."""
    users = Listed(ann="secret")
    async with serving(authenticator=users) as edge:
        peer = await edge.connect()
        await connect(peer, "ann", "secret")
        await peer.write("SEND⏎destination:/queue/a⏎receipt:r⏎⏎x^@")
        await peer.expect("CONNECTED")
        await peer.expect("RECEIPT", receipt_id="r")


async def test_without_users_everybody_is_let_in() -> None:
    """What a client calls itself is kept for people to read, and its passcode is not asked."""
    async with serving() as edge:
        await (await connect(await edge.connect(), "admin", "whatever")).expect("CONNECTED")
        (session,) = edge.service.connections
        assert session.user == "admin"
    login = Login(None, None, None, {})
    assert await Anonymous().authenticate(login, "127.0.0.1:1") == ANONYMOUS


# -- Refusing --------------------------------------------------------------------------------------


@pytest.mark.clause("C-03", "C-04")
@pytest.mark.parametrize(
    ("login", "passcode"), [("ann", "wr0ng"), ("nobody", "wr0ng"), ("ann", r"wr0ng\c")]
)
async def test_a_refusal_is_an_error_that_tells_nothing(login: str, passcode: str) -> None:
    """One answer for an unknown user and a wrong passcode; what was typed is never repeated."""
    async with serving(authenticator=Listed(ann="secret")) as edge:
        peer = await connect(await edge.connect(), login, passcode)
        await peer.write("SEND⏎destination:/queue/a⏎⏎x^@")
        frame = await peer.fatal("login refused")
        assert frame.body == b"wrong login or passcode\n"
        assert b"wr0ng" not in str(frame).encode()
        assert edge.depth("/queue/a") == 0
        entry = await edge.log.first("login refused")
        assert entry["user"] == login
        assert "wr0ng" not in str(edge.log)
        assert "secret" not in str(edge.log)


@pytest.mark.clause("C-12")
async def test_without_login_there_is_no_session() -> None:
    """Where log-in is asked for, a CONNECT without it is refused."""
    async with serving(authenticator=Listed(ann="secret")) as edge:
        peer = await edge.connect()
        await peer.write("CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@")
        await peer.fatal("login refused")


@pytest.mark.parametrize("passcode", ["wrong", r"wro\cng", r"wro\tng"])
async def test_refusals_take_the_same_time(
    passcode: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Neither quick decisions nor the second comparison can be told by the clock (AMB-25)."""
    del autojump_clock
    began = trio.current_time()
    login = Login("ann", passcode, None, {})
    with pytest.raises(LoginRefusedError, match="wrong login or passcode"):
        await log_in(Listed(ann="secret"), login, "peer", address="peer")
    assert trio.current_time() - began == pytest.approx(REFUSAL_TIME)


async def test_undefined_escapes_are_not_decoded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    r"""A passcode with ``\t`` was not made by a client that escapes: it is compared once."""
    del autojump_clock
    users = Listed(ann="a\tb:c")
    with pytest.raises(LoginRefusedError):
        await log_in(users, Login("ann", r"a\tb\cc", None, {}), "peer", address="peer")
    assert users.asked == [("ann", r"a\tb\cc")]


async def test_log_in_time_holds_for_the_decision_as_well() -> None:
    """An authenticator that does not answer does not keep a connection for ever."""
    given = settings(timeouts={"login": "300ms"})
    never = Never()
    async with serving(given, authenticator=never) as edge:
        peer = await connect(await edge.connect(), "ann", "secret")
        await edge.until(lambda: never.asking)
        await peer.fatal("login timeout")
        await edge.until(lambda: not never.asking)


def test_a_login_does_not_show_its_passcode() -> None:
    """Neither its text nor that of a structure around it does."""
    login = Login("ann", "secret", "host", {"passcode": "secret"})
    assert "secret" not in repr([login])
    assert "ann" in repr(login)


# -- The users file --------------------------------------------------------------------------------

HASHES = {
    name: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(f"{name}'s")
    for name in ("ann", "bob", "eve")
}


def users_file(tmp_path: Path, *lines: str) -> Path:
    """Write a users file; ``ann:ops`` stands for ann with her hash, in the group ops."""
    file = tmp_path / "users.txt"
    rows = [line.partition(":") for line in lines]
    file.write_text("".join(f"{name}:{HASHES[name]}:{groups}\n" for name, _, groups in rows))
    return file


def with_users(file: Path, **tables: object) -> Settings:
    """Return settings with a users file."""
    return settings(users={"file": str(file)}, **tables)


async def test_users_of_the_file_are_let_in_with_their_groups(tmp_path: Path) -> None:
    """Each with the passcode of its own."""
    async with serving(with_users(users_file(tmp_path, "ann:ops,admin", "bob"))) as edge:
        await edge.login("login:ann", "passcode:ann's")
        await (await connect(await edge.connect(), "bob", "ann's")).fatal("login refused")
        await (await edge.connect()).write("CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@")
        (session,) = [s for s in edge.service.connections if s.user == "ann"]
        assert session.principal.groups == {"ops", "admin"}


async def test_who_gives_no_login_is_let_in_where_that_is_allowed(tmp_path: Path) -> None:
    """As nobody in particular; who gives one has to be right."""
    given = with_users(users_file(tmp_path, "ann"), **{"allow-anonymous": True})
    async with serving(given) as edge:
        await edge.login()
        (session,) = edge.service.connections
        assert session.principal == ANONYMOUS
        await (await connect(await edge.connect(), "ann", "x")).fatal("login refused")


async def test_refusals_take_longer_and_longer(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """For one address, and for one user from wherever; known or not, it is the same."""
    accounts = Accounts()
    accounts.configure(with_users(users_file(tmp_path, "ann")))

    async def seconds(user: str, address: str, failures: Failures) -> float:
        began = autojump_clock.current_time()
        login = Login(user, "wrong", None, {})
        with pytest.raises(LoginRefusedError, match=r"^wrong login or passcode$"):
            await log_in(accounts, login, f"{address}:1", address=address, failures=failures)
        return round(autojump_clock.current_time() - began, 6)

    for user in ("ann", "nobody"):
        failures = Failures()
        waits = [await seconds(user, "192.0.2.1", failures) for _ in range(8)]
        assert waits == [0.5, 0.5, 0.5, 0.5, 1.0, 2.0, 4.0, 4.0]
        assert await seconds(user, "192.0.2.9", failures) == 4.0
        assert await seconds("other", "192.0.2.1", failures) == 4.0
        assert await seconds("another", "192.0.2.3", failures) == 0.5
        await trio.sleep(301)
        assert await seconds(user, "192.0.2.1", failures) == 0.5


async def test_the_right_passcode_is_never_held_back(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """However often somebody else has failed under this name: nobody can be locked out."""
    accounts = Accounts()
    accounts.configure(with_users(users_file(tmp_path, "ann")))
    failures = Failures()
    for number in range(10):
        failures.note("192.0.2.1", "ann", float(number))
    began = autojump_clock.current_time()
    login = Login("ann", "ann's", None, {})
    assert await log_in(accounts, login, "192.0.2.1:1", address="192.0.2.1", failures=failures)
    assert autojump_clock.current_time() == began


def test_a_network_of_ipv6_is_one_address() -> None:
    """Whoever has one has 2**64 of them; what is mapped is what it stands for."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") == "2001:db8::"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("unix") == "unix"


def test_failures_take_no_more_memory_than_so_much() -> None:
    """A flood of names forgets the oldest."""
    failures = Failures()
    for number in range(20_000):
        failures.note("192.0.2.1", f"user{number}", 0.0)
    assert len(failures) == 10_000
    for number in range(FORGIVEN):
        failures.note(f"192.0.2.{number}", "user19999", 0.0)
    assert failures.note("198.51.100.1", "user0", 0.0) == REFUSAL_TIME
    assert failures.note("198.51.100.2", "user19999", 0.0) == 4 * REFUSAL_TIME


async def test_a_flood_of_log_ins_is_told_to_come_again(tmp_path: Path) -> None:
    """Those that find no place get an ERROR that says so, and it is no failed log-in."""
    gate = threading.Event()

    def verify(encoded: str, passcode: bytes) -> bool:  # noqa: ARG001 - as the real one
        gate.wait(20)
        return False

    accounts = Accounts(verify=verify)
    file = users_file(tmp_path, "ann")
    accounts.configure(settings(users={"file": str(file), "waiting": 4}))
    async with serving(authenticator=accounts) as edge:
        peers = [await connect(await edge.connect(), "ann", f"x{n}") for n in range(5)]
        await edge.until(lambda: sum(accounts.passcodes.waiting.values()) == 2)
        for peer in peers[2:]:
            frame = await peer.fatal("too many log-ins")
            assert frame.body == (
                b"this server checks as many as it can already; try again later\n"
            )
        gate.set()
        for peer in peers[:2]:
            await peer.fatal("login refused")
        assert len(edge.log.of("login refused")) == 2
        assert len(edge.log.of("too many log-ins")) == 3


async def test_other_ways_in_ask_the_same(tmp_path: Path) -> None:
    """Who somebody is, and whether he may: with the same users, rules, delays and logs."""
    given = with_users(users_file(tmp_path, "ann", "bob:admin"))
    async with serving(given) as edge:
        service = edge.service

        async def come(name: str, passcode: str) -> Principal:
            login = Login(name, passcode, None, {})
            return await service.identify(login, "192.0.2.1:80", "192.0.2.1", "/")

        ann, bob = await come("ann", "ann's"), await come("bob", "bob's")
        assert service.may(ann, "send", "/queue/a", "/")
        assert not service.may(ann, "monitor", "/admin/status", "/")
        assert service.may(bob, "monitor", "/topic/$SYS/events/#", "/")
        with pytest.raises(LoginRefusedError, match="wrong login or passcode"):
            await come("ann", "bob's")
        assert edge.log.of("login refused")[0]["peer"] == "192.0.2.1:80"
        assert len(service.failures) == 2


async def test_who_is_taken_out_while_he_logs_in_is_not_let_in(tmp_path: Path) -> None:
    """What is true at the end counts."""
    gate = threading.Event()

    def verify(encoded: str, passcode: bytes) -> bool:  # noqa: ARG001 - as the real one
        return gate.wait(20)

    accounts = Accounts(verify=verify)
    accounts.configure(with_users(users_file(tmp_path, "ann", "bob")))
    async with serving(authenticator=accounts) as edge:
        peer = await connect(await edge.connect(), "ann", "x")
        await edge.until(lambda: accounts.passcodes.waiting)
        accounts.configure(with_users(users_file(tmp_path, "bob")))
        gate.set()
        await peer.fatal("login refused")


async def test_a_users_file_that_others_can_read_is_told_of(tmp_path: Path) -> None:
    """Once at the start, and whenever it is read again."""
    file = users_file(tmp_path, "ann")
    for mode, told in ((0o604, 1), (0o640, 0)):
        file.chmod(mode)
        async with serving(with_users(file)) as edge:
            assert len(edge.log.of("others can read the users file")) == told
