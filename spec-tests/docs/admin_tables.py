"""The parts of docs/admin.md that are made of the broker's own tables.

Run as a program it writes them anew; a test holds the page against them.
"""

import re
from typing import Any

from docs.documents import ROOT
from stompd.broker.admin.told import EVENTS, STATISTICS, TAP
from stompd.broker.admin.verbs import VERBS, Verb

PAGE = ROOT / "docs" / "admin.md"

_PART = re.compile(r"(<!-- made of the tables: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
}

Schema = dict[str, Any]


def _type(schema: Schema) -> str:
    """Return the type of a value in words."""
    if "const" in schema:
        return f'`"{schema["const"]}"`'
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = kinds[0]
    if kind == "array":
        item = schema["items"]
        word = "objects" if item["type"] == "object" else "texts"
        text = f"list of {word}"
    elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        values = schema["additionalProperties"]["type"]
        text = "object of texts" if values == "string" else "object of whole numbers"
    else:
        text = _TYPES[kind]
    return f"{text} or null" if "null" in kinds else text


def _rows(schema: Schema, prefix: str = "") -> list[str]:
    """Return a row for each field of an object, those of objects within it behind it."""
    rows = []
    for name, field in schema["properties"].items():
        optional = "" if name in schema["required"] else ", not always there"
        doc = field.get("description", "")
        rows.append(f"| `{prefix}{name}` | {_type(field)}{optional} | {doc} |")
        is_list = field.get("type") == "array"
        inner = field["items"] if is_list else field
        if "properties" in inner:
            rows += _rows(inner, f"{prefix}{name}{'[]' if is_list else ''}.")
    return rows


def _table(schema: Schema) -> list[str]:
    return ["| field | type | meaning |", "|---|---|---|", *_rows(schema)]


def _verb(verb: Verb) -> list[str]:
    lines = [f"### `{verb.name}`", "", verb.doc, ""]
    if verb.fields:
        lines += ["| request | type | meaning |", "|---|---|---|"]
        for name, schema in verb.fields.items():
            needed = ", required" if name in verb.required else ""
            lines.append(f"| `{name}` | {_type(schema)}{needed} | {schema['description']} |")
        lines.append("")
    result = verb.result
    if result.get("type") == "array":
        lines += ["The result is a list of:", ""]
        result = result["items"]
    if verb.acts and set(result["properties"]) == {"done", "failed", "reasons"}:
        lines += ["The result is an [outcome](#outcomes).", ""]
    else:
        lines += [*_table(result), ""]
    return lines


def _verbs(*, acts: bool) -> str:
    lines = [line for verb in VERBS.values() if verb.acts is acts for line in _verb(verb)]
    return "\n".join(lines)


def _told(kinds: dict[str, tuple[str, Schema]], *, hidden: tuple[str, ...]) -> str:
    lines = []
    for kind, (doc, schema) in kinds.items():
        fields = {name: f for name, f in schema["properties"].items() if name not in hidden}
        shown = {**schema, "properties": fields}
        lines += [f"### `{kind}`", "", doc, "", *_table(shown), ""]
    return "\n".join(lines)


def made() -> dict[str, str]:
    """Return each part by its name."""
    return {
        "looking": _verbs(acts=False),
        "acting": _verbs(acts=True),
        "outcome": "\n".join([*_table(VERBS["purge"].result), ""]),
        "events": _told(EVENTS, hidden=("event", "time")),
        "statistics": _told(STATISTICS, hidden=()),
        "tap": "\n".join([*_table(TAP), ""]),
    }


def renewed(page: str) -> str:
    """Return the page with its parts made anew."""
    parts = made()
    return _PART.sub(lambda match: f"{match[1]}\n{parts[match[2]]}\n{match[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
