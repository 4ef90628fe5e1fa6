"""Client certificates as log-ins: which subject is which user.

A certificate that a listener has verified says who has it. Which of them are users, and how they
are called, is said by rules over the attributes of the subject: the first that fits is the one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stompd.broker.principal import Principal
from stompd.server.users import name_lack

PeerCertificate = Mapping[str, Any]
"""What `ssl.SSLSocket.getpeercert` returns."""

_NAMES: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "emailAddress": "emailAddress",
    "userId": "UID",
    "domainComponent": "DC",
    "serialNumber": "serialNumber",
}
_ALTERNATIVE: Final = {"DNS": "DNS", "email": "email", "URI": "URI"}
_KNOWN: Final = frozenset((*_NAMES.values(), *_ALTERNATIVE.values()))
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class CertificateRule:
    """Which subjects are users; raises `ValueError` with a sentence if it cannot be."""

    # Attributes that a subject has to have: `O=Example,OU=apps`; empty: any.
    subject: str
    # How the user is called: a name, with `{CN}` and others for what the subject says.
    user: str = "{CN}"
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no subject could have."""
        for name in (name for name, _ in self.needed()):
            _check(name)
        for name in _PLACEHOLDER.findall(self.user):
            _check(name)

    def needed(self) -> list[tuple[str, str]]:
        """Return the attributes that a subject has to have, with their values."""
        needed = []
        for part in filter(None, map(str.strip, self.subject.split(","))):
            name, equals, value = part.partition("=")
            if not equals or not value.strip():
                raise ValueError(f'"{part}" is not NAME=VALUE, as in O=Example,OU=apps')
            needed.append((name.strip(), value.strip()))
        return needed

    def name_of(self, attributes: Mapping[str, tuple[str, ...]]) -> str | None:
        """Return the name of the user that has these attributes; None if the rule is not for it."""
        if any(value not in attributes.get(name, ()) for name, value in self.needed()):
            return None
        asked = _PLACEHOLDER.findall(self.user)
        # Of several values none is better than the other.
        if any(len(attributes.get(name, ())) != 1 for name in asked):
            return None
        return _PLACEHOLDER.sub(lambda match: attributes[match[1]][0], self.user)


def _check(name: str) -> None:
    if name not in _KNOWN:
        raise ValueError(f'"{name}" is no attribute; there are {", ".join(sorted(_KNOWN))}')


class Certificates:
    """Knows users by the certificates that they have shown."""

    def __init__(self, rules: Iterable[CertificateRule]) -> None:
        self._rules = tuple(rules)

    def principal(self, certificate: PeerCertificate) -> Principal | None:
        """Return who has a certificate that was verified; None if it is nobody who may log in."""
        attributes = attributes_of(certificate)
        for rule in self._rules:
            name = rule.name_of(attributes)
            if name is not None:
                groups = frozenset(rule.groups)
                return None if name_lack(name) else Principal(name, groups, proof=certificate)
        return None


def attributes_of(certificate: PeerCertificate) -> dict[str, tuple[str, ...]]:
    """Return what a certificate says of its subject, by short names: CN, O, OU, DNS, email."""
    found: dict[str, tuple[str, ...]] = {}
    pairs = [pair for part in certificate.get("subject", ()) for pair in part]
    named = [(_NAMES[name], value) for name, value in pairs if name in _NAMES]
    others = certificate.get("subjectAltName", ())
    named += [(_ALTERNATIVE[kind], value) for kind, value in others if kind in _ALTERNATIVE]
    for name, value in named:
        found[name] = (*found.get(name, ()), value)
    return found
