"""Who may log in and do what, and what users, addresses and virtual hosts may take."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from stompd.broker.quota import EVERYBODY, QuotaRule
from stompd.broker.rights import ALL, Rule
from stompd.server.certificates import CertificateRule
from stompd.server.config.values import (
    Algorithm,
    Duration,
    File,
    OptionalText,
    Positive,
    Size,
    Table,
    Text,
    choice,
)
from stompd.server.rights_file import rights_of
from stompd.server.units import several


class QuotaSettings(Table):
    """What each user, address or virtual host may take; of each kind the first that fits counts."""

    per: Annotated[Literal["user", "address", "vhost"], choice("user", "address", "vhost")]
    """``user``, ``address`` or ``vhost``: what is counted together."""
    match: Text = EVERYBODY
    """Which: a user or ``@`` and a group, an address or network, a virtual host; ``*`` is each."""
    connections: Positive | None = None
    """Connections that are logged in; one more gets an ERROR."""
    subscriptions: Positive | None = None
    """Subscriptions of all its connections; one more gets an ERROR."""
    message_rate: Positive | None = None
    """Messages that are taken in a second; who sends more is not read from meanwhile."""
    byte_rate: Size | None = None
    """Octets that are taken in a second, those of all frames; likewise."""
    backlog: Size | None = None
    """Octets of its messages that queues hold; while there are so many or more, SENDs wait."""
    backlog_messages: Positive | None = None
    """Messages of its own that queues hold; likewise."""

    def rule(self) -> QuotaRule:
        """Return the broker's form of it."""
        return QuotaRule(**dict(self))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.rule()
        except ValueError as error:
            key = "byte-rate" if "rate" in str(error) else "match"
            raise PydanticCustomError(
                "refused", "{reason}", {"key": key, "reason": str(error)}
            ) from error
        return self


class UserSettings(Table):
    """Who may log in; docs/security.md explains. Without any of it there are no users."""

    file: File = None
    """The users file that ``stompd passwd`` makes; empty: none."""
    hashing: Positive = 1
    """Passcodes that are checked at the same time; each takes 64 MiB and a processor."""
    waiting: Positive = 100
    """Log-ins that wait for that; one more gets an ERROR."""
    authenticator: OptionalText = ""
    """Python that decides in place of all this, as ``module:attribute``; empty: none."""
    rights: File = None
    """A file of rules, which come behind those of ``[[rights]]``; empty: none."""
    remember: Duration = 300.0
    """How long a passcode that was right is let in again without being checked."""


class TokenSettings(Table):
    """JSON Web Tokens as passcodes; docs/security.md explains. Without ``keys`` there are none."""

    keys: File = None
    """The file with what signs them: a public key in PEM, a JWK or JWKS, a secret; empty: none."""
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(several)] = ()
    """How they may be signed: ``RS256``, ``ES256``, ``HS256`` and so on."""
    audience: OptionalText = ""
    """What their ``aud`` has to name: one for another service is not for stompd."""
    issuer: OptionalText = ""
    """What their ``iss`` has to be; empty: anything."""
    user_claim: Text = "sub"
    """What names the user."""
    groups_claim: OptionalText = ""
    """What names the user's groups, ``admin`` included; empty: a token brings no groups."""
    leeway: Duration = 0.0
    """By how much the clocks of stompd and of who signs may differ."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for key in ("algorithms", "audience") if self.keys else ():
            if not getattr(self, key):
                raise PydanticCustomError(
                    "refused", "has to be set where there are keys", {"key": key}
                )
        return self


class CertificateSettings(Table):
    """Which client certificates are users; the first table that fits is the one."""

    subject: OptionalText = ""
    """Attributes that the subject has to have: ``O=Example,OU=apps``; empty: any."""
    user: Text = "{CN}"
    """How the user is called; may hold ``{CN}`` and other attributes."""
    groups: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """The user's groups, ``admin`` included."""

    def rule(self) -> CertificateRule:
        """Return what certificates are held against."""
        return CertificateRule(self.subject, self.user, self.groups)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.rule()
        except ValueError as error:
            raise PydanticCustomError(
                "refused", "{reason}", {"key": "subject", "reason": str(error)}
            ) from error
        return self


class RightSettings(Table):
    """Allows or denies rights; of the rules that concern somebody the first one decides."""

    allow: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """The rights that it gives; ``all`` is all of them."""
    deny: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """The rights that it takes; a rule has either ``allow`` or ``deny``."""
    who: Annotated[tuple[Text, ...], BeforeValidator(several)]
    """Whose: users, groups with an ``@`` before them, or ``*`` for everybody."""
    on: Annotated[tuple[Text, ...], BeforeValidator(several)] = (ALL,)
    """Destinations or patterns; may hold ``{user}``; ``#`` is everything."""
    vhost: Text | None = None
    """In this virtual host only."""

    def rules(self) -> list[Rule]:
        """Return the broker's form of it."""
        return [
            Rule(bool(self.allow), who, rights_of(self.allow or self.deny), on, self.vhost)
            for who in self.who
            for on in self.on
        ]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if bool(self.allow) == bool(self.deny):
            key, reason = "allow", "there has to be either allow or deny"
        elif not self.who or not self.on:
            key, reason = "on" if self.who else "who", "there must be one at least"
        else:
            try:
                self.rules()
            except ValueError as error:
                key, reason = _key_of(str(error)), str(error)
            else:
                return self
        raise PydanticCustomError("refused", "{reason}", {"key": key, "reason": reason})


def _key_of(reason: str) -> str:
    """Return the key of a rule that a sentence about it concerns."""
    if "for whom" in reason:
        return "who"
    return "allow" if "right" in reason else "on"
