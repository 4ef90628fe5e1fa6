"""Files that messages bring or are made into: names by us, inside one folder, nothing overwritten.

What a peer says of a name is a proposal: of a path only the last part counts, and of that only what
cannot surprise anybody.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Final

from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._ +=@-]")
_LONGEST: Final = 120
_MOST_TRIES: Final = 100_000


def safe_name(proposed: str, otherwise: str) -> str:
    """Return a harmless name of a file, made of the last part of what was proposed.

    ``otherwise`` is the name if nothing of it is left.
    """
    last = re.split(r"[/\\]", proposed)[-1]
    name = _UNSAFE.sub("_", last).rstrip(" ")[-_LONGEST:].lstrip(" .-")
    return name if name.strip("_ .") else otherwise


def numbered(name: str) -> Iterator[str]:
    """Yield a name, such as ``a.txt``, and then others like it: ``a.1.txt``, ``a.2.txt``."""
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    yield name
    for number in count(1):
        yield f"{stem}.{number}{dot}{suffix}"


def check_folder(path: str) -> Path:
    """Return a folder that is there, or was made now; raises `Failure` if it cannot be."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(ExitCode.NO_INPUT, "no-input", f"{path}: {error.strerror}") from None
    return folder


def keep(folder: Path, names: Iterator[str], data: bytes) -> Path:
    """Write octets into a new file, under the first of the names that is free; return its path.

    Never follows a link, never overwrites. Raises `Failure` if there is no writing.
    """
    for _, name in zip(range(_MOST_TRIES), names, strict=False):
        path = folder / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            raise _failed(path, error) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except OSError as error:
            path.unlink()
            raise _failed(path, error) from None
        return path
    raise Failure(ExitCode.FAILED, "conflict", f"{folder}: no free name is left")


def _failed(path: Path, error: OSError) -> Failure:
    return Failure(ExitCode.FAILED, "failed", f"cannot write {path}: {error.strerror}")


# A file as a message, as the program of stomp.py sends it: in base64, with its name as a header.
FILENAME: Final = "filename"
_ENCODING: Final = "content-transfer-encoding"
AS_IS: Final = {_ENCODING: "binary"}


def file_of(headers: Mapping[str, str], body: bytes) -> bytes | None:
    """Return the octets of the file that a message brings, None if it brings none."""
    if FILENAME not in headers:
        return None
    if headers.get(_ENCODING) == "binary":
        return body
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        # Somebody else's, who names a file and sends it as it is.
        return body
