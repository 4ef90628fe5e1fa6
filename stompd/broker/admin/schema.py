"""JSON schemas, made of few words; and what a value lacks of fitting one."""

from __future__ import annotations

from typing import Any, Final

# Larger numbers have no meaning in a request, and not every program can read them.
MOST: Final = 2**53 - 1

Schema = dict[str, Any]


def text(doc: str) -> Schema:
    """Return the schema of a text; ``doc`` says what it means."""
    return {"type": "string", "description": doc}


def count(doc: str, *, least: int = 0) -> Schema:
    """Return the schema of a whole number of ``least`` or more."""
    return {"type": "integer", "minimum": least, "description": doc}


def number(doc: str) -> Schema:
    """Return the schema of a number that is not negative."""
    return {"type": "number", "minimum": 0, "description": doc}


def whole(doc: str) -> Schema:
    """Return the schema of a whole number that may be negative."""
    return {"type": "integer", "description": doc}


def flag(doc: str) -> Schema:
    """Return the schema of true or false."""
    return {"type": "boolean", "description": doc}


def texts(doc: str) -> Schema:
    """Return the schema of a list of texts."""
    return {"type": "array", "items": {"type": "string"}, "description": doc}


def objects(doc: str) -> Schema:
    """Return the schema of a list of objects, whatever these hold."""
    return {"type": "array", "items": {"type": "object"}, "description": doc}


def headers(doc: str) -> Schema:
    """Return the schema of names with a text each."""
    return {"type": "object", "additionalProperties": {"type": "string"}, "description": doc}


def counts(doc: str) -> Schema:
    """Return the schema of names with a whole number each."""
    return {
        "type": "object",
        "additionalProperties": {"type": "integer", "minimum": 0},
        "description": doc,
    }


def maybe(schema: Schema) -> Schema:
    """Return the schema of what may also be null."""
    return {**schema, "type": [schema["type"], "null"]}


def record(fields: dict[str, Schema], *optional: str) -> Schema:
    """Return the schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


def several(item: Schema, doc: str = "") -> Schema:
    """Return the schema of a list."""
    schema: Schema = {"type": "array", "items": item}
    return {**schema, "description": doc} if doc else schema


def lack(value: object, schema: Schema) -> str:
    """Return what a value of a request has to be and is not; empty if it fits.

    Knows the schemas that `text`, `count`, `number`, `flag`, `texts`, `objects`, `headers` return.
    """
    kind = schema["type"]
    if kind == "string":
        return "" if _is_text(value) else "a text"
    if kind == "boolean":
        return "" if isinstance(value, bool) else "true or false"
    if kind == "array" and schema["items"]["type"] == "object":
        fits = isinstance(value, list) and all(isinstance(item, dict) for item in value)
        return "" if fits else "a list of objects"
    if kind == "array":
        fits = isinstance(value, list) and all(_is_text(item) for item in value)
        return "" if fits else "a list of texts"
    if kind == "object":
        fits = isinstance(value, dict) and all(
            _is_text(name) and _is_text(item) for name, item in value.items()
        )
        return "" if fits else "an object with texts"
    least = schema["minimum"]
    if kind == "integer":
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST
        return "" if fits else f"a whole number of {least} or more, up to {MOST}"
    # Not NaN, nor what is too large to be reckoned with.
    fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= MOST
    return "" if fits else f"a number of {least} or more, up to {MOST}"


def _is_text(value: object) -> bool:
    """Return whether a value is a text that can be written in UTF-8."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
