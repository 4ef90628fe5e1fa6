"""The settings in effect, written as TOML that means the same when it is read."""

import json
from collections.abc import Mapping
from typing import Final

from stompd.server.config import Settings

_ARRAYS: Final = ("policy", "route", "rights", "limit", "certificate")


def as_toml(settings: Settings, origins: Mapping[str, str] | None = None) -> str:
    """Return ``settings`` as the text of a configuration file.

    With ``origins`` a comment after each key says where it was set; those that are not in there are
    the built-in ones.
    """
    data = settings.model_dump(mode="json", by_alias=True)
    arrays = {name: data.pop(name) for name in _ARRAYS}
    lines = _rows(data, "", origins)
    for name, table in data.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *_rows(table, f"{name}.", origins)]
    for name, tables in arrays.items():
        for index, table in enumerate(tables):
            origin = "" if origins is None else f"  # {origins.get(f'{name}[{index}]', 'built-in')}"
            lines += ["", f"[[{name}]]{origin}", *_rows(table, "", None)]
    return "\n".join(lines) + "\n"


def _rows(table: Mapping[str, object], prefix: str, origins: Mapping[str, str] | None) -> list[str]:
    rows = [
        (key, f"{key} = {_value(value)}")
        for key, value in table.items()
        if value is not None and not _is_table(value)
    ]
    if origins is None:
        return [row for _, row in rows]
    width = max((len(row) for _, row in rows), default=0)
    return [f"{row:{width}}  # {origins.get(prefix + key, 'built-in')}" for key, row in rows]


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _value(value: object) -> str:
    # A JSON value is a TOML value, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
