"""A broker's address as users write it."""

import pytest

from stompcli.client import Address, UsageError
from stompcli.client.url import addresses, parse


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("stomp://localhost:61613", Address(), "localhost:61613"),
        ("stomp://", Address(), "localhost:61613"),
        ("stomp://h", Address(host="h"), "h:61613"),
        ("stomp://h:1/", Address(host="h", port=1), "h:1"),
        ("stomp://[::1]:5", Address(host="::1", port=5), "[::1]:5"),
        (
            "stomp://u:p%40ss@h/v",
            Address(host="h", login="u", passcode="p@ss", virtual_host="v"),
            "h:61613",
        ),
        ("stomp://u@h/%2F", Address(host="h", login="u", virtual_host="/"), "h:61613"),
        ("stomp+ssl://h", Address(host="h", port=61614, tls=True), "h:61614"),
        ("stomp+ssl://h:1", Address(host="h", port=1, tls=True), "h:1"),
        ("ws://h", Address(host="h", port=80, websocket="/ws"), "h:80"),
        (
            "ws://u:p@h:5/stomp/x",
            Address(host="h", port=5, login="u", passcode="p", websocket="/stomp/x"),
            "h:5",
        ),
        ("wss://h/", Address(host="h", port=443, tls=True, websocket="/"), "h:443"),
        ("unix:///run/stompd.sock", Address(path="/run/stompd.sock"), "unix:/run/stompd.sock"),
    ],
)
def test_addresses(url: str, address: Address, shown: str) -> None:
    """Each part of a URL may be missing; what is there is decoded."""
    assert parse(url) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:61613", "not a broker's URL"),
        ("http://h", "not a broker's URL"),
        ("stomp+ssl:h", "not a broker's URL"),
        ("stomp:h", "not a broker's URL"),
        ("stomp://h:x", "is not a URL"),
        ("stomp://h:0", "0 is not a port"),
        ("stomp://h:70000", "is not a URL"),
        ("stomp://h?x=1", 'no "\\?" or "#" part'),
        ("unix://run/x", "three slashes"),
    ],
)
def test_what_is_no_address(url: str, words: str) -> None:
    """Anything else is refused in words."""
    with pytest.raises(UsageError, match=words):
        parse(url)


def test_passcode_is_not_repeated() -> None:
    """The passcode of a bad URL does not stand in the error."""
    with pytest.raises(UsageError) as info:
        parse("http://u:secret@h")
    assert "secret" not in str(info.value)
    assert "u:***@h" in str(info.value)


A, B = Address(host="a"), Address(host="b", port=2)


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ("stomp://a", [A]),
        (A, [A]),
        ("stomp://a,stomp://b:2", [A, B]),
        (" stomp://a , stomp://b:2 ", [A, B]),
        (["stomp://a", B], [A, B]),
        (("stomp://b:2,stomp://a", A), [B, A, A]),
        ("failover:(stomp://a,stomp://b:2)", [A, B]),
        ("failover://(stomp://a,stomp://b:2)", [A, B]),
        ("failover:stomp://a,stomp://b:2", [A, B]),
        ("stomp://u:p,q@a", [Address(host="a", login="u", passcode="p,q")]),
        ("unix:///run/a,b", [Address(path="/run/a,b")]),
    ],
)
def test_several_addresses(urls: str, expected: list[Address]) -> None:
    """Several URLs are a list or one text; a comma inside a URL is part of it."""
    assert addresses(urls) == expected


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ([], "no URL"),
        ("", "not a broker's URL"),
        ("stomp://a,,stomp://b", "not a broker's URL|is not a URL"),
        ("failover:(stomp://a)?randomize=false", "arguments of connect"),
        ("failover:()", "write failover:"),
        ("failover:(tcp://a)", "not a broker's URL"),
    ],
)
def test_what_are_no_addresses(urls: str | list[str], words: str) -> None:
    """Anything else is refused in words."""
    with pytest.raises(UsageError, match=words):
        addresses(urls)


def test_no_passcode_of_several_is_repeated() -> None:
    """No passcode of a bad list of URLs stands in the error."""
    with pytest.raises(UsageError) as info:
        addresses("failover:(stomp://u:secret@a,stomp://v:hidden@b)?x=1")
    assert "secret" not in str(info.value)
    assert "hidden" not in str(info.value)
