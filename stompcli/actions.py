"""Commands with several actions, such as dlq and durable: which options are for which."""

from collections.abc import Mapping
from typing import Any, Final

from stompcli.failure import usage

# Of the parameters of a listing.
LISTING: Final = ("non_empty", "no_consumers", "sort", "reverse", "top", "columns", "bars")
SHAPE: Final = ("plain", "no_header", "interval")


def check_options(command: str, params: Mapping[str, Any], allowed: Mapping[str, str]) -> None:
    """Raise `Failure` for an option that the action of a command does not take.

    ``allowed`` names for each parameter the actions that take it, with blanks between.
    """
    action = params["action"]
    for name, actions in allowed.items():
        if params.get(name) not in (None, False, 0) and action not in actions.split():
            option = "--" + name.rstrip("_").replace("_", "-")
            others = " and ".join(f"{command} {one}" for one in actions.split())
            raise usage(f"{command} {action} takes no {option}; it is for {others}")
