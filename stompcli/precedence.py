"""Which of several sayings counts: a flag before the environment, that before the context.

Who names a broker by host or URL means that broker: a context chosen less explicitly than that is
left aside as a whole, so that no password of it goes elsewhere.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Any, Final

import click

from stompcli import contexts
from stompcli.contexts import Context
from stompcli.failure import usage
from stompcli.options import given_after
from stompcli.preferences import Preferences
from stompcli.settings import Settings

_PLACE: Final = ("url", "host", "port", "tls")
_OF_PASSWORD: Final = ("password", "password_file", "ask_password")
_OF_TLS: Final = ("tls_ca", "tls_cert", "tls_key", "tls_insecure")


class Said(IntEnum):
    """How explicitly something was said."""

    NOT = 0
    ENVIRONMENT = 1
    FLAG = 2


def settled(
    program: click.Context, params: Mapping[str, Any] | None = None, *, offline: bool = False
) -> Settings:
    """Return the settings that count; ``params`` are those of the command.

    A command that is ``offline`` has no use for a context. Raises `Failure` for a context that is
    not there or wrong.
    """
    after = given_after(params or {})
    settings = replace(Settings.of(program.params), **after)
    said = {name: _said(program, name, after) for name in Settings.__dataclass_fields__}
    if said["url"] > said["host"]:
        settings = replace(settings, host=None)
    if said["url"] > said["port"]:
        settings = replace(settings, port=None)
    settings = replace(settings, said=said)
    context = None if offline else _chosen(settings)
    return settings if context is None else with_context(settings, context)


def _said(program: click.Context, name: str, after: Mapping[str, Any]) -> Said:
    if name in after:
        return Said.FLAG
    source = program.get_parameter_source(name)
    if source is click.core.ParameterSource.COMMANDLINE:
        return Said.FLAG
    return Said.ENVIRONMENT if source is click.core.ParameterSource.ENVIRONMENT else Said.NOT


def _chosen(settings: Settings) -> Context | None:
    """Return the context to use, None for none."""
    said = settings.said
    name = settings.context
    elsewhere = max(said["url"], said["host"])
    if name is None:
        name = None if elsewhere else contexts.selection()[0]
    elif elsewhere > said["context"]:
        return None
    return None if name is None else contexts.load(name)


def with_context(
    settings: Settings, context: Context, *, above: Said = Said.ENVIRONMENT
) -> Settings:
    """Return the settings with what the context says and nobody else does.

    ``above`` is how explicitly one has to have said something for that to count instead.
    """
    said = {name: how if how >= above else Said.NOT for name, how in settings.said.items()}
    found = context.settings()
    headers = (*found.pop("connect_header", ()), *settings.connect_header)
    if any(said.get(name) for name in _OF_PASSWORD):
        for name in _OF_PASSWORD:
            found.pop(name, None)
    else:
        settings = replace(settings, password=None, password_file=None, ask_password=False)
    if said.get("url"):
        for name in _PLACE:
            found.pop(name, None)
    elif _names_a_place(found):
        blank: dict[str, Any] = {name: None for name in ("url", "host", "port") if not said[name]}
        settings = replace(settings, **blank)
    if "url" in found:
        found["url"] = ",".join(found["url"])
    kept = {name: value for name, value in found.items() if not said.get(name)}
    return replace(settings, connect_header=headers, **kept)


def _names_a_place(values: Mapping[str, Any]) -> bool:
    return any(name in values for name in ("url", "host", "port"))


def with_preferences(
    settings: Settings, wanted: Preferences, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Return the settings without colours, if the user's file wants none and nobody else any.

    That it wants them always is no reason to put them into files: only the option does that.
    """
    spoken = settings.said.get("color") or environ.get("FORCE_COLOR")
    if spoken or wanted.color != "never":
        return settings
    return replace(settings, color="never")


def remark(settings: Settings) -> str | None:
    """Return what may surprise who has named a context, None if nothing does."""
    said = settings.said
    if said.get("context") is not Said.FLAG:
        return None
    names = [name for name in ("url", "host", "port", "user") if said[name] is Said.ENVIRONMENT]
    if not names:
        return None
    variables = ", ".join(f"STOMP_{name.upper()}" for name in names)
    return f"{variables} of the environment goes before the context {settings.context}"


def check(settings: Settings) -> None:
    """Raise `Failure` for options of TLS where there is none to be."""
    url = settings.url or ""
    if settings.tls or "+ssl:" in url or "wss:" in url:
        return
    for name in _OF_TLS:
        if getattr(settings, name):
            option = f"--{name.replace('_', '-')}"
            raise usage(f"{option} is for TLS; add --tls, or write stomp+ssl://HOST:PORT")
