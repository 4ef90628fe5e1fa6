"""`stomp check`: verdicts, their forms, and the exit codes of nagios."""

import json

import click
import pytest
from client.admin_broker import AdminBroker, Refusal, running_admin_broker
from client.faulty_broker import running_faulty_broker
from client.programs import Stomp
from client.test_program import run_against

from stompcli.client.testing import ScriptedBroker
from stompcli.failure import Failure
from stompcli.verdict import Status, Thresholds, Value, Verdict, worst

HEALTHY = {"ok": True, "checks": [{"name": "running", "ok": True, "text": "the broker runs"}]}


def a_queue(name: str, ready: int, consumers: int = 0) -> dict[str, object]:
    """Return a row of `queues` as far as it matters here."""
    return {"name": name, "ready": ready, "inflight": 3, "consumers": consumers}


@pytest.mark.parametrize(
    ("value", "status"), [(9, Status.OK), (10, Status.WARNING), (20, Status.CRITICAL)]
)
def test_thresholds(value: float, status: Status) -> None:
    """A value passes a threshold that it reaches."""
    limits = Thresholds.of("10", "20", seconds=False)
    assert limits.judge(value) is status
    assert Thresholds.of("10ms", "20ms", seconds=True).judge(value / 1000) is status
    assert Thresholds().judge(value) is Status.OK


def test_thresholds_in_words() -> None:
    """Numbers may be thousands; a warning above what is critical makes no sense."""
    assert Thresholds.of("5k", None, seconds=False) == Thresholds(5000, None)
    with pytest.raises(Failure, match="--crit 5 is below --warn 10"):
        Thresholds.of("10", "5", seconds=False)
    with pytest.raises(click.UsageError):
        Thresholds.of("10ms", None, seconds=False)


def test_the_worst_counts() -> None:
    """What is critical is worse than what is unknown, and that worse than nothing."""
    assert worst([]) is Status.OK
    assert worst([Status.WARNING, Status.CRITICAL, Status.UNKNOWN]) is Status.CRITICAL
    assert worst([Status.OK, Status.UNKNOWN]) is Status.UNKNOWN


def test_forms() -> None:
    """One line for nagios, in which a stranger's name cannot break anything; gauges otherwise."""
    limits = Thresholds(1000, 5000)
    verdict = Verdict(
        "queue",
        '/queue/"a\nb',
        Status.WARNING,
        "x | y\x1b[31m",
        [Value("ready", 1204, limits), Value("receipt", 0.00041, Thresholds(None, 1.0), True)],  # noqa: FBT003
    )
    assert verdict.render("nagios") == (
        "WARNING: x / y\\x1b[31m | ready=1204;1000;5000 receipt=0.00041s;;1\n"
    )
    lines = verdict.render("prometheus").splitlines()
    assert 'stomp_check_status{check="queue",target="/queue/\\"a\\nb"} 1' in lines
    assert 'stomp_check_ready{check="queue",target="/queue/\\"a\\nb"} 1204' in lines
    assert 'stomp_check_receipt_seconds{check="queue",target="/queue/\\"a\\nb"} 0.00041' in lines
    assert verdict.as_json()["values"]["ready"] == {"value": 1204, "warn": 1000, "crit": 5000}


# Against a broker.


def test_conn(stomp: Stomp) -> None:
    """A broker that is there is fine, unless it takes too long."""
    done = stomp("check")
    assert done.code == 0
    assert done.text.startswith("OK: stompd/")
    assert " | connect=0." in done.text
    done = stomp("health", "conn", "--crit", "0.000001ms")
    assert done.code == 2
    assert done.text.startswith("CRITICAL: stompd/")


def test_roundtrip(stomp: Stomp, queue: str) -> None:
    """A message comes back; what others have sent to the same queue stays there."""
    assert stomp("check", "roundtrip", "--warn", "60s").text.startswith("OK: stompd/")
    stomp("send", queue, "precious")
    done = stomp("check", "roundtrip", queue, "--json")
    assert done.code == 0
    assert "behind 1 others" in json.loads(done.out)["message"]
    assert stomp("subscribe", queue, "-n", "1").out == b"precious\n"


def test_queue(stomp: Stomp, queue: str) -> None:
    """The messages of a queue are counted against the thresholds."""
    for _ in range(3):
        stomp("send", queue, "x")
    words = ("check", "queue", queue.removeprefix("/queue/"))
    assert stomp(*words).code == 0
    done = stomp(*words, "--warn", "2", "--crit", "4")
    assert done.code == 1
    assert done.text == (
        f"WARNING: {queue} ready=3 (>=2) consumers=0 | ready=3;2;4 inflight=0 consumers=0\n"
    )
    assert stomp(*words, "--crit", "3", "--format", "prometheus").code == 2


def test_what_cannot_be_known(stomp: Stomp) -> None:
    """A queue that is not there, and one of another broker, are unknown."""
    done = stomp("check", "queue", "/queue/no.such")
    assert (done.code, done.text) == (3, "UNKNOWN: there is no queue /queue/no.such\n")
    with running_faulty_broker() as broker:
        other = Stomp(broker.port)
        assert other("check").text.startswith("OK: scripted/1 at ")
        done = other("check", "dlq")
    assert done.code == 3
    assert done.text.startswith("UNKNOWN: check dlq needs stompd")


def test_dead_letters(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """One dead letter is worth a warning, unless it was said otherwise."""
    admin.answers["dlq"] = [a_queue("/queue/DLQ.a", 3), a_queue("/queue/DLQ.b", 14)]
    done = stomp_admin("check", "dlq")
    assert done.code == 1
    assert done.text == (
        "WARNING: dead letters=17 (>=1) in /queue/DLQ.b (14), /queue/DLQ.a (3) "
        "| ready=17;1 queues=2\n"
    )
    assert stomp_admin("check", "dlq", "DLQ.a", "--warn", "10").code == 0
    assert stomp_admin("check", "dlq", "DLQ.c").code == 3


@pytest.mark.parametrize(("name", "code"), [("store", 2), ("memory", 1)])
def test_health(stomp_admin: Stomp, admin: AdminBroker, name: str, code: int) -> None:
    """What stompd says of itself counts: no room is critical, waiting producers are not yet."""
    admin.answers["health"] = {
        "ok": False,
        "checks": [{"name": name, "ok": False, "text": "it is bad"}, *HEALTHY["checks"]],  # type: ignore[misc]
    }
    done = stomp_admin("check")
    assert done.code == code
    assert "; it is bad | " in done.text


def test_health_is_not_for_everybody() -> None:
    """Who may not ask for the health learns that connecting works."""

    def refuse(_: object) -> object:
        raise Refusal("forbidden", "no")

    with running_admin_broker(answers={"health": refuse}) as broker:
        assert Stomp(broker.port)("check").code == 0
    with running_admin_broker(answers={"health": b"no JSON"}) as broker:
        assert Stomp(broker.port)("check").code == 3


def test_no_broker() -> None:
    """A broker that is not there is critical, on standard output."""
    done = Stomp(1)("check", "roundtrip")
    assert done.code == 2
    assert done.text == "CRITICAL: cannot connect to localhost:1: connection refused\n"
    assert json.loads(Stomp(1)("check", "--json").out)["status"] == "CRITICAL"


async def test_no_answer() -> None:
    """A broker that does not answer in time is critical, too."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": "mute/1"})
        await broker.serve_end()

    async def mute(broker: ScriptedBroker) -> None:
        await broker.read()
        await broker.read()

    done = await run_against(mute, "check", "--timeout", "200ms")
    assert done.returncode == 2
    assert b"has not answered within 0.2 s" in done.stdout
    done = await run_against(script, "check", "conn")
    assert done.returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("queue",),
        ("conn", "/queue/a"),
        ("queue", "a", "--warn", "x"),
        ("conn", "--warn", "9k"),
        ("conn", "--warn", "2s", "--crit", "1s"),
        ("nonsense",),
    ],
)
def test_usage(stomp: Stomp, words: tuple[str, ...]) -> None:
    """Words that make no sense are a usage error, on standard error."""
    done = stomp("check", *words)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("stomp: ")
