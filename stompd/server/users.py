"""The users file: a line for each user, ``name:hash[:group,...]``.

Empty lines and lines that begin with ``#`` are for people. The hash is one of argon2, as ``stompd
passwd`` and ``stompd hash-password`` make it, or ``*`` for a user whom no passcode lets in.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError

from stompd.server.units import quoted

LOCKED: Final = "*"
"""Stands for a hash that no passcode has."""

_LONGEST: Final = 255
_GROUP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
# A name stands in patterns for {user}: there a wildcard would give it more than its own.
_FORBIDDEN: Final = frozenset(":*#>/{},")


@dataclass(frozen=True)
class User:
    """A user as a line tells of it; the hash stays out of ``repr``."""

    name: str
    hash: str = field(repr=False)
    groups: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the line of this user."""
        groups = f":{','.join(self.groups)}" if self.groups else ""
        return f"{self.name}:{self.hash}{groups}"


class UsersFileError(Exception):
    """The users file cannot be used; ``problems`` are line numbers (0: none) and sentences."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        super().__init__(
            "; ".join(f"line {line}: {text}" if line else text for line, text in problems)
        )
        self.problems = tuple(problems)


def name_lack(name: str) -> str:
    """Return what is wrong with the name of a user; empty if nothing is."""
    if not name:
        return "the name of a user is empty"
    if len(name.encode("utf-8", "surrogateescape")) > _LONGEST:
        return f"a user's name has at most {_LONGEST} octets"
    if not name.isprintable() or name != name.strip():
        return f"{quoted(name)} has blanks at its ends, or what cannot be printed"
    forbidden = sorted(_FORBIDDEN & set(name))
    if forbidden or name.startswith("@"):
        what = forbidden[0] if forbidden else "@"
        return f"{quoted(name)} is no name of a user: {what} has a meaning of its own"
    return ""


def group_lack(name: str) -> str:
    """Return what is wrong with the name of a group; empty if nothing is."""
    if _GROUP.fullmatch(name) and len(name) <= _LONGEST:
        return ""
    return f"{quoted(name)} is no name of a group (letters, digits and _ . @ -)"


def parse(text: str) -> dict[str, User]:
    """Return the users that a file holds, by name; raise `UsersFileError` with every mistake."""
    users: dict[str, User] = {}
    first: dict[str, int] = {}
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(_lines(text), 1):
        if not _is_user(line):
            continue
        try:
            user = _user(line)
        except ValueError as error:
            problems.append((number, str(error)))
            continue
        if user.name in first:
            earlier = first[user.name]
            problems.append((number, f"{quoted(user.name)} stands in line {earlier} as well"))
            continue
        first[user.name] = number
        users[user.name] = user
    if problems:
        raise UsersFileError(problems)
    return users


def _lines(text: str) -> list[str]:
    """Return the lines; nothing but a line feed ends one, since names may hold other separators."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def _is_user(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _user(line: str) -> User:
    name, colon, rest = line.partition(":")
    if not colon:
        raise ValueError("is not NAME:HASH or NAME:HASH:GROUP,...")
    encoded, _, groups = rest.partition(":")
    lack = name_lack(name) or _hash_lack(encoded.strip())
    if lack:
        raise ValueError(lack)
    return User(name, encoded.strip(), groups_of(groups))


def groups_of(text: str) -> tuple[str, ...]:
    """Return the groups between commas; raise `ValueError` for what is no name of a group."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        lack = group_lack(name)
        if lack:
            raise ValueError(lack)
    return names


def _hash_lack(encoded: str) -> str:
    """Return what is wrong with a hash; what it is does not belong into a message."""
    if encoded == LOCKED:
        return ""
    try:
        extract_parameters(encoded)
    except InvalidHashError:
        return "the hash is not one of argon2; `stompd hash-password` makes one"
    return ""


# Reading and writing.


def read(file: Path) -> dict[str, User]:
    """Return the users of a file; raise `UsersFileError` if it cannot be read or has mistakes."""
    return parse(_text(file))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise UsersFileError([(0, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsersFileError([(line, "is not UTF-8")]) from error


def with_user(text: str, user: User) -> str:
    """Return the text of a file with this user in place of one of its name, or at the end."""
    lines = _lines(text)
    for index, line in enumerate(lines):
        if _is_user(line) and line.partition(":")[0] == user.name:
            lines[index] = user.line()
            return "\n".join(lines)
    head = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{head}{user.line()}\n"


def without_user(text: str, name: str) -> str:
    """Return the text of a file without this user."""
    kept = [line for line in _lines(text) if not _is_user(line) or line.partition(":")[0] != name]
    return "\n".join(kept)


def change(file: Path, edit: Callable[[str], str]) -> None:
    """Have ``edit`` make a new text of a file's, which takes its place at once and whole.

    Whoever reads it meanwhile sees the old text or the new one; of two who change it one waits. The
    file is for its owner alone (0600), and made if it is missing. Raises `UsersFileError`, with
    nothing changed.
    """
    file = file.resolve()
    try:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsersFileError([(0, f"cannot be written: {error.strerror}")]) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        text = edit(_text(file) if file.exists() else "")
        parse(text)
        try:
            _replace(file, text)
            os.fsync(folder)
        except OSError as error:
            raise UsersFileError([(0, f"cannot be written: {error.strerror}")]) from error
    finally:
        os.close(folder)


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            if file.exists():
                # Who runs stompd has to be able to read what root has changed.
                old = file.stat()
                with suppress(PermissionError):
                    os.fchown(stream.fileno(), old.st_uid, old.st_gid)
            os.fsync(stream.fileno())
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def listing(users: Iterable[User]) -> str:
    """Return a line for each user, with its groups, for people to read."""
    rows = [(user.name, " ".join([*user.groups, *_marks(user)])) for user in users]
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"{name:{width}}  {groups}".rstrip() + "\n" for name, groups in rows)


def _marks(user: User) -> list[str]:
    return ["(no passcode)"] if user.hash == LOCKED else []
