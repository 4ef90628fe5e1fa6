"""The handbook of the client and the manual of `stomp` name everything that these offer."""

import re

from client.programs import ROOT

import stompcli.client
from stompcli import table
from stompcli.client import Client, Message, Options, Subscription, Transaction
from stompcli.exitcodes import ExitCode
from stompcli.main import program

MANUAL = (ROOT / "docs" / "stomp.md").read_text(encoding="utf-8")
TEXT = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")


# What programs import: a name that goes breaks them.
PUBLIC = """
    Address BodyError BrokerError BufferFullError Client ClosedError ConnectError
    ConnectionLostError Consumer Counters HeartbeatError Message NackOptions Options
    OutcomeUnknownError PeerProtocolError Receipt Reconnect RefusedError RejectError Replies
    SendOptions SessionEndedError StaleMessageError StompError SubscribeOptions Subscription
    TimedOutError Transaction TransactionLostError Unconfirmed UsageError connect connect_stream
    send_frame
"""


def test_public_names() -> None:
    """The library offers these names, and no other."""
    assert sorted(stompcli.client.__all__) == PUBLIC.split()
    assert all(hasattr(stompcli.client, name) for name in PUBLIC.split())


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
    inner |= {"unsubscribe", "enlist", "head_only", "count_heartbeat", "is_full", "ended"}
    inner |= {"check_fresh", "lose", "fail", "connection", "receipt", "room_to_read"}
    inner |= {
        "enroll",
        "send_request",
        "ours",
        "implicit",
        "unsubscribe_nowait",
        "fetch",
        "fetch_nowait",
        "wait_for_answer",
    }
    names = {
        name
        for kind in (Client, Message, Subscription, Transaction)
        for name in vars(kind)
        if not name.startswith("_")
    }
    assert sorted(name for name in names - inner if name not in TEXT) == []


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes in the manual is the one of the program."""
    for code in ExitCode:
        assert f"| {int(code)} | {code.meaning} |" in MANUAL


def test_every_command_is_documented() -> None:
    """Each command and each other name of it stands in the manual."""
    words = [word for record in table.TABLE for word in (record.name, *record.aliases)]
    assert [word for word in words if not re.search(rf"`{re.escape(word)}[ `]", MANUAL)] == []


def test_every_global_option_is_documented() -> None:
    """Each global option, and each variable of the environment, stands in the manual."""
    options = program().params
    names = [name for option in options for name in option.opts]
    names += [str(option.envvar) for option in options if option.envvar]
    assert [name for name in names if f"`{name}`" not in MANUAL] == []
