"""Files that the user names."""

from pathlib import Path

from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure


def read(path: str) -> bytes:
    """Return what a file holds; raises `Failure` in words if it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - any name that the user gives
            return file.read()
    except FileNotFoundError:
        raise Failure(ExitCode.NO_INPUT, "no-input", f"File {path} does not exist") from None
    except OSError as error:
        raise Failure(ExitCode.NO_INPUT, "no-input", f"{path}: {error.strerror}") from None


def absolute(path: str) -> str:
    """Return the whole path of a file that the user names, so that it is the same from anywhere."""
    return str(Path(path).expanduser().absolute())
