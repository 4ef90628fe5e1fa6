"""The admin verbs over HTTP."""

import json
import re
import subprocess
from typing import Any

import jsonschema
import pytest
import trio
from server.edge import Edge, Peer, serving, settings, web
from server.process import daemon
from web.asking import ask

from stompd.broker.admin.verbs import VERBS
from stompd.broker.session import Login
from stompd.server.auth import LoginRefusedError

JSON = {"Content-Type": "application/json"}


async def over_stomp(peer: Peer, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to a request over STOMP; the peer is subscribed to /temp-queue/r."""
    head = f"SEND\ndestination:/admin/{verb}\nreply-to:/temp-queue/r\n\n"
    await peer.write(head.encode() + json.dumps(fields).encode() + b"\0")
    reply: dict[str, Any] = json.loads((await peer.expect("MESSAGE")).body)
    return reply


async def over_http(edge: Edge, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to a request over HTTP, which has to have the status for it."""
    answer = await ask(edge, "POST", f"/api/v1/{verb}", json=fields)
    reply: dict[str, Any] = answer.json()
    codes = {"bad-request": 400, "forbidden": 403, "not-found": 404, "conflict": 409, "failed": 500}
    assert answer.status_code == (200 if reply["ok"] else codes[reply["error"]["code"]])
    return reply


# What is asked of each verb; @ is a word that differs by the door.
REQUESTS: dict[str, list[dict[str, Any]]] = {
    "queues": [{"match": "@"}],
    "topics": [{"match": "@"}],
    "destinations": [{"prefix": "/queue/@"}],
    "subscriptions": [{"match": "/queue/@"}],
    "browse": [{"destination": "/queue/@"}, {"destination": "/queue/none"}, {"x": 1}, {}],
    "explain": [{"destination": "/queue/@"}, {"destination": "/topic/@", "headers": {"a": "b"}}],
    "purge": [{"destination": "/queue/@", "dry_run": True}, {"destination": "/queue/@", "keep": 2}],
    "move": [{"source": "/queue/@", "target": "/queue/@2", "count": 1}],
    "copy": [{"source": "/queue/@", "target": "/queue/@", "count": 1}],
    "requeue": [{"destination": "/queue/DLQ.@", "ids": ["1", "9"]}],
    "pause": [{"destination": "/queue/@"}],
    "resume": [{"destination": "/queue/@"}],
    "delete": [{"destination": "/queue/@2"}, {"destination": "/queue/@2"}],
    "durable-rm": [{"name": "@"}],
    "route-add": [{"name": "@", "match": "/queue/@", "to": ["/topic/@"]}, {"match": "", "to": []}],
    "route-rm": [{"name": "@"}, {"name": "@"}],
    "kick": [{"connection": "@"}],
    "definitions-import": [
        {"stompd-definitions": 1, "definitions": []},
        {"definitions": [{"kind": "queue", "key": ["/", "/queue/@"], "record": {"paused": True}}]},
        {"definitions": [1]},
        {},
    ],
}
_VARIES = re.compile(
    r'"(uptime|age|oldest|silent|sent|delivered|weight|in_rate|out_rate|received|bytes|messages'
    r'|unsettled|settled|memory_bytes)":(null|[\d.]+)'
)


def same(reply: dict[str, Any], word: str) -> str:
    """Return a reply as text, without what differs from one moment, or word, to another."""
    text = json.dumps(reply, separators=(",", ":"))
    return _VARIES.sub(r'"\1":0', text.replace(word, "@"))


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_answers_the_same_over_stomp_and_http(verb: str) -> None:
    """Each with requests that are carried out, and some that are refused."""
    async with serving(settings(http=web())) as edge:
        peer = await edge.login()
        await peer.subscribe("/temp-queue/r")
        for word in ("zorro", "tango"):
            for number in range(4):
                await peer.put(f"/queue/{word}", b"%d" % number)
            await peer.put(f"/queue/DLQ.{word}")
            await peer.put(f"/topic/{word}")
        for fields in REQUESTS.get(verb, [{}, {"no such field": 1}]):
            text = json.dumps(fields)
            ours = await over_stomp(peer, verb, json.loads(text.replace("@", "zorro")))
            theirs = await over_http(edge, verb, json.loads(text.replace("@", "tango")))
            if "@" in text:
                assert same(theirs, "tango") == same(ours, "zorro")
            else:
                assert same(theirs, "@") == same(ours, "@")
            jsonschema.validate(theirs, VERBS[verb].reply_schema())


async def test_what_only_looks_may_be_got() -> None:
    """The fields are query parameters, converted as the verb wants them."""
    async with serving(settings(http=web())) as edge:
        peer = await edge.login()
        for number in range(3):
            await peer.put("/queue/a", b"%d" % number)
        answer = await ask(
            edge,
            "GET",
            "/api/v1/browse?destination=/queue/a&count=2&headers_only=true&progress=false",
        )
        assert answer.status_code == 200
        assert len(answer.json()["result"]["messages"]) == 2
        assert "body" not in answer.json()["result"]["messages"][0]
        answer = await ask(
            edge, "GET", "/api/v1/explain?destination=/queue/a&headers=x:1&headers=y:a:b"
        )
        assert answer.json()["result"]["kind"] == "queue"
        for query, told in (
            ("destination=/queue/a&count=two", "count has to be a whole number"),
            ("destination=/queue/a&destination=/queue/b", "destination has to be a text"),
            ("destination=/queue/a&headers_only=perhaps", "headers_only has to be true or false"),
            ("count=1", "browse needs the field destination"),
        ):
            answer = await ask(edge, "GET", f"/api/v1/browse?{query}")
            assert answer.status_code == 400
            assert told in answer.json()["error"]["message"]


async def test_what_acts_has_to_be_posted() -> None:
    """A link that somebody follows changes nothing."""
    async with serving(settings(http=web())) as edge:
        peer = await edge.login()
        await peer.put("/queue/a")
        answer = await ask(edge, "GET", "/api/v1/purge?destination=/queue/a")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert answer.json()["error"]["code"] == "bad-request"
        assert edge.depth("/queue/a") == 1
        assert (await ask(edge, "GET", "/api/v1/nothing")).status_code == 404
        answer = await ask(edge, "PUT", "/api/v1/status")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_a_page_of_somebody_else_changes_nothing() -> None:
    """Neither by a form, nor by a script; a page that the settings name may."""
    async with serving(settings(http=web(origins=["https://shop.example"]))) as edge:
        peer = await edge.login()
        await peer.put("/queue/a")
        body = json.dumps({"destination": "/queue/a"})
        path = "/api/v1/purge"
        for headers in (
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {},
            {"Origin": "http://evil.example", **JSON},
            {"Origin": "null", **JSON},
            {"Origin": "http://evil.example", "X-Stompd-Request": "1"},
        ):
            answer = await ask(edge, "POST", path, content=body, headers=headers)
            assert (answer.status_code, edge.depth("/queue/a")) == (403, 1), headers
        for headers in (
            JSON,
            {"Content-Type": "application/json; charset=utf-8"},
            {"X-Stompd-Request": "1"},
            {"Origin": f"http://127.0.0.1:{edge.http_port}", **JSON},
            {"Origin": "https://shop.example", **JSON},
        ):
            await peer.put("/queue/a")
            answer = await ask(edge, "POST", path, content=body, headers=headers)
            assert (answer.status_code, edge.depth("/queue/a")) == (200, 0), headers


async def test_a_page_that_the_settings_name_may_read_answers() -> None:
    """Its browser asks before, and is told; that of another page is not."""
    async with serving(settings(http=web(origins=["https://shop.example"]))) as edge:
        asking = {"Access-Control-Request-Method": "POST"}
        for origin, allowed in (("https://shop.example", True), ("http://evil.example", False)):
            headers = {"Origin": origin}
            first = await ask(edge, "OPTIONS", "/api/v1/purge", headers={**headers, **asking})
            assert first.status_code == (204 if allowed else 405)
            second = await ask(edge, "GET", "/api/v1/status", headers=headers)
            name = "access-control-allow-origin"
            expected = origin if allowed else None
            assert first.headers.get(name) == second.headers.get(name) == expected
            assert (
                "content-type" in first.headers.get("access-control-allow-headers", "")
            ) is allowed


class Listed:
    """Lets one user in, and one token; there is a delay for nobody."""

    async def authenticate(self, login: Login, peer: str) -> str | None:
        """Return the user's name."""
        del peer
        if (login.user, login.passcode) == ("ann", "wört:1"):
            return "ann"
        if (login.user, login.passcode) == (None, "token"):
            return "robot"
        raise LoginRefusedError("login refused")


async def test_who_does_not_log_in_is_told_to() -> None:
    """And a browser is told so that it asks; a page that says who it is asks by itself."""
    async with serving(settings(http=web()), authenticator=Listed()) as edge:
        for path in ("/api/v1/status", "/metrics", "/api/v1/nothing"):
            answer = await ask(edge, "GET", path)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "unauthorized"
            assert answer.headers["www-authenticate"].startswith("Basic ")
        answer = await ask(edge, "GET", "/api/v1/status", headers={"X-Stompd-Request": "1"})
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert (await ask(edge, "GET", "/readyz")).status_code == 200
        for given in ("Basic", "Basic !", "Basic YQ==", "Basic /w==", "Bearer", "Digest x", ""):
            answer = await ask(edge, "GET", "/metrics", headers={"Authorization": given})
            assert answer.status_code == 401


async def test_who_logs_in_is_who_he_says() -> None:
    """By name and passcode, or by a token; rights are another matter."""
    async with serving(settings(http=web()), authenticator=Listed()) as edge:
        answers = [
            await ask(edge, "GET", "/api/v1/status", auth=("ann", "wört:1")),
            await ask(edge, "GET", "/api/v1/status", headers={"Authorization": "Bearer token"}),
        ]
        # There is nobody yet who gives rights to users.
        assert [answer.status_code for answer in answers] == [403, 403]
        assert (await ask(edge, "GET", "/metrics", auth=("ann", "wört:1"))).status_code == 403


async def test_a_body_is_bounded() -> None:
    """In size and in time."""
    tables = {"timeouts": {"login": "100ms"}}
    async with serving(settings(http=web(max_message=1000), **tables)) as edge:
        answer = await ask(edge, "POST", "/api/v1/status", content=b" " * 1001)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "bad-request")
        answer = await ask(edge, "POST", "/api/v1/status", content=b" " * 1000)
        assert answer.status_code == 200
        async with await trio.open_tcp_stream("127.0.0.1", edge.http_port) as slow:
            await slow.send_all(
                b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
            )
            assert (await slow.receive_some()).startswith(b"HTTP/1.1 408 ")


async def test_who_acts_is_logged() -> None:
    """As over STOMP, and from where."""
    async with serving(settings(http=web())) as edge:
        await over_http(edge, "route-add", {"name": "r", "match": "/queue/a", "to": ["/topic/a"]})
        (entry,) = edge.log.of("admin request")
        assert (entry["verb"], entry["ok"], entry["user"]) == ("route-add", True, None)
        (entry,) = edge.log.of("admin request over http")
        assert entry["peer"].startswith("127.0.0.1:")
        await over_http(edge, "status", {})
        assert len(edge.log.of("admin request over http")) == 1


async def test_the_description_is_complete() -> None:
    """Every verb stands in it, in both ways if it only looks."""
    async with serving(settings(http=web())) as edge:
        document = (await ask(edge, "GET", "/api/v1/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        paths = {f"/api/v1/{verb.name}": verb for verb in VERBS.values()}
        assert set(document["paths"]) == set(paths)
        for path, verb in paths.items():
            methods = {"post"} if verb.acts else {"post", "get"}
            assert set(document["paths"][path]) == methods


@pytest.mark.slow
def test_any_request_is_answered_as_described() -> None:
    """Whatever schemathesis makes up, answers are as the description says, and none is a fault."""
    with daemon("--http-listen", "127.0.0.1:0", "--log-level", "warning") as stompd:
        words = ["run", f"{stompd.url}/api/v1/openapi.json", "--max-examples", "2", "--seed", "1"]
        words += ["--phases", "coverage,fuzzing", "--mode", "all", "--no-color"]
        words += ["--exclude-checks", "positive_data_acceptance"]
        done = subprocess.run(
            ["schemathesis", *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-9000:] + done.stderr
        assert "admin request" not in "".join(stompd.lines)
