"""The documents are true: their examples run, their links lead somewhere, nothing is left out."""

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

import stompd.broker
from docs.documents import ALL_PAGES, PAGES, ROOT, Block, anchors, blocks, links, prose, tools
from docs.terminal import Terminal, normalised
from stompd.broker.policy import Policy
from stompd.protocol.frame import NEVER_FORWARDED
from stompd.server.config import LimitSettings, PolicySettings, Settings
from stompd.server.main import commands
from stompd.server.show import as_toml

README = ROOT / "README.md"
SEMANTICS = ROOT / "docs" / "semantics.md"
LIBRARY = ROOT / "docs" / "client.md"
TESTING = ROOT / "docs" / "testing.md"


def named(page: Path) -> str:
    """Name a page in the name of a test."""
    return str(page.relative_to(ROOT))


# -- Examples --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.needs_tool(*tools(page)), id=named(page))
        for page in PAGES
        if any(block.kind == "console" for block in blocks(page))
    ],
)
def test_a_terminal_shows_what_the_document_shows(page: Path) -> None:
    """Each command of a page, run in order against one daemon, writes what the page says."""
    with Terminal(web="61680" in page.read_text("utf-8")) as terminal:
        for block in blocks(page):
            if block.file is not None:
                terminal.keep(block)
            if block.kind != "console":
                continue
            for command, expected in block.commands():
                shown = terminal.show(command, expected)
                assert normalised(shown, terminal.port) == normalised(expected), (
                    f"{named(page)}:{block.line}: $ {command}"
                )


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{named(page)}:{block.line}")
        for page in PAGES
        # Fragments, but for one program, which is run below; tests, run by spec-tests/testing.
        if page not in {LIBRARY, TESTING}
        for block in blocks(page)
        if block.kind == "python"
    ],
)
def test_a_python_example_is_run_by_its_page(page: Path, block: Block) -> None:
    """Every Python example has a name, and a command of the same page runs it."""
    assert block.file is not None
    shown = [c for other in blocks(page) if other.kind == "console" for c, _ in other.commands()]
    assert f"python {block.file}" in shown


def test_the_program_in_the_handbook_of_the_library_runs() -> None:
    """The example at its head prints the message that it sends, and waits for more."""
    program = next(block for block in blocks(LIBRARY) if block.kind == "python")
    with Terminal() as terminal:
        terminal.keep(Block("python", f"# handbook.py\n{program.text}", program.line))
        terminal.expect("python handbook.py", "hello world")


def test_every_make_target_that_is_told_exists() -> None:
    """``make NAME`` in a document is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {
        name
        for page in PAGES
        for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert told
    assert told <= targets


# -- Links and names -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ALL_PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file or a heading of this project leads to one that is there."""
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{named(page)} links out of the project: {link}"
        assert target.exists(), f"{named(page)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{named(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_are_named_exist(page: Path) -> None:
    """A test, a script or a folder that a page names in code is there."""
    for path in re.findall(
        r"`((?:spec-tests|stompd|stompcli|examples|docs)/[^`\s]*)`", prose(page)
    ):
        assert list(ROOT.glob(path.rstrip("/"))), f"{named(page)} names {path}"


def test_the_scores_of_the_readme_are_those_of_the_report() -> None:
    """What the README says of each broker's conformance stands in the report."""
    score = re.compile(r"^\| (\S+ \d[\d.]*) \| (\d+ of \d+)[^|]* \| (\d+ of \d+)", re.MULTILINE)
    told = score.findall(README.read_text())
    assert len(told) >= 3
    assert told == score.findall((ROOT / "docs" / "conformance" / "README.md").read_text())


def test_every_page_is_linked_from_the_readme() -> None:
    """Who begins at README.md finds every page."""
    reached = {(README.parent / link.partition("#")[0]).resolve() for link in links(README)}
    assert {page for page in PAGES if page != README} <= reached


def test_requirements_that_are_cited_exist() -> None:
    """A requirement's id in a document is one of the list."""
    rows = tomllib.loads((ROOT / "spec-tests" / "requirements.toml").read_text())
    known = {row["id"] for row in rows["requirement"]}
    prefixes = "|".join(sorted({identifier.rpartition("-")[0] for identifier in known}))
    for page in PAGES:
        cited = set(re.findall(rf"\b(?:{prefixes})-\d\d\b", prose(page)))
        assert cited <= known, f"{named(page)} cites {cited - known}"


def test_every_section_of_the_contract_names_its_tests() -> None:
    """Each section of docs/semantics.md ends with the tests that prove it."""
    sections = re.split(r"^## ", SEMANTICS.read_text(), flags=re.MULTILINE)[1:]
    assert sections
    for section in sections:
        title, _, body = section.partition("\n")
        last = body.strip().split("\n\n")[-1]
        assert last.startswith("Proved by `spec-tests/"), f"section {title} ends with {last}"


# -- Completeness ----------------------------------------------------------------------------------


def table(page: Path, *columns: int) -> dict[str, tuple[str, ...]]:
    """Return the rows of a page's tables whose first cell is one name in code."""
    rows = {}
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and re.fullmatch(r"`[^`]+`", cells[0]):
            rows[cells[0].strip("`")] = tuple(cells[column] for column in columns)
    return rows


def built_in() -> dict[str, str]:
    """Return the built-in value of each key, as ``stompd show-config`` writes it."""
    values = {}
    prefix = ""
    for line in as_toml(Settings()).splitlines():
        if line.startswith("["):
            prefix = line.strip("[]") + "."
        elif line:
            key, _, value = line.partition(" = ")
            values[prefix + key] = value
    return values


def test_every_limit_stands_in_the_readme_with_its_value() -> None:
    """The README's table of limits names all of them, each with its built-in value."""
    rows = table(README, 1)
    values = built_in()
    limits = {f"limits.{name.replace('_', '-')}" for name in LimitSettings.model_fields}
    assert limits <= set(rows)
    for key in limits | {"timeouts.login"}:
        assert rows[key][0] == f"`{values[key]}`", key


def test_every_key_of_a_policy_stands_in_the_contract() -> None:
    """docs/semantics.md tells what each key of a policy does."""
    rows = table(SEMANTICS, 0)
    keys = {name.replace("_", "-") for name in PolicySettings.model_fields}
    assert keys <= set(rows)
    assert {name.replace("_", "-") for name in Policy.__dataclass_fields__} <= keys


def test_headers_that_are_never_passed_on_stand_in_the_contract() -> None:
    """docs/semantics.md lists exactly the headers that are not passed on."""
    section = SEMANTICS.read_text().partition("### Never passed on\n")[2].partition("\n#")[0]
    sentence = section.strip().partition("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", sentence)) == NEVER_FORWARDED | {
        "content-length",
        "destination",
    }


def constants(module: ast.Module) -> dict[str, ast.expr]:
    """Return the values of a module's constants that are texts, by name."""
    return {
        node.target.id: node.value
        for node in module.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def error_messages() -> set[str]:
    """Return the `message` of every ERROR that stompd can write, `…` for what varies in it."""
    found = set()
    for path in sorted((ROOT / "stompd").rglob("*.py")):
        module = ast.parse(path.read_text())
        named = constants(module)
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "RemoteProtocolError":
                first = node.args[0]
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                # What is missing in a frame: message and detail, made in one place for all.
                first = node.value.elts[0] if path.name == "rules.py" else ast.Constant(value=0)
            else:
                continue
            if isinstance(first, ast.Name):
                first = named.get(first.id, first)
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
            elif isinstance(first, ast.JoinedStr):
                found.add(
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in first.values
                    )
                )
    return found


def test_every_error_stands_in_the_contract() -> None:
    """docs/semantics.md lists the `message` of each ERROR, and none that is not written."""
    listed = SEMANTICS.read_text().partition("## Errors\n")[2].partition("\n## ")[0]
    rows = {
        message.replace("COMMAND", "…").replace("HEADER", "…").replace("VERSION", "…")
        for line in listed.splitlines()
        if line.startswith("| `")
        for message in re.findall(r"`([^`]+)`", line.split("|")[1])
    }
    written = error_messages() | {"login refused", "too many log-ins"}
    assert len(written) > 40
    assert rows == written


def test_every_module_of_the_broker_is_on_its_map() -> None:
    """The docstring of stompd.broker tells what each module is for, and of no other one."""
    named = set(re.findall(r"``(\w+)``", stompd.broker.__doc__ or ""))
    folder = ROOT / "stompd" / "broker"
    modules = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    assert named == modules


def options() -> set[str]:
    """Return the long options of stompd and its commands."""
    every = [commands, *commands.commands.values()]
    return {
        name
        for command in every
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }


def test_every_flag_of_stompd_is_explained() -> None:
    """Each option stands in a document or has a sentence in ``--help``, and most have both."""
    written = "\n".join(page.read_text() for page in PAGES)
    helped = {
        name
        for command in [commands, *commands.commands.values()]
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.help
        for name in parameter.opts
    }
    assert {name for name in options() if name not in written} <= helped


def test_flags_that_are_told_exist() -> None:
    """An option that a document gives to stompd is one that stompd has."""
    known = options() | {"--help", "--version"}
    for page in PAGES:
        for line in re.findall(r"(?:\$ |`)(stompd [^`\n]*)", page.read_text()):
            told = set(re.findall(r"(?<= )--[a-z-]+", line.partition("#")[0]))
            assert told <= known, f"{named(page)}: {line}"
