"""The interactive shell, on a terminal: what people see, and what expect scripts get."""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pexpect
import pytest
from client.programs import Stomp, environment, running_stompd
from client.screens import Screen, screen

BANNER = """\
CONNECTED
version: 1.2
server: stompd/VERSION
heart-beat: 10000,10000
session: cN

"""

GOLDEN = """\
{prompt}> send {queue}/test hello world
{prompt}> subscribe {queue}/test
Subscribing to "{queue}/test" with acknowledge set to "auto", id set to "1"
MESSAGE
subscription: 1
message-id: cN-1
destination: {queue}/test
content-type: text/plain
content-length: 11

hello world
{prompt}> begin
Transaction id: tx-1
{prompt} [tx-1 0]> send -H priority:9 {queue}/other "two  spaces"
{prompt} [tx-1 1]> commit
Committing tx-1
{prompt}>
"""


CONNECTED = (
    r"<<< N B  CONNECTED\n version:1.2\n server:stompd/VERSION heart-beat:10000,10000\n session:cN"
    r"\n \n \0 \n"
)


def masked(text: str) -> str:
    """Return text without what differs from run to run."""
    text = re.sub(r"\bc\d+\b", "cN", text)
    # The length depends on the number of the session.
    text = re.sub(r"<<< \d+ B  CONNECTED", "<<< N B  CONNECTED", text)
    text = re.sub(r"stompd/\S+", "stompd/VERSION", text)
    return re.sub(r"([←→])\d+\.\d/", r"\1N/", text)


def prompt_of(stomp: Stomp) -> str:
    """Return the prompt without its end."""
    return f"localhost:{stomp.port}"


def above(lines: list[str]) -> list[str]:
    """Return the lines above the toolbar."""
    rules = [number for number, line in enumerate(lines) if line.startswith("───")]
    # While a line is carried out there is none.
    return lines[: rules[-1]] if rules else lines


def ends(*wanted: str) -> Callable[[list[str]], bool]:
    """Return whether lines above a toolbar end so: nothing is being drawn any more."""

    def they_do(lines: list[str]) -> bool:
        found = [line for line in above(lines) if line]
        return len(above(lines)) < len(lines) and found[-len(wanted) :] == [*wanted]

    return they_do


def wait_for_prompt(shown: Screen, prompt: str, count: int) -> None:
    """Wait until a prompt stands there so many times, and nothing behind the last one."""

    def it_does(lines: list[str]) -> bool:
        lines = [line for line in above(lines) if line]
        return sum(line.startswith(prompt) for line in lines) == count and lines[-1] == prompt

    shown.when(it_does, f"{prompt!r} stands there {count} times")


@pytest.mark.needs_tool("tmux")
def test_golden_session(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """The session of the handbook, word for word, with the toolbar below it."""
    prompt = prompt_of(stomp)
    with screen(stomp, tmp_path, width=120) as shown:
        shown.until(f"{prompt}>")
        shown.type(f"send {queue}/test hello world")
        shown.until("tx 1")
        shown.type(f"subscribe {queue}/test")
        shown.until("rx 1 tx 1")
        shown.type("begin")
        shown.until("[tx-1 0]>")
        shown.type(f'send -H priority:9 {queue}/other "two  spaces"')
        shown.until("[tx-1 1]>")
        shown.type("commit")
        shown.until("Committing tx-1")
        shown.when(ends(f"{prompt}>"), "the prompt is back")
        shown.keys("s", "e", "n", "d", "Space")
        shown.until("send DEST")
        shown.keys("C-c")
        shown.gone("send DEST")
        lines = shown.when(ends(f"{prompt}>"), "the prompt is empty again")
        expected = BANNER + GOLDEN.format(prompt=prompt, queue=queue)
        assert masked("\n".join(above(lines))) == expected.rstrip("\n")
        assert masked(lines[-1]) == (
            " stompd/VERSION 1.2 │ 1 sub, 0 unacked │ last #1 rx 1 tx 2 │ hb ←N/10s →N/10s"
        )


@pytest.mark.needs_tool("tmux")
def test_message_during_a_half_typed_line(stomp: Stomp, tmp_path: Path) -> None:
    """A message goes above the line that is being typed, which stays as it is."""
    prompt = prompt_of(stomp)
    # Short enough for one line.
    queue = "/queue/half"
    with screen(stomp, tmp_path) as shown:
        shown.until(f"{prompt}>")
        shown.type(f"subscribe {queue}")
        shown.until("1 sub")
        shown.keys("-l", f"send {queue}.2 half")
        shown.until("half")
        assert stomp("send", queue, "news").code == 0
        shown.until("news\n")
        shown.keys("-l", " of it")
        shown.when(ends("news", f"{prompt}> send {queue}.2 half of it"), "the line is whole")
        shown.keys("Enter")
        shown.until("tx 1")
    assert stomp("subscribe", f"{queue}.2", "-n", "1").out == b"half of it\n"


@pytest.mark.needs_tool("tmux")
def test_tab(stomp: Stomp, tmp_path: Path) -> None:
    """Tab offers words; Enter takes the chosen one, and does not run the line."""
    stomp("send", "/queue/tab.orders", "x")
    prompt = prompt_of(stomp)
    with screen(stomp, tmp_path) as shown:
        shown.until(f"{prompt}>")
        shown.keys("-l", "subsc")
        shown.keys("Tab")
        shown.until("Receive messages and print them")
        shown.keys("Tab", "Enter")
        lines = shown.gone("Receive messages and print them")
        assert [line for line in above(lines) if line][-1].startswith(f"{prompt}> subsc")
        shown.keys("C-u")
        # The broker is asked for its destinations in the background.
        shown.keys("-l", "subscribe /queue/tab.o")
        for _ in range(300):
            shown.keys("Tab")
            if "tab.orders" in "\n".join(shown.lines()):
                break
            time.sleep(0.1)
        shown.until(f"{prompt}> subscribe /queue/tab.orders")


@pytest.mark.needs_tool("tmux")
def test_resize(stomp: Stomp, tmp_path: Path) -> None:
    """The prompt and the toolbar follow the size of the window."""
    prompt = prompt_of(stomp)
    with screen(stomp, tmp_path, width=110) as shown:
        shown.until("tx 0 │ hb")
        shown.keys("-l", "send /queue/resized half")
        shown.until("half")
        shown.resize(50, 12)
        shown.until("─" * 50)
        shown.gone("│ hb")
        shown.resize(120, 30)
        shown.until("│ hb")
        shown.when(ends(f"{prompt}> send /queue/resized half"), "the line is as it was")
        shown.keys("C-c")
        shown.gone("half")


@pytest.mark.needs_tool("tmux")
def test_a_flood_with_every_line_whole(stomp: Stomp, tmp_path: Path) -> None:
    """Three hundred messages at a hundred a second: every line is whole, and so is the prompt's."""
    prompt = prompt_of(stomp)
    queue = "/queue/flood"
    with screen(stomp, tmp_path, "--format", "{n} {body} end\\n", width=100) as shown:
        shown.until(f"{prompt}>")
        shown.type("set rate 0")
        shown.type(f"subscribe {queue}")
        shown.until("1 sub")
        shown.keys("-l", "half a line")
        shown.until("half a line")
        body = "x" * 60
        assert stomp("send", queue, "-n", "300", "--rate", "100/s", body).code == 0
        shown.until("rx 300")
        shown.until("300 " + body)
        lines = above(shown.when(ends(f"{prompt}> half a line"), "the line is there again"))
        start = next(number for number, line in enumerate(lines) if line.startswith("1 x"))
        assert lines[start:] == [
            *(f"{number} {body} end" for number in range(1, 301)),
            f"{prompt}> half a line",
        ]


@pytest.mark.needs_tool("tmux")
def test_a_flood_is_not_all_shown(stomp: Stomp, tmp_path: Path) -> None:
    """So many a second are shown, a line says which were not, and they can be seen later."""
    prompt = prompt_of(stomp)
    queue = "/queue/flood.cut"
    with screen(stomp, tmp_path, "--format", "[{n}] {body}\\n", width=100) as shown:
        shown.until(f"{prompt}>")
        shown.type("set rate 5")
        shown.type(f"subscribe {queue} client")
        shown.until("1 sub")
        assert stomp("send", queue, "-n", "50", "x").code == 0
        lines = shown.until("more not shown")
        (told,) = [line for line in lines if "more not shown" in line]
        match = re.fullmatch(r"… (\d+) more not shown \(show #(\d+)-#50, or set rate 0\)", told)
        assert match is not None
        assert int(match[1]) + int(match[2]) == 51
        shown.until("50 unacked │ last #50 rx 50")
        shown.type(f"show #{match[2]}-#50")
        shown.until("[50] x")
        shown.type("ack all")
        shown.until("0 unacked")


@pytest.mark.needs_tool("tmux")
def test_broker_killed_at_the_prompt(tmp_path: Path) -> None:
    """The prompt says so, what is typed stays, and the subscriptions come back with the broker."""
    with ExitStack() as first:
        port = first.enter_context(running_stompd(kill=True))
        stomp = Stomp(port)
        prompt = prompt_of(stomp)
        with screen(stomp, tmp_path, width=100) as shown:
            shown.until(f"{prompt}>")
            shown.type("subscribe /queue/back")
            shown.until("1 sub")
            shown.type("begin")
            shown.until("[tx-1 0]>")
            shown.keys("-l", "send /queue/back half")
            shown.until("half")
            first.close()
            shown.until("lost connection: ")
            shown.until("transaction tx-1 is lost: nothing of it has happened")
            lines = shown.until(f"(disconnected) {prompt}> send /queue/back half")
            assert lines[-1] == " disconnected │ send DEST [BODY] [-H k:v]"
            shown.keys("Enter")
            shown.until(f"not connected to {prompt}")
            with running_stompd(port, kill=True):
                shown.until(f"connected again to {prompt}")
                shown.until("1 sub, 0 unacked")
                shown.type("send /queue/back again")
                shown.until("again\n")


@pytest.mark.needs_tool("tmux")
def test_keys_that_end_things(stomp: Stomp, tmp_path: Path) -> None:
    """Ctrl-C clears the line or ends a command, Ctrl-D asks before it leaves a transaction."""
    prompt = prompt_of(stomp)
    with screen(stomp, tmp_path) as shown:
        shown.until(f"{prompt}>")
        shown.keys("-l", "nonsense")
        shown.until("nonsense")
        shown.keys("C-c")
        shown.gone("nonsense")
        shown.keys("C-c", "C-c")
        shown.until("Ctrl-D or quit to leave")
        shown.type("begin")
        shown.until("[tx-1 0]>")
        shown.type("ping -c 1000")
        shown.until("receipt 1:")
        shown.keys("C-c")
        # What is typed before the prompt is there again is nobody's.
        shown.until(f"^C\n{prompt} [tx-1 0]>\n─")
        shown.keys("C-d")
        question = "transaction tx-1 is open; leave? [y/N]"
        shown.until(question)
        shown.type("n")
        shown.until(f"{question} n\n{prompt} [tx-1 0]>\n─")
        shown.keys("C-d")
        shown.until(f"{question} n\n{prompt} [tx-1 0]>\n{question}")
        shown.keys("C-d")
        shown.until("code 0")


@pytest.mark.needs_tool("tmux")
def test_function_keys_and_several_lines(stomp: Stomp, tmp_path: Path) -> None:
    """F1 explains, F2 and F4 switch, F3 and a missing body take several lines."""
    prompt = prompt_of(stomp)
    queue = "/queue/keys"
    with screen(stomp, tmp_path, width=100, height=50) as shown:
        shown.until(f"{prompt}>")
        shown.type(f"subscribe {queue}")
        shown.until("1 sub")
        shown.keys("-l", "send ")
        shown.keys("F1")
        shown.until("Send a message, or one per line of standard input.")
        shown.when(ends(f"{prompt}> send"), "the prompt is back")
        shown.keys("C-c", "F2")
        shown.until("headers short")
        shown.type(f"send {queue} brief")
        shown.until(f"[#1] {queue}  5 B  text/plain")
        shown.keys("F4")
        shown.until("wire on")
        shown.type(f"send {queue} x")
        shown.until(">>> ")
        shown.until("<<< ")
        shown.keys("F4")
        shown.until("wire off")
        shown.keys("F3")
        shown.until("several lines: Esc-Enter runs them")
        shown.type(f"send {queue}")
        shown.type("first")
        shown.keys("-l", "second")
        shown.keys("Escape", "Enter")
        shown.until("first\nsecond\n")
        shown.type(f"send {queue}")
        shown.until("...")
        shown.type("third")
        shown.type("fourth^@")
        shown.until("third\nfourth\n")
        shown.type(f"send {queue}")
        shown.keys("-l", "fifth")
        shown.until("fifth")
        shown.keys("C-c")
        shown.until("given up; nothing was sent")


@pytest.mark.needs_tool("tmux")
def test_the_editor(stomp: Stomp, tmp_path: Path) -> None:
    """Ctrl-X Ctrl-E gives the line to the editor, and takes what is left of it."""
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i s/draft/finished/ $1\n")
    editor.chmod(0o755)
    prompt = prompt_of(stomp)
    with screen(stomp, tmp_path, VISUAL=str(editor)) as shown:
        shown.until(f"{prompt}>")
        shown.keys("-l", "send /queue/edited draft")
        shown.until("draft")
        shown.keys("C-x", "C-e")
        shown.until("send /queue/edited finished")
        shown.keys("Enter")
        shown.until("tx 1")
    assert stomp("subscribe", "/queue/edited", "-n", "1").out == b"finished\n"


@pytest.mark.needs_tool("tmux")
def test_frames_in_the_shell(stomp: Stomp, tmp_path: Path) -> None:
    """The frames of the handbook, word for word, with Ctrl-@ at the end of one of them."""
    with screen(stomp, tmp_path, width=120, height=40) as shown:
        shown.until(">")
        shown.type("raw")
        wait_for_prompt(shown, "raw>", 1)
        for count, line in enumerate(("CONNECT", "accept-version:1.2", "host:localhost", "")):
            shown.type(line)
            wait_for_prompt(shown, "...", count + 1)
        shown.type("^@")
        shown.until("<<<")
        wait_for_prompt(shown, "raw>", 2)
        for count, line in enumerate(("SEND", "destination:/queue/a", "")):
            shown.type(line)
            wait_for_prompt(shown, "...", count + 5)
        shown.keys("h", "i", "C-Space")
        lines = shown.until("set lint off")
        begin = lines.index("raw> CONNECT")
        end = next(number for number, line in enumerate(lines) if line.startswith("! lint"))
        assert masked("\n".join(lines[begin : end + 1])).split("\n") == [
            "raw> CONNECT",
            "...  accept-version:1.2",
            "...  host:localhost",
            "...",
            "...  ^@",
            r">>> 44 B  CONNECT\n accept-version:1.2\n host:localhost\n \n \0",
            CONNECTED,
            "raw> SEND",
            "...  destination:/queue/a",
            "...",
            "...  hi^@",
            r">>> 30 B  SEND\n destination:/queue/a\n \n hi\0",
            "! lint: no content-length (fine, body has no NUL)     set lint off",
        ]
        wait_for_prompt(shown, "raw>", 3)
        shown.keys("C-d")
        shown.until("raw>\n")


@pytest.mark.needs_tool("tmux", "bash")
def test_suspended(stomp: Stomp, tmp_path: Path) -> None:
    """Ctrl-Z gives the terminal to the shell outside, and fg gives it back with the half line."""
    with screen(stomp, tmp_path, inside="PS1='sh> ' exec bash --norc -i", width=100) as shown:
        shown.until("sh>")
        shown.type(shlex.join(stomp.argv("-q")))
        prompt = prompt_of(stomp)
        shown.until(f"{prompt}>")
        shown.keys("-l", "send /queue/a half")
        shown.until("half")
        shown.keys("C-z")
        shown.until("Stopped")
        shown.type("echo out$((1+1))side")
        shown.until("out2side")
        shown.type("fg")
        shown.until(f"{prompt}> send /queue/a half\n───")
        shown.keys("-l", " of it")
        shown.until(f"{prompt}> send /queue/a half of it")


# What expect scripts get.


@pytest.fixture
def spawned() -> Iterator[list["pexpect.spawn[str]"]]:
    """The programs of a test, which end with it."""
    started: list[pexpect.spawn[str]] = []
    yield started
    for child in started:
        child.close(force=True)


def spawn(stomp: Stomp, folder: Path, *words: str, **env: str) -> "pexpect.spawn[str]":
    """Start the shell on a terminal of 120 columns that answers nothing."""
    command, *args = stomp.argv(*words)
    variables = {
        "TERM": "xterm",
        "LINES": "40",
        "COLUMNS": "120",
        "STOMP_HISTFILE": str(folder / "history"),
        "STOMP_CONFIG": str(folder / "config.toml"),
        **env,
    }
    return pexpect.spawn(
        command,
        args,
        env=environment(**variables),
        dimensions=(40, 120),
        encoding="utf-8",
        timeout=30,
    )


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_expect(
    stomp: Stomp,
    queue: str,
    tmp_path: Path,
    env: dict[str, str],
    spawned: list["pexpect.spawn[str]"],
) -> None:
    """The prompt ends in "> ", the terminal is asked nothing, and NO_COLOR takes the colours."""
    child = spawn(stomp, tmp_path, **env)
    spawned.append(child)
    seen = ""
    for line, answer in (
        (f"subscribe {queue}", 'id set to "1"'),
        (f"send {queue} news", "content-length: 4"),
        ("nonsense", "Unknown command: nonsense"),
    ):
        for text in ("> ", answer):
            child.expect_exact(text)
            seen += str(child.before) + text
            if text == "> ":
                child.sendline(line)
    child.sendline("quit")
    child.expect(pexpect.EOF)
    seen += str(child.before)
    child.close()
    assert child.exitstatus == 0
    assert "\x1b[6n" not in seen
    if env:
        # 39 is the terminal's own colour.
        assert set(re.findall(r"\x1b\[([0-9;]*)m", seen)) <= {"", "0", "0;39"}


def test_hostile_octets(
    stomp: Stomp, queue: str, tmp_path: Path, spawned: list["pexpect.spawn[str]"]
) -> None:
    """What a stranger sends never reaches the terminal raw: body, headers, names, errors."""
    evil = "\x1b]0;x\x07\x1b[2J\u202e"
    stomp("send", queue, "-H", f"evil:{evil}", "-", stdin=f"{evil} [red] :smile:".encode())
    child = spawn(stomp, tmp_path, "-q")
    spawned.append(child)
    child.expect_exact("> ")
    child.sendline(f"subscribe {queue}")
    child.expect_exact(":smile:")
    shown = str(child.before)
    child.sendline("show last")
    child.expect_exact(":smile:")
    shown += str(child.before)
    child.sendline("quit")
    child.expect(pexpect.EOF)
    shown += str(child.before)
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert shown.count(r"\x1b]0;x\x07\x1b[2J\u202e") >= 2


def test_wrong_settings(stomp: Stomp, tmp_path: Path, spawned: list["pexpect.spawn[str]"]) -> None:
    """A config.toml that is wrong ends the program before it begins, with 78."""
    (tmp_path / "config.toml").write_text("keys = 'ed'\n")
    child = spawn(stomp, tmp_path)
    spawned.append(child)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 78
    assert "config.toml: keys is emacs or vi, not ed" in str(child.before)


def test_terminated(stomp: Stomp, tmp_path: Path, spawned: list["pexpect.spawn[str]"]) -> None:
    """SIGTERM at the prompt ends the session in peace, with 143, and gives the terminal back."""
    child = spawn(stomp, tmp_path)
    spawned.append(child)
    child.expect_exact("> ")
    child.kill(15)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 143
    assert "Traceback" not in str(child.before)
