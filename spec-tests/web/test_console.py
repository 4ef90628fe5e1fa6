"""The console, in a real browser."""

import json
import signal
import time
from collections.abc import Iterator

import httpx
import pytest
import trio
from server.edge import serving, settings, web
from server.process import PATIENCE, Daemon, daemon
from web.browser import Page, chromium

from stompd.broker.session import Login
from stompd.server.auth import LoginRefusedError

pytestmark = [pytest.mark.slow, pytest.mark.needs_tool("chromium")]

PAGES = {
    "#/": "Overview",
    "#/queues": "Queues",
    "#/queue/%2Fqueue%2Forders?vhost=%2F": "Queues / /queue/orders",
    "#/topics": "Topics",
    "#/subscriptions": "Subscriptions",
    "#/connections": "Connections",
    "#/dead-letters": "Dead letters",
    "#/events": "Events",
    "#/tap": "Tap",
    "#/send": "Send a message",
    "#/nothing": "Overview",
}
ORDERS = "#/queue/%2Fqueue%2Forders?vhost=%2F"
DEAD = "#/queue/%2Fqueue%2FDLQ.orders?vhost=%2F"


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """One browser for all; each test goes to a stompd of its own."""
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def running() -> Iterator[Daemon]:
    """A stompd with a console, for all but those that have one of their own."""
    with daemon("--http-listen", "127.0.0.1:0") as stompd:
        yield stompd


@pytest.fixture
def stompd(running: Daemon) -> Daemon:
    """That stompd, without connections and queues."""
    running.close()
    url = f"{running.url}/api/v1"
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        give_up = time.monotonic() + PATIENCE
        while client.get(f"{url}/connections").json()["result"]:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        for row in client.get(f"{url}/queues").json()["result"]:
            client.post(f"{url}/delete", json={"destination": row["name"]}).raise_for_status()
    return running


@pytest.fixture
def page(browser: Page, stompd: Daemon) -> Iterator[Page]:
    """The console, connected; nothing may have gone wrong in it at the end."""
    browser.size(1280, 800)
    browser.go(f"{stompd.url}/")
    live(browser)
    yield browser
    assert browser.leave() == []


def live(page: Page) -> None:
    """Wait until the console is connected."""
    page.until("document.querySelector('.mode')?.dataset.mode === 'live'")


def show(page: Page, place: str) -> None:
    """Go to a page of the console."""
    page.run(f"location.hash = {place!r}")
    title = PAGES.get(place, "")
    page.until(f"document.querySelector('h1')?.innerText.trim().startsWith({title!r})")


def cell(row: str, label: str) -> str:
    """Return a script for the text of a cell: the row's first words, and the column's title."""
    begins = f"innerText.startsWith({row!r})"
    return (
        f"[...document.querySelectorAll('tbody tr')].find((one) => one.{begins})"
        f"?.querySelector('[data-label={json.dumps(label)}]')?.innerText.trim()"
    )


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desk", "phone"])
def test_every_page_opens(page: Page, stompd: Daemon, width: int, dark: bool) -> None:  # noqa: FBT001 - a case
    """With its title, nothing wider than the window, and no complaint of the browser."""
    with_dead_letters(stompd)
    page.size(width, 800, dark=dark)
    for place in PAGES:
        show(page, place)
        page.until("!document.querySelector('main .wait')")
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), place
    assert page.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")


def with_dead_letters(stompd: Daemon) -> None:
    """Leave three messages in a queue, and three as dead letters."""
    wire = stompd.connect()
    for number in range(6):
        wire.put("/queue/orders", b"order %d" % number, f"n:{number}")
    wire.subscribe("1", "/queue/orders", "ack:client-individual", "prefetch-count:3")
    for message in wire.messages(3):
        ack = message.text("ack")
        wire.frame_out("NACK", f"id:{ack}", "requeue:false", "reason:no such customer")
    wire.frame_out("UNSUBSCRIBE", "id:1", "receipt:gone")
    wire.expect_among("RECEIPT", "receipt-id:gone")


def test_what_happens_is_seen_at_once(page: Page, stompd: Daemon) -> None:
    """A queue comes, fills, and shows its line, without anybody asking."""
    show(page, "#/queues")
    page.shows("There are no queues yet")
    wire = stompd.connect()
    wire.put("/queue/orders", b"x")
    page.until(f"{cell('/queue/orders', 'Ready')} === '1'")
    for _ in range(4):
        wire.put("/queue/orders", b"x")
    page.until(f"{cell('/queue/orders', 'Ready')} === '5'")
    page.until("document.querySelector('.spark polyline')")
    show(page, "#/events")
    page.shows("queue-created")
    show(page, "#/")
    page.until("document.querySelectorAll('.plot canvas').length === 2")
    page.shows("messages that wait")


def test_dead_letters_go_back(page: Page, stompd: Daemon) -> None:
    """Some that are chosen, then all that are left."""
    with_dead_letters(stompd)
    show(page, "#/dead-letters")
    page.until(f"{cell('/queue/DLQ.orders', 'Died of')} === 'rejected 3'")
    show(page, DEAD)
    page.click("tbody input[type=checkbox]")
    page.click("button", "Requeue 1 chosen")
    page.shows("1 done")
    page.until("document.querySelectorAll('[data-table=messages] tbody tr').length === 2")
    page.click("button", "Requeue all")
    page.click("dialog button.danger", "Requeue")
    page.shows("2 done")
    show(page, "#/queues")
    page.until(f"{cell('/queue/orders', 'Ready')} === '6'")


def test_a_queue_is_paused_filled_copied_and_purged(page: Page, stompd: Daemon) -> None:
    """What cannot be undone wants the name typed."""
    with_dead_letters(stompd)
    show(page, ORDERS)
    page.click("button", "Pause")
    page.until("document.querySelector('h1 .mark')")
    page.shows("it is paused")
    page.click("summary", "Send a message")
    page.fill("details textarea[name=headers]", "x-color:blue")
    page.fill("details textarea[name=body]", "from the console")
    page.click("details button.main", "Send")
    page.shows("Sent to /queue/orders")
    page.shows("from the console")
    page.click("button", "Resume")
    page.until("!document.querySelector('h1 .mark')")
    page.click("button", "Copy")
    page.fill("dialog input[name=target]", "/queue/copies")
    page.click("dialog button.danger", "Copy")
    page.shows("4 done")
    page.click("button.danger", "Purge")
    assert page.run("document.querySelector('dialog button.danger').disabled")
    page.fill("dialog input.typed", "/queue/orders")
    page.click("dialog button.danger", "Purge")
    page.shows("It holds no messages.")
    show(page, "#/queues")
    page.until(f"{cell('/queue/copies', 'Ready')} === '4'")


def test_a_connection_is_kicked(page: Page, stompd: Daemon) -> None:
    """It gets the reason, and is gone from the list."""
    wire = stompd.connect("1.2", "client-id:victim")
    show(page, "#/connections")
    page.shows("victim")
    page.run(
        "[...document.querySelectorAll('tbody tr')].find((one) => one.innerText.includes('victim'))"
        ".querySelector('button').click()"
    )
    page.fill("dialog input[name=reason]", "maintenance")
    page.click("dialog button.danger", "Kick")
    assert b"maintenance" in wire.expect("ERROR").body
    page.until("!document.querySelector('tbody').innerText.includes('victim')")


def test_what_strangers_wrote_is_shown_as_text(page: Page, stompd: Daemon) -> None:
    """Names, headers and bodies make no element, run nothing, and hide nothing."""
    evil = "<img src=x onerror=document.title='pwned'>"
    wire = stompd.connect()
    wire.put(f"/queue/{evil}", f"{evil}\u202etxt.exe\x1b[31m".encode(), f"x-evil:{evil}")
    wire.put("/queue/octets", b"\x00\xff<b>", "content-length:5")
    show(page, "#/queues")
    page.shows(evil)
    page.click("td a", f"/queue/{evil}")
    page.click("td button.link")
    page.shows("\\u202etxt.exe\\u001b[31m")
    page.shows("x-evil")
    assert page.run("document.querySelectorAll('main img, dialog img').length") == 0
    page.press("Escape")
    show(page, "#/tap")
    page.click("button.main", "Start")
    page.until("document.querySelector('button.main').textContent === 'Stop'")
    tapping(stompd)
    wire.put(f"/queue/{evil}", evil.encode())
    page.shows("SEND")
    assert page.run("document.querySelectorAll('main img').length") == 0
    page.run("location.hash = '#/queue/%2Fqueue%2Foctets?vhost=%2F'")
    page.click("td button.link")
    page.shows("00 ff 3c 62 3e")
    assert "pwned" not in page.run("document.title")


def tapping(stompd: Daemon) -> None:
    """Wait until the broker shows frames to somebody."""
    url = f"{stompd.url}/api/v1/subscriptions"
    give_up = time.monotonic() + PATIENCE
    while "/topic/$SYS/tap" not in httpx.get(url, trust_env=False, timeout=PATIENCE).text:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_it_is_used_by_keys_alone(page: Page, stompd: Daemon) -> None:
    """Pages, filter, rows, help, and light or dark."""
    wire = stompd.connect()
    for name in ("a", "b"):
        wire.put(f"/queue/{name}", b"x")
    page.press("g", "q")
    page.until("document.querySelectorAll('tbody tr').length === 2")
    page.press("j", "j")
    page.until("document.activeElement.textContent === '/queue/b'")
    page.press("k", "Enter")
    page.until("document.querySelector('h1').innerText.includes('/queue/a')")
    page.press("g", "q")
    page.until("document.querySelectorAll('tbody tr').length === 2")
    page.press("/")
    page.until("document.activeElement.classList.contains('filter')")
    page.press("q", "/", "b")
    page.until("document.querySelectorAll('tbody tr').length === 0")
    page.run("document.activeElement.blur()")
    page.press("?")
    page.until("document.querySelector('dialog[open]')")
    page.press("Escape")
    page.until("!document.querySelector('dialog')")
    for theme, shown in (("light", "light"), ("dark", "dark"), ("auto", "light")):
        page.press("m")
        page.until(f"document.querySelector('.corner button').innerText === '{theme}'")
        assert page.run("document.documentElement.dataset.theme") == shown
    page.run("localStorage.removeItem('theme')")


def test_an_open_page_outlives_a_restart(browser: Page) -> None:
    """It says that there is nobody, and goes on by itself when there is."""
    words = ["--set", "timeouts.linger=100ms", "--http-listen"]
    with daemon(*words, "127.0.0.1:0") as first:
        browser.go(f"{first.url}/#/queues")
        live(browser)
        first.connect().put("/queue/before", b"x")
        browser.shows("/queue/before")
        first.signal(signal.SIGTERM)
        assert first.ended() == 0
        browser.until("document.querySelector('.mode').dataset.mode === 'offline'")
    with daemon(*words, first.url.removeprefix("http://")) as second:
        second.connect().put("/queue/after", b"x")
        live(browser)
        browser.shows("/queue/after")
        browser.until("!document.body.innerText.includes('/queue/before')")
        # That nobody was there the browser says itself; nothing else went wrong.
        assert all("ERR_CONNECTION_" in trouble for trouble in browser.leave())


def test_without_a_websocket_it_asks(browser: Page, stompd: Daemon) -> None:
    """Where a proxy lets none through, say; values are a little older then."""
    closed = (
        "window.WebSocket = class { constructor() { setTimeout(() => this.onclose({code: 1006})); }"
        " close() {} }"
    )
    script = browser("Page.addScriptToEvaluateOnNewDocument", source=closed)
    try:
        browser.go(f"{stompd.url}/#/queues")
        browser("Page.reload")
        browser.until("document.querySelector('.mode')?.dataset.mode === 'polling'")
        stompd.connect().put("/queue/orders", b"x")
        browser.until(f"{cell('/queue/orders', 'Ready')} === '1'")
        browser.run("location.hash = '#/events'")
        browser.shows("Events come over WebSocket")
    finally:
        identifier = script["identifier"]
        browser("Page.removeScriptToEvaluateOnNewDocument", identifier=identifier)
    assert browser.leave() == []


class Listed:
    """Lets one user in."""

    async def authenticate(self, login: Login, peer: str) -> str | None:
        """Return the user's name."""
        del peer
        if (login.user, login.passcode) == ("ann", "wört"):
            return "ann"
        raise LoginRefusedError("login refused")


async def test_who_has_to_log_in_is_asked(browser: Page) -> None:
    """By the page itself; a wrong password asks again, and a right one is used for STOMP, too."""

    def look(url: str) -> None:
        browser.go(f"{url}/")
        browser.fill("input[name=user]", "ann")
        browser.fill("input[name=password]", "wrong")
        browser.click("button", "Log in")
        browser.shows("login refused")
        browser.fill("input[name=user]", "ann")
        browser.fill("input[name=password]", "wört")
        browser.click("button", "Log in")
        browser.until("document.querySelector('.mode')")

    async with serving(settings(http=web()), authenticator=Listed()) as edge:
        await trio.to_thread.run_sync(look, f"http://127.0.0.1:{edge.http_port}")
        sessions = edge.service.broker.sessions
        await edge.until(lambda: [s for s in sessions.values() if s.user == "ann"])
        await trio.to_thread.run_sync(browser.leave)
