"""The handbook of the client names everything that the client offers."""

from client.programs import ROOT

import stompcli.client
from stompcli.client import Client, Message, Options, Subscription, Transaction

TEXT = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")


def test_every_public_name_is_documented() -> None:
    """What can be imported from stompcli.client stands in the handbook."""
    missing = [name for name in stompcli.client.__all__ if f"`{name}" not in TEXT]
    assert missing == []


def test_every_option_is_documented() -> None:
    """Each option of a session stands in the handbook."""
    assert [name for name in Options.__annotations__ if f"`{name}`" not in TEXT] == []


def test_every_method_is_documented() -> None:
    """So do the methods and attributes that programs use."""
    inner = {"run", "handshake", "settle", "settle_nowait", "end_transaction", "abort_nowait"}
    inner |= {"taken", "awaiting", "count_awaited", "deliver", "close", "wake", "fail_current"}
    inner |= {"unsubscribe", "enlist", "head_only"}
    names = {
        name
        for kind in (Client, Message, Subscription, Transaction)
        for name in vars(kind)
        if not name.startswith("_")
    }
    assert sorted(name for name in names - inner if name not in TEXT) == []
