"""Text in the user's editor."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage

_USUAL: Final = ("sensible-editor", "nano", "vi")


def edited(text: bytes, *, suffix: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return what is left of a text when its user's editor has ended.

    The editor is ``VISUAL``, else ``EDITOR``, each a command with its words; the file is readable
    by nobody else, and its name ends in ``suffix``. Blocks for as long as the editor runs.
    Raises `Failure` if there is no terminal, no editor, or the editor says that it has failed.
    """
    if not (os.isatty(0) and os.isatty(2)):
        raise usage("an editor needs a terminal, and there is none")
    with tempfile.TemporaryDirectory(prefix="stomp-") as folder:
        file = Path(folder) / f"edit{suffix}"
        file.touch(0o600)
        file.write_bytes(text)
        command = _editor(environ)
        try:
            done = subprocess.run([*command, str(file)], check=False)  # noqa: S603 - the user's own
        except OSError as error:
            raise _no_editor(f"{command[0]}: {error.strerror}") from None
        if done.returncode:
            raise Failure(
                ExitCode.FAILED, "declined", f"{command[0]} has failed; nothing was changed"
            )
        return file.read_bytes()


def _editor(environ: Mapping[str, str]) -> list[str]:
    from shutil import which

    for variable in ("VISUAL", "EDITOR"):
        if environ.get(variable, "").strip():
            return shlex.split(environ[variable])
    for name in _USUAL:
        if which(name) is not None:
            return [name]
    raise _no_editor("there is none")


def _no_editor(why: str) -> Failure:
    return Failure(
        ExitCode.FAILED, "no-editor", f"no editor: {why}", "set VISUAL or EDITOR to the one you use"
    )
