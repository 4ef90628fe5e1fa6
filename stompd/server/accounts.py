"""The users that the settings name: how they are read, and how one of them logs in."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from stompd.broker.principal import ANONYMOUS, Principal
from stompd.broker.rights import USUAL, Rights, Rule
from stompd.server import audit, rights_file, users
from stompd.server.algorithms import looks_like_token
from stompd.server.auth import (
    WRONG,
    Anonymous,
    Certifying,
    LoginRefusedError,
    Renewing,
    TooManyLoginsError,
)
from stompd.server.certificates import Certificates
from stompd.server.failures import network_of
from stompd.server.passcodes import Passcodes, TooManyError, Verify, verify
from stompd.server.sources import ConfigurationError, Problem
from stompd.server.units import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stompd.broker.session import Login
    from stompd.server.auth import Authenticator
    from stompd.server.certificates import PeerCertificate
    from stompd.server.config import Settings
    from stompd.server.tokens import Tokens
    from stompd.server.users import User

log = structlog.get_logger()

# Permissions of those who are neither the file's owner nor of its group.
_OTHERS: Final = 0o007
# What a passcode is held against that nobody gave: it costs what every other one costs.
_NOTHING: Final = ""


@dataclass(frozen=True)
class _ByPasscode:
    """The hash that a passcode was held against; another one means another passcode."""

    hash: str = field(repr=False)


@dataclass(frozen=True)
class _ByToken:
    """The token that somebody has."""

    token: str = field(repr=False)


@dataclass(frozen=True)
class _ByCertificate:
    """The certificate that somebody has."""

    certificate: PeerCertificate


class Accounts:
    """Lets in users of the file, and who has a token or a certificate; see `authenticator_of`."""

    def __init__(self, *, verify: Verify = verify) -> None:
        self.passcodes = Passcodes(verify=verify)
        self._tokens: Tokens | None = None
        self._certificates = Certificates(())
        # True if who gives no login is let in as well.
        self.takes_anonymous = False

    def configure(self, settings: Settings) -> None:
        """Take what settings say from now on; raise `ConfigurationError`, with nothing changed."""
        found = read_users(settings)
        tokens = read_tokens(settings)
        self._tokens = tokens
        self._certificates = Certificates(table.rule() for table in settings.certificate)
        given = settings.users
        if given.file and stat.S_IMODE(given.file.stat().st_mode) & _OTHERS:
            log.warning("others can read the users file", file=str(given.file), remedy="chmod 600")
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
        if self._tokens is not None and looks_like_token(login.passcode or ""):
            return self._by_token(self._tokens, login.passcode or "", login.user)
        address = network_of(peer.rpartition(":")[0].strip("[]"))
        try:
            user = await self.passcodes.check(login.user or "", login.passcode or _NOTHING, address)
        except TooManyError as error:
            raise TooManyLoginsError from error
        if user is None:
            raise LoginRefusedError(WRONG)
        return _principal(user)

    @staticmethod
    def _by_token(tokens: Tokens, token: str, login: str | None) -> Principal:
        from stompd.server.tokens import TokenRefusedError  # noqa: PLC0415 - as below

        try:
            principal = tokens.principal(token, login)
        except TokenRefusedError as error:
            raise LoginRefusedError(WRONG, f"token: {error}") from error
        return replace(principal, proof=_ByToken(token))

    def certified(self, certificate: PeerCertificate) -> Principal | None:
        """Return who has a certificate that a listener has verified; None if it is no user."""
        principal = self._certificates.principal(certificate)
        if principal is None:
            return None
        return replace(principal, proof=_ByCertificate(certificate))

    def renew(self, principal: Principal) -> Principal | None:
        """Return what has become of a principal; None if it is gone, or has another passcode."""
        proof = principal.proof
        if principal.name is None:
            return principal if self.takes_anonymous else None
        if isinstance(proof, _ByCertificate):
            return self.certified(proof.certificate)
        if isinstance(proof, _ByToken):
            if self._tokens is None:
                return None
            try:
                return self._by_token(self._tokens, proof.token, principal.name)
            except LoginRefusedError:
                return None
        user = self.users.get(principal.name)
        return _principal(user) if user and proof == _ByPasscode(user.hash) else None


def _principal(user: User) -> Principal:
    return Principal(user.name, frozenset(user.groups), proof=_ByPasscode(user.hash))


class Plugged:
    """An authenticator that the settings name, and that is somebody else's."""

    def __init__(self, name: str) -> None:
        """Raise `ConfigurationError` if there is none of this name."""
        self.name = name
        module, _, attribute = name.partition(":")
        try:
            found = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
            self._authenticator: Authenticator = found() if isinstance(found, type) else found
        except Exception as error:
            text = f"cannot be had: {type(error).__name__}: {error}"
            raise ConfigurationError([Problem(name, "users.authenticator", text)]) from error
        if not hasattr(self._authenticator, "authenticate"):
            text = "has no method authenticate(login, peer)"
            raise ConfigurationError([Problem(name, "users.authenticator", text)])

    async def authenticate(self, login: Login, peer: str) -> Principal | str | None:
        """Return who it is; raises `LoginRefusedError`."""
        return await self._authenticator.authenticate(login, peer)

    def renew(self, principal: Principal) -> Principal | None:
        """Return what has become of a principal, if its authenticator can tell."""
        if isinstance(self._authenticator, Renewing):
            return self._authenticator.renew(principal)
        return principal

    def certified(self, certificate: PeerCertificate) -> Principal | None:
        """Return who has a certificate, if its authenticator can tell."""
        if isinstance(self._authenticator, Certifying):
            return self._authenticator.certified(certificate)
        return None


def read_tokens(settings: Settings) -> Tokens | None:
    """Return whose tokens are believed; None if nobody's. Raises `ConfigurationError`."""
    given = settings.tokens
    if not given.keys:
        return None
    # Who has no tokens needs no cryptography.
    from stompd.server.tokens import KeyFileError, Tokens, read_keys  # noqa: PLC0415

    try:
        keys = read_keys(given.keys, given.algorithms)
    except KeyFileError as error:
        raise _unusable(given.keys, [(0, str(error))]) from error
    return Tokens(
        keys,
        audience=given.audience,
        issuer=given.issuer,
        user_claim=given.user_claim,
        groups_claim=given.groups_claim,
        leeway=given.leeway,
    )


def rights_of(settings: Settings, given: Authenticator | None = None) -> Rights | None:
    """Return who may do what; None if there are neither rules nor users.

    With an authenticator that was ``given`` in place of what settings say there are users, unless
    it lets everybody in. Raises `ConfigurationError`.
    """
    rules = read_rules(settings)
    if rules:
        if not any(rule.allows and "connect" in rule.rights for rule in rules):
            log.warning("no rule lets anybody connect but the group admin")
        return Rights(rules)
    exist = settings.has_users() if given is None else not isinstance(given, Anonymous)
    return Rights(USUAL) if exist else None


def read_rules(settings: Settings) -> list[Rule]:
    """Return the rules of the settings, then those of their file; raise `ConfigurationError`."""
    rules = [rule for table in settings.rights for rule in table.rules()]
    file = settings.users.rights
    if file is not None:
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
    file = settings.users.file
    if file is None:
        return {}
    try:
        return users.read(file)
    except users.UsersFileError as error:
        raise _unusable(file, error.problems) from error


def problems_of_users(settings: Settings) -> list[Problem]:
    """Return every mistake in the files that say who may log in, and what they may do."""
    problems: list[Problem] = []
    lack = audit.unusable(settings.log.audit)
    if lack is not None:
        problems.append(Problem("log.audit", "", lack))
    for reading in (read_users, read_tokens, read_rules):
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
    name = settings.users.authenticator
    if name:
        return present if isinstance(present, Plugged) and present.name == name else Plugged(name)
    accounts = present if isinstance(present, Accounts) else Accounts()
    accounts.configure(settings)
    return accounts
