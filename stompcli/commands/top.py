"""top: the broker at a glance, again and again."""

import os
import select
import shutil
import termios
import time
import tty
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from stompcli import listing
from stompcli.admin import Admin, admin
from stompcli.exitcodes import ExitCode
from stompcli.listing import QUEUES, Row, Wanted
from stompcli.output import Out
from stompcli.render import visible_text
from stompcli.session import Session

_COLUMNS: Final = QUEUES.columns
_ENTER: Final = b"\x1b[?1049h\x1b[?25l"
_LEAVE: Final = b"\x1b[?25h\x1b[?1049l"
_HOME: Final = b"\x1b[H"
_REST: Final = b"\x1b[J"
_END_OF_LINE: Final = "\x1b[K"
# Seconds after which a key that was pressed has been seen.
_POLL: Final = 0.1


@dataclass
class View:
    """What somebody wants to see, as the keys have changed it."""

    sort: str = "ready"
    reverse: bool = False
    paused: bool = False
    over: bool = False

    def press(self, key: str) -> bool:
        """Do what a key stands for; return whether the screen has to be drawn anew."""
        if key in ("q", "Q", "\x03", "\x04"):
            self.over = True
        elif key == "s":
            at = _COLUMNS.index(self.sort) if self.sort in _COLUMNS else -1
            self.sort = _COLUMNS[(at + 1) % len(_COLUMNS)]
        elif key == "r":
            self.reverse = not self.reverse
        elif key in ("p", " "):
            self.paused = not self.paused
        else:
            return False
        return True


@dataclass(frozen=True)
class Sight:
    """What was seen at one moment."""

    at: str
    totals: Row
    queues: list[dict[str, Any]]


async def top(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Watch a broker."""
    session.on_timeout = lambda: None
    batch = params["batch"] or out.settings.json or not (out.tty and os.isatty(0))
    view = View(sort=(params["sort"] or "ready").lower().replace("-", "_"))
    async with admin(session, "top") as broker:
        first = await _look(broker, params["glob"])
        Wanted(sort=view.sort).check(QUEUES, first.queues)
        if batch:
            await _in_batch(broker, first, view, params, out)
        else:
            async with _keys(view) as pressed:
                await _on_screen(broker, first, view, params, out, pressed)
    return None


async def _look(broker: Admin, glob: str | None) -> Sight:
    pattern, wanted = listing.names(glob, "/queue/")
    totals = await broker.record("stats")
    rows = await broker.rows("queues", match=pattern)
    queues = [row for row in rows if wanted(str(row.get("name"))) and not broker.is_own(row)]
    return Sight(time.strftime("%H:%M:%S"), totals, queues)


async def _in_batch(
    broker: Admin, sight: Sight, view: View, params: Mapping[str, Any], out: Out
) -> None:
    looks = 1
    due = trio.current_time()
    while True:
        if out.settings.json:
            queues = [listing.as_json(row) for row in sight.queues]
            await out.json({"totals": listing.as_json(sight.totals), "queues": queues})
        else:
            lines = [*head(sight, view), "", *body(sight, view, tty=False), ""]
            await out.write("".join(f"{line}\n" for line in lines).encode())
        if looks == params["iterations"]:
            return
        looks += 1
        due = max(due + params["interval"], trio.current_time())
        await trio.sleep_until(due)
        sight = await _look(broker, params["glob"])


async def _on_screen(
    broker: Admin,
    sight: Sight,
    view: View,
    params: Mapping[str, Any],
    out: Out,
    pressed: trio.lowlevel.ParkingLot,
) -> None:
    looks = 1
    await out.write(_ENTER)
    try:
        due = trio.current_time() + params["interval"]
        while True:
            await out.write(screen(sight, view, shutil.get_terminal_size((80, 24))))
            with trio.move_on_at(due):
                await pressed.park()
            if view.over or (looks == params["iterations"] and trio.current_time() >= due):
                return
            if trio.current_time() >= due:
                due = trio.current_time() + params["interval"]
                if not view.paused:
                    sight = await _look(broker, params["glob"])
                    looks += 1
    finally:
        os.write(1, _LEAVE)


# What is seen, as text.


def head(sight: Sight, view: View) -> list[str]:
    """Return the lines with the broker's totals."""
    totals = sight.totals

    def told(name: str) -> str:
        return listing.shown(name, totals.get(name))

    paused = "  paused" if view.paused else ""
    lines = (
        f"{told('server')}  {sight.at}  up {told('uptime')}  {told('connections')} connections  "
        f"{told('subscriptions')} subscriptions{paused}\n"
        f"messages  {told('messages')} ready  {told('unsettled')} in flight  "
        f"{told('delayed')} delayed  in {told('in_rate')}/s  out {told('out_rate')}/s\n"
        f"since start  {told('received')} received  {told('settled')} settled  "
        f"{told('redelivered')} redelivered  {told('dead_lettered')} dead letters  "
        f"{told('expired')} expired"
    )
    return visible_text(lines).splitlines()


def body(sight: Sight, view: View, *, tty: bool) -> list[str]:
    """Return the lines of the table of queues."""
    wanted = Wanted(sort=view.sort, reverse=view.reverse)
    rows: Sequence[Row] = wanted.choose(QUEUES, sight.queues)
    text = listing.as_table(_COLUMNS, rows, header=True, tty=tty)
    return text.splitlines()


def screen(sight: Sight, view: View, size: os.terminal_size) -> bytes:
    """Return what draws one screen; what does not fit on it is left out."""
    lines = [*head(sight, view), "", *body(sight, view, tty=False)]
    order = f"{view.sort.replace('_', ' ')}{', reversed' if view.reverse else ''}"
    foot = f"q quit  s sort ({order})  r reverse  p pause"
    lines = [line[: size.columns] for line in lines][: max(size.lines - 2, 1)]
    lines += [""] * (size.lines - 1 - len(lines)) + [foot[: size.columns]]
    drawn = f"{_END_OF_LINE}\r\n".join(lines) + _END_OF_LINE
    return _HOME + drawn.encode("utf-8", "surrogateescape") + _REST


# Keys.


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Have each key at once, and none of them shown; signals still are signals."""
    before = termios.tcgetattr(0)
    try:
        tty.setcbreak(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@asynccontextmanager
async def _keys(view: View) -> AsyncIterator[trio.lowlevel.ParkingLot]:
    """Let keys change a view; yields where to wait for that."""
    pressed = trio.lowlevel.ParkingLot()

    async def read() -> None:
        while True:
            data = await trio.to_thread.run_sync(_next_keys)
            changed = False
            for key in data:
                changed = view.press(key) or changed
            if changed:
                pressed.unpark_all()

    with _raw_terminal():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            yield pressed
            nursery.cancel_scope.cancel()


def _next_keys() -> str:
    """Return the keys that were pressed within a moment, q if the terminal has gone."""
    if not select.select([0], [], [], _POLL)[0]:
        return ""
    try:
        data = os.read(0, 64)
    except OSError:
        data = b""
    return data.decode("ascii", "ignore") if data else "q"
