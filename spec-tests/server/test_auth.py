"""Logging in through an authenticator: what it is asked, what is answered, and when."""

import pytest
import trio
from server.edge import Peer, serving, settings

from stompd.broker.session import Login
from stompd.server.auth import REFUSAL_TIME, Anonymous, LoginRefusedError, log_in


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
    assert await Anonymous().authenticate(login, "127.0.0.1:1") is None


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
    with pytest.raises(LoginRefusedError, match="wrong login or passcode"):
        await log_in(Listed(ann="secret"), Login("ann", passcode, None, {}), "peer")
    assert trio.current_time() - began == pytest.approx(REFUSAL_TIME)


async def test_undefined_escapes_are_not_decoded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    r"""A passcode with ``\t`` was not made by a client that escapes: it is compared once."""
    del autojump_clock
    users = Listed(ann="a\tb:c")
    with pytest.raises(LoginRefusedError):
        await log_in(users, Login("ann", r"a\tb\cc", None, {}), "peer")
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
