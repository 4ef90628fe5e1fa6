"""Completion: what Tab offers, from a broker too, and never a complaint."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from client.programs import ROOT, Stomp, environment

from stompcli import quick
from stompcli.quick import Place
from stompcli.settings import Settings
from stompcli.shells import typed_words

MESSAGE = (
    b"CONNECTED\nversion:1.2\nserver:stompd/1\n\n\0MESSAGE\nsubscription:completion\n"
    b"message-id:1\ndestination:/a\n\n"
)
BREAKS = " \t\n\"'><=;|&(:"
Offers = Callable[..., list[str]]


@pytest.fixture
def offers(tmp_path: Path) -> Offers:
    """What bash is offered for a line, as the program writes it."""

    def offers(line: str, **env: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            env=environment(
                _STOMP_COMPLETE="bash_complete",
                COMP_LINE=line,
                COMP_POINT=str(len(line.encode())),
                COMP_WORDBREAKS=BREAKS,
                XDG_CACHE_HOME=str(tmp_path / "cache"),
                XDG_CONFIG_HOME=str(tmp_path / "config"),
                **{"STOMP_PORT": "1", **env},
            ),
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode().split()

    return offers


PROGRAM = """
import sys
from stompcli import quick
sys.argv[0] = "stomp"
quick.BUDGET = 10
quick.asked.__kwdefaults__["budget"] = 10
from stompcli.main import run
try:
    run([])
finally:
    heavy = {"trio", "rich", "prompt_toolkit"} & set(sys.modules)
    assert not heavy, heavy
"""


def test_destinations(offers: Offers, stomp: Stomp, queue: str) -> None:
    """Destinations are those of the broker, for who may send to or receive from them."""
    topic = queue.replace("/queue/", "/topic/")
    stomp("send", queue, "x")
    stomp("send", f"{queue}.b", "x")
    stomp("send", topic, "x", "-H", "retain:true")
    start = f"stomp -P {stomp.port}"
    assert offers(f"{start} send {queue}") == [f"plain,{queue}", f"plain,{queue}.b"]
    assert f"plain,{queue}" in offers(f"{start} purge {queue[:-2]}")
    assert offers(f"{start} move {queue} {queue}.") == [f"plain,{queue}.b"]
    assert offers(f"stomp send --port {stomp.port} {queue}.") == [f"plain,{queue}.b"]
    assert offers(f"stomp send {queue}.", STOMP_PORT=str(stomp.port)) == [f"plain,{queue}.b"]


def test_ack_modes_and_messages(offers: Offers, stomp: Stomp, queue: str) -> None:
    """Behind a destination ack modes are offered, behind a queue the ids of its messages."""
    stomp("send", queue, "x", "-n", "2")
    start = f"stomp -P {stomp.port}"
    assert offers(f"{start} subscribe {queue} cl") == ["plain,client", "plain,client-individual"]
    assert offers(f"{start} subscribe --ack cl") == ["plain,client", "plain,client-individual"]
    assert offers(f"{start} browse {queue} --id ") == ["plain,1", "plain,2"]
    assert offers(f"{start} dlq requeue {queue} ") == ["plain,1", "plain,2"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stomp send -H pers", ["plain,persistent:"]),
        # What bash believes to be a word of its own is completed alone.
        ("stomp send -H persistent:", ["plain,true", "plain,false"]),
        ("stomp send -H content-type:text", ["plain,text/plain"]),
        ("stomp send --header=priority:9", ["plain,9"]),
        ("stomp send --pers", ["plain,--persistent"]),
        ("stomp send --body-file ", ["file,"]),
        ("stomp subscribe --dump x", ["dir,x"]),
        ("stomp -F ", ["file,"]),
        ("stomp context sel", ["plain,select"]),
        ("stomp help purg", ["plain,purge"]),
        ("stomp completion z", ["plain,zsh"]),
        ("stomp sned x", []),
        ("stomp send '", ["plain,/queue/", "plain,/topic/"]),
        ("stomp ack x", []),
        ("stomp -P nonsense send ", ["plain,/queue/", "plain,/topic/"]),
        ("stomp -P 1 send /queue/x", []),
        ("stomp -u ws://localhost:1/ws send /queue/x", []),
        ("stomp -u http://[ send /queue/x", []),
        ("stomp --password-file /no/such send /queue/x", []),
        ("stomp -C missing send /queue/x", []),
    ],
)
def test_words(offers: Offers, line: str, expected: list[str]) -> None:
    """Words are offered without a broker, and nothing is said where there is nothing to offer."""
    assert offers(line) == expected


def test_contexts(offers: Offers, tmp_path: Path, stomp: Stomp, queue: str) -> None:
    """Contexts are offered by name, and count for where the broker is."""
    folder = tmp_path / "config" / "stomp" / "contexts"
    folder.mkdir(parents=True)
    (folder / "production.toml").write_text(f"port = {stomp.port}\n")
    (folder / "broken.toml").write_text("?")
    assert offers("stomp -C ") == ["plain,broken", "plain,production"]
    assert offers("stomp context show pr") == ["plain,production"]
    stomp("send", queue, "x")
    found = offers(f"stomp -C production send {queue}", STOMP_PORT="")
    assert found == [f"plain,{queue}"]


@pytest.mark.parametrize(
    ("line", "words", "typed"),
    [
        ("stomp ", ["stomp"], ""),
        ("stomp se", ["stomp"], "se"),
        ("stomp send 'a b", ["stomp", "send"], "a b"),
        ('stomp send "a b" c', ["stomp", "send", "a b"], "c"),
        ("stomp send a\\ b", ["stomp", "send"], "a b"),
        ("stomp send a\\ ", ["stomp", "send"], "a "),
        ("", [], ""),
    ],
)
def test_typed_words(line: str, words: list[str], typed: str) -> None:
    """A line is cut as the shell cuts it, with quotes that are still open."""
    assert typed_words(line + " behind the cursor", len(line)) == (words, typed)


# The question.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for what is remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "stomp"


def test_answers_are_remembered(cache: Path, stompd: int, stomp: Stomp, queue: str) -> None:
    """For half a minute nobody is asked again; the file is for nobody else."""
    stomp("send", queue, "x")
    settings = Settings(host="127.0.0.1", port=stompd)
    rows = quick.asked(settings, "destinations", {}, budget=10)
    assert {"name": queue, "kind": "queue"} in rows
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    file.write_text(json.dumps([{"name": "remembered"}]))
    assert quick.asked(settings, "destinations", {}) == [{"name": "remembered"}]
    long_ago = time.time() - 31
    os.utime(file, (long_ago, long_ago))
    assert {"name": queue, "kind": "queue"} in quick.asked(settings, "destinations", {}, budget=10)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_whoever_says_nothing_is_not_waited_for(cache: Path, silent: int) -> None:
    """After the budget there is no answer, and nothing is remembered."""
    assert quick.asked(Settings(port=silent), "destinations", {}, budget=0.05) == []
    assert not cache.exists()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"ERROR\nmessage:no\n\n\0",
        b"CONNECTED\nversion:1.2\nserver:RabbitMQ/4\n\n\0",
        MESSAGE + b"no JSON\0",
        MESSAGE + b'{"ok":false,"error":{"code":"forbidden"}}\0',
    ],
)
def test_answers_that_are_none(cache: Path, answer: bytes) -> None:
    """A refusal, another broker and nonsense are nothing to offer, and are not remembered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        settings = Settings(host="127.0.0.1", port=listener.getsockname()[1])
        assert quick.asked(settings, "destinations", {}, budget=5) == []
        thread.join()
    assert not cache.exists()


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (Settings(), Place()),
        (Settings(tls=True), Place(port=61614, tls=True)),
        (
            Settings(url="stomp://u:p%40@h:5/v,stomp://other"),
            Place(host="h", port=5, user="u", password="p@", vhost="v"),
        ),
        (Settings(url="stomp+ssl://h", user="me"), Place("h", 61614, tls=True, user="me")),
        (Settings(url="unix:///run/s.sock"), Place(path="/run/s.sock")),
        (Settings(url="stomp://h", host="other", port=7), Place("other", 7)),
        (Settings(url="ws://h/ws"), None),
    ],
)
def test_places(settings: Settings, place: Place | None) -> None:
    """The place is that of the options, as far as a plain socket can reach it."""
    assert Place.of(settings) == place


# In a real shell.


@pytest.fixture
def surroundings(stomp: Stomp, tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds our program, which finds the broker."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    launcher = bin_ / "stomp"
    launcher.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{LAUNCH}"
    )
    launcher.chmod(0o700)
    return environment(
        PATH=f"{bin_}:{os.environ['PATH']}",
        HOME=str(tmp_path),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
        TERM="dumb",
        PS1="$ ",
        STOMP_PORT=str(stomp.port),
    )


@pytest.mark.parametrize(
    ("shell", "options", "before"),
    [
        pytest.param(
            "bash", ["--norc", "--noprofile", "-i"], "", marks=pytest.mark.needs_tool("bash")
        ),
        pytest.param(
            "zsh",
            ["-f", "-i"],
            "autoload -U compinit; compinit -u -D; ",
            marks=pytest.mark.needs_tool("zsh"),
        ),
    ],
)
def test_tab(
    stomp: Stomp,
    queue: str,
    surroundings: dict[str, str],
    shell: str,
    options: list[str],
    before: str,
) -> None:
    """Tab completes commands, destinations and headers at the prompt of a shell."""
    stomp("send", f"{queue}.unique", "x")
    child: pexpect.spawn[str] = pexpect.spawn(
        shell, options, env=surroundings, encoding="utf-8", timeout=30, dimensions=(40, 200)
    )
    child.sendline(f"{before}source <(stomp completion {shell}); echo rea''dy")
    child.expect_exact("ready")
    child.send("stomp sendf\t")
    child.expect_exact("stomp sendfile ")
    child.send(f"{queue}.un\t")
    child.expect_exact(f"{queue}.unique ")
    child.sendcontrol("u")
    child.send("stomp send -H persist\t")
    child.expect_exact("persistent:")
    child.send("t\t")
    child.expect_exact("true ")
    child.sendcontrol("u")
    # Where there are several they are listed.
    child.send("stomp su\t\t\t")
    child.expect_exact("subscriptions")
    child.close(force=True)


@pytest.mark.needs_tool("fish")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("stomp su", ["subscribe", "subscriptions"]),
        ("stomp send QUEUE.un", ["QUEUE.unique"]),
        ("stomp send -H persist", ["persistent:"]),
        ("stomp send -H persistent:t", ["persistent:true"]),
        ("stomp completion f", ["fish"]),
    ],
)
def test_what_fish_offers(
    stomp: Stomp, queue: str, surroundings: dict[str, str], line: str, found: list[str]
) -> None:
    """Fish says itself what it would offer for a line: the same as the others do."""
    stomp("send", f"{queue}.unique", "x")
    done = subprocess.run(
        [
            *("fish", "--no-config", "-c"),
            'stomp completion fish | source; complete --do-complete "$argv"',
            line.replace("QUEUE", queue),
        ],
        capture_output=True,
        env=surroundings,
        check=False,
        timeout=60,
    )
    offered = [row.split("\t")[0] for row in done.stdout.decode().splitlines()]
    assert offered == [one.replace("QUEUE", queue) for one in found], done.stderr


LAUNCH = """
from stompcli import quick
quick.asked.__kwdefaults__["budget"] = 10
from stompcli.main import main
main()
"""
