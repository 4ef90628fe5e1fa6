"""JSON Web Tokens as passcodes: who signed one is believed who it names, until it expires."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from stompd.broker.principal import Principal
from stompd.server.algorithms import ALGORITHMS
from stompd.server.units import quoted
from stompd.server.users import name_lack

# A secret shorter than what it signs could be guessed from one token.
_SECRET_OCTETS: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


class KeyFileError(Exception):
    """The keys cannot be used; the text says why."""


class TokenRefusedError(Exception):
    """The token lets nobody in; the text says why, for the log."""


@dataclass(frozen=True)
class Key:
    """A key that signatures are held against; it stays out of ``repr``."""

    value: Any
    # The algorithms that it can be meant for: a public key is never taken for a secret.
    algorithms: frozenset[str]
    # What tokens call it; None if they do not.
    name: str | None = None

    def __repr__(self) -> str:
        return f"<Key {self.name} {sorted(self.algorithms)}>"


class Tokens:
    """Believes tokens of certain signers, for a certain audience."""

    def __init__(
        self,
        keys: Sequence[Key],
        *,
        audience: str,
        issuer: str = "",
        user_claim: str = "sub",
        groups_claim: str = "",
        leeway: float = 0.0,
    ) -> None:
        self._keys = tuple(keys)
        self._audience = audience
        self._issuer = issuer
        self._user_claim = user_claim
        self._groups_claim = groups_claim
        self._leeway = leeway

    def principal(self, token: str, login: str | None) -> Principal:
        """Return who has a token; ``login`` is the name that came with it, if one came.

        Raises `TokenRefusedError`.
        """
        claims = self._claims(token)
        name = claims.get(self._user_claim)
        if not isinstance(name, str):
            raise TokenRefusedError(f"its {self._user_claim} is no name")
        lack = name_lack(name)
        if lack:
            raise TokenRefusedError(lack)
        if login and login != name:
            raise TokenRefusedError(f"it is that of {quoted(name)}")
        expires = float(claims["exp"]) + self._leeway
        return Principal(name, self._groups(claims), expires=expires, proof=token)

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise TokenRefusedError(f"it is none: {error}") from error
        algorithm, name = header.get("alg"), header.get("kid")
        fitting = [
            key
            for key in self._keys
            if algorithm in key.algorithms and (name is None or key.name in (None, name))
        ]
        refusal = TokenRefusedError(f"there is no key for {quoted(algorithm)}")
        for key in fitting:
            try:
                return self._verified(token, key, str(algorithm))
            except jwt.InvalidTokenError as error:
                refusal = TokenRefusedError(str(error))
                if not isinstance(error, jwt.InvalidSignatureError):
                    break
        raise refusal

    def _verified(self, token: str, key: Key, algorithm: str) -> Mapping[str, Any]:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key.value,
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer or None,
            leeway=self._leeway,
            options={"require": ["exp", self._user_claim], "verify_sub": False},
        )
        return claims

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        if not self._groups_claim:
            return frozenset()
        value = claims.get(self._groups_claim, ())
        if isinstance(value, str):
            value = value.split()
        if not isinstance(value, Sequence) or not all(isinstance(group, str) for group in value):
            raise TokenRefusedError(f"its {self._groups_claim} is no list of names")
        return frozenset(value)


def read_keys(file: Path, algorithms: Sequence[str]) -> list[Key]:
    """Return the keys of a file, for these algorithms: PEM, a JWK or JWKS, or else a secret.

    Raises `KeyFileError` if there is none for one of the algorithms, or one for none.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise KeyFileError(f"cannot be read: {error.strerror}") from error
    if b"-----BEGIN" in data:
        keys = [_public_key(data)]
    elif data.lstrip().startswith(b"{"):
        keys = _set(data)
    else:
        keys = [_secret(data.rstrip(b"\r\n"))]
    wanted = frozenset(algorithms)
    for key in keys:
        if not key.algorithms & wanted:
            fits = ", ".join(sorted(key.algorithms)) or "no algorithm that stompd knows"
            raise KeyFileError(f"holds a key for {fits}, not for {', '.join(algorithms)}")
    for algorithm in algorithms:
        if not any(algorithm in key.algorithms for key in keys):
            raise KeyFileError(f"holds no key for {algorithm}{_hint(algorithm)}")
    return [Key(key.value, key.algorithms & wanted, key.name) for key in keys]


def _hint(algorithm: str) -> str:
    octets = _SECRET_OCTETS.get(algorithm)
    return "" if octets is None else f", whose secret has {octets} octets at least"


def _secret(data: bytes, name: str | None = None) -> Key:
    fits = frozenset(a for a, octets in _SECRET_OCTETS.items() if len(data) >= octets)
    if not fits:
        raise KeyFileError(f"the secret has {len(data)} octets, and needs 32 at least")
    return Key(data, fits, name)


def _public_key(data: bytes) -> Key:
    if b"PRIVATE KEY" in data:
        raise KeyFileError("holds a private key; stompd needs the public key only")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("holds no public key in PEM that can be read") from error
    return Key(key, _algorithms_of(key))


def _algorithms_of(key: object) -> frozenset[str]:
    if isinstance(key, RSAPublicKey):
        return frozenset(a for a in ALGORITHMS if a[:2] in ("RS", "PS"))
    if isinstance(key, EllipticCurvePublicKey):
        return frozenset(a for a, curve in _CURVES.items() if curve == key.curve.name)
    return frozenset(("EdDSA",)) if isinstance(key, Ed25519PublicKey) else frozenset()


def _set(data: bytes) -> list[Key]:
    try:
        value = json.loads(data)
        entries = value.get("keys", [value])
        keys = [_jwk(entry) for entry in entries if entry.get("use", "sig") == "sig"]
    except (ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise KeyFileError(f"holds no JWK that can be read: {error}") from error
    if not keys:
        raise KeyFileError("holds no key for signatures")
    return keys


def _jwk(entry: dict[str, Any]) -> Key:
    read = jwt.PyJWK(entry, algorithm=entry.get("alg"))
    if isinstance(read.key, bytes):
        found = _secret(read.key, read.key_id)
    elif hasattr(read.key, "private_numbers") or hasattr(read.key, "private_bytes"):
        raise KeyFileError("holds a private key; stompd needs the public key only")
    else:
        found = Key(read.key, _algorithms_of(read.key), read.key_id)
    if "alg" in entry:
        return Key(found.value, found.algorithms & {entry["alg"]}, found.name)
    return found
