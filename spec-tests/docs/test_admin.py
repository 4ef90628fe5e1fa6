"""docs/admin.md says what the tables say, and its examples are what a broker answers."""

import json
import re
from typing import get_args

import pytest
from broker.client import Client, Core, publish

from docs.admin_tables import PAGE, made, renewed
from docs.documents import blocks, prose
from stompd.broker.admin.request import Code
from stompd.broker.admin.verbs import VERBS


@pytest.fixture
def asker() -> Client:
    """Somebody who may ask a broker that is as the page says."""
    client = Core().administrator()
    publish(client, "/queue/orders", ["first", "second", "third"])
    return client


def test_the_tables_are_those_of_the_broker() -> None:
    """`python -m docs.admin_tables` in spec-tests writes them anew."""
    page = PAGE.read_text()
    for part in made():
        assert f"<!-- made of the tables: {part} -->" in page
    assert page == renewed(page)


def test_the_examples_are_what_is_answered(asker: Client) -> None:
    """Request by request, in the order of the page."""
    (text,) = [block.text for block in blocks(PAGE) if block.text.startswith("SEND /admin/")]
    examples = re.findall(r"^SEND /admin/(\S+) (.*)\n(.*)$", text, re.MULTILINE)
    assert len(examples) == text.count("SEND /admin/") == 7
    for verb, request, reply in examples:
        assert verb in VERBS
        asker.send(f"/admin/{verb}", request, reply_to="/temp-queue/r")
        assert asker.one("MESSAGE").text == reply
        json.loads(reply)


def test_every_code_is_explained() -> None:
    """Those of refusals, and those of `explain`."""
    told = set(re.findall(r"`([\w-]+)`", prose(PAGE)))
    assert set(get_args(Code)) <= told
    source = (PAGE.parents[1] / "stompd" / "broker" / "admin" / "explain.py").read_text()
    codes = set(re.findall(r'_reason\(\s*"([\w-]+)"', source))
    assert len(codes) > 20
    assert codes <= told
