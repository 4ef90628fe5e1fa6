"""The description of the API for programs, made of the verbs' own schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stompd.broker.admin.schema import maybe, record
from stompd.broker.admin.verbs import ERROR, VERBS, Verb

if TYPE_CHECKING:
    from stompd.broker.admin.schema import Schema

PREFIX: Final = "/api/v1"

_REFUSALS: Final = {
    "400": "what was asked is no request of this verb",
    "401": "who asks has to log in",
    "403": "who asks may not do this, or a page of somebody else asks",
    "404": "what it is about is not there",
    "409": "it cannot be done as things are",
    "500": "it was not done, or not to its end",
}
# Of requests with a body.
_OF_BODIES: Final = {"408": "the body took too long to come", "413": "the body is too large"}


def description(version: str) -> dict[str, Any]:
    """Return the OpenAPI document of the API of stompd ``version``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stompd",
            "version": version,
            "summary": "Looking at a STOMP broker, and acting on it.",
            "description": "Every verb is a request over STOMP as well: SEND to `/admin/VERB`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        # While there are no users nobody has to say who he is.
        "security": [{}, {"basic": []}, {"bearer": []}],
        "paths": {f"{PREFIX}/{verb.name}": _path(verb) for verb in VERBS.values()},
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _path(verb: Verb) -> dict[str, Any]:
    path = {"post": _operation(verb, "post")}
    if not verb.acts:
        path["get"] = _operation(verb, "get")
    return path


def _operation(verb: Verb, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{method}-{verb.name}",
        "summary": verb.doc,
        "tags": ["acting" if verb.acts else "looking"],
    }
    if method == "get":
        operation["parameters"] = [
            _parameter(name, schema, needed=name in verb.required)
            for name, schema in verb.fields.items()
        ]
    else:
        operation["requestBody"] = {
            "required": bool(verb.required),
            "content": {"application/json": {"schema": _body(verb)}},
        }
    done: Schema = {
        "type": "object",
        "properties": {"ok": {"const": True}, "result": verb.result},
        "required": ["ok", "result"],
        "additionalProperties": False,
    }
    refusals = _REFUSALS if method == "get" else {**_REFUSALS, **_OF_BODIES}
    operation["responses"] = {
        "200": {"description": "done", "content": {"application/json": {"schema": done}}},
        **{status: _refusal(text) for status, text in refusals.items()},
    }
    return operation


def _body(verb: Verb) -> Schema:
    """Return the schema of a request; null stands for what is left out."""
    return record(
        {
            name: schema if name in verb.required else maybe(schema)
            for name, schema in verb.fields.items()
        },
        *(name for name in verb.fields if name not in verb.required),
    )


def _refusal(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, schema: Schema, *, needed: bool) -> dict[str, Any]:
    parameter = {
        "name": name,
        "in": "query",
        "required": needed,
        "description": schema["description"],
        "schema": {key: value for key, value in schema.items() if key != "description"},
    }
    if schema["type"] == "object":
        parameter["description"] += "; each as NAME:VALUE, repeated for several"
        parameter["schema"] = {"type": "array", "items": {"type": "string", "pattern": ":"}}
    if parameter["schema"]["type"] == "array":
        parameter |= {"style": "form", "explode": True}
    return parameter
