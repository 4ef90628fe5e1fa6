"""The rules file, and rules of settings: what is read, and what changes when it is read again."""

import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.edge import Edge, Peer, serving, settings
from server.process import daemon
from server.test_auth import users_file
from wire import Wire

from stompd.broker.rights import RIGHTS, Rule
from stompd.server.accounts import authenticator_of, rights_of
from stompd.server.config import Settings
from stompd.server.rights_file import RightsFileError, line_of, parse, read

# -- The file --------------------------------------------------------------------------------------


def test_a_line_is_a_rule() -> None:
    """In their order; comments and empty lines are for people."""
    text = (
        "# who may do what\n\n"
        "deny  *     receive,browse  /queue/secret.#\r\n"
        "allow @ops  all\n"
        "allow ann   send            /queue/{user}.# in /prod\n"
        'allow "bob smith" send "/queue/a b" in "the host"\n'
    )
    assert list(map(str, parse(text))) == [
        "deny * receive,browse /queue/secret.#",
        "allow @ops all #",
        "allow ann send /queue/{user}.# in /prod",
        "allow bob smith send /queue/a b in the host",
    ]


def test_every_mistake_is_told_with_its_line() -> None:
    """And what a line has to be."""
    form = "allow|deny WHO RIGHT,... [DESTINATION] [in VHOST]"
    text = (
        "permit * send\nallow *\nallow * write\nallow * send queue\nallow * send /queue/a b\n"
        'allow * send "/queue/a\nallow "" send\nallow * send /queue/a in\n'
    )
    with pytest.raises(RightsFileError) as caught:
        parse(text)
    told = dict(caught.value.problems)
    assert told[1] == f'"permit" is neither allow nor deny; a line is {form}'
    assert told[2] == f"there is more to a rule: {form}"
    assert told[3].startswith('"write" is no right; there are connect, send')
    assert told[4].startswith('"queue" is neither #, for everything')
    assert told[5] == f'"b" is one word too many; a line is {form}'
    assert told[6] == '"\\"/queue/a" has a quotation mark too many'
    assert told[7].startswith("it has to say for whom")
    assert told[8] == f'"in" is one word too many; a line is {form}'
    assert len(told) == 8


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A directory, or what is not UTF-8."""
    with pytest.raises(RightsFileError, match="cannot be read: Is a directory"):
        read(tmp_path)
    (tmp_path / "latin").write_bytes(b"\n\xfc")
    with pytest.raises(RightsFileError, match="line 2: is not UTF-8"):
        read(tmp_path / "latin")


@given(st.text())
def test_any_text_is_rules_or_mistakes_with_their_lines(text: str) -> None:
    """Nothing else comes out of the parser."""
    try:
        lines = {1 for _ in parse(text)}
    except RightsFileError as error:
        lines = {line for line, _ in error.problems}
    assert lines <= set(range(1, text.count("\n") + 2))


WORDS = st.text("ab $.é\u2028", min_size=1, max_size=8).filter(lambda text: text == text.strip())


@given(
    st.builds(
        Rule,
        st.booleans(),
        st.one_of(st.just("*"), WORDS, WORDS.map("@{}".format)),
        st.one_of(
            st.just(RIGHTS),
            st.lists(st.sampled_from(RIGHTS[1:]), min_size=1, unique=True).map(tuple),
        ),
        st.one_of(st.just("#"), st.just("/queue/{user}.#"), WORDS.map("/queue/{}".format)),
        st.one_of(st.none(), WORDS),
    )
)
def test_what_is_written_is_read(rule: Rule) -> None:
    """Whatever blanks a name has."""
    assert parse(line_of(rule)) == [rule]


# -- In a server -----------------------------------------------------------------------------------


def ruled(tmp_path: Path, *lines: str, users: tuple[str, ...] = ("ann", "bob")) -> Settings:
    """Return settings with these rules, and with these users."""
    file = tmp_path / "rights.txt"
    file.write_text("\n".join(lines))
    return settings(
        users={"file": str(users_file(tmp_path, *users)), "rights": str(file)},
        **{"virtual-hosts": {"names": ["/", "/b"]}},
    )


async def login(edge: Edge, name: str, host: str = "/") -> Peer:
    """Open a session of a user."""
    peer = await edge.connect()
    lines = f"accept-version:1.2⏎host:{host}⏎login:{name}⏎passcode:{name}'s"
    await peer.write(f"CONNECT⏎{lines}⏎⏎^@")
    await peer.expect("CONNECTED")
    return peer


async def test_rules_of_the_file_come_behind_those_of_the_settings(tmp_path: Path) -> None:
    """And the first that fits decides."""
    given_ = ruled(tmp_path, "deny * send /queue/a", "allow * all")
    first = settings(rights=[{"allow": "send", "who": "ann", "on": "/queue/a"}])
    given_ = given_.model_copy(update={"rights": first.rights})
    async with serving(given_) as edge:
        await (await login(edge, "ann")).put("/queue/a")
        bob = await login(edge, "bob")
        await bob.write("SEND⏎destination:/queue/a⏎⏎x^@")
        error = await bob.fatal("access refused")
        assert error.body == b'/queue/a needs the right "send"\n'


async def test_a_user_is_let_into_the_virtual_hosts_that_the_rules_say(tmp_path: Path) -> None:
    """With the same passcode."""
    async with serving(ruled(tmp_path, "allow ann all # in /b", "allow bob all")) as edge:
        await login(edge, "ann", "/b")
        await login(edge, "bob", "/b")
        await login(edge, "bob", "/")
        peer = await edge.connect()
        await peer.write("CONNECT⏎accept-version:1.2⏎host:/⏎login:ann⏎passcode:ann's⏎⏎^@")
        assert (await peer.fatal("access refused")).body == (
            b'virtual host / needs the right "connect"\n'
        )


def test_rights_are_read_again_at_sighup(tmp_path: Path) -> None:
    """Connections stay, those end that may not have what they have, and removed users go."""
    users = users_file(tmp_path, "ann", "bob", "eve")
    rights = tmp_path / "rights.txt"
    rights.write_text("allow * all\n")
    words = ["--users", str(users), "--set", f"users.rights={rights}"]
    with daemon(*words) as stompd:
        wires: dict[str, Wire] = {
            name: stompd.connect("1.2", f"login:{name}", f"passcode:{name}'s")
            for name in ("ann", "bob", "eve")
        }
        wires["ann"].subscribe("s", "/queue/a")
        wires["bob"].subscribe("s", "/queue/b")
        rights.write_text("deny bob receive /queue/b\nallow * all\n")
        users_file(tmp_path, "ann", "bob")
        stompd.signal(signal.SIGHUP)
        stompd.logged("settings reloaded")
        wires["bob"].fatal("message:access refused", "subscription:s")
        wires["eve"].fatal("message:log-in withdrawn")
        wires["ann"].alive()
        rights.write_text("nonsense\n")
        stompd.signal(signal.SIGHUP)
        assert "rights.txt:1" in stompd.logged("settings not reloaded")["reason"]
        wires["ann"].alive()
        rights.write_text("deny ann send\nallow * all\n")
        stompd.signal(signal.SIGHUP)
        stompd.logged("settings reloaded")
        wires["ann"].frame_out("SEND", "destination:/queue/a", body=b"x")
        wires["ann"].fatal("message:access refused")


async def test_a_passcode_that_was_changed_ends_its_connections(tmp_path: Path) -> None:
    """Who has it from before has to log in anew; whose groups changed stays."""
    given_ = ruled(tmp_path, "allow * all", users=("ann", "bob"))
    async with serving(given_, reread=lambda: given_) as edge:
        ann, bob = await login(edge, "ann"), await login(edge, "bob")
        lines = (tmp_path / "users.txt").read_text().splitlines()
        changed = lines[1].replace(lines[1].split(":")[1], lines[0].split(":")[1])
        (tmp_path / "users.txt").write_text(f"{lines[0]}new\n{changed}\n")
        edge.service.authenticator = authenticator_of(given_, edge.service.authenticator)
        edge.service.reload(given_, "stompd/x", rights_of(given_))
        await bob.fatal("log-in withdrawn")
        await ann.sync()
        sessions = {s.user: s.principal.groups for s in edge.service.connections if not s.over}
        assert sessions == {"ann": {"new"}}


async def test_users_may_come_and_go_while_it_runs(tmp_path: Path) -> None:
    """Who was let in without a log-in is sent away once there are users; and back again."""
    with_users = ruled(tmp_path, users=("ann:admin",))
    without = settings()
    async with serving(without) as edge:
        anybody = await edge.login()

        def reload(fresh: Settings) -> None:
            edge.service.authenticator = authenticator_of(fresh, edge.service.authenticator)
            edge.service.reload(fresh, "stompd/x", rights_of(fresh))

        reload(with_users)
        await anybody.fatal("log-in withdrawn")
        ann = await login(edge, "ann")
        reload(without)
        await ann.sync()
        (session,) = [session for session in edge.service.connections if not session.over]
        assert session.principal.trusted
        assert session.principal.name is None
