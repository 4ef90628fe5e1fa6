"""`stomp request` and `stomp reply`: questions and answers, by every way that they may go."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from client.programs import Stomp, environment
from client.test_worker import read_until, working

from stompcli.client.testing import ScriptedBroker, on_socket


@contextmanager
def replying(stomp: Stomp, queue: str, *words: str) -> Iterator[None]:
    """Let somebody answer beside a test."""
    with working(stomp, queue, *words, command="reply") as process:
        read_until(process, f"listening on {queue}")
        yield


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["two  words", "more"], b"two  words more"),
        ([""], b""),
        (["--", "-5"], b"-5"),
        (["--echo"], b"$(id) 'q' \\"),
        (["--template", "{n}: {body} of {header.kind}, {destination}\\n"], None),
        (["--command", "--", "cat"], b"$(id) 'q' \\"),
        (["--command", "--shell", "--", "cat; echo ' $STOMP_ATTEMPT' $STOMP_ATTEMPT"], None),
        (["--command", "--input", "arg", "--", "printf", "<%s>", "--"], b"<--><$(id) 'q' \\>"),
    ],
)
def test_answers(stomp: Stomp, queue: str, words: list[str], answer: bytes | None) -> None:
    """Each way of making an answer; the question's body is never taken for anything else."""
    if answer is None:
        shell = "--shell" in words
        answer = (
            b"$(id) 'q' \\ $STOMP_ATTEMPT 1"
            if shell
            else b"1: $(id) 'q' \\ of k, " + (queue.encode() + b"\n")
        )
    with replying(stomp, queue, *words):
        done = stomp("request", queue, "-H", "kind:k", "--raw", "--", "$(id) 'q' \\")
    assert done.code == 0, done.err
    assert done.out.rstrip(b"\n") == answer.rstrip(b"\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d reply 1 after \d+\.\d ms\n", done.err)


def test_body_file_and_headers(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """The answer may be a file, of a type, with headers of its own; JSON tells how long it took."""
    file = tmp_path / "answer"
    file.write_bytes(b"\x00\xff")
    words = ("-f", str(file), "-t", "image/x", "-H", "by:me", "--sleep", "10ms", "-n", "2")
    with working(stomp, queue, *words, command="reply") as process:
        read_until(process, f"listening on {queue}")
        done = stomp("request", queue, "x", "--json")
        answer = json.loads(done.out)
        assert stomp("request", queue, "x", "--headers-only").code == 0
        lines = read_until(process, "as many as wanted: 2 done")
        assert process.wait(timeout=60) == 0
    assert answer["body_base64"] == "AP8="
    assert answer["headers"]["content-type"] == "image/x"
    assert answer["headers"]["by"] == "me"
    assert 0.01 <= answer["seconds"] < 60
    assert f"{queue} ID ok in N s, reply, ACK" in lines


def test_requests_without_a_reply_to(stomp: Stomp, queue: str) -> None:
    """Who asked for no answer gets none; the message has been dealt with."""
    stomp("-q", "send", queue, "x")
    with working(stomp, queue, "-n", "1", "pong", command="reply") as process:
        lines = read_until(process, "as many as wanted")
    assert f"{queue} ID ok in N s, ACK (no reply-to)" in lines


def test_several_replies(stomp: Stomp, queue: str) -> None:
    """A question to many has as many answers as are waited for, or as come in time."""
    topic = queue.replace("/queue/", "/topic/")
    with replying(stomp, topic, "a"), replying(stomp, topic, "a"):
        done = stomp("request", topic, "who", "-n", "2")
        assert (done.code, done.out) == (0, b"a\na\n")
        assert re.search(r"2 replies in \d+\.\d\d s\n$", done.err)
        done = stomp("request", topic, "who", "-n", "0", "--reply-timeout", "500ms", "-N")
        assert (done.code, done.out) == (0, b"aa")
        done = stomp("request", topic, "who", "-n", "3", "--reply-timeout", "500ms")
        assert (done.code, done.out) == (75, b"a\na\n")
        assert "2 of 3 replies within 0.5 s" in done.err


def test_no_reply(stomp: Stomp, queue: str) -> None:
    """No reply in time is exit code 75."""
    done = stomp("request", queue, "x", "--reply-timeout", "50ms")
    assert (done.code, done.out) == (75, b"")
    assert done.err == "stomp: 0 of 1 replies within 0.05 s\n"
    done = stomp("request", queue, "x", "-n", "0", "--reply-timeout", "50ms")
    assert (done.code, done.err) == (75, "stomp: no reply within 0.05 s\n")
    answers = f"{queue}.answers"
    done = stomp("request", queue, "x", "--reply-to", answers, "--reply-timeout", "50ms")
    assert (done.code, done.err) == (75, "stomp: no reply within 0.05 s\n")


def test_reply_to(stomp: Stomp, queue: str) -> None:
    """Replies may go to a queue that others use, too: what is theirs stays there."""
    answers = f"{queue}.answers"
    stomp("-q", "send", answers, "theirs", "-H", "correlation-id:other")
    with replying(stomp, queue, "ours"):
        words = ("--reply-to", answers, "--correlation-id", "it's")
        done = stomp("request", queue, "x", *words)
        assert (done.code, done.out) == (0, b"ours\n")
    assert stomp("browse", answers, "--format", "{body}").out == b"theirs"


async def test_reply_to_on_another_broker() -> None:
    """Where nobody selects, what is not ours is passed over and given back."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        answers = await broker.subscribed(destination="/queue/r", ack="client-individual")
        assert "selector" not in answers.headers
        question = await broker.expect("SEND", reply_to="/queue/r", kind="k")
        await broker.receipt(question)
        await broker.message(answers, b"no", message_id="1", correlation_id="other")
        correlation = question.headers["correlation-id"]
        await broker.message(answers, b"yes", message_id="2", correlation_id=correlation)
        await broker.expect("ACK", id="2")
        await broker.serve_end()

    async with on_socket(script) as port:
        words = ("request", "/queue/q", "x", "-H", "kind:k", "--reply-to", "/queue/r")
        done = await trio.run_process(
            Stomp(port).argv(*words), capture_stdout=True, capture_stderr=True, env=environment()
        )
    assert done.stdout == b"yes\n"


def test_several_replies_elsewhere(stomp: Stomp, queue: str) -> None:
    """As many as are waited for have to come there, too."""
    topic = queue.replace("/queue/", "/topic/")
    words = ("--reply-to", f"{topic}.answers", "-n", "2", "--reply-timeout", "500ms")
    with replying(stomp, topic, "a"):
        done = stomp("request", topic, "who", *words)
    assert (done.code, done.out) == (75, b"a\n")
    assert "1 of 2 replies came in time" in done.err


def test_in_a_script(stomp: Stomp, queue: str) -> None:
    """At the prompt and in scripts the reply is shown as messages are; the body is verbatim."""
    with replying(stomp, queue, "--echo"):
        done = stomp(stdin=f"request -H a:b {queue} two  words\n".encode())
    assert done.code == 0, done.err
    assert done.text.count("MESSAGE\n") == 1
    assert done.text.endswith("\n\ntwo  words\n")


@pytest.mark.parametrize(
    ("words", "err"),
    [
        (["request", "/queue/a", "x", "--correlation-id", "7"], "give that, too"),
        (["request", "/queue/a", "x", "-H", "reply-to:/queue/b"], "have options of their own"),
        (["request", "/queue/a", "--no-stdin"], 'an empty body is ""'),
        (["reply", "/queue/a"], "reply: with what?"),
        (["reply", "/queue/a", "x", "--echo"], "BODY and --echo exclude each other"),
        (["reply", "/queue/a", "x", "--shell"], "--shell is for --command"),
        (["reply", "/queue/a", "--command"], "reply: no command; put it behind --"),
        (["reply", "/queue/a", "--template", "{nonsense}"], "there is no field {nonsense}"),
    ],
)
def test_usage(stomp: Stomp, words: list[str], err: str) -> None:
    """Mistakes are said in words."""
    done = stomp(*words)
    assert done.code == 2
    assert err in done.err


def test_help(stomp: Stomp) -> None:
    """The help shows where a program stands."""
    usage = "Usage: stomp reply [OPTIONS] DEST [BODY...] [--command -- CMD [ARG...]]"
    assert usage in stomp("reply", "--help").text
    assert stomp("request", "--help").text.startswith("Examples:\n  stomp request /queue/upper")
