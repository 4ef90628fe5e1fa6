"""The command line of stompd: its commands, what they write, and how they end."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

import stompd
from stompd.server.exitcodes import Exit
from stompd.server.main import commands
from stompd.server.sources import PREFIX

STOMPD = [sys.executable, "-m", "stompd"]
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the developer has set out of the tests, and each test by itself."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def run(*words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run stompd to its end."""
    done = subprocess.run(
        [*STOMPD, *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == expect, done.stderr
    return done


@contextmanager
def running(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run stompd in the block, once it is ready; yield it and the line that told so.

    Without HTTP, unless the words say otherwise.
    """
    reading, writing = os.pipe()
    web = [] if "--http-listen" in words else ["--http-listen", "off"]
    with subprocess.Popen(
        [*STOMPD, *words, *web, "--ready-fd", str(writing)],
        pass_fds=[writing],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            os.close(writing)
            with os.fdopen(reading) as pipe:
                assert select.select([pipe], [], [], PATIENCE)[0], "stompd does not become ready"
                line = pipe.readline()
            assert line, process.communicate(timeout=PATIENCE)[1]
            yield process, line
        finally:
            process.kill()


# -- Commands --------------------------------------------------------------------------------------


def test_help_comes_without_the_slow_imports() -> None:
    """Asking for help or the version does not wait for trio and pydantic."""
    script = (
        "import sys; from stompd.server.main import commands; "
        "commands.main([sys.argv[1]], standalone_mode=False); "
        "sys.exit(bool({'trio', 'pydantic', 'structlog'} & set(sys.modules)))"
    )
    for word in ("--help", "version", "--version"):
        subprocess.run([sys.executable, "-c", script, word], check=True, stdout=subprocess.DEVNULL)


def test_without_a_command_it_serves() -> None:
    """The flags of serve are understood without the word; a lone mistake is told for serve."""
    result = CliRunner().invoke(commands, ["--check", "--memory"])
    assert (result.exit_code, result.output) == (0, "settings: ok\n")
    result = CliRunner().invoke(commands, ["--lisen", "x"])
    assert result.exit_code == Exit.USAGE
    assert "Usage: stompd serve" in run("--lisen", "x", expect=Exit.USAGE).stderr


def test_an_unknown_command_gets_the_nearest() -> None:
    """A typing mistake is answered by the command that was probably meant."""
    result = CliRunner().invoke(commands, ["chekc-config"])
    assert result.exit_code == Exit.USAGE
    assert 'no command "chekc-config" (did you mean "check-config"?)' in result.stderr
    result = CliRunner().invoke(commands, ["help", "zzz"])
    assert 'no command "zzz"; there are serve, check-config' in result.stderr


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_help_explains_every_command(name: str) -> None:
    """``help CMD`` writes what ``CMD --help`` writes."""
    asked = CliRunner().invoke(commands, ["help", name], prog_name="stompd")
    assert asked.exit_code == 0
    assert asked.output == CliRunner().invoke(commands, [name, "-h"], prog_name="stompd").output


def test_help_alone_lists_the_commands() -> None:
    """``help`` writes what ``--help`` writes, examples first."""
    asked = CliRunner().invoke(commands, ["help"], prog_name="stompd")
    assert asked.output == CliRunner().invoke(commands, ["--help"], prog_name="stompd").output
    assert asked.output.index("Examples:") < asked.output.index("Commands:")


def test_version_names_what_is_run() -> None:
    """The version tells which stompd this is, and on what it runs."""
    about = json.loads(CliRunner().invoke(commands, ["version", "--json"]).output)
    assert about["stompd"] == stompd.__version__
    assert about["file"] == str(Path(stompd.__file__).parent)
    text = CliRunner().invoke(commands, ["version"]).output
    assert [line.split()[0] for line in text.splitlines()] == list(about)
    assert run("--version").stdout == f"stompd {stompd.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_writes_a_script(shell: str) -> None:
    """Each shell gets the script that makes it ask stompd for words."""
    if shell == "bash":
        run("completion", shell)
    result = CliRunner().invoke(commands, ["completion", shell])
    assert result.exit_code == 0
    assert "_STOMPD_COMPLETE" in result.output


@pytest.mark.parametrize(
    ("words", "start", "expected"),
    [
        (
            [],
            "",
            {
                "serve",
                "check-config",
                "show-config",
                "store",
                "passwd",
                "hash-password",
                "doctor",
                "systemd-unit",
                "definitions",
                "may",
                "version",
                "help",
                "completion",
            },
        ),
        (["store"], "co", {"compact"}),
        ([], "sh", {"show-config"}),
        ([], "--li", {"--listen"}),
        ([], "--ver", {"--version"}),
        (["--memory"], "--li", {"--listen"}),
        (["show-config"], "--o", {"--origin"}),
    ],
)
def test_words_are_completed(words: list[str], start: str, expected: set[str]) -> None:
    """Commands, their flags, and those of serve without the word are offered."""
    completer = ShellComplete(commands, {}, "stompd", "_STOMPD_COMPLETE")
    assert {item.value for item in completer.get_completions(words, start)} == expected


def test_a_reader_that_has_enough_is_no_error() -> None:
    """``stompd show-config | head`` ends with 0 and without a complaint."""
    with subprocess.Popen(
        [*STOMPD, "show-config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 0


# -- check-config and show-config ------------------------------------------------------------------

BAD = 'listen = ["127.0.0.1:1", "127.0.0.1:616133"]\nheart_beat = 3\n'


def test_check_config_tells_every_mistake(tmp_path: Path) -> None:
    """Mistakes are told on standard error, their number at the end, and the status is 78."""
    (tmp_path / "bad.toml").write_text(BAD)
    result = CliRunner().invoke(commands, ["check-config", "-c", str(tmp_path / "bad.toml")])
    assert result.exit_code == Exit.CONFIGURATION
    assert result.stdout == ""
    assert result.stderr.replace(f"{tmp_path}/", "") == (
        "bad.toml:1: listen[1]: 616133 is not a port (1-65535, or 0 for a free one)\n"
        'bad.toml:2: unknown key "heart_beat" (did you mean "heart-beat"?)\n'
        "2 errors\n"
    )


def test_check_config_tells_programs_in_json(tmp_path: Path) -> None:
    """With --json the same stands on standard output, field by field."""
    file = tmp_path / "bad.toml"
    file.write_text("heart_beat = 3\n")
    result = CliRunner().invoke(commands, ["check-config", "--json", "-c", str(file)])
    assert result.exit_code == Exit.CONFIGURATION
    assert json.loads(result.stdout) == {
        "ok": False,
        "errors": [
            {
                "origin": f"{file}:1",
                "path": "",
                "text": 'unknown key "heart_beat" (did you mean "heart-beat"?)',
                "file": str(file),
                "line": 1,
            }
        ],
    }
    result = CliRunner().invoke(commands, ["check-config", "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"ok": True, "errors": []})


def test_check_config_tries_the_addresses(tmp_path: Path) -> None:
    """An unsafe address, one of another machine and unusable socket paths are mistakes."""
    (tmp_path / "plain").touch()
    (tmp_path / "a.toml").write_text(
        f"""\
listen = [
    "0.0.0.0:0",
    "[::1]:0",
]
unix = ["{tmp_path}/none/x", "{tmp_path}/plain", "{tmp_path}/fine"]
"""
    )
    result = CliRunner().invoke(commands, ["check-config", "-c", str(tmp_path / "a.toml")])
    assert result.exit_code == Exit.CONFIGURATION
    folder = str(tmp_path)
    assert result.stderr.replace(folder, "") == (
        "/a.toml:1: listen[0]: will not listen on 0.0.0.0:0: no users are configured\n"
        "/a.toml:5: unix[0]: cannot listen on /none/x: there is no directory /none\n"
        "/a.toml:5: unix[1]: cannot listen on /plain: it exists and is no socket\n"
        "3 errors\n"
    )
    # 192.0.2.0/24 is set aside for documents: no machine has an address in it.
    away = ["check-config", "--set", "listen=192.0.2.1:0", "--set", "allow-anonymous=yes"]
    result = CliRunner().invoke(commands, away)
    assert result.stderr == (
        "--set: listen[0]: cannot listen on 192.0.2.1:0: Cannot assign requested address\n1 error\n"
    )


def test_check_config_does_not_mind_a_running_stompd() -> None:
    """A port in use is most often that of the stompd whose file is being checked."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        result = CliRunner().invoke(commands, ["check-config", "--set", f"listen={address}"])
    assert (result.exit_code, result.output) == (0, "settings: ok\n")


def test_show_config_writes_what_is_in_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, environment and flags are in the output; with --defaults none of them is."""
    (tmp_path / "a.toml").write_text('unix = ["/a"]\n')
    monkeypatch.setenv("STOMPD_CONFIG", str(tmp_path / "a.toml"))
    monkeypatch.setenv("STOMPD_LIMITS_BODY", "1KiB")
    words = ["show-config", "--set", "log.level=debug"]
    shown = tomllib.loads(CliRunner().invoke(commands, words).output)
    assert (shown["unix"], shown["limits"]["body"]) == (["/a"], "1KiB")
    assert shown["log"]["level"] == "debug"
    assert f"# {tmp_path}/a.toml:1" in CliRunner().invoke(commands, [*words, "--origin"]).output
    defaults = tomllib.loads(CliRunner().invoke(commands, [*words, "--defaults"]).output)
    assert (defaults["unix"], defaults["limits"]["body"]) == ([], "32MiB")


# -- serve: what is refused ------------------------------------------------------------------------


def test_an_exposed_address_is_refused() -> None:
    """Without users stompd does not listen where others can reach it, and says what to do."""
    done = run("--listen", "127.0.0.1:0", "--listen", "0.0.0.0:61613", expect=Exit.CONFIGURATION)
    assert done.stderr == (
        "stompd: will not listen on 0.0.0.0:61613: no users are configured\n"
        "  stompd passwd users.txt NAME, then stompd --users users.txt ...     "
        "on a trusted network: --allow-anonymous\n"
    )


def test_for_development_only_loopback_is_served() -> None:
    """--dev does not listen elsewhere, even when anonymous peers are allowed."""
    words = ["--dev", "--allow-anonymous", "--listen", "[::]:0"]
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == Exit.CONFIGURATION
    assert result.stderr == "stompd: will not listen on [::]:0: --dev is loopback only\n"


def test_mistakes_in_flags_are_told_like_those_in_the_file() -> None:
    """What a flag sets is checked the same way, under the flag's name."""
    words = ["--listen", "x", "--unix", "", "--log-level", "loud", "--log-format", "xml"]
    result = CliRunner().invoke(commands, [*words, "--set", "limits.bdoy=3"])
    assert result.exit_code == Exit.CONFIGURATION
    assert result.stderr == (
        '--listen: listen[0]: "x" is not HOST:PORT (127.0.0.1:61613, [::1]:61613)\n'
        "--unix: unix[0]: must not be empty\n"
        '--log-level: log.level: "loud" is none of debug, info, warning, error\n'
        '--log-format: log.format: "xml" is none of text, json\n'
        '--set: unknown key "limits.bdoy" (did you mean "limits.body"?)\n'
        "5 errors\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "limits.body"], '"limits.body" is not KEY=VALUE'),
        (["--ready-fd", "1000"], "descriptor 1000 is not open"),
        (["--ready-fd", "-1"], "-1 is not in the range"),
    ],
)
def test_a_flag_that_makes_no_sense_is_a_usage_error(words: list[str], told: str) -> None:
    """Such mistakes end with status 2 before anything is opened."""
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == Exit.USAGE
    assert told in result.stderr


def test_a_fault_of_stompd_ends_with_70_and_a_traceback_in_the_log() -> None:
    """What nobody foresaw is told as a fault of stompd, not of its user."""
    script = (
        "import stompd.server.main as m\n"
        "def fault(*_, **__): raise RuntimeError('unforeseen')\n"
        "m._check = fault\n"
        "import sys; sys.argv = ['stompd', 'check-config']; m.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.SOFTWARE
    assert "stompd failed by a fault of its own" in done.stderr
    assert "RuntimeError: unforeseen" in done.stderr
    assert done.stdout == ""


# -- serve -----------------------------------------------------------------------------------------


def test_the_banner_tells_where_stompd_listens(tmp_path: Path) -> None:
    """At the start stand version, addresses, store, process id, and two commands to try."""
    path = tmp_path / "s.sock"
    with running("--memory", "--listen", "127.0.0.1:0", "--unix", str(path)) as (process, line):
        word, address, unix = line.split()
        assert (word, unix) == ("ready", str(path))
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    rows = told.splitlines()
    port = address.rpartition(":")[2]
    assert rows[0].startswith(f"stompd {stompd.__version__} (python 3.")
    assert rows[1].split(maxsplit=3) == ["listening", "stomp", address, "(no users: loopback only)"]
    assert rows[2].split() == ["listening", "stomp", str(path)]
    assert rows[3].split(maxsplit=2) == [
        "store",
        "memory",
        "messages are lost on stop; use --data DIR",
    ]
    assert rows[4].startswith("ready in ")
    assert rows[4].endswith(f"pid {process.pid}")
    assert rows[5] == (
        f"try:  stomp -P {port} subscribe /queue/test      "
        f"stomp -P {port} send /queue/test hello world"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_0_and_the_process_id_is_gone(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The file with the process id is there while stompd runs, and not afterwards."""
    file = tmp_path / "stompd.pid"
    with running("--listen", "127.0.0.1:0", "--pid-file", str(file)) as (process, _):
        assert file.read_text() == f"{process.pid}\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert not file.exists()


def test_a_port_in_use_is_told_with_a_way_out() -> None:
    """The address is named, and two flags that help; the status is 69."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = run("--listen", f"127.0.0.1:{port}", expect=Exit.UNAVAILABLE)
    assert done.stderr == (
        f"stompd: cannot listen on 127.0.0.1:{port}: the port is in use, perhaps by another "
        f"stompd\n  another port: --listen 127.0.0.1:{port + 1}     a free one: "
        "--listen 127.0.0.1:0\n"
    )


def test_http_is_off_or_somewhere_not_both() -> None:
    """Several addresses may be given, and off alone."""
    words = ["--check", "--memory", "--http-listen", "127.0.0.1:0", "--http-listen"]
    assert CliRunner().invoke(commands, [*words, "[::1]:0"]).exit_code == 0
    result = CliRunner().invoke(commands, [*words, "off"])
    assert result.exit_code == Exit.USAGE
    assert "--http-listen off and an address exclude each other" in result.stderr
    result = CliRunner().invoke(commands, ["--check", "--memory", "--http-listen", "off"])
    assert (result.exit_code, result.output) == (0, "settings: ok\n")
    result = CliRunner().invoke(commands, ["--check", "--memory", "--http-listen", "0.0.0.0:0"])
    assert result.exit_code == Exit.CONFIGURATION
    assert "http.listen[0]: will not listen on 0.0.0.0:0" in result.stderr


def test_a_socket_in_use_is_told_and_left_alone(tmp_path: Path) -> None:
    """A Unix socket that another program serves stays what it is."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen()
        done = run("--set", "listen=", "--unix", str(path), expect=Exit.UNAVAILABLE)
        assert done.stderr == f"stompd: cannot listen on {path}: another program listens there\n"
        assert path.is_socket()


def test_settings_are_read_again_at_sighup(tmp_path: Path) -> None:
    """What changed holds at once; a file with mistakes changes nothing and is told of."""
    file = tmp_path / "stompd.toml"
    file.write_text('[log]\nlevel = "error"\nformat = "json"\n')
    with running("-c", str(file), "--listen", "127.0.0.1:0") as (process, _):
        assert process.stderr is not None
        file.write_text('[log]\nlevel = "info"\nformat = "json"\n')
        process.send_signal(signal.SIGHUP)
        assert "settings reloaded" in next(line for line in process.stderr if line[0] == "{")
        file.write_text("[lag]\n")
        process.send_signal(signal.SIGHUP)
        entry = json.loads(process.stderr.readline())
        assert entry["event"] == "settings not reloaded"
        assert entry["reason"] == f'{file}:1: unknown key "lag" (did you mean "log"?)'


def test_a_process_id_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """Nobody could stop such a stompd by its file, so it does not begin."""
    done = run("--listen", "127.0.0.1:0", "--pid-file", str(tmp_path), expect=Exit.CONFIGURATION)
    assert done.stderr == f"stompd: cannot write {tmp_path}: Is a directory\n"


def test_click_groups_need_no_import_of_the_edge() -> None:
    """Every command has a help text that says what it does."""
    for command in commands.commands.values():
        assert isinstance(command, click.Command)
        assert command.get_short_help_str()
