"""Tokens as passcodes: whose are believed, for how long, and what is said of the others."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from server.edge import Edge, Peer, serving, settings
from server.test_auth import users_file

from stompd.broker.principal import Principal
from stompd.server.accounts import authenticator_of, problems_of_users, rights_of
from stompd.server.algorithms import looks_like_token
from stompd.server.config import Settings
from stompd.server.tokens import Key, KeyFileError, TokenRefusedError, Tokens, read_keys

SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> bytes:  # noqa: ANN401 - a private key
    """Return the public half of a key."""
    return bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def token(
    key: Any = SECRET,  # noqa: ANN401 - a key
    algorithm: str = "HS256",
    *,
    headers: dict[str, str] | None = None,
    without: str = "",
    **claims: object,
) -> str:
    """Return a token for ann that holds for an hour, with these claims."""
    whole: dict[str, object] = {
        "sub": "ann",
        "aud": "stompd",
        "iss": "https://id.example",
        "exp": int(time.time()) + 3600,
        **claims,
    }
    whole.pop(without, None)
    return jwt.encode(whole, key, algorithm=algorithm, headers=headers)


def tokens(*keys: Key, **more: Any) -> Tokens:  # noqa: ANN401 - as `Tokens` has them
    """Return what believes the secret, or these keys."""
    keys = keys or (Key(SECRET.encode(), frozenset(("HS256",))),)
    return Tokens(keys, audience="stompd", **more)


def keys_in(tmp_path: Path, data: bytes | str, *algorithms: str) -> list[Key]:
    """Return the keys of a file with these octets."""
    file = tmp_path / "keys"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_keys(file, algorithms)


# -- Whose are believed ----------------------------------------------------------------------------


def test_a_token_says_who_has_it() -> None:
    """Its user, its groups if they are asked for, and when it ends."""
    written = token(exp=4_000_000_000, roles=["ops", "admin"])
    plain = tokens().principal(written, None)
    assert plain == Principal("ann", expires=4e9)
    grouped = tokens(groups_claim="roles", leeway=30).principal(written, "ann")
    assert grouped == Principal("ann", frozenset(("ops", "admin")), expires=4e9 + 30)
    scoped = tokens(groups_claim="scope", user_claim="name")
    found = scoped.principal(token(scope="a b", name="bob"), "")
    assert found.name == "bob"
    assert found.groups == {"a", "b"}
    assert written not in repr(plain)


@pytest.mark.parametrize(
    ("written", "login", "told"),
    [
        (lambda: token(exp=1), None, "expired"),
        (lambda: token(nbf=int(time.time()) + 1000), None, "not yet valid"),
        (lambda: token(aud="other"), None, "Audience"),
        (lambda: token(without="aud"), None, '"aud"'),
        (lambda: token(without="exp"), None, '"exp"'),
        (lambda: token(without="sub"), None, '"sub"'),
        (lambda: token(iss="https://evil.example"), None, "issuer"),
        (lambda: token(without="iss"), None, '"iss"'),
        (lambda: token(sub=7), None, "its sub is no name"),
        (lambda: token(sub="#"), None, "is no name of a user"),
        (lambda: token(sub="a/b"), None, "is no name of a user"),
        (lambda: token(roles=7), None, "its roles is no list of names"),
        (lambda: token(roles=[7]), None, "its roles is no list of names"),
        (token, "bob", 'it is that of "ann"'),
        (lambda: token("x" * 32), None, "Signature verification failed"),
        (lambda: token(SECRET * 2, "HS512"), None, 'no key for "HS512"'),
        (lambda: token(None, "none"), None, 'no key for "none"'),
        (lambda: token()[:-3] + "AAA", None, "Signature verification failed"),
        (lambda: "eyJ.x.y", None, "it is none"),
    ],
)
def test_a_token_that_lets_nobody_in(written: Any, login: str | None, told: str) -> None:  # noqa: ANN401
    """The log is told why."""
    believing = tokens(issuer="https://id.example", groups_claim="roles")
    with pytest.raises(TokenRefusedError) as caught:
        believing.principal(written(), login)
    assert told in str(caught.value)


def test_a_public_key_is_never_taken_for_a_secret(tmp_path: Path) -> None:
    """A token that is signed with its octets, as if it were one, is refused."""
    public = pem(RSA)
    signing = {"alg": "HS256", "typ": "JWT"}
    claims = {"sub": "ann", "aud": "stompd", "exp": 4_000_000_000}
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (signing, claims)
    )
    mac = hmac.digest(public, head + b"." + body, hashlib.sha256)
    forged = b".".join((head, body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()
    believing = tokens(*keys_in(tmp_path, public, "RS256"))
    with pytest.raises(TokenRefusedError, match='no key for "HS256"'):
        believing.principal(forged, None)


# -- Keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS384"), (EC, "ES256"), (ED, "EdDSA")]
)
def test_public_keys_in_pem(tmp_path: Path, key: Any, algorithm: str) -> None:  # noqa: ANN401 - a key
    """Whoever has the private half is believed."""
    believing = tokens(*keys_in(tmp_path, pem(key), algorithm))
    assert believing.principal(token(key, algorithm), None).name == "ann"
    with pytest.raises(TokenRefusedError):
        believing.principal(token(), None)


def test_a_secret_is_a_line(tmp_path: Path) -> None:
    """Its end is no part of it."""
    believing = tokens(*keys_in(tmp_path, f"{SECRET}\n", "HS256"))
    assert believing.principal(token(), None).name == "ann"


def jwk(key: Any, name: str, **more: str) -> dict[str, Any]:  # noqa: ANN401 - a private key
    """Return the public half of a key as a JWK."""
    rsa_key = isinstance(key, rsa.RSAPrivateKey)
    kind: Any = jwt.algorithms.RSAAlgorithm if rsa_key else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, **more}


def test_a_set_of_keys_goes_by_name(tmp_path: Path) -> None:
    """And a token that names none is held against all of them; keys for other uses are left out."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    entries = [jwk(RSA, "one", alg="RS256"), jwk(other, "two"), jwk(EC, "e", use="enc")]
    believing = tokens(*keys_in(tmp_path, json.dumps({"keys": entries}), "RS256"))
    for key, name in ((RSA, "one"), (other, "two")):
        assert believing.principal(token(key, "RS256", headers={"kid": name}), None)
        assert believing.principal(token(key, "RS256"), None)
    with pytest.raises(TokenRefusedError, match="Signature"):
        believing.principal(token(RSA, "RS256", headers={"kid": "two"}), None)
    with pytest.raises(TokenRefusedError, match="no key"):
        believing.principal(token(RSA, "RS256", headers={"kid": "three"}), None)
    assert "RS256" in repr(keys_in(tmp_path, json.dumps(entries[0]), "RS256"))


def test_a_secret_as_a_jwk(tmp_path: Path) -> None:
    """In base64, as they have it."""
    value = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    entry = {"kty": "oct", "k": value, "alg": "HS256"}
    assert tokens(*keys_in(tmp_path, json.dumps(entry), "HS256")).principal(token(), None)


@pytest.mark.parametrize(
    ("data", "algorithms", "told"),
    [
        (b"short", ["HS256"], "the secret has 5 octets, and needs 32 at least"),
        (SECRET.encode(), ["HS512"], "holds a key for HS256, not for HS512"),
        (SECRET.encode(), ["HS256", "HS512"], "whose secret has 64 octets at least"),
        (pem(RSA), ["HS256"], "holds a key for PS256, PS384"),
        (pem(EC), ["ES256", "RS256"], "holds no key for RS256"),
        (pem(ec.generate_private_key(ec.SECP256K1())), ["ES256"], "no algorithm that stompd"),
        (b"-----BEGIN PUBLIC KEY-----\nx\n", ["RS256"], "no public key in PEM"),
        (b"{", ["RS256"], "holds no JWK that can be read"),
        (b'{"keys":[7]}', ["RS256"], "holds no JWK that can be read"),
        (b'{"keys":[]}', ["RS256"], "holds no key for signatures"),
        (b'{"kty":"RSA"}', ["RS256"], "holds no JWK that can be read"),
        (
            RSA.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            ["RS256"],
            "holds a private key; stompd needs the public key only",
        ),
        (
            json.dumps(jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True)).encode(),
            ["RS256"],
            "holds a private key; stompd needs the public key only",
        ),
    ],
)
def test_keys_that_cannot_be_used(
    tmp_path: Path, data: bytes, algorithms: list[str], told: str
) -> None:
    """Are told at the start, not at the first log-in."""
    with pytest.raises(KeyFileError) as caught:
        keys_in(tmp_path, data, *algorithms)
    assert told in str(caught.value)


# -- In a server -----------------------------------------------------------------------------------


def believing(tmp_path: Path, **more: object) -> Settings:
    """Return settings with the secret, and with a users file."""
    (tmp_path / "secret").write_text(SECRET)
    table = {
        "keys": str(tmp_path / "secret"),
        "algorithms": "hs256",
        "audience": "stompd",
        "groups-claim": "groups",
        **more,
    }
    return settings(tokens=table, users={"file": str(users_file(tmp_path, "bob"))})


async def connect(edge: Edge, passcode: str, *lines: str) -> Peer:
    """Write CONNECT with this passcode."""
    head = "⏎".join(("accept-version:1.2", "host:/", f"passcode:{passcode}", *lines))
    return await (await edge.connect()).write(f"CONNECT⏎{head}⏎⏎^@")


async def test_a_token_is_a_passcode(tmp_path: Path) -> None:
    """With or without a login; users of the file have theirs as well."""
    async with serving(believing(tmp_path)) as edge:
        for lines in ((), ("login:ann",)):
            peer = await connect(edge, token(groups=["ops"]), *lines)
            await peer.expect("CONNECTED")
        (first, *_) = edge.service.connections
        assert first.user == "ann"
        assert first.principal.groups == {"ops"}
        await (await connect(edge, "bob's", "login:bob")).expect("CONNECTED")
        refused = await (await connect(edge, token(exp=1))).fatal("login refused")
        assert refused.body == b"wrong login or passcode\n"
        (entry,) = edge.log.of("login refused")
        assert entry["reason"] == "token: Signature has expired"
        assert token(exp=1) not in str(edge.log)


async def test_a_connection_ends_with_its_token(tmp_path: Path) -> None:
    """By an ERROR that says so."""
    async with serving(believing(tmp_path)) as edge:
        peer = await connect(edge, token())
        await peer.expect("CONNECTED")
        (session,) = edge.service.connections
        session.expiry_due()
        await peer.sync()
        # What the clock says in two hours.
        edge.service.broker.epoch += 7200
        session.expiry_due()
        edge.service.flush()
        await peer.fatal("log-in expired")


async def test_who_has_a_token_of_a_key_that_is_gone_is_sent_away(tmp_path: Path) -> None:
    """When the keys are read again; until then it holds."""
    given = believing(tmp_path)
    async with serving(given) as edge:
        peer = await connect(edge, token())
        await peer.expect("CONNECTED")
        service = edge.service
        for secret in (SECRET, "x" * 32):
            (tmp_path / "secret").write_text(secret)
            service.authenticator = authenticator_of(given, service.authenticator)
            service.reload(given, "stompd/x", rights_of(given))
            if secret == SECRET:
                await peer.sync()
        await peer.fatal("log-in withdrawn")
        other = await connect(edge, token("x" * 32))
        await other.expect("CONNECTED")
        without = given.model_copy(update={"tokens": Settings().tokens})
        service.authenticator = authenticator_of(without, service.authenticator)
        service.reload(without, "stompd/x", rights_of(without))
        await other.fatal("log-in withdrawn")


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """With keys there have to be algorithms and an audience; a file that is not there is named."""
    for key, told in (("algorithms", "tokens"), ("audience", "tokens")):
        with pytest.raises(ValueError, match="has to be set where there are keys"):
            believing(tmp_path, **{key: ""})
        assert told
    with pytest.raises(ValueError, match='"md5" is none of HS256'):
        believing(tmp_path, algorithms="md5")
    (problem,) = problems_of_users(believing(tmp_path, keys=str(tmp_path / "none")))
    assert str(problem) == f"{tmp_path}/none: cannot be read: No such file or directory"


def test_what_looks_like_a_token() -> None:
    """Nobody's passcode is taken for one by chance."""
    assert looks_like_token(token())
    assert not looks_like_token("eyJhbGciOi")
    assert not looks_like_token("a.b.c")
