"""The commands of the shell itself, in scripts: the same table serves every front end."""

import json
import stat
from pathlib import Path

import pytest
import trio
from client.programs import Stomp, environment
from client.terminal import Terminal

from stompcli.client.testing import ScriptedBroker, on_socket
from stompcli.exitcodes import ExitCode


def lines(*typed: str) -> bytes:
    """Return lines as a pipe brings them."""
    return "".join(f"{line}\n" for line in typed).encode()


def test_messages_once_more(stomp: Stomp, queue: str) -> None:
    """Show and last show what came, by number; what is not there is said."""
    typed = [f"sub {queue} client", "ack all", "show #1", "show #1-#2", "last", "show #9"]
    for body in ("one", "two"):
        stomp("send", queue, body)
    done = stomp("-q", "-k", "--format", "{n} {body}\\n", stdin=lines(*typed))
    shown = done.text.splitlines()[1:]
    assert shown == ["1 one", "2 two", "1 one", "1 one", "2 two", "2 two"]
    assert done.err == "no message #9; there are #1 to #2\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("show last", "no message has come yet"),
        ("show x", "x names no message; #3, #3-#7 and last do"),
        ("save #1", "no message has come yet"),
        ("header add x", '"x" is no header; write name:value'),
        ("header add", "Expecting: header add <name:value> [destination]"),
        ("header del x", "no header x is kept"),
        ("header ls a b", "Expecting: header ls [destination]"),
        ("record off", "nothing is being recorded"),
        ("set nonsense", 'there is no setting "nonsense"'),
        ("set rate many", "rate is a number, not many"),
        ("set format {x}", "there is no field {x}"),
        ("clear", "clear needs a terminal that can be cleared"),
        ("run /no/such/file", "File /no/such/file does not exist"),
        ("wire maybe", "Invalid value"),
        ("connect http://x", "is not a broker's URL"),
    ],
)
def test_complaints(stomp: Stomp, line: str, complaint: str) -> None:
    """What is wrong with a line is said in words."""
    done = stomp("-q", stdin=lines(line))
    assert done.code != 0
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_save(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A body goes octet for octet into a new file, never over one, never as its sender says."""
    theirs = tmp_path / "theirs"
    stomp("send", queue, "-H", f"filename:{theirs}", "-", stdin=b"\x1b\0\xff")
    ours = tmp_path / "ours"
    typed = [f"sub {queue} client", "ack last", f"save #1 {ours}", f"save last {ours}"]
    done = stomp("-q", "-k", stdin=lines(*typed, "save #1"))
    assert ours.read_bytes() == b"\x1b\0\xff"
    assert not theirs.exists()
    assert done.err == f"{ours} exists, and is not written over\nExpecting: save #n <path>\n"


def test_save_asks(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """At the prompt the name is asked for, and the one that the sender gives is shown only."""
    theirs = tmp_path / "theirs"
    stomp("send", queue, "-H", f"filename:{theirs}", "x")
    ours = tmp_path / "ours"
    terminal = Terminal(stomp, "--plain", "-q")
    prompt = f"localhost:{stomp.port}> "
    terminal.answer(prompt, f"sub {queue}")
    terminal.answer(prompt, "save last")
    question = f"Save the 1 octets of #1 (its sender calls it {theirs}) as: "
    terminal.answer(question, "")
    terminal.answer(prompt, "save last")
    terminal.answer(question, str(ours))
    terminal.answer(prompt, None)
    assert terminal.end() == 0
    assert "no name was given; nothing was written" in terminal.seen
    assert ours.read_bytes() == b"x"
    assert not theirs.exists()


def test_sticky_headers(stomp: Stomp, queue: str) -> None:
    """Headers are added to what is sent, until they are taken away; -H k leaves one out."""
    typed = [
        "header add a:1",
        f"header add b:2 {queue}",
        "header ls",
        f"send {queue} x",
        f"send -H a:9 {queue} x",
        f"send -H a {queue} x",
        f"header del b {queue}",
        "header clear",
        f"send {queue} x",
    ]
    done = stomp("-q", stdin=lines(*typed))
    assert (done.code, done.text) == (0, f"a:1\nb:2  ({queue})\n")
    done = stomp("subscribe", queue, "-n", "4", "--format", "{header.a}{header.b} ")
    assert done.text.split() == ["12", "92", "2"]


def test_record(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A transcript has octets and lines of the time in which it was on."""
    path = tmp_path / "record"
    typed = [f"record {path}", "record other", f"send {queue} x", "record off", "begin"]
    done = stomp("-q", "-k", stdin=lines(*typed))
    assert done.err == f"already recording in {path}\n  try: record off\n"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["command"] for row in rows if "command" in row] == [
        "record other",
        f"send {queue} x",
        "record off",
    ]
    assert [row["dir"] for row in rows if "dir" in row] == [">", "<"]


@pytest.mark.parametrize("words", [(), ("send", "QUEUE", "x")])
def test_transcript_option(
    stomp: Stomp, queue: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """--transcript records everything from CONNECT on, without the password."""
    path = tmp_path / "record"
    options = ("-q", "-U", "me", "-W", "hidden", "--transcript", str(path))
    argv = [word.replace("QUEUE", queue) for word in words]
    stomp(*options, *argv, stdin=b"" if words else b"begin\n")
    text = path.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows[0]["dir"] == ">"
    assert "aGlkZGVu" not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stomp(*options, *argv, stdin=b"").code == ExitCode.FAILED


def test_wire(stomp: Stomp, queue: str) -> None:
    """Octets are shown while that is on, in both forms."""
    typed = ["wire", "wire on", f"send {queue} x", "wire hex", f"send {queue} x", "wire off"]
    done = stomp("-q", stdin=lines(*typed, f"send {queue} y"))
    assert done.text == "off\n"
    assert f">>> SEND\\n destination:{queue}\\n".replace(">>> ", "") in done.err
    assert done.err.count(">>> ") == 2
    assert "00000000  53 45 4e 44" in done.err


def test_run(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A file is run up to its first wrong line, which is named; none runs itself forever."""
    script = tmp_path / "script"
    script.write_text(f"# a comment\nsend {queue} x\nnonsense\nsend {queue} y\n")
    done = stomp("-q", stdin=lines(f"run {script}"))
    assert (done.code, done.err) == (2, f"{script}:3: Unknown command: nonsense\n")
    assert stomp("subscribe", queue, "--idle", "0.3").out == b"x\n"
    script.write_text(f"run {script}\n")
    assert "files run each other 10 deep" in stomp("-q", stdin=lines(f"run {script}")).err


def test_connections(stomp: Stomp, queue: str) -> None:
    """The connection is ended, made anew with its subscriptions, or without them."""
    typed = [f"sub {queue}", "disconnect", f"send {queue} lost", "reconnect", f"send {queue} x"]
    done = stomp("-q", "-k", stdin=lines(*typed))
    assert done.err == f"not connected to localhost:{stomp.port}\n  try: connect\n"
    assert done.text.count("Subscribing") == 1
    assert done.text.endswith("\n\nx\n")
    typed = [f"sub {queue}", "connect", f"send {queue} y", "stats"]
    done = stomp("-q", stdin=lines(*typed))
    assert "Connections: 2" in done.text
    assert stomp("subscribe", queue, "-n", "1").out == b"y\n"


async def test_connect_elsewhere_without_the_old_password() -> None:
    """Another broker is not told who we were at the first one."""
    said: list[dict[str, str]] = []

    async def script(broker: ScriptedBroker) -> None:
        said.append((await broker.accept()).headers)
        await broker.serve_end()

    async with on_socket(script) as first, on_socket(script) as second:
        done = await trio.run_process(
            Stomp(first).argv("-q", "-U", "me", "-W", "secret"),
            stdin=lines(f"connect stomp://localhost:{second}"),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert said[0]["passcode"] == "secret"
    assert "login" not in said[1]
    assert "passcode" not in said[1]


def test_settings_of_the_prompt(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """config.toml is for who types: prompt, format, aliases, what to run on connecting."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'prompt = "me> "\nformat = "{{n}}={{body}}\\\\n"\non_connect = ["sub {queue}"]\n'
        f'[aliases]\ns = "send {queue}"\n'
    )
    env = {"STOMP_CONFIG": str(config), "STOMP_HISTFILE": str(tmp_path / "history")}
    terminal = Terminal(stomp, "--plain", "-q", env=env)
    terminal.answer("me> ", "s  two  words")
    terminal.answer("me> ", "history")
    terminal.answer("me> ", "set format body")
    terminal.answer("me> ", "s again")
    terminal.answer("me> ", "help quit | grep -c quit")
    terminal.answer("me> ", None)
    assert terminal.end() == 0
    assert "1=two  words\n" in terminal.seen
    assert "    1  s  two  words\n    2  history\n" in terminal.seen
    assert "me> again\n" in terminal.seen
    assert "me> 2\n" in terminal.seen
    terminal = Terminal(stomp, "--plain", "-q", "--no-rc", "--no-shell", env=env)
    terminal.answer(f"localhost:{stomp.port}> ", "help | cat")
    terminal.answer(f"localhost:{stomp.port}> ", None)
    assert terminal.end() == 0
    assert "commands are not piped to programs here: --no-shell" in terminal.seen


def test_wrong_settings_of_the_prompt(stomp: Stomp, tmp_path: Path) -> None:
    """A file that is wrong is complained about before anything else, with 78."""
    config = tmp_path / "config.toml"
    config.write_text("rate = 'x'\n")
    terminal = Terminal(stomp, "--plain", env={"STOMP_CONFIG": str(config)})
    assert terminal.end() == ExitCode.BAD_CONFIG
    assert terminal.seen == f"stomp: {config}: rate is a number, not x\n"
    # A script does not look at it.
    assert stomp("-q", stdin=b"begin\n", env={"STOMP_CONFIG": str(config)}).code == 0


def test_settings_of_a_command_line(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """On a terminal a command does as config.toml says, unless it is told otherwise."""
    config = tmp_path / "config.toml"
    config.write_text('format = "{destination}={body}\\n"\ncolor = "never"\n')
    env = {"STOMP_CONFIG": str(config), "NO_COLOR": ""}
    stomp("send", queue, "hello")

    def browsed(*words: str, rc: str = "-q", **more: str) -> str:
        terminal = Terminal(stomp, "-q", rc, "browse", queue, *words, env={**env, **more})
        assert terminal.end() == 0, terminal.seen
        return terminal.seen

    assert browsed() == f"{queue}=hello\n"
    assert browsed("--format", "body") == "hello\n"
    config.write_text('headers = "full"\ncolor = "never"\n')
    assert "  destination: " in browsed()
    assert "\x1b" not in browsed()
    assert "\x1b[1m" in browsed("--color", "always")
    assert "\x1b[1m" in browsed(FORCE_COLOR="1")
    # Without the file all is as usual.
    assert "  destination: " not in browsed(rc="--no-rc")
    assert "\x1b[1m" in browsed(rc="--no-rc")


def test_settings_do_not_reach_pipes_and_files(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """What a program reads is the same whatever config.toml says, even if that is wrong."""
    config = tmp_path / "config.toml"
    config.write_text("format = 3\n")
    env = {"STOMP_CONFIG": str(config)}
    assert stomp("-q", "send", queue, "hello", env=env).code == 0
    assert stomp("-q", "browse", queue, env=env).text == "hello\n"
    terminal = Terminal(stomp, "browse", queue, env=env)
    assert terminal.end() == ExitCode.BAD_CONFIG
    assert terminal.seen.startswith(f"stomp: {config}: ")
    terminal = Terminal(stomp, "version", env=env)
    assert terminal.end() == 0


@pytest.mark.parametrize("how", ["prompt", "command"])
def test_pager(stomp: Stomp, queue: str, tmp_path: Path, how: str) -> None:
    """What is longer than the screen goes through the pager; what is shorter does not."""
    config = tmp_path / "config.toml"
    env = {"STOMP_CONFIG": str(config), "STOMP_HISTFILE": str(tmp_path / "history")}
    stomp("send", queue, "-", stdin=b"".join(b"line %d\n" % n for n in range(50)))
    stomp("send", queue, "short")
    pager = "sed -n s/^line.49/the_last/p"
    if how == "command":
        config.write_text(f'pager = "{pager}"\n')
        terminal = Terminal(stomp, "-q", "browse", queue, "--body-bytes", "1000", env=env)
        assert terminal.end() == 0
        assert terminal.seen == "the_last\n"
        assert "\nline 49\n" in stomp("browse", queue, env=env).text
        return
    terminal = Terminal(stomp, "--plain", "-q", env=env)
    prompt = f"localhost:{stomp.port}> "
    terminal.answer(prompt, f"set pager {pager}")
    terminal.answer(prompt, "set pager")
    terminal.answer(prompt, f"sub {queue}")
    terminal.answer("short\r\n", "show #1")
    terminal.answer(prompt, "show #2")
    terminal.answer(prompt, "show #1 | grep -c line")
    terminal.answer(prompt, None)
    assert terminal.end() == 0
    assert f"{prompt}{pager}\n" in terminal.seen
    assert "the_last\n" in terminal.seen
    # Shorter than the screen, and through a pipe of one's own.
    assert terminal.seen.count("short\n") == 2
    assert f"{prompt}50\n" in terminal.seen


def test_a_body_of_several_lines(stomp: Stomp, queue: str) -> None:
    """Without a body it is asked for, up to the mark; so are the headers kept."""
    terminal = Terminal(stomp, "--plain", "-q")
    prompt = f"localhost:{stomp.port}> "
    terminal.answer(prompt, f"send -H a:b {queue}")
    terminal.answer("...  ", "one")
    terminal.answer("...  ", " two^@")
    terminal.answer(prompt, None)
    assert terminal.end() == 0
    done = stomp("subscribe", queue, "-n", "1", "--format", "{header.a}={body}")
    assert done.text == "b=one\n two"


def test_leaving_asks_once(stomp: Stomp, queue: str) -> None:
    """Ctrl-D with a transaction or messages open is asked about; again it means yes."""
    stomp("send", queue, "x")
    terminal = Terminal(stomp, "--plain", "-q")
    prompt = f"localhost:{stomp.port}"
    terminal.answer(f"{prompt}> ", f"sub {queue} client")
    terminal.answer(f"{prompt}> ", "begin")
    terminal.answer(f"{prompt} [tx-1 0]> ", None)
    question = "transaction tx-1 is open and 1 message is not acknowledged; leave? [y/N] "
    terminal.answer(question, "n")
    terminal.answer(f"{prompt} [tx-1 0]> ", None)
    terminal.answer(question, None)
    assert terminal.end() == 0
    assert stomp("subscribe", queue, "-n", "1").out == b"x\n"
