"""The table of commands: whole, and cheap to look at."""

import json
import subprocess
import sys

import pytest
from client.programs import Stomp, environment

from stompcli import table
from stompcli.exitcodes import ExitCode


@pytest.mark.parametrize("record", table.TABLE, ids=lambda record: record.name)
def test_every_record_is_whole(record: table.Command) -> None:
    """Each command has a parser of its name, a handler, a usage, and belongs to a section."""
    assert record.load_parser().name == record.name
    assert callable(record.load_handler())
    assert record.usage.startswith(record.name)
    assert record.section in table.SECTIONS
    assert record.in_shell or record.one_shot
    assert record.load_parser().help


@pytest.mark.parametrize("in_shell", [False, True])
def test_words_are_unambiguous(in_shell: bool) -> None:  # noqa: FBT001 - the table's place
    """No word names two commands of a command line, or two of a shell; each is found there."""
    here = [record for record in table.TABLE if (record.in_shell if in_shell else record.one_shot)]
    names = [word for record in here for word in (record.name, *record.aliases)]
    assert len(names) == len(set(names))
    for record in here:
        assert table.find(record.name, in_shell=in_shell) is record


def test_closest() -> None:
    """A mistyped word is near the right one, nonsense near none."""
    assert table.closest("sned") == "send"
    assert table.closest("subscirbe") == "subscribe"
    assert table.closest("xyzzy") is None


def test_help_as_json(stomp: Stomp) -> None:
    """`help --json` dumps the table, without a broker."""
    listed = json.loads(stomp("-P", "1", "help", "--json").out)
    assert [one["name"] for one in listed] == [record.name for record in table.TABLE]
    assert listed[0]["aliases"] == []


def test_help_names_every_exit_code(stomp: Stomp) -> None:
    """The exit codes are shown in the program's help, each with its meaning."""
    text = stomp("--help").text
    for code in ExitCode:
        assert f"\n  {int(code):<3}" in text
    assert "summary" not in text
    for record in table.TABLE:
        assert (record.summary[:30] in text) is record.one_shot


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["send", "--help"],
        ["sned"],
        ["send", "--no-such-option"],
        ["send", "-H", "localhost", "/queue/a", "x"],
        ["ack", "x"],
        ["--version"],
        ["queues", "--help"],
        ["dlq", "nonsense"],
        ["purge"],
    ],
)
def test_nothing_heavy_is_imported_for_words(words: list[str]) -> None:
    """Help, usage errors and the version import neither trio, rich nor prompt_toolkit."""
    script = (
        "import sys; from stompcli.main import run; sys.argv[0] = 'stomp'; "
        f"code = run({words!r}); "
        "heavy = {'trio', 'rich', 'prompt_toolkit', 'asyncio'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("words", [["--help"], ["send", "--help"], ["queues", "--help"]])
def test_help_imports_click_and_hardly_more(words: list[str]) -> None:
    """Help is there at once: of this program only the table and the options are imported for it.

    Nor is anything of the standard library that takes long and that click does without.
    """
    script = (
        "import sys, click; before = set(sys.modules); "
        "from stompcli.main import run; sys.argv[0] = 'stomp'; "
        f"code = run({words!r}); print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert b"Usage: stomp " in done.stdout
    imported = done.stderr.decode().split()
    own = {name for name in imported if name.startswith(("stompcli.", "stompd"))}
    parsing = {f"stompcli.{name}_arguments" for name in ("broker", "receive")}
    few = ("table", "exitcodes", "failure", "options", "further_options", "completing", "page")
    assert own <= {"stompcli.main", "stompcli.arguments", *parsing} | {f"stompcli.{n}" for n in few}
    slow = {"pathlib", "dataclasses", "shutil", "json", "urllib.parse", "difflib", "tomllib"}
    slow |= {"subprocess", "socket", "ssl", "sqlite3", "tempfile", "click.shell_completion"}
    assert not slow & set(imported)


def test_completion_of_words_is_light_too() -> None:
    """Completing a command's name comes from the table alone."""
    script = (
        "import sys; sys.argv[0] = 'stomp'\n"
        "from stompcli.main import run\n"
        "try:\n    run([])\n"
        "finally:\n"
        "    heavy = {'trio', 'rich', 'prompt_toolkit'} & set(sys.modules)\n"
        "    print('HEAVY' if heavy else 'LIGHT')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env=environment(_STOMP_COMPLETE="bash_complete", COMP_WORDS="stomp su", COMP_CWORD="1"),
        check=False,
        timeout=60,
    )
    assert done.stdout.decode().split() == ["plain,subscribe", "plain,subscriptions", "LIGHT"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(stomp: Stomp, shell: str) -> None:
    """Each shell gets a script for both names of the program."""
    done = stomp("completion", shell)
    assert done.code == 0
    assert f"_STOMP_COMPLETE={shell}_complete" in done.text
    assert f"_STOMPCLI_COMPLETE={shell}_complete" in done.text
