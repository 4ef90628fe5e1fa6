"""The manual of workers names everything that there is to know of them."""

import click
from client.programs import ROOT

import stompcli.worker
from stompcli.worker.settings import ON_FAIL
from stompcli.worker_arguments import WORKER

MANUAL = (ROOT / "docs" / "worker.md").read_text(encoding="utf-8")


def test_every_option_is_documented() -> None:
    """Each option of the program, and each keyword argument of the library."""
    names = [
        name
        for option in WORKER.params
        if isinstance(option, click.Option) and not option.hidden
        for name in option.opts
    ]
    assert [name for name in names if f"`{name}" not in MANUAL] == []
    options = stompcli.worker.WorkerOptions.__annotations__
    assert [name for name in options if f"`{name}`" not in MANUAL] == []


def test_every_public_name_is_documented() -> None:
    """What can be imported from stompcli.worker."""
    assert [name for name in stompcli.worker.__all__ if f"`{name}" not in MANUAL] == []


def test_every_action_is_documented() -> None:
    """What --on-fail takes."""
    assert [action for action in ON_FAIL if f"`{action}`" not in MANUAL] == []
