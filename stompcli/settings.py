"""What the options that every command understands say, once they are parsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from stompcli import files
from stompcli.failure import bad_input


@dataclass(frozen=True)
class Settings:
    """What the global options say; None or empty where nothing was said."""

    host: str | None = None
    port: int | None = None
    url: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    ask_password: bool = False
    protocol: str = "auto"
    vhost: str | None = None
    heartbeats: tuple[int, int] | None = None
    connect_header: tuple[tuple[str, str], ...] = ()
    file: str | None = None
    keep_going: bool = False
    listen: tuple[str, ...] = ()
    verbose: int = 0
    quiet: bool = False
    json: bool = False
    format: str | None = None
    raw: bool = False
    timeout: float | None = None
    linger: float = 0.5
    plain: bool = False
    context: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_insecure: bool = False
    color: str = "auto"
    no_progress: bool = False
    no_rc: bool = False
    no_shell: bool = False
    transcript: str | None = None
    # How explicitly each of them was said; see `stompcli.precedence`.
    said: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Return the settings in the parameters of the program itself."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in params.items() if name in names})

    def secret(self) -> str | None:
        """Return the password, from wherever it was said to be.

        Raises `Failure` if its file is missing or empty.
        """
        if self.password_file is None:
            if self.ask_password and self.password is None:
                from stompcli.passwords import typed_password

                return typed_password()
            return self.password
        lines = files.read(self.password_file).splitlines()
        first = lines[0].decode("utf-8", "surrogateescape") if lines else ""
        if not first:
            raise bad_input(f"{self.password_file}: its first line is empty")
        return first
