"""Settings: what is read, from where, which of them wins, and what is told about mistakes."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.broker import policy as broker
from stompd.broker.route import Route
from stompd.broker.virtualtopic import VirtualTopics
from stompd.protocol.decoder import Limits
from stompd.server import memory, units
from stompd.server.config import (
    CertificateSettings,
    PolicySettings,
    QuotaSettings,
    RightSettings,
    RouteSettings,
    Settings,
)
from stompd.server.positions import line_of, lines_of_keys
from stompd.server.show import as_toml
from stompd.server.sources import ConfigurationError, Sources, keys, read, variables
from stompd.server.units import Address

PROJECT = Path(__file__).parents[2]


def file_with(folder: Path, text: str) -> Path:
    """Return a file named stompd.toml in ``folder``."""
    file = folder / "stompd.toml"
    file.write_text(text, encoding="utf-8")
    return file


def mistakes(
    folder: Path,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    flags: Sequence[tuple[str, str, object]] = (),
) -> list[str]:
    """Return what is told about these sources, with the folder's name left out."""
    with pytest.raises(ConfigurationError) as caught:
        read(file_with(folder, text), environment, flags)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


# -- Which source counts ---------------------------------------------------------------------------


def test_without_sources_the_built_in_values_hold() -> None:
    """Nothing has to be configured: loopback, the usual port, nothing else."""
    sources = read()
    assert sources == Sources(Settings(), {})
    assert sources.settings.listen == (Address("127.0.0.1", 61613),)


@pytest.mark.parametrize(
    ("environment", "flags", "expected", "origin"),
    [
        ({}, [], 1, "stompd.toml:2"),
        ({"STOMPD_LIMITS_BODY": "2"}, [], 2, "STOMPD_LIMITS_BODY"),
        ({"STOMPD_LIMITS_BODY": "2"}, [("--set", "limits.body", "3")], 3, "--set"),
        ({}, [("--set", "limits.body", "3"), ("--set", "limits.body", "4")], 4, "--set"),
    ],
)
def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path,
    environment: Mapping[str, str],
    flags: Sequence[tuple[str, str, object]],
    expected: int,
    origin: str,
) -> None:
    """The nearer a source is to the person who starts stompd, the more it counts."""
    sources = read(file_with(tmp_path, "[limits]\nbody = 1\n"), environment, flags)
    assert sources.settings.limits.body == expected
    assert sources.origins["limits.body"].removeprefix(f"{tmp_path}/") == origin


def test_every_key_can_be_set_by_a_variable() -> None:
    """Each key has its variable, and no two share one."""
    assert sorted(variables().values()) == sorted(keys())
    assert variables()["STOMPD_HEART_BEAT_MINIMUM"] == "heart-beat.minimum"


def test_a_variable_holds_several_values_between_commas() -> None:
    """Arrays are possible in the environment."""
    sources = read(environment={"STOMPD_LISTEN": "127.0.0.1:1, [::1]:2", "STOMPD_UNIX": "/a,/b"})
    assert sources.settings.listen == (Address("127.0.0.1", 1), Address("::1", 2))
    assert sources.settings.unix == (Path("/a"), Path("/b"))


def test_variables_of_a_kubernetes_service_are_left_alone() -> None:
    """A service that is named stompd does not keep stompd from starting."""
    environment = {
        "STOMPD_PORT": "tcp://10.0.0.1:61613",
        "STOMPD_PORT_61613_TCP_ADDR": "10.0.0.1",
        "STOMPD_SERVICE_HOST": "10.0.0.1",
        "STOMPD_CONFIG": "stompd.toml",
        "OTHER": "x",
    }
    assert read(environment=environment).settings == Settings()


def test_a_value_that_is_replaced_is_not_looked_at(tmp_path: Path) -> None:
    """A flag mends what is wrong in the file."""
    file = file_with(tmp_path, 'listen = "nonsense"\n')
    sources = read(file, flags=[("--listen", "listen", ["localhost:5"])])
    assert sources.settings.listen == (Address("localhost", 5),)


# -- What is told about mistakes -------------------------------------------------------------------


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Each line says file and line, key and what is wrong, in the order of the file."""
    text = """\
# a comment
listen = [
    "127.0.0.1:0",
    "127.0.0.1:616133",
]
heart_beat = 3
[limits]
bdoy = 1
body = "3x"
connections = 0
[timeouts]
login = true
[log]
level = "loud"
[[policy]]
match = "/queue/a"
[[policy]]
mach = "/queue/b"
overflow = "burst"
[[route]]
name = "a"
too = "/queue/b"
"""
    environment = {"STOMPD_LIMITS_HEADERS": "many", "STOMPD_LISEN": "x", "STOMPD_QQQQQQQQQ": ""}
    flags = [("--set", "log.colour", "x"), ("--set", "policy.match", "x"), ("--set", "unix", 3)]
    flags.append(("--set", "route[0].to", "x"))
    sizes = "(64KiB, 32MiB, 1k = 1000; a bare number is octets)"
    durations = "(500ms, 2s, 1m, 1h; a bare number is seconds)"
    assert mistakes(tmp_path, text, environment, flags) == [
        "stompd.toml:4: listen[1]: 616133 is not a port (1-65535, or 0 for a free one)",
        'stompd.toml:6: unknown key "heart_beat" (did you mean "heart-beat"?)',
        'stompd.toml:8: unknown key "limits.bdoy" (did you mean "limits.body"?)',
        f'stompd.toml:9: limits.body: "3x" is not a size {sizes}',
        "stompd.toml:10: limits.connections: 0 is not a whole number (1 or more)",
        f"stompd.toml:12: timeouts.login: true is not a duration {durations}",
        'stompd.toml:14: log.level: "loud" is none of debug, info, warning, error',
        "stompd.toml:17: policy[1].match: is missing",
        'stompd.toml:18: unknown key "policy[1].mach" (did you mean "policy[1].match"?)',
        'stompd.toml:19: policy[1].overflow: "burst" is none of block, reject, drop-head',
        "stompd.toml:20: route[0].match: is missing",
        "stompd.toml:20: route[0].to: is missing",
        'stompd.toml:22: unknown key "route[0].too" (did you mean "route[0].to"?)',
        "--set: unix[0]: 3 is not a text",
        'STOMPD_LIMITS_HEADERS: limits.headers: "many" is not a whole number (1 or more)',
        'environment: unknown variable "STOMPD_LISEN" (did you mean "STOMPD_LISTEN"?)',
        'environment: unknown variable "STOMPD_QQQQQQQQQ"',
        '--set: unknown key "log.colour"',
        "--set: policy.match: policies are set in the file only ([[policy]])",
        "--set: route[0].to: routes are set in the file only ([[route]])",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen = 5", "listen[0]: 5 is not HOST:PORT (127.0.0.1:61613, [::1]:61613)"),
        ('listen = "61613"', 'listen[0]: "61613" is not HOST:PORT (127.0.0.1:61613, [::1]:61613)'),
        ('listen = "[::g]:1"', 'listen[0]: "::g" is not an IPv6 address'),
        ("listen = []", "listen: there is no address and no unix socket to listen on"),
        ('unix = [""]', "unix[0]: must not be empty"),
        ("telnet-hints = 3", "telnet-hints: 3 is neither true nor false"),
        ("limits = 3", "limits: 3 is not a table"),
        ("policy = 3", "policy: 3 is not an array of tables"),
        ("limits.body = -1", "limits.body: -1 is not a size"),
        ("limits.body = {}", "limits.body: a table is not a size"),
        ('limits.body = "0.3"', 'limits.body: "0.3" is not a size'),
        ("limits.connections-per-address = []", "limits.connections-per-address: an array is not"),
        ("timeouts.drain = inf", "timeouts.drain: inf is not a duration"),
        ('timeouts.drain = "\\u001b[D"', 'timeouts.drain: "\\x1b[D" is not a duration'),
        ("heart-beat.tolerance = 0.5", "heart-beat.tolerance: 0.5 is not a factor (a number of 1"),
        ('heart-beat.tolerance = "x"', 'heart-beat.tolerance: "x" is not a factor'),
        ('heart-beat.minimum = "20s"', "heart-beat.default: 10s is less than minimum (20s)"),
        ("flow.outbox-low = 600000", "flow.outbox-high: 512KiB is less than outbox-low (600000B)"),
        ("virtual-hosts.names = []", "virtual-hosts.names: there must be one name at least"),
        ("virtual-hosts.names = [3]", "virtual-hosts.names[0]: 3 is not a text"),
        ('policy = [{ match = "/x" }]', 'policy[0].match: "/x"; a destination is /queue/NAME'),
        (
            'policy = [{ match = "a", dead-letter = "/topic/a" }]',
            'policy[0].dead-letter: "/topic/a" is neither a queue (/queue/DLQ.{name}) nor "none"',
        ),
        (
            'policy = [{ match = "a", dead-letter = "/queue/" }]',
            'policy[0].dead-letter: "/queue/": the name is empty',
        ),
        ("policy = [3]", "policy[0]: 3 is not a table"),
        ("route = 3", "route: 3 is not an array of tables"),
        *(
            (f'route = [{{ name = "r", match = "{match}", to = {to} }}]', f"route[0].{why}")
            for match, to, why in (
                ("/x", '"a"', 'match: "/x"; a destination is /queue/NAME'),
                ("/temp-queue/x", '"a"', 'match: "/temp-queue/x": a temporary destination'),
                ("a,/queue/b", '"a"', 'match: "a,/queue/b": a route leads from one destination'),
                ("a", "3", "to[0]: 3 is not a text"),
                ("a", '["b", 3]', "to[1]: 3 is not a text"),
                ("a", "[]", 'to: "r": it leads nowhere'),
                ("a", '"/queue/*"', 'to: "/queue/*": a message does not go to a wildcard'),
                ("a", '"b,/queue/{1}"', 'to: "/queue/{1}": {1} stands for nothing'),
                ("a", '"a"', 'to: "a": it leads back to its source, a'),
                ("a", '"b", when = "x ="', "when: column"),
                ("a", '"b", when = ""', "when: must not be empty"),
                ("a", '"b", move = 3', "move: 3 is neither true nor false"),
            )
        ),
        ('route = [{ name = "", match = "a", to = "b" }]', "route[0].name: must not be empty"),
        ('virtual-topics.topics = "/queue/a"', 'virtual-topics.topics[0]: "/queue/a" is not a'),
        ('virtual-topics.topics = "/x"', 'virtual-topics.topics[0]: "/x"; a destination is'),
        ('virtual-topics.queues = "{topic}"', 'virtual-topics.queues: "/queue/{topic}": it has to'),
        ('login = "1s"', 'unknown key "login" (did you mean "timeouts.login"?)'),
        ("zzz = 1", 'unknown key "zzz"'),
        ("listen = [", "not TOML: "),
        ("a = 1\na = 2", "not TOML: "),
    ],
)
def test_a_mistake_says_what_was_found_and_what_is_meant(
    tmp_path: Path, text: str, expected: str
) -> None:
    """For each kind of mistake there is one line, with the place and the words."""
    (told,) = mistakes(tmp_path, text)
    assert re.match(r"stompd\.toml:[12]: ", told), told
    assert told.partition(": ")[2].startswith(expected)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """The system's limit is told before it strikes."""
    (told,) = mistakes(tmp_path, f'unix = "/{"x" * 107}"')
    assert told.endswith("is longer than a socket's path may be (107 octets)")


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    """A missing file and one that is not text are mistakes of the configuration."""
    with pytest.raises(ConfigurationError, match=r"absent\.toml: cannot be read: No such file"):
        read(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"# ok\n# \xe4\n")
    with pytest.raises(ConfigurationError, match=r"latin\.toml:2: is not UTF-8"):
        read(tmp_path / "latin.toml")


def test_a_contradiction_names_the_variable_that_made_it(tmp_path: Path) -> None:
    """Where a value clashes with a built-in one, the one that was set is to blame."""
    (told,) = mistakes(tmp_path, "", {"STOMPD_FLOW_OUTBOX_LOW": "1MiB"})
    assert told == (
        "STOMPD_FLOW_OUTBOX_LOW: flow.outbox-high: 512KiB is less than outbox-low (1MiB)"
    )


# -- Units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1m", 60), ("1h", 3600), ("1d", 86400), ("1.5 s", 1.5), (3, 3)],
)
def test_durations(text: object, seconds: float) -> None:
    """Every unit is known, and a bare number is seconds."""
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "octets"),
    [("64KiB", 65536), ("32MiB", 2**25), ("1k", 1000), ("1.5kB", 1500), ("7", 7), ("1GiB", 2**30)],
)
def test_sizes(text: object, octets: int) -> None:
    """Binary units have an i, decimal ones have none, and a bare number is octets."""
    assert units.size(text) == octets


@given(st.integers(0, 10**9))
def test_what_is_shown_reads_back_the_same(number: int) -> None:
    """A size, and a duration in whole milliseconds, survives being written and read."""
    assert units.size(units.show_size(number)) == number
    assert units.duration(units.show_duration(number / 1000)) == pytest.approx(number / 1000)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.0.2.1:1", False),
        ("example.test:1", False),
    ],
)
def test_only_loopback_is_safe_without_users(text: str, *, loopback: bool) -> None:
    """An address that others can reach is exposed, unless anonymous peers are allowed."""
    assert str(units.address(text)) == text
    assert Settings(listen=text).exposed() == (() if loopback else (units.address(text),))
    assert Settings(listen=text, allow_anonymous=True).exposed() == ()


# -- Lines of keys ---------------------------------------------------------------------------------


def test_the_line_of_every_kind_of_key_is_found() -> None:
    """Tables, dotted keys, arrays of tables and statements over several lines have their lines."""
    text = '''\
top = 1

a.b = """
x = 1
"""
[c]
d = { e = 1 }
[[f]]
g = 1
[[f]]
g = [
  "one",  # ]
  "two",
]
[f.h]
i = 1
'''
    found = lines_of_keys(text)
    assert found[("top",)] == 1
    assert found["a", "b"] == 3
    assert ("x",) not in found
    assert found["c", "d", "e"] == 7
    assert found["f", 0, "g"] == 9
    assert found["f", 1, "g"] == 11
    assert found["f", 1, "h", "i"] == 16
    assert line_of(("f", 1, "g", 1), "two", text) == 13
    assert line_of(("c", "absent"), None, text) == 6
    assert line_of(("absent",), None, text) is None
    # An array of tables begins with its first one.
    assert line_of(("f",), None, text) == 8


# -- What the layers below get ---------------------------------------------------------------------


@pytest.mark.clause("LIM-01")
def test_the_built_in_values_are_those_of_the_layers_below() -> None:
    """Nothing is stated twice: an empty configuration changes nothing for broker and decoder."""
    settings = Settings()
    assert settings.limits.of_frames() == Limits()
    core = settings.for_broker("stompd")
    usual = broker.Settings(policies=core.policies, memory_mark=memory.available() // 2)
    assert core == usual
    assert core.policies.of("/queue/a") == broker.Policy()


@pytest.mark.parametrize(
    ("text", "kept", "octets"),
    [
        ("none", "none", None),
        ("NONE", "none", None),
        ("2GiB", "2GiB", 2 << 30),
        ("2048MiB", "2GiB", 2 << 30),
        (1024, "1KiB", 1024),
        ("100%", "100%", memory.available()),
        ("25 %", "25%", memory.available() // 4),
    ],
)
def test_the_memory_mark(text: object, kept: str, octets: int | None) -> None:
    """A size, a share of the memory, or none."""
    settings = Settings.model_validate({"flow": {"memory-mark": text}})
    assert settings.flow.memory_mark == kept
    assert settings.for_broker("x").memory_mark == octets


@pytest.mark.parametrize("text", ["0", 0, "0%", "101%", "-1%", "1.5%", "%", "lots", "", True])
def test_memory_marks_that_are_none(tmp_path: Path, text: object) -> None:
    """The mistake is told with what there is."""
    written = f'"{text}"' if isinstance(text, str) else str(text).lower()
    (mistake,) = mistakes(tmp_path, f"[flow]\nmemory-mark = {written}\n")
    assert mistake.endswith('is neither a size (2GiB), nor a share (50%), nor "none"')


def test_memory_is_what_the_control_group_allows(tmp_path: Path) -> None:
    """The least that is said counts; what is no number says nothing."""
    files = [tmp_path / name for name in ("none", "max", "small", "large")]
    for file, said in zip(files[1:], ("max", "4096\n", "8192"), strict=True):
        file.write_text(f"{said}\n")
    machine = memory.available(())
    assert machine > 4096
    assert memory.available(tuple(files[:2])) == machine
    assert memory.available(tuple(files)) == 4096


def test_before_login_a_frame_is_smaller() -> None:
    """The limit for strangers is the smaller one, and the others never exceed it."""
    settings = Settings(limits={"login_frame": "1KiB", "command": 8})
    assert settings.limits.before_login() == Limits(
        command=8, line=1024, headers=1000, head=1024, body=1024
    )


def test_a_policy_becomes_the_brokers() -> None:
    """What is set replaces the broker's own value, 0 and none become no limit and no queue."""
    settings = Settings(
        policy=[
            {"match": "orders.>", "dead_letter": "none", "max_messages": 0, "auto_delete_after": 0},
            {"match": "/queue/#", "dead_letter": "bad", "max_bytes": "1KiB", "overflow": "reject"},
        ]
    )
    policies = settings.for_broker("stompd").policies
    assert policies.of("/queue/orders.a.b") == broker.Policy(
        dead_letter=None, max_messages=None, auto_delete_after=None
    )
    assert policies.of("/queue/else") == broker.Policy(
        dead_letter="/queue/bad", max_bytes=1024, overflow="reject"
    )
    assert policies.of("/topic/else") == broker.Policy()


def test_routes_are_checked_together(tmp_path: Path) -> None:
    """A name twice and a loop are mistakes of the later one, each at its line."""
    text = """
[[route]]
name = "a"
match = "/exchange/x"
to = "/exchange/y/{name}"
[[route]]
name = "b"
match = "/exchange/y/*"
to = [
    "/queue/c",
    "/exchange/x/a"
]
"""
    (told,) = mistakes(tmp_path, text)
    assert told.startswith("stompd.toml:9: route[1].to: a message could come back")
    assert 'by "b" -> "a" -> "b"' in told
    (told,) = mistakes(tmp_path, text.replace('"b"', '"a"'))
    assert told == 'stompd.toml:7: route[1].name: there is a route "a"; take another name'


def test_a_route_becomes_the_brokers() -> None:
    """One target or several, and whatever else is set."""
    settings = Settings(
        route=[
            {"name": "1", "match": "a.*", "to": "b.{1}", "move": True},
            {"name": "2", "match": "/topic/a", "to": ["b", "/topic/c"], "when": "x = 1"},
            {"name": "3", "match": "c", "to": "/queue/a, /queue/b"},
        ],
        virtual_topics={"topics": ["/topic/#"], "queues": "{topic}.{group}"},
    )
    core = settings.for_broker("stompd")
    assert core.routes == (
        Route("1", "a.*", ("b.{1}",), None, move=True),
        Route("2", "/topic/a", ("b", "/topic/c"), "x = 1"),
        Route("3", "c", ("/queue/a", "/queue/b")),
    )
    assert core.virtual_topics == VirtualTopics(("/topic/#",), "/queue/{topic}.{group}")


def test_a_rule_becomes_the_brokers() -> None:
    """One for each of those that it is for, and each of what it is about."""
    (table,) = Settings.model_validate(
        {"rights": [{"allow": "send, receive", "who": ["ann", "@ops"], "on": "/queue/#"}]}
    ).rights
    assert list(map(str, table.rules())) == [
        "allow ann send,receive /queue/#",
        "allow @ops send,receive /queue/#",
    ]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('who = "*"', "rights[0].allow: there has to be either allow or deny"),
        ('who = "*"\nallow = "send"\ndeny = "send"', "rights[0].allow: there has to be either"),
        ('allow = "send"', "rights[0].who: is missing"),
        ('allow = "send"\nwho = []', "rights[0].who: there must be one at least"),
        ('allow = "send"\nwho = "*"\non = []', "rights[0].on: there must be one at least"),
        ('allow = "send"\nwho = "@"', "rights[0].who: it has to say for whom"),
        ('allow = "write"\nwho = "*"', 'rights[0].allow: "write" is no right; there are connect'),
        ('allow = "send"\nwho = "*"\non = "x"', 'rights[0].on: "x" is neither #, for everything'),
    ],
)
def test_a_mistake_in_a_rule_is_told_at_its_key(tmp_path: Path, table: str, told: str) -> None:
    """With what is meant."""
    (mistake,) = mistakes(tmp_path, f"[[rights]]\n{table}\n")
    assert told in mistake


def test_heart_beats_are_milliseconds_for_the_broker() -> None:
    """Durations of the file are seconds, those of the wire milliseconds."""
    settings = Settings(heart_beat={"minimum": "250ms", "default": "1s"})
    core = settings.for_broker("stompd").heart_beat
    assert (core.minimum, core.default) == (250, 1000)


# -- What is shown ---------------------------------------------------------------------------------


def test_what_is_shown_means_the_same_when_it_is_read(tmp_path: Path) -> None:
    """The output of show-config is a configuration file."""
    settings = Settings(
        listen=["[::1]:0"],
        unix=["/run/a b.sock"],
        timeouts={"drain": "1500ms"},
        virtual_hosts={"names": ["/", 'q"\x7f\\ü']},
        policy=[{"match": "/queue/a", "max_bytes": "3KiB"}, {"match": "/topic/#"}],
        virtual_topics={"topics": []},
        route=[{"name": "é 1", "match": "a", "to": ["b", "c"], "when": "x = '\"'", "move": True}],
    )
    assert read(file_with(tmp_path, as_toml(settings))).settings == settings
    assert tomllib.loads(as_toml(settings, {})) == tomllib.loads(as_toml(settings))


def test_the_origin_of_each_value_is_shown(tmp_path: Path) -> None:
    """Beside each value stands the file and line, the variable or the flag that set it."""
    file = file_with(
        tmp_path,
        '[log]\nlevel = "debug"\n[[policy]]\nmatch = "/queue/a"\n[[route]]\n'
        'name = "r"\nmatch = "a"\nto = "b"\n',
    )
    sources = read(file, {"STOMPD_UNIX": "/a"}, [("--set", "log.format", "json")])
    lines = as_toml(sources.settings, sources.origins).splitlines()
    assert 'unix = ["/a"]                 # STOMPD_UNIX' in lines
    assert f'level = "debug"  # {file}:2' in lines
    assert 'format = "json"  # --set' in lines
    assert f"[[policy]]  # {file}:3" in lines
    assert f"[[route]]  # {file}:5" in lines
    assert 'minimum = "1s"   # built-in' in lines


# -- Documents -------------------------------------------------------------------------------------


@pytest.fixture
def _no_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the directories of somebody who has set nothing."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


@pytest.mark.usefixtures("_no_xdg")
def test_every_key_is_documented_with_its_built_in_value() -> None:
    """docs/configuration.md has a row for each key, and the value in it is the real one."""
    document = (PROJECT / "docs" / "configuration.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z.-]+)` \| `(.+?)` \| .+ \|$", document, re.MULTILINE))
    shown = tomllib.loads(as_toml(Settings()))
    for key in keys():
        value: object = shown
        for part in key.split("."):
            assert isinstance(value, dict)
            value = value[part]
        assert key in rows, f"{key} is not documented"
        assert tomllib.loads(f"x = {rows[key]}") == {"x": value}, key


def test_every_key_of_a_policy_is_documented_with_its_built_in_value() -> None:
    """The table of policies is complete, and its values are those of the broker."""
    document = (PROJECT / "docs" / "configuration.md").read_text("utf-8")
    table = document[document.index("## `[[policy]]`") :]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| `(.+?)` \| .+ \|$", table, re.MULTILINE))
    for name in PolicySettings.model_fields:
        key = name.replace("_", "-")
        if key == "match":
            continue
        (policy,) = tomllib.loads(f'[[p]]\nmatch = "a"\n{key} = {rows[key]}')["p"]
        assert PolicySettings.model_validate(policy).rule().policy == broker.Policy(), key


def test_every_key_of_a_route_is_documented() -> None:
    """The table of routes is complete."""
    document = (PROJECT / "docs" / "configuration.md").read_text("utf-8")
    table = document[document.index("## `[[route]]`") : document.index("## `[[rights]]`")]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(
        RouteSettings.model_fields
    )


def test_every_key_of_a_certificate_is_documented() -> None:
    """The table of certificates is complete."""
    document = (PROJECT / "docs" / "configuration.md").read_text("utf-8")
    table = document[document.index("## `[[certificate]]`") : document.index("## Flags")]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(
        CertificateSettings.model_fields
    )


def test_every_key_of_a_limit_is_documented() -> None:
    """The table of limits for users is complete."""
    document = (PROJECT / "docs" / "configuration.md").read_text("utf-8")
    table = document[document.index("## `[[limit]]`") : document.index("## `[[certificate]]`")]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == {
        name.replace("_", "-") for name in QuotaSettings.model_fields
    }


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('per = "user"\nbacklog-messages = 0', "limit[0].backlog-messages: "),
        ('per = "address"\nmatch = "x"', "limit[0].match: 'x' does not appear to be an IPv4"),
        ('per = "host"', 'limit[0].per: "host" is none of user, address, vhost'),
        ('per = "user"\nbyte-rate = 0', "limit[0].byte-rate: a rate of 0 would let nothing"),
        ("connections = 1", "limit[0].per: is missing"),
    ],
)
def test_a_mistake_in_a_limit_is_told_at_its_key(tmp_path: Path, table: str, told: str) -> None:
    """With what is meant."""
    (mistake,) = mistakes(tmp_path, f"[[limit]]\n{table}\n")
    assert told in mistake


def test_every_key_of_a_rule_is_documented() -> None:
    """The table of rights is complete."""
    document = (PROJECT / "docs" / "configuration.md").read_text("utf-8")
    table = document[document.index("## `[[rights]]`") : document.index("## `[[limit]]`")]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(
        RightSettings.model_fields
    )


@pytest.mark.usefixtures("_no_xdg")
def test_the_example_shows_every_key_with_its_built_in_value(tmp_path: Path) -> None:
    """examples/stompd.toml changes nothing as it is, and nothing when it is uncommented."""
    example = (PROJECT / "examples" / "stompd.toml").read_text("utf-8")
    assert read(file_with(tmp_path, example)).settings == Settings()
    uncommented = re.sub(r"^# (?=[a-z-]+ = |\[)", "", example, flags=re.MULTILINE)
    sources = read(file_with(tmp_path, uncommented))
    assert set(keys()) <= set(sources.origins)
    (policy,) = sources.settings.policy
    assert policy.model_fields_set == set(PolicySettings.model_fields)
    assert policy.rule().policy == broker.Policy()
    (route,) = sources.settings.route
    assert route.model_fields_set == set(RouteSettings.model_fields)
    shown: set[str] = set().union(*(table.model_fields_set for table in sources.settings.rights))
    assert shown == set(RightSettings.model_fields)
    (certificate,) = sources.settings.certificate
    assert certificate.model_fields_set == set(CertificateSettings.model_fields)
    (limit,) = sources.settings.limit
    assert limit.model_fields_set == set(QuotaSettings.model_fields)
    tables = {"policy": (), "route": (), "rights": (), "limit": (), "certificate": ()}
    assert sources.settings.model_copy(update=tables) == Settings()
