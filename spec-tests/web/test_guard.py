"""Which pages may use the port from a browser."""

import pytest

from stompd.server.http.guard import is_own_name, is_own_page


@pytest.mark.parametrize(
    ("host", "own"),
    [
        (None, True),
        ("127.0.0.1:61680", True),
        ("10.1.2.3", True),
        ("[::1]:61680", True),
        ("localhost", True),
        ("LOCALHOST:61680", True),
        ("localhost.:61680", True),
        ("a.localhost:61680", True),
        ("broker.example", True),
        ("BROKER.example:80", True),
        ("evil.example:61680", False),
        ("127.0.0.1.evil.example", False),
        ("broker.example.evil", False),
        ("notlocalhost", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_a_name_that_can_be_made_to_lead_here_is_not_ours(host: str | None, own: bool) -> None:  # noqa: FBT001 - the outcome
    """Addresses, localhost, and the names of the settings are."""
    assert is_own_name(host, {"broker.Example"}) is own


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (None, True),
        ("http://127.0.0.1:61680", True),
        ("https://127.0.0.1:61680", True),
        ("https://shop.example", True),
        ("https://SHOP.example", True),
        ("http://shop.example", False),
        ("https://shop.example:8443", False),
        ("http://127.0.0.1:8000", False),
        ("http://localhost:61680", False),
        ("https://shop.example.evil", False),
        ("file://127.0.0.1:61680", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_page_of_somebody_else_is_not_ours(origin: str | None, own: bool) -> None:  # noqa: FBT001 - the outcome
    """A page is ours if it came from here, by the same name, or is one of the settings."""
    assert is_own_page(origin, "127.0.0.1:61680", ["https://shop.example/"]) is own


def test_every_page_may_if_the_settings_say_so() -> None:
    """The star lets a page of any origin in."""
    assert is_own_page("null", "x", ["*"])
    assert is_own_page("http://evil.example", None, ["*"])
    assert not is_own_page("http://evil.example", None, [])
