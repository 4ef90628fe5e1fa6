"""Contexts: what is kept, what counts, and what stays private."""

import json
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from client.programs import Finished, Stomp, environment
from client.terminal import Terminal
from hypothesis import given
from hypothesis import strategies as st

from stompcli import contexts, precedence, toml
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.main import program
from stompcli.settings import Settings

Run = Callable[..., Finished]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this program's configuration, for the test and the programs it starts."""
    for name in os.environ:
        if name.startswith("STOMP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "stomp"


@pytest.fixture
def run(folder: Path) -> Run:
    """The program with that folder, and no broker of its own."""

    def run(*words: str, **env: str) -> Finished:
        return Stomp(0)(*words, env={"XDG_CONFIG_HOME": str(folder.parent), **env})

    return run


def keep(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    """Write a context by hand."""
    path = folder / "contexts" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# Making, changing, choosing.


def test_add_keeps_what_the_flags_say(run: Run, folder: Path) -> None:
    """Flags before and after the command are kept, the environment is not; nobody else may read."""
    done = run(
        *("-H", "mq.example.org", "context", "add", "prod", "--tls", "--user", "me"),
        *("--password", "pass word", "--vhost", "/", "--heartbeats", "0,5000"),
        *("--connect-header", "client-id:a b", "--tls-ca", "ca.pem", "--description", "the real"),
        STOMP_PORT="7",
    )
    assert (done.code, done.err) == (0, "added prod: stomp+ssl://mq.example.org\n")
    path = folder / "contexts" / "prod.toml"
    assert tomllib.loads(path.read_text()) == {
        "description": "the real",
        "host": "mq.example.org",
        "user": "me",
        "password": "pass word",
        "vhost": "/",
        "heartbeats": "0,5000",
        "tls": True,
        "tls_ca": str(Path("ca.pem").absolute()),
        "connect_headers": {"client-id": "a b"},
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_add_from_url_takes_it_apart(run: Run, folder: Path) -> None:
    """--from-url keeps the parts of a URL, decoded."""
    run("context", "add", "a", "--from-url", "stomp+ssl://me:p%40ss@h:7/shop")
    assert tomllib.loads((folder / "contexts" / "a.toml").read_text()) == {
        "host": "h",
        "port": 7,
        "user": "me",
        "password": "p@ss",
        "vhost": "shop",
        "tls": True,
    }


def test_add_several_urls(run: Run, folder: Path) -> None:
    """Several -u are a list, tried in turn."""
    run("context", "add", "a", "--url", "stomp://a", "--url", "stomp+ssl://u:p@b", "--select")
    kept = tomllib.loads((folder / "contexts" / "a.toml").read_text())
    assert kept == {"url": ["stomp://a", "stomp+ssl://u:p@b"]}
    assert "stomp://a, stomp+ssl://u:***@b" in run("context", "ls").text


def test_add_does_not_replace_unless_told(run: Run) -> None:
    """A name that is taken is refused, and nothing is changed, without --replace."""
    run("context", "add", "a", "--host", "one")
    done = run("context", "add", "a", "--host", "two")
    assert done.code == ExitCode.FAILED
    assert 'there is a context "a" already' in done.err
    assert "one" in run("context", "show", "a").text
    assert run("context", "add", "a", "--host", "two", "--replace").code == 0
    assert "two" in run("context", "show", "a").text


def test_select_and_previous(run: Run) -> None:
    """What is selected is marked; previous goes back and forth; --none selects none."""
    for name in ("a", "b"):
        run("context", "add", name, "--host", f"host-{name}", "--select")
    assert run("context", "ls", "--plain", "--no-header").text.splitlines() == [
        "a\tfalse\tstomp://host-a\t\t",
        "b\ttrue\tstomp://host-b\t\t",
    ]
    assert run("context", "previous").err == "selected a: stomp://host-a\n"
    assert run("context", "previous").err == "selected b: stomp://host-b\n"
    assert run("context", "select", "--none").code == 0
    assert "true" not in run("context", "ls", "--plain").text
    assert run("context", "previous").err == "selected b: stomp://host-b\n"


def test_show_hides_what_is_secret(run: Run) -> None:
    """Neither show nor ls tells a password, of a key or a URL."""
    run("context", "add", "a", "--host", "h", "--password", "hunter2")
    run("context", "add", "b", "--url", "stomp://u:hunter2@h")
    for words in (["show", "a"], ["show", "b"], ["ls"], ["ls", "--json"], ["show", "b", "--json"]):
        text = run("context", *words).text
        assert "hunter2" not in text
    assert "***" in run("context", "show", "a").text
    assert json.loads(run("context", "show", "b", "--json").out) == {
        "name": "b",
        "url": "stomp://u:***@h",
    }


def test_edit_by_flags(run: Run) -> None:
    """Flags change single values; a host takes the place of a URL, and the other way round."""
    run("context", "add", "a", "--url", "stomp://h", "--user", "me")
    run("context", "edit", "a", "--host", "other", "--port", "5")
    shown = json.loads(run("context", "show", "a", "--json").out)
    assert shown == {"name": "a", "host": "other", "port": 5, "user": "me"}
    run("context", "edit", "a", "--url", "stomp://again", "--description", "x")
    shown = json.loads(run("context", "show", "a", "--json").out)
    assert shown == {"name": "a", "url": "stomp://again", "user": "me", "description": "x"}


def test_edit_in_an_editor(folder: Path, tmp_path: Path) -> None:
    """Without flags $VISUAL gets the file; what is wrong in it afterwards changes nothing."""
    path = keep(folder, "a", 'host = "h"\n')
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\necho "$2" >> "$3"\necho "user = \\"$1\\"" >> {tmp_path}/seen\n')
    editor.chmod(0o700)
    env = {"XDG_CONFIG_HOME": str(folder.parent), "VISUAL": f"{editor} me 'port = 9'"}
    terminal = Terminal(Stomp(0), "context", "edit", "a", env=env)
    assert terminal.end() == 0
    assert path.read_text() == 'host = "h"\nport = 9\n'
    env["VISUAL"] = f"{editor} me 'prot = 9'"
    terminal = Terminal(Stomp(0), "context", "edit", "a", env=env)
    assert terminal.end() == ExitCode.BAD_CONFIG
    assert 'unknown key "prot"' in terminal.seen
    assert path.read_text() == 'host = "h"\nport = 9\n'


def test_edit_needs_a_terminal(run: Run, folder: Path) -> None:
    """In a script there is no editor, and that is said."""
    keep(folder, "a", 'host = "h"\n')
    done = run("context", "edit", "a")
    assert done.code == ExitCode.USAGE
    assert "an editor needs a terminal" in done.err


def test_password_that_is_asked_for(folder: Path) -> None:
    """--ask-password asks once, when the context is made, and keeps the answer."""
    env = {"XDG_CONFIG_HOME": str(folder.parent)}
    words = ("context", "add", "a", "--user", "me", "--ask-password")
    terminal = Terminal(Stomp(0), *words, env=env)
    terminal.answer("Password: ", "secret")
    assert terminal.end() == 0
    assert "secret" not in terminal.seen
    assert contexts.load("a").values["password"] == "secret"


def test_password_without_a_terminal() -> None:
    """Nobody is asked where what is typed would be seen, or where a pipe would answer."""
    done = subprocess.run(
        [sys.executable, "-m", "stompcli", "--ask-password", "ping"],
        input="secret\n",
        capture_output=True,
        text=True,
        # Without this it would have the terminal that the tests were started from.
        start_new_session=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert done.stderr.startswith("stomp: there is no terminal to ask for the password on\n")


def test_rm(run: Run, folder: Path) -> None:
    """Rm asks, does nothing where nobody answers, and forgets that one was selected."""
    run("context", "add", "a", "--host", "h", "--select")
    assert run("context", "rm", "a").code == ExitCode.USAGE
    terminal = Terminal(Stomp(0), "context", "rm", "a", env={"XDG_CONFIG_HOME": str(folder.parent)})
    terminal.answer("Remove the context a", "n")
    assert terminal.end() == ExitCode.FAILED
    assert run("context", "rm", "a", "--yes").code == 0
    assert contexts.selection() == (None, None)
    assert run("context", "rm", "a", "--yes").code == ExitCode.BAD_CONFIG


# What counts.


def settings(*words: str) -> Settings:
    """Return the settings that the program has with these words before a command."""
    with program().make_context("stomp", [*words, "ping"]) as context:
        return precedence.settled(context)


def test_selected_context_is_used(stompd: int, run: Run) -> None:
    """What is selected says where the broker is; so does -C, and STOMP_CONTEXT."""
    run("context", "add", "a", "--url", f"stomp://127.0.0.1:{stompd}")
    run("context", "add", "b", "--port", "1", "--select")
    assert run("ping", "-c", "1").code == ExitCode.UNAVAILABLE
    assert run("-C", "a", "ping", "-c", "1").code == 0
    assert run("ping", "-c", "1", "--context", "a").code == 0
    assert run("ping", "-c", "1", STOMP_CONTEXT="a").code == 0
    assert run("context", "test", "a").text.startswith("a: connected to stompd/")
    assert run("context", "test").code == ExitCode.UNAVAILABLE
    run("context", "select", "a")
    assert run("ping", "-c", "1").code == 0


def test_flag_before_environment_before_context(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value is that of the flag, else of the environment, else of the context."""
    keep(folder, "c", 'user = "of context"\nvhost = "of context"\ntimeout = "7s"\n')
    monkeypatch.setenv("STOMP_USER", "of environment")
    monkeypatch.setenv("STOMP_VHOST", "of environment")
    found = settings("-C", "c", "-U", "of flag")
    assert (found.user, found.vhost, found.timeout) == ("of flag", "of environment", 7.0)
    assert found.port is None


def test_whoever_names_another_broker_leaves_the_selected_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-H or -u leave a selected context aside whole: its password goes nowhere else."""
    keep(folder, "c", 'host = "h"\nport = 5\nuser = "u"\npassword = "secret"\ntls = true\n')
    contexts.select("c")
    for words in (["-H", "other"], ["-u", "stomp://other"]):
        found = settings(*words)
        assert (found.user, found.password, found.port, found.tls) == (None, None, None, False)
    assert settings("-P", "9").host == "h"
    assert settings("-P", "9").port == 9
    monkeypatch.setenv("STOMP_CONTEXT", "c")
    assert settings("-H", "other").password is None
    monkeypatch.setenv("STOMP_HOST", "other")
    monkeypatch.delenv("STOMP_CONTEXT")
    assert settings().password is None


def test_context_that_was_named_serves_another_host(folder: Path) -> None:
    """With -C and -H both typed the login of the context is meant for that host."""
    keep(folder, "c", 'url = "stomp+ssl://h:5"\nuser = "u"\npassword = "secret"\n')
    found = settings("-C", "c", "-u", "stomp://other:6")
    assert (found.url, found.user, found.password) == ("stomp://other:6", "u", "secret")
    assert not found.tls


def test_password_of_the_environment_replaces_the_file_of_the_context(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A password that is given goes before a file of the context, which is beside the context."""
    keep(folder, "c", 'password_file = "secret"\n')
    (folder / "contexts" / "secret").write_text("of file\n")
    assert settings("-C", "c").secret() == "of file"
    monkeypatch.setenv("STOMP_PASSWORD", "of environment")
    assert settings("-C", "c").secret() == "of environment"
    assert tmp_path.exists()


def test_environment_before_a_named_context_is_told(run: Run, stompd: int) -> None:
    """Who types -C is told that the environment names another broker."""
    run("context", "add", "a", "--host", "nowhere.invalid")
    done = run("-C", "a", "ping", "-c", "1", STOMP_URL=f"stomp://127.0.0.1:{stompd}")
    assert done.code == 0
    assert "STOMP_URL of the environment goes before the context a\n" in done.err


def test_config_variable_moves_the_contexts(run: Run, tmp_path: Path) -> None:
    """STOMP_CONFIG names the file of settings; the contexts are beside it."""
    config = str(tmp_path / "elsewhere" / "config.toml")
    run("context", "add", "a", "--host", "h", STOMP_CONFIG=config)
    assert (tmp_path / "elsewhere" / "contexts" / "a.toml").exists()


# What is wrong.


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("host = \n", "Invalid value"),
        ('hots = "h"\n', 'unknown key "hots"\n  did you mean "host"?\n'),
        ("port = 70000\n", "port has to be a port (1-65535)"),
        ("port = true\n", "port has to be a port (1-65535)"),
        ("tls = 1\n", "tls has to be true or false"),
        ('protocol = "2"\n', "protocol has to be one of 1.0, 1.1, 1.2, auto"),
        ('heartbeats = "10"\n', "heartbeats has to be two numbers"),
        ('timeout = "soon"\n', "timeout has to be a duration"),
        ("url = []\n", "url has to be a URL"),
        ("[connect_headers]\na = 1\n", "connect_headers has to be a table of headers"),
        ('url = "stomp://h"\nport = 1\n', "url and port exclude each other"),
        ('password = "a"\npassword_file = "b"\n', "exclude each other"),
    ],
)
def test_files_that_are_wrong(run: Run, folder: Path, text: str, complaint: str) -> None:
    """Each fault is named with its file, and is bad configuration."""
    path = keep(folder, "a", text)
    done = run("-C", "a", "ping")
    assert done.code == ExitCode.BAD_CONFIG
    assert str(path) in done.err
    assert complaint in done.err
    assert "unusable" in run("context", "ls").text


@pytest.mark.parametrize("text", ['password = "x"\n', 'url = "stomp://u:p@h"\n'])
def test_password_that_others_can_read(run: Run, folder: Path, text: str) -> None:
    """A file with a password that is not private is refused; one without is nobody's secret."""
    path = keep(folder, "a", text, 0o640)
    done = run("-C", "a", "ping")
    assert done.code == ExitCode.BAD_CONFIG
    assert done.err == (
        f"stomp: {path} holds a password, and others can read it\n"
        f"  keep it private: chmod 600 {path}\n"
    )
    keep(folder, "a", 'url = "stomp://u@h:1"\n', 0o644)
    assert run("-C", "a", "ping").code == ExitCode.UNAVAILABLE


def test_context_that_is_not_there(run: Run, folder: Path) -> None:
    """A context that is missing is bad configuration; the nearest name is told."""
    keep(folder, "prod", "")
    done = run("-C", "prd", "ping")
    assert done.code == ExitCode.BAD_CONFIG
    assert 'there is no context "prd"' in done.err
    assert 'did you mean "prod"?' in done.err
    assert run("context", "select", "prd").code == ExitCode.BAD_CONFIG


def test_selected_context_that_is_broken_can_be_left(run: Run, folder: Path) -> None:
    """Commands that need no broker work with a broken context, and so does mending it."""
    keep(folder, "a", 'host = "h"\n')
    contexts.select("a")
    keep(folder, "a", "nonsense\n")
    assert run("ping").code == ExitCode.BAD_CONFIG
    assert run("version").code == 0
    assert run("context", "select", "--none").code == 0
    assert run("ping", "--port", "1").code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["select"], "give the name of one context"),
        (["select", "a", "b"], "give the name of one context"),
        (["show"], "no context is selected"),
        (["rm"], "give the names of contexts"),
        (["ls", "a"], "context ls takes no name"),
        (["add", "../a"], "cannot name a context"),
        (["add", ".a"], "cannot name a context"),
        (["add", "a", "--from-url", "http://h"], "is not a broker's URL"),
        (["add", "a", "--url", "http://h"], "is not a broker's URL"),
        (["show", "a", "--none"], "--none; it is for context select"),
    ],
)
def test_wrong_words(run: Run, words: list[str], complaint: str) -> None:
    """What cannot be meant is refused, and nothing is written."""
    done = run("context", *words)
    assert done.code == ExitCode.USAGE
    assert complaint in done.err


def test_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    """A place where nothing can be kept is said so."""
    (tmp_path / "stomp").write_text("a file")
    done = run("context", "add", "a", "--host", "h")
    assert done.code == ExitCode.BAD_CONFIG
    assert "cannot write" in done.err
    assert environment()["XDG_CONFIG_HOME"] != str(tmp_path)


# TOML.


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
            st.dictionaries(
                st.text(st.characters(exclude_categories=["Cs"])),
                st.text(st.characters(exclude_categories=["Cs"])),
            ),
        ),
    )
)
def test_toml_is_read_as_it_was_written(values: dict[str, object]) -> None:
    """Any text, number, list and table comes back as it was."""
    assert tomllib.loads(toml.written(values, values)) == values


def test_text_that_is_no_unicode_cannot_be_kept() -> None:
    """An octet of argv that is no UTF-8 is refused in words."""
    with pytest.raises(Failure, match="is not UTF-8"):
        toml.written({"user": "\udcff"}, ["user"])
    with pytest.raises(click.UsageError):
        settings("--heartbeats", "10")
