"""Client certificates, and authenticators of others: who they let in."""

from pathlib import Path

import pytest
import trio
from server.edge import serving, settings
from server.test_auth import Listed

from stompd.broker.principal import ANONYMOUS, Principal
from stompd.broker.session import Login
from stompd.server.accounts import Accounts, Plugged, authenticator_of
from stompd.server.auth import Anonymous, LoginRefusedError, log_in
from stompd.server.certificates import CertificateRule, Certificates, attributes_of
from stompd.server.sources import ConfigurationError

# As `ssl.SSLSocket.getpeercert` returns it.
SENSOR = {
    "subject": (
        (("countryName", "DE"),),
        (("organizationName", "Example"),),
        (("organizationalUnitName", "apps"),),
        (("organizationalUnitName", "sensors"),),
        (("commonName", "sensor-7"),),
        (("1.2.3", "x"),),
    ),
    "subjectAltName": (("DNS", "s7.example"), ("email", "s7@example.com"), ("IP Address", "::1")),
}


def principal(*rules: CertificateRule) -> Principal | None:
    """Return who has the certificate by these rules."""
    return Certificates(rules).principal(SENSOR)


def test_the_attributes_of_a_certificate() -> None:
    """By the names that people know; what has none is left out."""
    assert attributes_of(SENSOR) == {
        "C": ("DE",),
        "O": ("Example",),
        "OU": ("apps", "sensors"),
        "CN": ("sensor-7",),
        "DNS": ("s7.example",),
        "email": ("s7@example.com",),
    }
    assert attributes_of({}) == {}


def test_a_subject_becomes_a_user() -> None:
    """By the first rule that fits."""
    assert principal(CertificateRule("")) == Principal("sensor-7")
    assert principal(
        CertificateRule("O=Other"),
        CertificateRule("O=Example, OU=sensors", "{O}.{CN}", ("sensors",)),
        CertificateRule(""),
    ) == Principal("Example.sensor-7", frozenset(("sensors",)))
    assert principal(CertificateRule("CN=sensor-7", "fixed")) == Principal("fixed")
    assert principal(CertificateRule("", "{email}")) == Principal("s7@example.com")


@pytest.mark.parametrize(
    "rule",
    [
        CertificateRule("O=Other"),
        CertificateRule("OU=apps,OU=more"),
        CertificateRule("", "{UID}"),
        # There are two, and none is better than the other.
        CertificateRule("", "{OU}"),
        # What would mean something else in a rule is no name.
        CertificateRule("", "{CN}#"),
        CertificateRule("", "a/{CN}"),
    ],
)
def test_other_subjects_are_nobody(rule: CertificateRule) -> None:
    """Whoever signed them."""
    assert principal(rule) is None


@pytest.mark.parametrize(
    ("subject", "user", "told"),
    [
        ("CN", "x", '"CN" is not NAME=VALUE'),
        ("CN=", "x", '"CN=" is not NAME=VALUE'),
        ("X=1", "x", '"X" is no attribute; there are C, CN'),
        ("", "{X}", '"X" is no attribute'),
    ],
)
def test_rules_that_no_subject_could_fit(subject: str, user: str, told: str) -> None:
    """Are told with what there is."""
    with pytest.raises(ValueError, match=told):
        CertificateRule(subject, user)
    with pytest.raises(ValueError, match=told):
        settings(certificate=[{"subject": subject, "user": user}])


async def test_a_certificate_is_a_log_in() -> None:
    """Without a passcode; a login has to be its own, and whose passcode is wrong is not let in."""
    accounts = Accounts(verify=lambda *_: False)
    given = settings(certificate=[{"subject": "OU=sensors", "groups": ["apps"]}])
    accounts.configure(given)

    async def come(user: str | None, passcode: str | None = None) -> Principal:
        login = Login(user, passcode, None, {})
        return await log_in(accounts, login, "a:1", address="a", certificate=SENSOR)

    sensor = await come(None)
    assert sensor == await come("sensor-7") == Principal("sensor-7", frozenset(("apps",)))
    for login in (("root", None), ("sensor-7", "x")):
        with pytest.raises(LoginRefusedError):
            await come(*login)
    assert accounts.renew(sensor) == sensor
    accounts.configure(settings(certificate=[{"subject": "OU=others"}]))
    assert accounts.renew(sensor) is None
    with pytest.raises(LoginRefusedError):
        await come(None)


async def test_without_users_a_certificate_is_nothing() -> None:
    """Everybody is let in, and nobody is anybody."""
    login = Login("x", None, None, {})
    found = await log_in(Anonymous(), login, "127.0.0.1:1", address="", certificate=SENSOR)
    assert found == ANONYMOUS


# -- Authenticators of others ----------------------------------------------------------------------


class Own(Listed):
    """Somebody's own authenticator, as the settings name it."""

    def __init__(self) -> None:
        super().__init__(ann="secret")


class Knowing(Own):
    """One that can tell more."""

    def renew(self, principal: Principal) -> Principal | None:
        """Return nobody."""
        del principal
        return None

    def certified(self, certificate: object) -> Principal | None:
        """Return who has a certificate."""
        del certificate
        return Principal("certified")


OWN = Own()


@pytest.mark.parametrize("attribute", ["Own", "OWN"])
async def test_an_authenticator_may_be_somebodys_own(attribute: str) -> None:
    """A class, or what is one of it; it stays the same when settings are read again."""
    given = settings(users={"authenticator": f"server.test_certificates:{attribute}"})
    assert given.has_users()
    async with serving(given) as edge:
        peer = await edge.login("login:ann", "passcode:secret")
        present = edge.service.authenticator
        assert authenticator_of(given, present) is present
        edge.service.reload(given, "x", None)
        await peer.sync()


async def test_it_may_know_of_certificates_and_of_what_has_changed() -> None:
    """If it has the methods for that."""
    plain = Plugged("server.test_certificates:Own")
    knowing = Plugged("server.test_certificates:Knowing")
    assert plain.certified(SENSOR) is None
    assert knowing.certified(SENSOR) == Principal("certified")
    assert plain.renew(ANONYMOUS) is ANONYMOUS
    assert knowing.renew(ANONYMOUS) is None
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere.at.all:x", "cannot be had: ModuleNotFoundError: No module named 'nowhere'"),
        ("server.test_certificates:none", "cannot be had: AttributeError"),
        ("server.test_certificates", "cannot be had: AttributeError"),
        ("server.test_certificates:SENSOR", "has no method authenticate(login, peer)"),
    ],
)
def test_an_authenticator_that_is_not_there_is_told(name: str, told: str) -> None:
    """By the name that the settings have."""
    with pytest.raises(ConfigurationError) as caught:
        authenticator_of(settings(users={"authenticator": name}))
    assert str(caught.value).startswith(f"{name}: users.authenticator: {told}")


def test_an_authenticator_decides_alone(tmp_path: Path) -> None:
    """What the users file says beside it would never count."""
    with pytest.raises(ValueError, match="decides alone"):
        settings(users={"authenticator": "a:b", "file": str(tmp_path / "users.txt")})
