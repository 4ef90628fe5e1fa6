"""``stompd passwd`` and ``stompd hash-password``: what people type, and what they see."""

import stat
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner, Result
from server.process import daemon
from server.test_users_file import HASH
from wire import Wire

from stompd.server import passcodes
from stompd.server.exitcodes import Exit
from stompd.server.main import commands
from stompd.server.passcodes import verify
from stompd.server.users import read

PATIENCE = 30


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have hashes cost next to nothing."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passcodes, "PasswordHasher", lambda: quick)


def run(*words: object, typed: str | None = None) -> Result:
    """Run stompd in this process."""
    return CliRunner().invoke(commands, [str(word) for word in words], input=typed)


def test_a_user_is_added_and_changed(tmp_path: Path) -> None:
    """The passcode is asked for twice and not shown; groups stay unless others are given."""
    file = tmp_path / "users.txt"
    added = run("passwd", file, "ann", "--admin", "--groups", "ops", typed="secret\nsecret\n")
    assert (added.exit_code, added.stdout) == (0, "")
    assert "passcode for ann:" in added.stderr
    assert "secret" not in added.output
    assert added.stderr.endswith(f"{file}: ann added\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ann = read(file)["ann"]
    assert ann.groups == ("ops", "admin")
    assert verify(ann.hash, b"secret")
    changed = run("passwd", file, "ann", "--stdin", typed="other\r\n")
    assert (changed.exit_code, changed.stderr) == (0, f"{file}: ann changed\n")
    assert read(file)["ann"].groups == ("ops", "admin")
    assert verify(read(file)["ann"].hash, b"other")
    run("passwd", file, "ann", "--stdin", "--groups", "", typed="other")
    assert read(file)["ann"].groups == ()
    run("passwd", file, "ann", "--stdin", "--admin", typed="other")
    assert read(file)["ann"].groups == ("admin",)


def test_without_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    """What is typed would be seen; what a pipe brings is for --stdin."""
    file = tmp_path / "users.txt"
    done = subprocess.run(
        [sys.executable, "-m", "stompd", "passwd", file, "ann"],
        input="secret\nsecret\n",
        capture_output=True,
        text=True,
        # Without this it would have the terminal that the tests were started from.
        start_new_session=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.splitlines()[-1] == "there is no terminal to ask on; try: --stdin"
    assert "Warning" not in done.stderr
    assert not file.exists()


def test_users_are_listed_verified_and_deleted(tmp_path: Path) -> None:
    """Nothing of that needs the broker."""
    file = tmp_path / "users.txt"
    file.write_text(f"# the team\nann:{HASH}:admin,ops\nbob:*\n")
    assert run("passwd", file, "--list").stdout == "ann  admin ops\nbob  (no passcode)\n"
    run("passwd", file, "bob", "--stdin", typed="secret")
    right = run("passwd", file, "bob", "--verify", "--stdin", typed="secret")
    assert (right.exit_code, right.stderr) == (0, f"{file}: this is the passcode of bob\n")
    wrong = run("passwd", file, "bob", "--verify", typed="Secret\n")
    assert wrong.exit_code == Exit.NOT_ALLOWED
    assert f"{file}: this is not the passcode of bob\n" in wrong.stderr
    unknown = run("passwd", file, "eve", "--verify", "--stdin", typed="x")
    assert (unknown.exit_code, unknown.stderr) == (
        Exit.NOT_ALLOWED,
        f'{file}: there is no user "eve"\n',
    )
    assert run("passwd", file, "bob", "--delete").stderr == f"{file}: bob deleted\n"
    assert file.read_text() == f"# the team\nann:{HASH}:admin,ops\n"
    again = run("passwd", file, "bob", "--delete")
    assert (again.exit_code, again.stderr) == (78, f'{file}: there is no user "bob"\n')


@pytest.mark.parametrize(
    ("words", "typed", "status", "told"),
    [
        (["ann", "--stdin"], "", 78, "the passcode is empty"),
        (["ann", "--stdin"], "a\nb\n", 78, "standard input holds more than one line"),
        (["ann", "--stdin"], "a\tb", 78, "no client could send it"),
        (["a:b", "--stdin"], "x", 2, '"a:b" is no name of a user: : has a meaning of its own'),
        (["ann", "--groups", "a b"], "x", 2, '"a b" is no name of a group'),
        (["ann", "--list"], "", 2, "--list lists all users, so it takes no USER"),
        ([], "", 2, "USER is missing"),
        (["ann", "--delete", "--verify"], "", 2, "exclude each other"),
        (["ann", "--delete", "--admin"], "", 2, "go with a passcode that is set"),
        (["ann", "--verify"], "", 78, "cannot be read: No such file or directory"),
        (["--list"], "", 78, "cannot be read: No such file or directory"),
    ],
)
def test_what_makes_no_sense_is_said(
    tmp_path: Path, words: list[str], typed: str, status: int, told: str
) -> None:
    """In a sentence, and nothing is written."""
    result = run("passwd", tmp_path / "users.txt", *words, typed=typed)
    assert result.exit_code == status
    assert told in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_with_mistakes_is_told_before_anybody_types(tmp_path: Path) -> None:
    """Every mistake with its line; the file stays as it is."""
    file = tmp_path / "users.txt"
    file.write_text("ann\n\nbob:secret\n")
    result = run("passwd", file, "eve")
    assert result.exit_code == Exit.CONFIGURATION
    assert result.stderr == (
        f"{file}:1: is not NAME:HASH or NAME:HASH:GROUP,...\n"
        f"{file}:3: the hash is not one of argon2; `stompd hash-password` makes one\n"
    )
    assert file.read_text() == "ann\n\nbob:secret\n"


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    """The file is made, its folder is not."""
    file = tmp_path / "none" / "users.txt"
    result = run("passwd", file, "ann", "--stdin", typed="x")
    assert result.exit_code == Exit.CONFIGURATION
    assert result.stderr == f"{file}: cannot be written: No such file or directory\n"


def test_a_hash_is_made_to_be_pasted() -> None:
    """On standard output, and nothing else."""
    result = run("hash-password", "--stdin", typed="secret\n")
    assert verify(result.stdout.removesuffix("\n"), b"secret")
    assert run("hash-password", typed="a\nb\na\na\n").exit_code == 0


def test_from_the_first_passcode_to_a_log_in(tmp_path: Path) -> None:
    """As somebody does it at a terminal: nothing is shown, and then the user may connect."""
    file = tmp_path / "users.txt"
    words = ["-m", "stompd", "passwd", str(file), "ann"]
    shell = pexpect.spawn(sys.executable, words, timeout=PATIENCE)
    for prompt in ("passcode for ann: ", "once more: "):
        shell.expect_exact(prompt)
        shell.sendline("secret")
    shell.expect(pexpect.EOF)
    shown = shell.before or b""
    assert b"secret" not in shown
    assert b"ann added" in shown
    shell.close()
    assert shell.exitstatus == 0
    with daemon("--users", str(file)) as stompd:
        stompd.connect("1.2", "login:ann", "passcode:secret")
        with Wire(stompd.broker) as stranger:
            stranger.write("CONNECT⏎accept-version:1.2⏎host:x⏎login:ann⏎passcode:wrong⏎⏎^@")
            error = stranger.expect("ERROR", "message:login refused")
        assert error.body == b"wrong login or passcode\n"
        assert stompd.logged("login refused")["user"] == "ann"


# -- may -------------------------------------------------------------------------------------------


def test_what_the_rules_come_to_can_be_asked(tmp_path: Path) -> None:
    """With the rule that decides, for a name and for a pattern."""
    (tmp_path / "users.txt").write_text(f"ann:{HASH}:ops\nbob:{HASH}\n")
    (tmp_path / "rights.txt").write_text(
        "deny * receive /queue/secret\nallow @ops all\nallow bob send /queue/a in /b\n"
    )
    file = tmp_path / "stompd.toml"
    file.write_text(
        f'[users]\nfile = "{tmp_path}/users.txt"\nrights = "{tmp_path}/rights.txt"\n'
        '[virtual-hosts]\nnames = ["/", "/b"]\n'
    )

    def ask(*words: str) -> tuple[int, str]:
        result = run("may", *words, "-c", file)
        return result.exit_code, result.stdout.removesuffix("\n")

    assert ask("ann", "send", "/queue/a") == (0, "yes: allow @ops all #")
    assert ask("ann", "receive", "/queue/#") == (77, "no: deny * receive /queue/secret")
    assert ask("ann", "connect") == (0, "yes: allow @ops all #")
    assert ask("bob", "send", "/queue/a") == (77, "no: no rule says so")
    assert ask("bob", "send", "/queue/a", "--vhost", "/b")[0] == 0
    assert ask("eve", "send", "/queue/a", "--groups", "ops,dev")[0] == 0
    assert ask("eve", "send", "/queue/a", "--groups", "admin") == (0, "yes: allow @admin all #")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["ann", "write", "/queue/a"], 2, '"write" is no right; there are connect, send'),
        (["ann", "send", "/nowhere"], 2, "unknown kind of destination"),
        (["ann", "send", "/queue/a", "--groups", "a b"], 2, "is no name of a group"),
        (["ann", "send", "/queue/a", "-c", "/none.toml"], 78, "cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_said(words: list[str], status: int, told: str) -> None:
    """In a sentence."""
    result = run("may", *words)
    assert result.exit_code == status
    assert told in result.stderr
