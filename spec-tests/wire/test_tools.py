"""The suite itself: its notation, its reader, and that no case passes against a broken broker."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from conformance.brokers import Brokers
from conformance.cases import Case, Requirement, all_cases, requirements
from conformance.report import as_html, as_markdown, as_text, judge
from conformance.script import BadScriptError, run, steps
from conformance.stage import Stage
from conformance.suite import Outcome, Run, play
from wire import Broker, Patience, Unmet, Wire, notation, octets

HURRY = Patience(answer=0.3, quiet=0.05)

Behaviour = Callable[[socket.socket], None]


@contextmanager
def fake(behave: Behaviour) -> Iterator[Broker]:
    """A broker that treats each connection as ``behave`` says, in a thread of its own."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=200)) as listener:
        stopped = threading.Event()

        def serve(peer: socket.socket) -> None:
            with closing(peer), suppress(OSError):
                behave(peer)

        def accept() -> None:
            while not stopped.is_set():
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield Broker(listener.getsockname()[:2], "user", "pass")
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _says(data: bytes) -> Behaviour:
    """Read what comes first, say ``data``, then read until the peer has gone."""

    def behave(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(data)
        while peer.recv(65536):
            pass

    return behave


def _mute(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


_CONNECTED = "CONNECTED\nversion:{}\nsession:s{}\nserver:fake/1\nheart-beat:1000,1000\n\n\0"


def _answers(peer: socket.socket, last: Callable[[bytes], bytes]) -> None:
    """Answer CONNECT properly and each other frame by ``last``."""
    rest = b""
    while data := peer.recv(65536):
        *frames, rest = (rest + data).split(b"\0")
        for frame in (frame.lstrip(b"\r\n") for frame in frames):
            if frame.startswith((b"CONNECT\n", b"STOMP\n")):
                version = "1.2" if b"1.2" in frame else "1.1" if b"1.1" in frame else "1.0"
                peer.sendall(_CONNECTED.format(version, id(peer)).encode())
            else:
                peer.sendall(last(frame))


def _receipts_only(peer: socket.socket) -> None:
    """Promise everything, do nothing."""

    def receipt(frame: bytes) -> bytes:
        lines = frame.partition(b"\n\n")[0].split(b"\n")
        asked = [line[8:] for line in lines if line.startswith(b"receipt:")]
        return b"RECEIPT\nreceipt-id:" + asked[0] + b"\n\n\0" if asked else b""

    _answers(peer, receipt)


def _errors_only(peer: socket.socket) -> None:
    """Call everything an error and close."""

    def error(frame: bytes) -> bytes:
        if frame:
            peer.sendall(b"ERROR\nmessage:no\n\n\0")
            raise OSError
        return b""

    _answers(peer, error)


def _passed(behave: Behaviour, cases: list[Case]) -> set[str]:
    with fake(behave) as broker, Brokers(broker) as brokers:
        running = Run(cases, brokers, HURRY, workers=40)
        try:
            return {o.case.name for o in running.outcomes() if o.verdict == "pass"}
        finally:
            running.stop()


def _quick() -> list[Case]:
    """Every case but those that take their time on purpose."""
    return [case for case in all_cases() if case.pace == "light"]


@pytest.mark.slow
def test_no_case_passes_without_an_answer() -> None:
    """Against a broker that never answers nothing passes but the case that asks for silence."""
    assert _passed(_mute, _quick()) == {"the server waits for the client to speak first"}


@pytest.mark.slow
def test_receipts_without_deeds_are_noticed() -> None:
    """No script that waits for a MESSAGE, an ERROR or an end passes where only receipts come."""
    words = re.compile(r"< MESSAGE|BODIES|AMONG|HOLDS|ERROR|FATAL|EOS")
    passed = _passed(_receipts_only, [case for case in _quick() if words.search(case.script)])
    assert not passed


@pytest.mark.slow
def test_errors_for_everything_are_noticed() -> None:
    """No script that waits for anything but an ERROR passes where everything is refused."""
    words = re.compile(r"< MESSAGE|< RECEIPT|BODIES|AMONG|HOLDS|SYNC|ALIVE|SUB |PUT ")
    passed = _passed(_errors_only, [case for case in _quick() if words.search(case.script)])
    assert not passed


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("SEND⏎a:b⏎⏎x^@", b"SEND\na:b\n\nx\0"),
        ("a␍⏎", b"a\r\n"),
        ("é⟦FF FE⟧b", b"\xc3\xa9\xff\xfeb"),
        ("", b""),
    ],
)
def test_notation_is_read(text: str, data: bytes) -> None:
    """⏎, ␍, ^@ and ⟦FF⟧ stand for octets, everything else for itself in UTF-8."""
    assert octets(text) == data


def test_notation_is_written() -> None:
    """Octets are shown in the notation, long ones cut."""
    assert notation(b"a\r\n\0b") == "a␍⏎^@b"
    assert notation(b"x" * 300) == "x" * 200 + "… (300 octets)"
    assert notation(b"\x07") == "⟦07⟧"


@pytest.mark.parametrize("script", ["A P12", "A: DANCE", "a: P12", "A=x"])
def test_a_wrong_script_is_refused(script: str) -> None:
    """A line that is no step is an error of the script, not of the broker."""
    with pytest.raises(BadScriptError):
        steps(script)


def test_an_unknown_word_is_refused() -> None:
    """A word in braces that nobody has defined is an error of the script."""
    with fake(_mute) as broker:
        stage = Stage(broker, "test", HURRY)
        with pytest.raises(KeyError):
            run("A: OPEN\nA> {undefined}", stage)
        stage.clear()


@pytest.mark.parametrize(
    ("answer", "pattern"),
    [
        (b"MESSAGE\na:1\n\nx\0", "A< MESSAGE⏎a:2"),
        (b"MESSAGE\na:1\na:2\n\nx\0", "A< MESSAGE⏎a:2"),
        (b"MESSAGE\na:1\n\nx\0", "A< MESSAGE⏎!a"),
        (b"MESSAGE\na:\n\nx\0", "A< MESSAGE⏎a=word"),
        (b"MESSAGE\na:1\n\nx\0", "A< MESSAGE⏎b=word"),
        (b"MESSAGE\na:1\n\nx\0", "A< MESSAGE⏎a~^2"),
        (b"MESSAGE\na:1\n\nx\0", "A< MESSAGE⏎⏎^@"),
        (b"MESSAGE\na:1\n\nx\0", "A< RECEIPT"),
        (b"MESSAGE\na:1\ncontent-length:3\n\nx\0", "A< MESSAGE"),
        (b"MESSAGE\na:1\ncontent-length:1\n\nxy\0", "A< MESSAGE"),
        (b"MESSAGE\na:1\n\nx", "A< MESSAGE"),
        (b"ERROR\nmessage:1\n\nx\0", "A: FATAL"),
        (b"ERROR\nmessage:1\n\nx\0", "A: QUIET"),
        (b"x", "A: QUIET"),
        (b"\n", "A: EOS"),
        (b"RECEIPT\n\n\0", "A: EOS"),
        (b"RECEIPT\n\n\0", "A: FATAL"),
        (b"MESSAGE\n\nb\0MESSAGE\n\na\0", "A: BODIES a b"),
        (b"MESSAGE\n\nb\0MESSAGE\n\na\0", "A: AMONG a c"),
        (b"RECEIPT\nreceipt-id:9\n\n\0", "A: SYNC"),
    ],
)
def test_what_does_not_match_is_unmet(answer: bytes, pattern: str) -> None:
    """Each kind of expectation fails when something else comes."""
    with fake(_says(answer)) as broker:
        stage = Stage(broker, "test", HURRY)
        try:
            with pytest.raises(Unmet):
                run(f"A: OPEN\nA> hello⏎\n{pattern}", stage)
        finally:
            stage.clear()


@pytest.mark.parametrize(
    ("answer", "pattern"),
    [
        (b"MESSAGE\na:1\na:2\n\nx\0", "A< MESSAGE⏎a:1⏎!b⏎⏎x^@"),
        (b"\r\n\nMESSAGE\na:k\n\nx\0\n\r\n", "A< MESSAGE⏎a=word\nA: QUIET"),
        (b"MESSAGE\na:12\ncontent-length:3\n\nx\0y\0", "A< MESSAGE⏎a~^1⏎⏎x^@y^@"),
        (b"RECEIPT\nn:1\n\n\0MESSAGE\n\nx\0", "A<? MESSAGE⏎⏎x^@\nA< RECEIPT⏎n:1"),
        (b"MESSAGE\n\nb\0MESSAGE\n\na\0", "A: AMONG a b"),
    ],
)
def test_what_matches_is_met(answer: bytes, pattern: str) -> None:
    """Each kind of expectation holds when the right thing comes."""
    with fake(_says(answer)) as broker:
        stage = Stage(broker, "test", HURRY)
        try:
            run(f"A: OPEN\nA> hello⏎\n{pattern}", stage)
        finally:
            stage.clear()


def test_the_reader_sniffs_every_frame() -> None:
    """A breach of what holds for every frame is noted with the requirement's id."""
    answer = (
        b"CONNECTED\nversion:1.2\n\n\0MESSAGE\na:1:2\nb:\\t\na:3\n\nbody\0RECEIPT\n\nbody\0"
        b"ERROR\n\nbody\0CONNECTED\nversion:1.2\n\n\0MESSAGE\nno colon\n\n\0"
    )
    with fake(_says(answer)) as broker, Wire(broker, HURRY) as wire:
        wire.connect()
        for _ in range(5):
            wire.frame()
        found = {rule for rule, _ in wire.sniffer.complaints}
    expected = {"F-11", "F-14", "ESC-03", "CL-05", "M-01", "M-02", "M-04", "M-05", "M-11"}
    assert found == expected | {"BOD-02", "CT-01", "E-03", "E-07", "FH-10"}


def _requirement(identifier: str, level: str = "MUST") -> Requirement:
    return Requirement(identifier, "Chapter", "Section", level, "S", "Do <it>.", "Look | at it.")


def _case(name: str, clause: str, *, ours: bool = False) -> Case:
    origin = "choice" if ours else "specification"
    return Case(name, (clause,), origin, "plain", "always", "light", lambda _: None, "x.toml")  # type: ignore[arg-type]


def test_the_report_scores_rows() -> None:
    """A row is met if all its checks are; choices and what could not be judged stand apart."""
    rows = {r.id: r for r in map(_requirement, ("A-1", "A-2", "A-3"))}
    rows["A-4"] = _requirement("A-4", "choice")
    outcomes = [
        Outcome(_case("one", "A-1"), "pass"),
        Outcome(_case("two", "A-1"), "fail", "RECEIPT <b>|"),
        Outcome(_case("three", "A-2"), "pass"),
        Outcome(_case("beyond", "A-2", ours=True), "fail", "silence"),
        Outcome(_case("four", "A-3"), "n/a"),
        Outcome(_case("five", "A-4", ours=True), "pass"),
    ]
    report = judge("Fake", rows, outcomes)
    assert (report.score(ours=False).met, report.score(ours=False).judged) == (1, 2)
    assert (report.score(ours=True).met, report.score(ours=True).judged) == (2, 4)
    assert str(report.score("Chapter", ours=False)) == "1 of 2 (50 %)"
    text, markdown, page = as_text(report), as_markdown(report), as_html(report)
    assert "fail A-1" in text
    assert "two: RECEIPT <b>|" in text
    assert "| fail | A-1 | MUST | Do &lt;it&gt;. | two: RECEIPT &lt;b&gt;\\| |" in markdown
    assert "two: RECEIPT &lt;b&gt;|" in page
    assert "A-2 ◆" in text


def test_a_broker_that_is_not_there_breaks_nothing() -> None:
    """A case against a port where nobody listens fails with the reason."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        address = unused.getsockname()[:2]
    with Brokers(Broker(address)) as brokers:
        outcome = play(_quick()[0], brokers, HURRY, "test")
    assert outcome.verdict == "fail"
    assert "no connection" in outcome.came


def test_every_chapter_of_the_list_has_cases() -> None:
    """No chapter of the requirements list is without a case on the wire."""
    rows = requirements()
    assert {rows[c].chapter for case in all_cases() for c in case.clauses} == {
        row.chapter for row in rows.values()
    }


def test_the_kept_scores_are_those_of_the_kept_tables() -> None:
    """The scores in docs/conformance/README.md are the totals of the tables beside it."""
    folder = Path(__file__).resolve().parents[2] / "docs" / "conformance"
    page = (folder / "README.md").read_text(encoding="utf-8")
    tables = sorted(folder.glob("*.txt"))
    assert {table.stem for table in tables} == {"activemq", "rabbitmq", "stompd"}
    for table in tables:
        total = table.read_text(encoding="utf-8").splitlines()[-1]
        specification, both = re.findall(r"\d+ of \d+ \(\d+ %\)", total)
        assert re.search(
            rf"^\| .*{re.escape(specification)} \| {re.escape(both)} \| .*\({table.name}\)",
            page,
            re.MULTILINE,
        )
