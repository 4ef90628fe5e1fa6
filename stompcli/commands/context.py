"""context: brokers under names."""

from collections.abc import Mapping
from typing import Any, Final

import trio

from stompcli import contexts, listing
from stompcli.actions import check_options
from stompcli.asking import check_consent, consent
from stompcli.client import StompError
from stompcli.client import url as urls
from stompcli.contexts import FILES, KEYS, Context
from stompcli.editing import edited
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, of, usage
from stompcli.files import absolute
from stompcli.output import Out
from stompcli.passwords import typed_password
from stompcli.precedence import Said, with_context
from stompcli.render import visible_line
from stompcli.running import supervise
from stompcli.session import Session
from stompcli.settings import Settings

_TAKES: Final = {
    "select": "add edit",
    "description": "add edit",
    "from_url": "add",
    "replace": "add",
    "none": "select",
    "plain": "ls",
    "no_header": "ls",
    "yes": "rm",
}
# What a flag says as a context keeps it.
_KEPT: Final = tuple(
    key
    for key in KEYS
    if key not in ("description", "url", "ask_password", "heartbeats", "connect_headers")
)
_SHOWN: Final = ("name", "selected", "place", "user", "description")


async def context(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Keep brokers under names, and choose among them."""
    check_options("context", params, _TAKES)
    action = params["action"]
    if action == "ls":
        _no_names(params)
        await _list(params, out)
    elif action == "rm":
        await _remove(session, params, out)
    elif action == "previous":
        _no_names(params)
        before = contexts.selection()[1]
        if before is None:
            raise Failure(ExitCode.FAILED, "not-found", "no context was selected before")
        _select(before, out)
    elif action == "select":
        _select(None if params["none"] else _one_name(params), out)
    elif action == "show":
        await _show(contexts.load(_one_name(params, or_selected=True)), out)
    elif action == "test":
        return await _test(session, contexts.load(_one_name(params, or_selected=True)), out)
    elif action == "add":
        await _add(session, params, out)
    else:
        await _edit(session, params, out)
    return None


def _no_names(params: Mapping[str, Any]) -> None:
    if params["names"]:
        raise usage(f"context {params['action']} takes no name")


def _one_name(params: Mapping[str, Any], *, or_selected: bool = False) -> str:
    """Return the one name that was given, or the context that is selected."""
    names: tuple[str, ...] = params["names"]
    if len(names) == 1:
        return names[0]
    chosen = contexts.selection()[0]
    if names or not or_selected:
        raise usage(f"context {params['action']}: give the name of one context")
    if chosen is None:
        raise usage(f"context {params['action']}: no context is selected; give a name")
    return chosen


async def _list(params: Mapping[str, Any], out: Out) -> None:
    chosen = contexts.selection()[0]
    rows = []
    complaints = []
    for name in contexts.names():
        row: dict[str, Any] = {"name": name, "selected": name == chosen}
        try:
            one = contexts.load(name)
        except Failure as complaint:
            complaints.append(complaint)
            row["place"] = "unusable"
        else:
            row["place"] = one.place()
            row["user"] = one.values.get("user") or _login(one)
            row["description"] = one.values.get("description")
        rows.append(row)
    if out.settings.json:
        await out.json(rows)
    else:
        header = not params["no_header"]
        if params["plain"] or out.settings.plain:
            text = listing.as_plain(_SHOWN, rows, header=header)
        else:
            people = [{**row, "selected": "*" if row["selected"] else ""} for row in rows]
            text = listing.as_table(_SHOWN, people, header=header and bool(rows), tty=out.tty)
        await out.write(text.encode())
        if out.tty and not rows and not out.settings.quiet:
            out.aside("there are no contexts yet; stomp context add NAME --url URL makes one")
    for failure in complaints:
        out.failure(failure)


def _login(one: Context) -> str | None:
    """Return the user that the URL of a context names."""
    try:
        return urls.addresses(one.settings().get("url", ()))[0].login
    except StompError:
        return None


def _select(name: str | None, out: Out) -> None:
    contexts.select(name)
    if not out.settings.quiet:
        out.aside(f"selected {name}: {contexts.load(name).place()}" if name else "selected none")


async def _show(one: Context, out: Out) -> None:
    shown = one.shown()
    if out.settings.json:
        await out.json({"name": one.name, **shown})
        return
    await out.line(f"# {visible_line(str(one.path))}")
    await out.write(Context(one.name, one.path, shown).text().encode())


async def _remove(session: Session, params: Mapping[str, Any], out: Out) -> None:
    names: tuple[str, ...] = params["names"]
    if not names:
        raise usage("context rm: give the names of contexts")
    check_consent(session, "context rm", given=params["yes"], dry_run=False)
    for name in names:
        place = contexts.path_of(name)
        if not params["yes"] and place.exists():
            await consent(session, f"Remove the context {name} ({place})?")
        contexts.remove(name)
        if not out.settings.quiet:
            out.aside(f"removed {name}")


async def _test(session: Session, one: Context, out: Out) -> ExitCode:
    """Connect as a context says, with nothing of the environment."""
    settings = with_context(session.settings, one, above=Said.FLAG)
    trial = Session(settings, out)

    async def work() -> ExitCode | None:
        client = await trial.link()
        seconds = client.dial_seconds + client.login_seconds
        server = client.server or "a broker without a name"
        if settings.json:
            await out.json(
                {
                    "context": one.name,
                    "server": client.server,
                    "address": client.address,
                    "version": client.version,
                    "seconds": round(seconds, 6),
                }
            )
        else:
            await out.line(
                f"{one.name}: connected to {visible_line(server)} at {client.address}, "
                f"STOMP {client.version}, in {seconds * 1000:.1f} ms"
            )
        return None

    return await supervise(trial, work)


# Making and changing.


async def _add(session: Session, params: Mapping[str, Any], out: Out) -> None:
    name = contexts.check_name(_one_name(params))
    path = contexts.path_of(name)
    if path.exists() and not params["replace"]:
        raise Failure(
            ExitCode.FAILED,
            "conflict",
            f'there is a context "{name}" already',
            f"to change it: stomp context edit {name}     to write it anew: --replace",
        )
    values = _of_url(params["from_url"]) if params["from_url"] is not None else {}
    values.update(_of_flags(session.settings))
    _keep(name, values, params, out, done="added")


async def _edit(session: Session, params: Mapping[str, Any], out: Out) -> None:
    name = _one_name(params)
    one = contexts.load(name)
    changed = _of_flags(session.settings)
    if not changed and params["description"] is None:
        fresh = await trio.to_thread.run_sync(lambda: edited(one.text().encode(), suffix=".toml"))
        values = dict(contexts.parsed(name, one.path, fresh).values)
    else:
        values = {**one.values, **changed}
        if "url" in changed:
            for key in ("host", "port"):
                values.pop(key, None)
        elif "host" in changed:
            values.pop("url", None)
        if "password" in changed:
            values.pop("password_file", None)
        elif "password_file" in changed:
            values.pop("password", None)
    _keep(name, values, params, out, done="changed")


def _keep(
    name: str, values: dict[str, Any], params: Mapping[str, Any], out: Out, *, done: str
) -> None:
    if params["description"] is not None:
        values["description"] = params["description"]
    path = contexts.path_of(name)
    text = Context(name, path, values).text()
    one = contexts.parsed(name, path, text.encode())
    try:
        urls.addresses(one.settings().get("url", ("stomp://",)))
    except StompError as error:
        raise of(error) from error
    contexts.save(one)
    if params["select"]:
        contexts.select(name)
    if not out.settings.quiet:
        also = " and selected" if params["select"] else ""
        out.aside(f"{done}{also} {name}: {one.place()}")


def _of_url(url: str) -> dict[str, Any]:
    """Return the parts of a URL as values of a context."""
    try:
        address = urls.parse(url)
    except StompError as error:
        raise of(error) from error
    told: dict[str, Any] = {"user": address.login, "password": address.passcode}
    if address.path is not None:
        return {"url": f"unix://{address.path}", **_there(told)}
    told |= {"host": address.host, "port": address.port, "vhost": address.virtual_host}
    return _there({**told, "tls": address.tls or None})


def _there(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _of_flags(settings: Settings) -> dict[str, Any]:
    """Return what was given as flags, as values of a context."""

    def said(name: str) -> bool:
        return settings.said.get(name) is Said.FLAG

    values = {key: getattr(settings, key) for key in _KEPT if said(key)}
    for key in FILES:
        if key in values:
            values[key] = absolute(values[key])
    if said("url"):
        found = [part.strip() for part in urls.several(settings.url or "")]
        values["url"] = found[0] if len(found) == 1 else found
    if said("heartbeats") and settings.heartbeats is not None:
        values["heartbeats"] = "{},{}".format(*settings.heartbeats)
    if said("connect_header"):
        values["connect_headers"] = dict(settings.connect_header)
    if said("ask_password"):
        values["password"] = typed_password()
    return values
