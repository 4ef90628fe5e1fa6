"""Any file at all: settings, users and rules are read, or what is wrong is told with its place."""

import datetime as dt
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from stompd.broker.rights import Rule
from stompd.server import rights_file, users
from stompd.server.config import (
    CertificateSettings,
    PolicySettings,
    QuotaSettings,
    RightSettings,
    RouteSettings,
)
from stompd.server.rights_file import RightsFileError
from stompd.server.show import as_toml
from stompd.server.sources import ConfigurationError, keys, read, variables
from stompd.server.users import User, UsersFileError

TABLES: dict[str, type[BaseModel]] = {
    "policy": PolicySettings,
    "route": RouteSettings,
    "rights": RightSettings,
    "limit": QuotaSettings,
    "certificate": CertificateSettings,
}

# -- TOML ------------------------------------------------------------------------------------------


def toml(value: object) -> str:
    """Write a value as TOML has it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + "".join(map(_escaped, value)) + '"'
        case float() if math.isnan(value):
            return "nan"
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return (
                "{"
                + ", ".join(f"{toml(name)} = {toml(each)}" for name, each in value.items())
                + "}"
            )
        case _:
            return repr(value)


def _escaped(character: str) -> str:
    return f"\\U{ord(character):08x}" if character < " " or character in '"\\\x7f' else character


# What may nearly be meant, and what is not.
NEARLY = st.one_of(
    st.from_regex(
        r"-?[0-9]{1,25}(\.[0-9]{1,3})?(e[0-9]{1,3})? ?(ms|s|m|h|d|B|KiB|MiB|GiB|kB|%)?",
        fullmatch=True,
    ),
    st.from_regex(r"(\[?[0-9a-f:.]{1,12}\]?|localhost|\*)?:[0-9]{0,6}", fullmatch=True),
    st.from_regex(r"/?(queue|topic|exchange|temp-queue)/[a-z*#>./{}$]{0,12}", fullmatch=True),
    st.from_regex(r"[a-z]{1,3} ?(=|<|LIKE|IN) ?('[a-z]*'|[0-9]+|\()", fullmatch=True),
    st.sampled_from(
        ["off", "none", "*", "@ops", "all", "true", "~nobody/x", "~", "{name}", "9" * 5000]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.integers(-(10**30), 10**30),
        st.floats(),
        st.text(st.characters(exclude_categories=["Cs"])),
        NEARLY,
        st.datetimes(),
        st.dates(),
        st.times(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text('ab-_. "é', max_size=3), inner, max_size=3),
    ),
    max_leaves=5,
)
KEYS = st.one_of(
    st.sampled_from(keys()), st.from_regex(r"[a-z]{1,4}(\.[a-z-]{1,4})?", fullmatch=True)
)


@st.composite
def arrays(draw: st.DrawFn) -> str:
    """Return a table of those of which there may be several."""
    name = draw(st.sampled_from(sorted(TABLES)))
    fields = [field.replace("_", "-") for field in TABLES[name].model_fields]
    chosen = draw(st.lists(st.sampled_from(fields), unique=True, max_size=4))
    return f"[[{name}]]\n" + "".join(f"{key} = {toml(draw(VALUES))}\n" for key in chosen)


@st.composite
def settings_files(draw: st.DrawFn) -> str:
    """Return TOML whose keys are mostly those that there are, with any values."""
    chosen = draw(st.lists(KEYS, max_size=5, unique=True))
    lines = [f"{key} = {toml(draw(VALUES))}\n" for key in chosen]
    return "".join(lines + draw(st.lists(arrays(), max_size=3)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for the files, one after the other."""
    return tmp_path_factory.mktemp("files")


def told(file: Path, environment: dict[str, str] | None = None) -> list[str]:
    """Return what is told about settings; if they are good, prove that they mean something."""
    try:
        found = read(file, environment)
    except ConfigurationError as error:
        problems = error.problems
    else:
        assert as_toml(found.settings)
        found.settings.for_broker("stompd/test")
        found.settings.exposed()
        return []
    assert problems
    assert all(problem.origin and problem.text for problem in problems)
    return [str(problem) for problem in problems]


@given(text=settings_files())
@example(text='limits.body = "1e999MiB"\n')
@example(text="timeouts.login = inf\n")
@example(text="limits.connections = " + "9" * 5000 + "\n")
@example(text="limits.connections = 0x" + "f" * 5000 + "\n")
@example(text="limits.body = " + "1" * 4000 + "\n")
@example(text="timeouts.login = 1" + "0" * 400 + "\n")
@example(text='timeouts.login = "1' + "0" * 400 + 'd"\n')
@example(text='limits.connections = "' + "9" * 5000 + '"\n')
@example(text="a = " + "[" * 100_000)
@example(text="listen = " + "[" * 200 + "]" * 200 + "\n")
@example(text='limits.body = "' + "1" * 5000 + 'MiB"\n')
@example(text="limits.body = 1e300\n")
@example(text='listen = "127.0.0.1:' + "9" * 5000 + '"\n')
def test_any_settings_are_good_or_told_with_their_key(folder: Path, text: str) -> None:
    """No value of TOML is a traceback; what is told names a key, and a line that is there."""
    file = folder / "stompd.toml"
    file.write_text(text, "utf-8")
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError):
        # A key may be a table and a value at once.
        data = {}
    for problem in told(file):
        if data:
            assert any(name in problem for name in data), problem
        place = re.match(r".*stompd\.toml:([0-9]+): ", problem)
        if place is not None:
            assert 1 <= int(place[1]) <= text.count("\n") + 1


@given(octets=st.one_of(st.binary(), st.text("[]{}=\"'.#\n, a1-_\\é", max_size=60).map(str.encode)))
def test_any_octets_are_settings_or_told(folder: Path, octets: bytes) -> None:
    """Whether they are TOML or not."""
    file = folder / "stompd.toml"
    file.write_bytes(octets)
    told(file)


@given(
    name=st.one_of(
        st.sampled_from(sorted(variables())), st.from_regex(r"STOMPD_[A-Z_]{1,8}", fullmatch=True)
    ),
    value=st.one_of(st.text(st.characters(exclude_categories=["Cs"])), NEARLY),
)
def test_any_variable_is_good_or_told(folder: Path, name: str, value: str) -> None:
    """With the variable's name."""
    file = folder / "stompd.toml"
    file.write_text("", "utf-8")
    for problem in told(file, {name: value}):
        assert name in problem


# -- Users and rules -------------------------------------------------------------------------------

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "ann",
                    "*",
                    ":",
                    "::",
                    ",",
                    "#",
                    "@ops",
                    "allow",
                    "deny",
                    "all",
                    "connect,send",
                    "in",
                ),
                *(
                    "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
                    "$argon2id$",
                    "$2b$12$",
                    "{user}",
                ),
                *(
                    "/queue/a.#",
                    "/topic/>",
                    "#",
                    "//",
                    "/shop",
                    " ",
                    "\t",
                    "\r",
                    "\n",
                    "\n",
                    "\0",
                    "\ufeff",
                ),
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=30,
).map("".join)
OCTETS = st.one_of(
    st.binary(),
    PIECES.map(lambda text: text.encode("utf-8", "surrogatepass")),
    PIECES.map(lambda t: (t * 50).encode("utf-8", "surrogatepass")),
)


def are_lines(problems: Iterable[tuple[int, str]], octets: bytes) -> bool:
    """Return whether all problems have a text, and a line that is there."""
    last = len(re.split(rb"\r\n|\r|\n", octets))
    return all(1 <= line <= last and text for line, text in problems)


@given(octets=OCTETS)
def test_any_octets_are_users_or_mistakes_with_their_lines(folder: Path, octets: bytes) -> None:
    """A user that is found has a hash, and groups without a comma."""
    file = folder / "users.txt"
    file.write_bytes(octets)
    problems: list[tuple[int, str]] = []
    found: dict[str, User] = {}
    try:
        found = users.read(file)
    except UsersFileError as error:
        problems = list(error.problems)
    assert are_lines(problems, octets)
    for name, user in found.items():
        assert name == user.name
        assert user.hash
        assert not any("," in group for group in user.groups)


@given(octets=OCTETS)
def test_any_octets_are_rules_or_mistakes_with_their_lines(folder: Path, octets: bytes) -> None:
    """A rule that is found is about somebody."""
    file = folder / "rights.txt"
    file.write_bytes(octets)
    problems: list[tuple[int, str]] = []
    found: list[Rule] = []
    try:
        found = rights_file.read(file)
    except RightsFileError as error:
        problems = list(error.problems)
    assert are_lines(problems, octets)
    assert all(rule.who for rule in found)
