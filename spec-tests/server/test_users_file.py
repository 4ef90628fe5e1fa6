"""The users file: what may stand in it, and how it is changed."""

import os
import stat
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.server.users import (
    User,
    UsersFileError,
    change,
    group_lack,
    listing,
    name_lack,
    parse,
    read,
    with_user,
    without_user,
)

HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"
OTHER = "$argon2id$v=19$m=16,t=2,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"

names = st.text(min_size=1, max_size=20).filter(lambda name: not name_lack(name))
groups = st.lists(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*", fullmatch=True), max_size=3, unique=True
)
users = st.builds(User, names, st.sampled_from([HASH, OTHER, "*"]), groups.map(tuple))


# -- Reading ---------------------------------------------------------------------------------------


def test_a_line_is_a_user() -> None:
    """Name, hash and groups; comments and empty lines are for people."""
    text = f"# users\n\nann:{HASH}:admin,ops\n bob smith :{HASH}\nbob smith:*:\n"
    with pytest.raises(UsersFileError, match=r'line 4: " bob smith " has blanks'):
        parse(text)
    found = parse(text.replace(f" bob smith :{HASH}\n", "").replace("\n", "\r\n"))
    assert found == {
        "ann": User("ann", HASH, ("admin", "ops")),
        "bob smith": User("bob smith", "*"),
    }
    assert HASH not in repr(found)


def test_every_mistake_is_told_with_its_line() -> None:
    """And without the hash, which may be a passcode that somebody has written there."""
    text = f"ann\nann:secret\n:{HASH}\n@a:{HASH}\nx:{HASH}\nx:{HASH}\ny:{HASH}:a b,ü\n*:{HASH}\n"
    with pytest.raises(UsersFileError) as caught:
        parse(text)
    assert caught.value.problems == (
        (1, "is not NAME:HASH or NAME:HASH:GROUP,..."),
        (2, "the hash is not one of argon2; `stompd hash-password` makes one"),
        (3, "the name of a user is empty"),
        (4, '"@a" is no name of a user: @ has a meaning of its own'),
        (6, '"x" stands in line 5 as well'),
        (7, '"a b" is no name of a group (letters, digits and _ . @ -)'),
        (8, '"*" is no name of a user: * has a meaning of its own'),
    )
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["#", "a#b", "a*", ">", "a/b", "{user}", "a:b", "a,b", "\x00", "ä " * 90]
)
def test_names_that_would_mean_something_else(name: str) -> None:
    """A name stands in patterns, so it holds no wildcard and no separator of kinds."""
    assert name_lack(name)


@pytest.mark.parametrize(
    "name", ["ann", "ann@example.com", "Jürgen Groß", "a.b-c_d", "$x", "user+tag"]
)
def test_names_that_people_have(name: str) -> None:
    """E-mail addresses, blanks within, letters of any script."""
    assert not name_lack(name)
    assert group_lack("a b")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A directory, a missing file, one that is not UTF-8."""
    for file in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsersFileError, match=r"^cannot be read: "):
            read(file)
    (tmp_path / "latin").write_bytes(b"# a\n\xfc:x\n")
    with pytest.raises(UsersFileError, match=r"^line 2: is not UTF-8$"):
        read(tmp_path / "latin")


@given(st.text())
def test_any_text_is_users_or_mistakes_with_their_lines(text: str) -> None:
    """Nothing else comes out of the parser; a mistake is in a line that is there."""
    try:
        found = parse(text)
    except UsersFileError as error:
        lines = {line for line, _ in error.problems}
    else:
        lines = set()
        assert parse("".join(f"{user.line()}\n" for user in found.values())) == found
    assert lines <= set(range(1, text.count("\n") + 2))


@given(st.lists(users, max_size=5, unique_by=lambda user: user.name), users)
def test_what_is_written_is_read(others: list[User], user: User) -> None:
    """A user is added or replaced, and taken away, with everything else left as it was."""
    text = "# of the team\n" + "".join(f"{other.line()}\n\n" for other in others)
    present = parse(text)
    changed = with_user(text, user)
    assert parse(changed) == present | {user.name: user}
    assert parse(without_user(changed, user.name)) == {
        name: other for name, other in present.items() if name != user.name
    }
    assert changed.startswith("# of the team\n")


def test_a_file_without_an_end_of_line_gets_one() -> None:
    """Somebody's editor has left it out."""
    assert parse(with_user(f"ann:{HASH}", User("bob", OTHER))).keys() == {"ann", "bob"}


def test_the_listing_is_for_people() -> None:
    """Names and groups, and who has no passcode."""
    users = [User("ann", HASH, ("admin", "ops")), User("bob.smith", "*"), User("c", HASH)]
    assert listing(users) == "ann        admin ops\nbob.smith  (no passcode)\nc\n"
    assert listing([]) == ""


# -- Changing --------------------------------------------------------------------------------------


def test_a_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask says, and also if it was for others before."""
    file = tmp_path / "users.txt"
    change(file, lambda text: with_user(text, User("ann", HASH)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    change(file, lambda text: with_user(text, User("bob", HASH)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read(file).keys() == {"ann", "bob"}
    assert [path.name for path in tmp_path.iterdir()] == ["users.txt"]


def test_the_file_is_replaced_not_written_over(tmp_path: Path) -> None:
    """Who has it open reads the old one to its end; a link still leads to it."""
    file = tmp_path / "users.txt"
    file.write_text(f"ann:{HASH}\n")
    link = tmp_path / "link"
    link.symlink_to(file)
    with file.open() as reader:
        change(link, lambda text: without_user(text, "ann"))
        assert reader.read() == f"ann:{HASH}\n"
    assert link.is_symlink()
    assert file.read_text() == ""


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Neither the file nor anything beside it."""
    file = tmp_path / "users.txt"
    file.write_text(f"ann:{HASH}\nbad\n")
    with pytest.raises(UsersFileError, match="line 2"):
        change(file, lambda text: with_user(text, User("bob", HASH)))
    assert file.read_text() == f"ann:{HASH}\nbad\n"
    with pytest.raises(UsersFileError, match="cannot be written"):
        change(tmp_path / "none" / "users.txt", lambda text: text)
    assert [path.name for path in tmp_path.iterdir()] == ["users.txt"]


def test_a_disk_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no half of a new one beside it."""
    file = tmp_path / "users.txt"
    file.write_text(f"ann:{HASH}\n")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UsersFileError, match="cannot be written: No space left on device"):
        change(file, lambda text: without_user(text, "ann"))
    assert read(file).keys() == {"ann"}
    assert [path.name for path in tmp_path.iterdir()] == ["users.txt"]


def test_two_that_change_it_wait_for_each_other(tmp_path: Path) -> None:
    """No change is lost."""
    file = tmp_path / "users.txt"
    each = [
        threading.Thread(target=change, args=(file, partial(with_user, user=User(f"u{n}", HASH))))
        for n in range(20)
    ]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    assert len(read(file)) == 20
