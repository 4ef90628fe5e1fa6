"""Rules of rights: what is one, which of them decides, and what they come to for a pattern."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.broker.destination import parse_subscribed
from stompd.broker.pattern import matches, words_of
from stompd.broker.principal import ANONYMOUS, Principal
from stompd.broker.rights import (
    RIGHTS,
    USUAL,
    Grant,
    Right,
    Rights,
    Rule,
    compiled,
    covers,
    meets,
    named,
    without_users,
)
from stompd.protocol.errors import RemoteProtocolError

ANN = Principal("ann", frozenset(("ops",)))


def allow(on: str, *rights: Right, who: str = "*", vhost: str | None = None) -> Rule:
    """Return a rule that allows to receive, if it is not said what."""
    return Rule(allows=True, who=who, rights=rights or ("receive",), on=on, vhost=vhost)


def deny(on: str, *rights: Right, who: str = "*", vhost: str | None = None) -> Rule:
    """Return a rule that denies."""
    return Rule(allows=False, who=who, rights=rights or ("receive",), on=on, vhost=vhost)


def may(rules: list[Rule], name: str, who: Principal = ANN, right: Right = "receive") -> bool:
    """Return what the rules say, asked in both ways."""
    rights = Rights(rules)
    decided = rights.grant(who, "/").may(right, named(name))
    rule = rights.deciding(who, "/", right, name)
    assert decided == (rule is not None and rule.allows)
    return decided


# -- Which rule decides ----------------------------------------------------------------------------


def test_without_a_rule_the_answer_is_no() -> None:
    """Also for somebody who may do other things."""
    assert not may([], "/queue/a")
    assert not may([allow("/queue/b")], "/queue/a")
    assert not may([allow("/queue/a", "send")], "/queue/a")
    assert may([allow("/queue/a")], "/queue/a")


def test_the_first_rule_that_fits_decides() -> None:
    """Whatever those behind it say."""
    rules = [deny("/queue/a.secret"), allow("/queue/a.#"), deny("/queue/a.b")]
    assert not may(rules, "/queue/a.secret")
    assert may(rules, "/queue/a.b")
    assert may(rules, "a/b")
    assert not may(rules, "/topic/a.b")


@pytest.mark.parametrize(
    ("who", "fits"), [("*", True), ("ann", True), ("@ops", True), ("bob", False), ("@dev", False)]
)
def test_whom_a_rule_concerns(who: str, fits: bool) -> None:  # noqa: FBT001 - the expectation
    """Everybody, a user, a group: a user who is called like a group is another."""
    assert may([allow("#", who=who)], "/queue/a") is fits
    assert may([allow("#", who=who)], "/queue/a", ANONYMOUS) is (who == "*")
    assert not may([allow("#", who="ops")], "/queue/a")
    assert not may([allow("#", who="@ann")], "/queue/a")


def test_a_rule_may_be_for_one_virtual_host() -> None:
    """In the others it does not count."""
    rights = Rights([allow("#", "connect", "send", vhost="/b"), allow("#", "receive")])
    assert [rights.grant(ANN, vhost).connects for vhost in ("/", "/b")] == [False, True]
    queue = named("/queue/a")
    assert not rights.grant(ANN, "/").may("send", queue)
    assert rights.grant(ANN, "/b").may("send", queue)
    assert rights.grant(ANN, "/").may("receive", queue)


def test_administrators_may_do_what_no_rule_denies() -> None:
    """The group admin comes last, whatever the rules are."""
    root = Principal("root", frozenset(("admin",)))
    for right in RIGHTS:
        assert may([], "/queue/a", root, right)
        assert may([], "/topic/$SYS/tap", root, right)
        assert not may([deny("#", *RIGHTS)], "/queue/a", root, right)
    assert Rights([]).grant(root, "/").connects


def test_the_usual_rules_let_users_work_and_not_look() -> None:
    """What counts where nobody has written rules."""
    assert Rights().rules == USUAL
    grant = Rights().grant(ANN, "/")
    assert grant.connects
    for right in RIGHTS:
        usual = right not in ("monitor", "admin")
        assert grant.may(right, named("/queue/a")) is usual
        assert grant.has(right) is usual


def test_without_users_those_near_may_do_everything() -> None:
    """Others may work, and neither look nor act."""
    near, far = without_users(Principal(trusted=True)), without_users(ANONYMOUS)
    for right in RIGHTS:
        assert near.may(right, named("/topic/$SYS/tap"))
        assert far.may(right, named("/queue/a")) is (right not in ("monitor", "admin"))


def test_users_who_may_do_the_same_share_what_they_may() -> None:
    """So that what is known of one's SENDs is known of the other's."""
    rights = Rights([allow("/queue/{user}", who="@own"), allow("#", who="@ops")])
    bob = Principal("bob", frozenset(("ops", "more")))
    assert rights.grant(ANN, "/") is rights.grant(bob, "/")
    owners = [Principal(name, frozenset(("own",))) for name in ("ann", "bob")]
    assert rights.grant(owners[0], "/") is not rights.grant(owners[1], "/")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and users without end take no memory without end."""
    monkeypatch.setattr("stompd.broker.rights._MOST_KNOWN", 3)
    rights = Rights([allow("/queue/{user}.#")])
    grants = {id(rights.grant(Principal(f"u{n}"), "/")) for n in range(10)}
    assert len(grants) >= 3
    grant = rights.grant(ANN, "/")
    for _ in range(2):
        assert all(grant.may("receive", named(f"/queue/ann.{n}")) for n in range(10))
        assert not any(grant.may("receive", named(f"/queue/bob.{n}")) for n in range(10))


# -- Patterns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        ("#", ["/queue/a", "/topic/$SYS/x", "/admin/kick", "/exchange/e/k", "/exchange/e"], []),
        ("/queue/a.*", ["/queue/a.b", "a/b", "/amq/queue/a.b"], ["/queue/a", "/queue/a.b.c"]),
        ("/queue/a.#", ["/queue/a", "/queue/a.b.c", "/queue/a.$x"], ["/queue/b", "/topic/a"]),
        ("/topic/#", ["/topic/a", "/topic/$SYS/tap", "/exchange/amq.topic/a"], ["/queue/a"]),
        ("/exchange/amq.topic/a.#", ["/topic/a.b"], ["/topic/b"]),
        ("/topic/>", ["/topic/a.b"], ["/queue/a"]),
        ("/admin/*", ["/admin/kick"], ["/queue/a", "/admin"]),
        ("/admin/kick", ["/admin/kick"], ["/admin/purge"]),
        ("/remote-temp-queue/#", ["/remote-temp-queue/c1/r"], ["/remote-temp-topic/c1/r"]),
        ("/exchange/#", ["/exchange/e/k", "/exchange/amq.direct/a.b", "/exchange/amq.fanout"], []),
        ("/exchange/e", ["/exchange/e/a.b", "/exchange/e"], ["/exchange/f/a"]),
        ("/exchange/e/a.*", ["/exchange/e/a.b"], ["/exchange/e/a"]),
        ("/exchange/*/a", ["/exchange/e/a"], ["/exchange/e/b"]),
        ("/exchange/amq.direct", ["/exchange/amq.direct/a.b"], ["/exchange/e/a.b"]),
        ("/exchange/amq.direct/a.b", ["/exchange/amq.direct/a.b"], ["/exchange/amq.direct/a"]),
        ("/exchange/amq.fanout", ["/exchange/amq.fanout"], ["/exchange/e"]),
    ],
)
def test_what_a_pattern_is_for(pattern: str, fits: list[str], others: list[str]) -> None:
    """As in SUBSCRIBE, but that wildcards take every word, and exchanges as well."""
    for name in fits:
        assert may([allow(pattern)], name), name
        assert not may([deny(pattern), allow("#")], name), name
    for name in others:
        if name.count("/") > 1:
            assert not may([allow(pattern)], name), name


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("/queue/{user}", "/queue/ann", True),
        ("/queue/{user}", "/queue/bob", False),
        ("/queue/{user}.#", "/queue/ann.inbox", True),
        ("/queue/for-{user}", "/queue/for-ann", True),
        ("/topic/{user}.to.{user}", "/topic/ann.to.ann", True),
        ("/topic/{user}.to.{user}", "/topic/ann.to.bob", False),
    ],
)
def test_a_pattern_may_hold_the_users_name(pattern: str, name: str, *, fits: bool) -> None:
    """Who has none is not meant."""
    assert may([allow(pattern)], name) is fits
    assert not may([allow(pattern)], name, ANONYMOUS)


def test_a_name_with_dots_is_several_words() -> None:
    """As it is in a destination."""
    ann = Principal("ann@example.com")
    assert may([allow("/queue/{user}.#")], "/queue/ann@example.com.inbox", ann)
    assert not may([allow("/queue/{user}.#")], "/queue/ann@example.org", ann)


@pytest.mark.parametrize("name", ["#", "*", "**", ">", "a.#", "#.#", "a/*"])
def test_a_name_is_never_a_wildcard(name: str) -> None:
    """Whoever is called so has no more than others, whatever let him in."""
    user = Principal(name)
    for pattern in ("/queue/{user}", "/queue/{user}.#", "/topic/{user}"):
        assert not may([allow(pattern)], "/queue/a", user)
        assert not may([allow(pattern)], "/queue/a.b", user)
        for wild in ("/queue/#", "/queue/*", "/queue/a.#", "/topic/#"):
            assert not may([allow(pattern)], wild, user)


# -- Wildcards of subscriptions --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "pattern", "expected"),
    [
        ([allow("/queue/a.#")], "/queue/a.#", True),
        ([allow("/queue/a.#")], "/queue/a.*", True),
        ([allow("/queue/a.#")], "/queue/a.b.#", True),
        ([allow("/queue/a.#")], "/queue/#", False),
        ([allow("/queue/a.*")], "/queue/a.#", False),
        ([allow("/queue/*.b")], "/queue/*.b", True),
        ([allow("/queue/*.b")], "/queue/a.*", False),
        ([allow("#")], "/queue/#", True),
        ([allow("#")], "/topic/$SYS/#", True),
        # Together they allow all of it, but no one of them does.
        ([allow("/queue/a"), allow("/queue/*")], "/queue/*", True),
        ([allow("/queue/a.#"), allow("/queue/b.#")], "/queue/*.#", False),
        # What is denied lies within it, or may.
        ([deny("/queue/a.secret"), allow("/queue/#")], "/queue/a.*", False),
        ([deny("/queue/a.secret"), allow("/queue/#")], "/queue/b.*", True),
        ([deny("/queue/*.secret"), allow("/queue/#")], "/queue/a.#", False),
        ([deny("/queue/#.secret"), allow("/queue/#")], "/queue/a.*.b", True),
        ([deny("/topic/a"), allow("#")], "/queue/#", True),
        ([allow("/queue/a.#"), deny("/queue/a.secret")], "/queue/a.#", True),
        # No wildcard of a subscription gets what begins with a dollar.
        ([deny("/topic/$SYS/#"), allow("/topic/#")], "/topic/#", True),
        ([deny("/topic/$SYS/#"), allow("/topic/#")], "/topic/*.x", True),
        ([deny("/topic/$SYS/#"), allow("/topic/#")], "/topic/$SYS/#", False),
    ],
)
def test_a_pattern_needs_the_right_for_all_of_it(
    rules: list[Rule],
    pattern: str,
    expected: bool,  # noqa: FBT001 - the expectation
) -> None:
    """One rule allows all, and none before it denies any."""
    assert may(rules, pattern) is expected


WORDS = st.lists(st.sampled_from(["a", "b", "$c", "*", "#"]), max_size=4).map(tuple)
NAMES = st.lists(st.sampled_from(["a", "b", "$c", "d"]), max_size=5).map(tuple)


def _pattern(words: tuple[str, ...]) -> tuple[str, ...]:
    return compiled("/".join(("/queue", *words))) if words else compiled("/admin/x")[:0]


@given(WORDS, WORDS, NAMES)
def test_what_covers_a_pattern_covers_all_its_names(
    rule: tuple[str, ...], pattern: tuple[str, ...], name: tuple[str, ...]
) -> None:
    """No name is let through that the rule is not for, and none is missed that it denies."""
    mine, theirs = ("queue", *_pattern(rule)[1:]), ("queue", *pattern)
    full = ("queue", *name)
    if not matches(theirs, full):
        return
    fits = covers(mine, full, wild=False)
    if covers(mine, theirs, wild=True):
        assert fits
    if fits:
        assert meets(mine, theirs)


RULES = st.lists(
    st.builds(
        lambda allows, words: Rule(
            allows=allows, who="*", rights=("receive",), on="/".join(("/queue", *words, "x"))
        ),
        st.booleans(),
        st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=3),
    ),
    max_size=4,
)


@given(RULES, st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=3), NAMES)
def test_a_pattern_never_brings_what_its_names_would_not(
    rules: list[Rule], pattern: list[str], name: tuple[str, ...]
) -> None:
    """Who may subscribe to a pattern may subscribe to each name that it matches."""
    wanted = "/".join(("/queue", *pattern, "x"))
    full = "/".join(("/queue", *name, "x"))
    if may(rules, wanted) and matches(words_of(wanted), words_of(full)):
        assert may(rules, full)


# -- What is a rule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "rights", "on", "told"),
    [
        ("", ("send",), "#", "it has to say for whom: a user, @group, or * for everybody"),
        ("@", ("send",), "#", "it has to say for whom"),
        ("*", (), "#", "it names no right; there are connect, send, receive, browse, create,"),
        ("*", ("write",), "#", '"write" is no right; there are connect, send'),
        ("*", ("connect",), "/queue/a", "connect is for a virtual host"),
        ("*", ("connect", "send"), "/queue/a", "connect is for a virtual host"),
        ("*", ("send",), "orders", '"orders" is neither #, for everything, nor a destination'),
        ("*", ("send",), "*", '"*" is neither #, for everything'),
        ("*", ("send",), "/que/a", "a destination is /queue/NAME"),
        ("*", ("send",), "/queue/", "the name is empty"),
        ("*", ("send",), "/exchange/", '"/exchange/" names no exchange'),
        ("*", ("send",), "/queue/a,/queue/b", "is several destinations"),
        ("*", ("send",), "/temp-queue/a", "is a temporary destination"),
    ],
)
def test_what_is_no_rule_says_why(who: str, rights: tuple[Right, ...], on: str, told: str) -> None:
    """In a sentence that says what is meant."""
    with pytest.raises(ValueError, match=re.escape(told)):
        Rule(allows=True, who=who, rights=rights, on=on)


def test_all_rights_to_a_pattern_are_no_right_to_connect() -> None:
    """That is not to one destination."""
    rule = Rule(allows=True, who="ann", rights=RIGHTS, on="/queue/ann.#")
    assert not Rights([rule]).grant(ANN, "/").connects
    assert Rights([Rule(allows=True, who="ann", rights=RIGHTS)]).grant(ANN, "/").connects


def test_a_rule_is_written_as_people_write_it() -> None:
    """For listings, and for the answer to why."""
    assert str(allow("/queue/a", "send", "receive", who="ann")) == "allow ann send,receive /queue/a"
    assert str(deny("#", *RIGHTS, who="@x", vhost="/b")) == "deny @x all # in /b"


def test_which_rule_decided_can_be_asked() -> None:
    """Also for a right to connect; names that are none are told."""
    rules = [deny("/queue/b"), allow("#", "connect", who="@ops"), allow("/queue/{user}")]
    rights = Rights(rules)
    assert rights.deciding(ANN, "/", "connect", "#") is rules[1]
    assert rights.deciding(ANN, "/", "receive", "/queue/ann") is rules[2]
    assert rights.deciding(ANN, "/", "receive", "/queue/b") is rules[0]
    assert rights.deciding(ANN, "/", "receive", "/queue/#") is rules[0]
    assert rights.deciding(ANN, "/", "send", "/admin/kick") is None
    with pytest.raises(RemoteProtocolError):
        rights.deciding(ANN, "/", "send", "/nowhere")


def test_a_grant_asks_for_the_parts_of_several_one_by_one() -> None:
    """Of the whole it knows nothing."""
    grant = Grant([])
    assert not grant.may("send", parse_subscribed("/queue/a,/queue/b"))
