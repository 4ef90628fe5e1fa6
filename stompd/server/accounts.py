"""The users that the settings name: how they are read, and how one of them logs in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stompd.broker.principal import ANONYMOUS, Principal
from stompd.broker.rights import USUAL, Rights, Rule
from stompd.server import rights_file, users
from stompd.server.auth import WRONG, Anonymous, LoginRefusedError, TooManyLoginsError
from stompd.server.failures import network_of
from stompd.server.passcodes import Passcodes, TooManyError, Verify, verify
from stompd.server.sources import ConfigurationError, Problem
from stompd.server.units import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stompd.broker.session import Login
    from stompd.server.auth import Authenticator
    from stompd.server.config import Settings
    from stompd.server.users import User

# What a passcode is held against that nobody gave: it costs what every other one costs.
_NOTHING: Final = ""


@dataclass(frozen=True)
class _ByPasscode:
    """The hash that a passcode was held against; another one means another passcode."""

    hash: str

    def __repr__(self) -> str:
        return "<_ByPasscode>"


class Accounts:
    """Lets in whom the users file names; made of settings by `accounts_of`."""

    def __init__(self, *, verify: Verify = verify) -> None:
        self.passcodes = Passcodes(verify=verify)
        # True if who gives no login is let in as well.
        self.takes_anonymous = False

    def configure(self, settings: Settings) -> None:
        """Take what settings say from now on; raise `ConfigurationError`, with nothing changed."""
        found = read_users(settings)
        given = settings.users
        self.takes_anonymous = settings.allow_anonymous
        self.passcodes.configure(given.hashing, given.waiting, given.remember)
        self.passcodes.know(found)

    @property
    def users(self) -> Mapping[str, User]:
        """The users of the file, by name."""
        return self.passcodes.users

    async def authenticate(self, login: Login, peer: str) -> Principal | str | None:
        """Return who it is; raises `LoginRefusedError`."""
        if login.user is None and login.passcode is None and self.takes_anonymous:
            return ANONYMOUS
        address = network_of(peer.rpartition(":")[0].strip("[]"))
        try:
            user = await self.passcodes.check(login.user or "", login.passcode or _NOTHING, address)
        except TooManyError as error:
            raise TooManyLoginsError from error
        if user is None:
            raise LoginRefusedError(WRONG)
        return _principal(user)

    def renew(self, principal: Principal) -> Principal | None:
        """Return what has become of a principal; None if it is gone, or has another passcode."""
        if principal.name is None:
            return principal if self.takes_anonymous else None
        user = self.users.get(principal.name)
        if user is None or principal.proof != _ByPasscode(user.hash):
            return None
        return _principal(user)


def _principal(user: User) -> Principal:
    return Principal(user.name, frozenset(user.groups), proof=_ByPasscode(user.hash))


def rights_of(settings: Settings, given: Authenticator | None = None) -> Rights | None:
    """Return who may do what; None if there are neither rules nor users.

    With an authenticator that was ``given`` in place of what settings say there are users, unless
    it lets everybody in. Raises `ConfigurationError`.
    """
    rules = read_rules(settings)
    if rules:
        return Rights(rules)
    exist = settings.has_users() if given is None else not isinstance(given, Anonymous)
    return Rights(USUAL) if exist else None


def read_rules(settings: Settings) -> list[Rule]:
    """Return the rules of the settings, then those of their file; raise `ConfigurationError`."""
    rules = [rule for table in settings.rights for rule in table.rules()]
    if settings.users.rights:
        file = Path(settings.users.rights)
        try:
            rules += rights_file.read(file)
        except rights_file.RightsFileError as error:
            raise _unusable(file, error.problems) from error
    for rule in rules:
        if rule.vhost is not None and rule.vhost not in settings.virtual_hosts.names:
            text = f"there is no virtual host {quoted(rule.vhost)}, as in: {rule}"
            raise ConfigurationError([Problem("rights", "", text)])
    return rules


def _unusable(file: Path, problems: Sequence[tuple[int, str]]) -> ConfigurationError:
    return ConfigurationError(
        [
            Problem(f"{file}:{line}" if line else str(file), "", text, str(file), line or None)
            for line, text in problems
        ]
    )


def read_users(settings: Settings) -> dict[str, User]:
    """Return the users of the file that settings name; raise `ConfigurationError`."""
    if not settings.users.file:
        return {}
    file = Path(settings.users.file)
    try:
        return users.read(file)
    except users.UsersFileError as error:
        raise _unusable(file, error.problems) from error


def problems_of_users(settings: Settings) -> list[Problem]:
    """Return every mistake in the files that say who may log in, and what they may do."""
    problems: list[Problem] = []
    for reading in (read_users, read_rules):
        try:
            reading(settings)
        except ConfigurationError as error:
            problems += error.problems
    return problems


def authenticator_of(settings: Settings, present: Authenticator | None = None) -> Authenticator:
    """Return who decides about log-ins as settings say; ``present`` did up to now.

    Raises `ConfigurationError`; then ``present`` decides as it did before.
    """
    if not settings.has_users():
        return Anonymous()
    accounts = present if isinstance(present, Accounts) else Accounts()
    accounts.configure(settings)
    return accounts
