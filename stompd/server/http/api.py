"""The admin verbs over HTTP: the same requests and replies as over STOMP."""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import structlog
import trio
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from stompd.broker.admin.errand import refusal
from stompd.broker.admin.verbs import VERBS, Verb, carry_out
from stompd.broker.event import as_json
from stompd.protocol.errors import shown
from stompd.server.auth import LoginRefusedError
from stompd.server.http import guard
from stompd.server.http.visitor import Visitor, identify

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from stompd.broker.admin.errand import Reply
    from stompd.broker.admin.schema import Schema
    from stompd.server.http.port import HttpConnection
    from stompd.server.service import Service

log = structlog.get_logger()

# What stands for the code of a refusal.
STATUS: Final = {
    "bad-request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "failed": 500,
}
# A page that is not ours cannot send it without having asked, and it is not answered then.
MARK: Final = "x-stompd-request"

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""Those that `answer` knows what to say to."""

_READING: Final = ("GET", "HEAD")
_INTEGER: Final = re.compile(r"-?[0-9]{1,16}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,16}(?:\.[0-9]{1,16})?")
_SWITCH: Final = {"true": True, "1": True, "": True, "false": False, "0": False}


class RefusedError(Exception):
    """A request that is answered by something else than a verb; ``response`` is the answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def refused(code: str, message: str, *, status: int | None = None) -> RefusedError:
    """Return what refuses a request as a verb would."""
    reply = {"ok": False, "error": {"code": code, "message": message}}
    return RefusedError(JSONResponse(reply, status or STATUS[code]))


async def admit(service: Service, request: Request) -> Visitor:
    """Return who asks; raises `RefusedError` if he has to log in."""
    connection: HttpConnection = request.scope["state"]["connection"]
    authorization = request.headers.get("authorization")
    try:
        return await identify(service, authorization, connection.peer, connection.address)
    except LoginRefusedError as error:
        problem = refused("unauthorized", str(error))
        # A browser would ask in a window of its own; a page that says who it is asks itself.
        scheme = "Bearer" if MARK in request.headers else "Basic"
        problem.response.headers["www-authenticate"] = f'{scheme} realm="stompd", charset="UTF-8"'
        raise problem from error


async def answer(service: Service, request: Request) -> Response:
    """Carry out the verb in the path, and answer when it is done."""
    name = request.path_params["verb"]
    try:
        verb = VERBS.get(name)
        reads = request.method in _READING
        methods = ("POST",) if verb is not None and verb.acts else (*_READING, "POST")
        if request.method not in methods:
            problem = refused("bad-request", f"send it by {' or '.join(methods)}", status=405)
            problem.response.headers["allow"] = ", ".join(methods)
            raise problem
        visitor = await admit(service, request)
        if verb is None:
            text = f'there is no verb "{shown(name)}"; `verbs` tells which there are'
            raise refused("not-found", text)
        if verb.acts:
            _check_origin(service, request)
        body = _fields(verb, request.query_params) if reads else await read(service, request)
    except RefusedError as problem:
        return problem.response
    reply = await _carried_out(service, visitor, verb.name, body)
    status = 200 if reply["ok"] else STATUS[reply["error"]["code"]]
    if verb.acts:
        log.info(
            "admin request over http",
            verb=verb.name,
            user=visitor.user,
            peer=request.scope["state"]["connection"].peer,
            status=status,
        )
    return Response(as_json(reply), status, media_type="application/json")


def _check_origin(service: Service, request: Request) -> None:
    """Refuse what a page of somebody else may have made a browser send."""
    headers = request.headers
    origin = headers.get("origin")
    if not guard.is_own_page(origin, headers.get("host"), service.settings.http.origins):
        text = f"pages of {shown(origin or '')} may not do this; `http.origins` lists who may"
        raise refused("forbidden", text)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and MARK not in headers:
        raise refused("forbidden", "send it with the header content-type: application/json")


async def read(service: Service, request: Request) -> bytes:
    """Return the body of a request; raises `RefusedError` if it is too large or too slow."""
    limit = service.settings.http.max_message
    body = bytearray()
    try:
        with trio.move_on_after(service.settings.timeouts.login) as patience:
            async with aclosing(request.stream()) as parts:
                async for part in parts:
                    body += part
                    if len(body) > limit:
                        text = f"the body has more than {limit} octets"
                        raise refused("bad-request", text, status=413)
    except ClientDisconnect as error:
        # He may be gone, or has sent what is no body; it is nobody's fault here.
        raise refused("bad-request", "the body was not sent to its end") from error
    if patience.cancelled_caught:
        raise refused("bad-request", "the body took too long to come", status=408)
    return bytes(body)


async def _carried_out(service: Service, visitor: Visitor, name: str, body: bytes) -> Reply:
    """Return the reply to a request, when it is there."""
    done = trio.Event()
    replies: list[Reply] = []

    def take(reply: Reply) -> None:
        # There is one answer to a request, so nobody is told how far it is.
        if "progress" not in reply:
            replies.append(reply)
            done.set()

    broker = service.broker
    broker.now = trio.current_time()
    broker.observe()
    try:
        carry_out(visitor.caller(service), name, body, take)
    except Exception:
        log.exception("a request failed by a fault of stompd", verb=name)
        return refusal("failed", "internal error: the cause is in the server's log")
    finally:
        service.flush()
    await done.wait()
    return replies[0]


def _fields(verb: Verb, query: QueryParams) -> bytes:
    """Return the body that query parameters stand for; what does not fit is left as it is."""
    fields = {
        name: _value(query.getlist(name), verb.fields.get(name, {"type": "string"}))
        for name in query
    }
    return json.dumps(fields).encode()


def _value(given: list[str], schema: Schema) -> Any:  # noqa: ANN401 - JSON
    """Return what a parameter that is given once or several times is by its schema."""
    kind = schema["type"]
    if kind == "array":
        return given
    if kind == "object":
        pairs = [text.partition(":") for text in given]
        return {name: value for name, colon, value in pairs if colon} or given
    if len(given) > 1:
        return given
    (text,) = given
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if kind == "boolean":
        return _SWITCH.get(text.lower(), text)
    return text
