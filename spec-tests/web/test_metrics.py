"""What Prometheus is told, read by its own parser; and who asks for health."""

from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from server.edge import Edge, serving, settings, web
from server.gated import GatedStore
from web.asking import ask, opened

from stompd.server.http.metrics import OTHER
from stompd.store.errors import StoreFullError


async def scrape(edge: Edge) -> dict[tuple[str, str], float]:
    """Return the value of each sample by its name and the destination that it is about."""
    answer = await ask(edge, "GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, sample.labels.get("queue", sample.labels.get("topic", ""))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_totals_and_destinations_are_told() -> None:
    """Depth, what passed through, age, connections, memory."""
    async with serving(settings(http=web())) as edge, opened(edge) as sock:
        peer = await edge.login()
        for _ in range(3):
            await peer.put("/queue/a", b"12345")
        await peer.put("/topic/t")
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client\nprefetch-count:1\n\n\0")
        await sock.text()
        told = await scrape(edge)
        assert told["stompd_connections", ""] == 2
        assert told["stompd_http_connections", ""] == 2
        assert told["stompd_queue_ready_messages", "/queue/a"] == 2
        assert told["stompd_queue_unsettled_messages", "/queue/a"] == 1
        assert told["stompd_queue_consumers", "/queue/a"] == 1
        assert told["stompd_queue_received_total", "/queue/a"] == 3
        assert told["stompd_topic_received_total", "/topic/t"] == 1
        assert told["stompd_queue_oldest_seconds", "/queue/a"] >= 0
        assert told["stompd_received_total", ""] == 4
        assert told["stompd_ready_messages", ""] == 2
        assert told["process_resident_memory_bytes", ""] > 1_000_000
        assert ("stompd_store_commit_seconds_sum", "") not in told


async def test_the_store_tells_how_long_commits_take() -> None:
    """Where there is one."""
    async with serving(settings(http=web()), store=GatedStore()) as edge:
        peer = await edge.login()
        await peer.write("SEND⏎destination:/queue/a⏎persistent:true⏎receipt:r⏎⏎x^@")
        await peer.expect("RECEIPT")
        told = await scrape(edge)
        assert told["stompd_store_commit_seconds_count", ""] >= 1
        assert told["stompd_store_full", ""] == 0


async def test_what_prometheus_prefers_is_told_so() -> None:
    """In the form of OpenMetrics if it is asked for."""
    async with serving(settings(http=web())) as edge:
        accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
        answer = await ask(edge, "GET", "/metrics", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        names = {family.name for family in open_metrics(answer.text)}  # type: ignore[no-untyped-call]
        assert {"stompd_connections", "stompd_loop_lag_seconds"} <= names


async def test_the_number_of_names_is_bounded() -> None:
    """The busiest are told of by name, as long as they are there; the others are one."""
    async with serving(settings(http=web(metrics_destinations=2))) as edge:
        peer = await edge.login()
        for name, count in (("a", 1), ("b", 3), ("c", 2), ("d", 1)):
            for _ in range(count):
                await peer.put(f"/queue/{name}")
        received = "stompd_queue_received_total"
        told = await scrape(edge)
        assert {name: told[key, name] for key, name in told if key == received} == {
            "/queue/b": 3,
            "/queue/c": 2,
            OTHER: 2,
        }
        # Busier than they are now; but a name that changes would be a counter that falls.
        for _ in range(9):
            await peer.put("/queue/a")
        told = await scrape(edge)
        assert (told[received, "/queue/c"], told[received, OTHER]) == (2, 11)
        assert (received, "/queue/a") not in told
        # Where one is gone there is room.
        await ask(edge, "POST", "/api/v1/delete", json={"destination": "/queue/c"})
        told = await scrape(edge)
        assert (told[received, "/queue/a"], told[received, OTHER]) == (10, 11)
        await peer.put("/queue/d")
        assert (await scrape(edge))[received, OTHER] == 12
        # One that came anew under its name counts from the beginning.
        await ask(edge, "POST", "/api/v1/delete", json={"destination": "/queue/d"})
        await peer.put("/queue/d")
        assert (await scrape(edge))[received, OTHER] == 13


async def test_what_is_one_connections_own_has_no_name() -> None:
    """Temporary destinations come and go, and would be ever new names."""
    async with serving(settings(http=web())) as edge:
        peer = await edge.login()
        await peer.subscribe("/temp-queue/a")
        told = await scrape(edge)
        assert {name for key, name in told if key == "stompd_queue_consumers"} == {OTHER}
        assert told["stompd_queue_consumers", OTHER] == 1


async def test_everybody_may_read_them_if_the_settings_say_so() -> None:
    """By any name, too; otherwise it takes the right to monitor."""

    class Nobody:
        async def authenticate(self, login: Any, peer: str) -> str | None:  # noqa: ANN401 - not looked at
            raise NotImplementedError

    async with serving(settings(http=web(metrics_open=True)), authenticator=Nobody()) as edge:
        assert (await ask(edge, "GET", "/metrics")).status_code == 200
        assert (await ask(edge, "GET", "/metrics", headers={"Host": "s"})).status_code == 200


# Health.


async def test_ready_is_who_takes_messages() -> None:
    """Not while the disk is full; alive all the same."""
    store = GatedStore()
    async with serving(settings(http=web()), store=store) as edge:
        answer = await ask(edge, "GET", "/readyz")
        assert (answer.status_code, answer.json()["ok"]) == (200, True)
        store.errors = [StoreFullError("no space")] * 2
        peer = await edge.login()
        await peer.write("SEND⏎destination:/queue/a⏎persistent:true⏎⏎x^@")
        await edge.log.first("the disk is full")
        answer = await ask(edge, "GET", "/readyz")
        assert (answer.status_code, answer.json()["ok"]) == (503, False)
        assert "no room on the disk" in answer.text
        assert (await ask(edge, "GET", "/healthz")).status_code == 200


async def test_ready_is_not_who_stops() -> None:
    """It is told for as long as connections finish what they have begun; no more come in then."""
    async with serving(settings(http=web())) as edge:
        peer = await edge.login()
        await peer.put("/queue/a")
        await peer.subscribe("/queue/a", "ack:client")
        await peer.expect("MESSAGE")
        edge.started.stop()
        await edge.log.first("draining")
        answer = await ask(edge, "GET", "/readyz")
        assert (answer.status_code, answer.json()["checks"][0]["text"]) == (503, "the broker stops")
        assert (await ask(edge, "GET", "/healthz")).status_code == 200
        await peer.close()
        await edge.log.first("stopped")
