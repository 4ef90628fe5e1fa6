"""Selectors: every construct, three truths, conversions, errors; and any text at all."""

import re
import subprocess
import sys
from fractions import Fraction
from math import trunc
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stompd.broker.selector import DEEPEST, LONGEST, MOST, compile_selector
from stompd.protocol.errors import RemoteProtocolError

HEADERS = {
    "colour": "red",
    "weight": "2600",
    "ratio": "2.5",
    "cold": "-7",
    "empty": "",
    "yes": "true",
    "no": "FALSE",
    "one": "1",
    "x-type": "a",
    "header.a": "4",
    "Colour": "blue",
    "it's": "x",
    'say "hi"': "y",
    "in": "z",
    "größe": "12",
    "$a_1": "v",
    "path": "50%_a\nb",
    "date": "2026-11-25",
    "blank": " 3 ",
}
TRUE, FALSE, UNKNOWN = True, False, None


def outcome(text: str, headers: dict[str, str] = HEADERS) -> bool | None:
    """What a selector says of some headers: true, false or unknown."""
    true = compile_selector(text).matches(headers)
    false = compile_selector(f"NOT ({text})").matches(headers)
    assert not (true and false)
    return None if true is false else true


def refusal(text: str) -> str:
    """What the error says of a text that is no selector."""
    with pytest.raises(RemoteProtocolError) as caught:
        compile_selector(text)
    assert caught.value.message == "malformed selector"
    return caught.value.detail


# -- What can be written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Comparisons with text, in the order of characters.
        ("colour = 'red'", TRUE),
        ("colour = 'Red'", FALSE),
        ("'red' = colour", TRUE),
        ("colour <> 'red'", FALSE),
        ("colour != 'blue'", TRUE),
        ("colour < 'ree'", TRUE),
        ("colour > 'ree'", FALSE),
        ("'ree' > colour", TRUE),
        ("date >= '2026-11-01' AND date < '2026-12-01'", TRUE),
        ("date BETWEEN '2026-11-26' AND '2026-12-01'", FALSE),
        ("empty = ''", TRUE),
        ("'a' = 'a'", TRUE),
        ("'a' > 'b'", FALSE),
        ("path = '50%_a\nb'", TRUE),
        # Comparisons with numbers.
        ("weight = 2600", TRUE),
        ("weight = 2600.0", TRUE),
        ("weight <> 2600", FALSE),
        ("weight < 2600", FALSE),
        ("weight <= 2600", TRUE),
        ("weight > 2599.5", TRUE),
        ("weight >= 2601", FALSE),
        ("2601 > weight", TRUE),
        ("2601 <= weight", FALSE),
        ("ratio = 2.5", TRUE),
        ("cold = -7", TRUE),
        ("cold < 0", TRUE),
        ("blank = 3", TRUE),
        ("1 < 2", TRUE),
        ("1 = 1.5", FALSE),
        # Two headers: as numbers if both are some.
        ("weight > one", TRUE),
        ("weight > cold", TRUE),
        ("ratio = one", FALSE),
        ("colour > weight", TRUE),
        ("weight < colour", TRUE),
        ("Colour = colour", FALSE),
        # Booleans.
        ("yes", TRUE),
        ("no", FALSE),
        ("one", TRUE),
        ("NOT no", TRUE),
        ("yes = TRUE", TRUE),
        ("no = false", TRUE),
        ("True = yes", TRUE),
        ("yes <> TRUE", FALSE),
        ("no <> TRUE", TRUE),
        ("TRUE", TRUE),
        ("FALSE", FALSE),
        ("TRUE = FALSE", FALSE),
        ("(weight > 1) = TRUE", TRUE),
        ("(weight > 1) = FALSE", FALSE),
        # Logic; AND binds closer than OR, NOT closer than AND.
        ("colour = 'red' AND weight > 2500", TRUE),
        ("colour = 'red' AND weight > 2700", FALSE),
        ("colour = 'red' and weight > 1 And ratio > 3", FALSE),
        ("colour = 'blue' OR weight > 1", TRUE),
        ("colour = 'blue' or weight < 1 oR ratio > 3", FALSE),
        ("TRUE OR TRUE AND FALSE", TRUE),
        ("(TRUE OR TRUE) AND FALSE", FALSE),
        ("NOT FALSE AND FALSE", FALSE),
        ("NOT (FALSE AND FALSE)", TRUE),
        ("not not Not no", TRUE),
        ("NOT weight = 1", TRUE),
        # BETWEEN.
        ("weight BETWEEN 2600 AND 2700", TRUE),
        ("weight between 2500 and 2600", TRUE),
        ("weight BETWEEN 2601 AND 2700", FALSE),
        ("weight NOT BETWEEN 2601 AND 2700", TRUE),
        ("weight BETWEEN 1 AND 2 OR yes", TRUE),
        ("3 BETWEEN one AND ratio + 1", TRUE),
        # IN.
        ("colour IN ('red', 'blue')", TRUE),
        ("colour in ('green')", FALSE),
        ("colour NOT IN ('red', 'blue')", FALSE),
        ("weight IN (1, 2600.0)", TRUE),
        ("weight NOT IN (1, 2)", TRUE),
        ("cold IN (+1, -7)", TRUE),
        ("cold IN (- -7)", FALSE),
        ("weight IN ('2600')", TRUE),
        ("weight IN ('x', 2600)", TRUE),
        ("weight IN ('2600', 1)", TRUE),
        ("weight IN ('2600.0', 1)", FALSE),
        ("weight + 1 IN (2601)", TRUE),
        ("weight + 1 NOT IN (2601)", FALSE),
        ("3 IN (1, 2, 3)", TRUE),
        ("3 IN (1, 2)", FALSE),
        ("'a' IN ('a', 'b')", TRUE),
        ("'c' IN ('a', 'b')", FALSE),
        # LIKE.
        ("colour LIKE 'red'", TRUE),
        ("colour LIKE 're'", FALSE),
        ("colour LIKE 'r%'", TRUE),
        ("colour LIKE 'e%'", FALSE),
        ("colour LIKE '%'", TRUE),
        ("empty LIKE '%'", TRUE),
        ("empty LIKE ''", TRUE),
        ("empty LIKE '_'", FALSE),
        ("colour LIKE '%d'", TRUE),
        ("colour LIKE '%e'", FALSE),
        ("colour LIKE '%e%'", TRUE),
        ("colour LIKE '%r%d%'", TRUE),
        ("colour LIKE '%d%r%'", FALSE),
        ("colour LIKE 'r%%d'", TRUE),
        ("colour LIKE 'red%red'", FALSE),
        ("colour LIKE 'r_d'", TRUE),
        ("colour LIKE '_'", FALSE),
        ("colour LIKE '_e%'", TRUE),
        ("colour LIKE '_r%'", FALSE),
        ("colour LIKE '%_d'", TRUE),
        ("colour LIKE '%_r'", FALSE),
        ("colour LIKE '%_e_%'", TRUE),
        ("colour LIKE '%_r_%'", FALSE),
        ("colour NOT LIKE 'r%'", FALSE),
        ("colour NOT LIKE 'b%'", TRUE),
        ("colour LIKE 'R%'", FALSE),
        ("colour LIKE 'r.d'", FALSE),
        ("path LIKE '50!%!_a%b' ESCAPE '!'", TRUE),
        ("path LIKE '50!%!_b%' escape '!'", FALSE),
        ("path LIKE '50%!_a_b' ESCAPE '!'", TRUE),
        ("path LIKE '!5!0%' ESCAPE '!'", TRUE),
        ("path LIKE '50%%%_a_b' ESCAPE '%'", TRUE),
        ("'ab' LIKE 'a_'", TRUE),
        ("'ab' LIKE 'b%'", FALSE),
        # NULL.
        ("missing IS NULL", TRUE),
        ("colour is null", FALSE),
        ("empty IS NULL", FALSE),
        ("missing IS NOT NULL", FALSE),
        ("colour IS NOT NULL", TRUE),
        # Arithmetic.
        ("weight + 1 = 2601", TRUE),
        ("weight - 1 - 1 = 2598", TRUE),
        ("2 + 3 * 4 = 14", TRUE),
        ("(2 + 3) * 4 = 20", TRUE),
        ("weight / 2 / 2 * 2 = 1300", TRUE),
        ("7 / 2 = 3", TRUE),
        ("-7 / 2 = -3", TRUE),
        ("7 / -2 = -3", TRUE),
        ("-7 / -2 = 3", TRUE),
        ("7 / 2.0 = 3.5", TRUE),
        ("blank / 2 = 1", TRUE),
        ("cold / 2 = -3", TRUE),
        ("ratio * 2 = 5", TRUE),
        ("-cold = 7", TRUE),
        ("+cold = -7", TRUE),
        ("- -cold = -7", TRUE),
        ("- + - -7 = cold", TRUE),
        ("1 - -1 = 2", TRUE),
        ("weight + one = one + weight", TRUE),
        ("((weight)) = ((2600))", TRUE),
        # Literals.
        ("weight = 2600L", TRUE),
        ("weight = 0xA28", TRUE),
        ("weight = 0Xa28l", TRUE),
        ("weight = 2.6E3", TRUE),
        ("weight = 26e+2", TRUE),
        ("weight = 260000e-2", TRUE),
        ("weight = 2600.", TRUE),
        ("weight = 2600d", TRUE),
        ("weight = 2600.0F", TRUE),
        (".5 = 0.5", TRUE),
        ("0 = 0.0", TRUE),
        ("007.5 = 7.5", TRUE),
        ("-9223372036854775808 < 9223372036854775807", TRUE),
        ("\"it's\" = 'x'", TRUE),
        ("'it''s' = 'it''s'", TRUE),
        ("'''' LIKE '_'", TRUE),
        # Names.
        ('"say ""hi""" = \'y\'', TRUE),
        ("\"in\" = 'z'", TRUE),
        ("\"x-type\" = 'a'", TRUE),
        ("x-type = 'a'", TRUE),
        ("x-type='a'", TRUE),
        ("header.a > 3", TRUE),
        ("größe = 12", TRUE),
        ("$a_1 = 'v'", TRUE),
        ("Colour = 'blue'", TRUE),
        ("weight-1 IS NULL", TRUE),
        ("weight - 1 = 2599", TRUE),
        ("weight -1 = 2599", TRUE),
        ("weight- 1 = 2599", TRUE),
        ("weight--1 = 2601", TRUE),
        ("2601-one = weight", TRUE),
        ("x.y-z IS NULL", TRUE),
        # Blanks.
        ("\tcolour\n=\r\f'red' ", TRUE),
        ("colour='red'AND weight>1", TRUE),
        # ActiveMQ's switches.
        ("convert_string_expressions:weight > 5", TRUE),
        (" hyphenated_props: convert_string_expressions:x-type = 'a'", TRUE),
    ],
)
def test_a_selector_says_what_sql_says(text: str, expected: bool | None) -> None:  # noqa: FBT001
    """Each construct, with an outcome that is known, gives it; and NOT gives the other."""
    if text.lstrip().startswith(("convert", "hyphenated")):
        assert compile_selector(text).matches(HEADERS) is expected
    else:
        assert outcome(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "missing = 'red'",
        "missing <> 'red'",
        "missing < 'red'",
        "'red' >= missing",
        "missing = 1",
        "missing <> 1",
        "missing > colour",
        "colour <> missing",
        "missing",
        "colour",
        "empty",
        "colour = TRUE",
        "missing <> FALSE",
        "colour = 1",
        "colour <> 1",
        "1 < colour",
        "empty = 0",
        "colour + 1 > 0",
        "1 + missing > 0",
        "-colour > 0",
        "one / 0 = 1",
        "1 / 0 = 1",
        "1 / 0.0 <> 1",
        "1 / 0 + 1 > 0",
        "one / (one - 1) = 1",
        "missing BETWEEN 1 AND 2",
        "colour NOT BETWEEN 1 AND 2",
        "2 BETWEEN 1 AND missing",
        "missing IN ('a')",
        "missing NOT IN ('a')",
        "missing IN ('a', 1)",
        "colour IN (1, 2)",
        "colour NOT IN ('a', 2)",
        "colour + 1 IN (1)",
        "missing LIKE '%'",
        "missing NOT LIKE '%'",
        "1e308 * 10 > 1",
        "1e308 * 10 - 1e308 * 10 = 0",
    ],
)
def test_what_cannot_be_known_is_neither_true_nor_false(text: str) -> None:
    """An absent header, a value that is no number, a division by zero: unknown, as is its NOT."""
    assert outcome(text) is UNKNOWN


TRUTHS = {"yes": TRUE, "no": FALSE, "missing": UNKNOWN}


def conjunction_of(values: list[bool | None]) -> bool | None:
    """AND of three-valued logic."""
    return FALSE if FALSE in values else UNKNOWN if UNKNOWN in values else TRUE


def disjunction_of(values: list[bool | None]) -> bool | None:
    """OR of three-valued logic."""
    return TRUE if TRUE in values else UNKNOWN if UNKNOWN in values else FALSE


@pytest.mark.parametrize("one", TRUTHS)
@pytest.mark.parametrize("other", TRUTHS)
def test_logic_has_three_values(one: str, other: str) -> None:
    """AND, OR and NOT follow SQL's truth tables, with two operands and with three."""
    values = [TRUTHS[one], TRUTHS[other]]
    assert outcome(f"{one} AND {other}") is conjunction_of(values)
    assert outcome(f"{one} OR {other}") is disjunction_of(values)
    for third, value in TRUTHS.items():
        assert outcome(f"{one} AND {other} AND {third}") is conjunction_of([*values, value])
        assert outcome(f"{one} OR {other} OR {third}") is disjunction_of([*values, value])
    inverse = {TRUE: FALSE, FALSE: TRUE, UNKNOWN: UNKNOWN}
    assert outcome(f"NOT {one}") is inverse[TRUTHS[one]]


# -- Conversions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", TRUE),
        ("+5", TRUE),
        ("05", TRUE),
        ("5.0", TRUE),
        ("5.", TRUE),
        ("50e-1", TRUE),
        ("\t5 ", TRUE),
        ("-5", FALSE),
        ("6", FALSE),
        (".5", FALSE),
        ("9223372036854775807", FALSE),
        ("9" * 64, FALSE),
        ("9" * 65, UNKNOWN),
        ("5x", UNKNOWN),
        ("0x5", UNKNOWN),
        ("5_0", UNKNOWN),
        ("٥", UNKNOWN),  # noqa: RUF001 - Arabic 5: int() takes it
        ("\n5\r", TRUE),
        ("- 5", UNKNOWN),
        ("-x", UNKNOWN),
        ("-5.5", FALSE),
        ("-", UNKNOWN),
        ("x5", UNKNOWN),
        ("1e5_0", UNKNOWN),
        ("-inf", UNKNOWN),
        ("nan", UNKNOWN),
        ("inf", UNKNOWN),
        ("1e999", UNKNOWN),
        ("", UNKNOWN),
        (".", UNKNOWN),
        ("--5", UNKNOWN),
    ],
)
def test_a_value_is_a_number_if_it_looks_like_one(value: str, expected: bool | None) -> None:  # noqa: FBT001
    """Decimal numbers with blanks around them, and nothing else that Python reads as one."""
    assert outcome("n = 5", {"n": value}) is expected
    assert outcome("n + 0 = 5", {"n": value}) is expected
    assert outcome("n IN (5)", {"n": value}) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", TRUE),
        ("TRUE", TRUE),
        (" True ", TRUE),
        ("1", TRUE),
        ("false", FALSE),
        ("False", FALSE),
        ("0", FALSE),
        ("yes", UNKNOWN),
        ("", UNKNOWN),
        ("2", UNKNOWN),
    ],
)
def test_a_value_is_a_boolean_as_elsewhere(value: str, expected: bool | None) -> None:  # noqa: FBT001
    """``true`` and ``false`` in any letter case, 1 and 0."""
    assert outcome("flag", {"flag": value}) is expected
    assert outcome("flag = TRUE", {"flag": value}) is expected
    assert outcome("FALSE <> flag", {"flag": value}) is expected


def test_large_whole_numbers_are_exact_up_to_64_bits() -> None:
    """Two neighbours that floating point cannot tell apart are told apart."""
    headers = {"n": "9007199254740993", "m": "9223372036854775807"}
    assert outcome("n = 9007199254740993", headers) is TRUE
    assert outcome("n = 9007199254740992", headers) is FALSE
    assert outcome("n - 1 = 9007199254740992", headers) is TRUE
    assert outcome("m - 1 = 9223372036854775806", headers) is TRUE


def test_products_do_not_grow_without_bound() -> None:
    """What exceeds 64 bits goes on as floating point, and beyond that it is unknown."""
    headers = {"n": "9" * 18}
    assert outcome("n * n * n > 1e53", headers) is TRUE
    assert outcome(" * ".join(["n"] * 1000) + " > 0", headers) is UNKNOWN


# -- JMS's names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("JMSPriority = 4", {}),
        ("JMSPriority > 6", {"priority": "7"}),
        ("JMSPriority = 2", {"priority": "7", "JMSPriority": "2"}),
        ("JMSCorrelationID = 'x'", {"correlation-id": "x"}),
        ("JMSType = 'x'", {"type": "x"}),
        ("JMSMessageID LIKE 'x%'", {"message-id": "x-1"}),
        ("JMSTimestamp > 1700000000000", {"timestamp": "1700000000001"}),
        ("JMSReplyTo IN ('/temp-queue/a')", {"reply-to": "/temp-queue/a"}),
        ("JMSDestination = '/queue/a'", {"destination": "/queue/a"}),
        ("JMSExpiration = 0", {}),
        ("JMSExpiration > 5", {"expires": "6"}),
        ("JMSDeliveryMode = 'NON_PERSISTENT'", {}),
        ("JMSDeliveryMode = 'NON_PERSISTENT'", {"persistent": "false"}),
        ("JMSDeliveryMode = 'PERSISTENT'", {"persistent": "True"}),
        ("JMSDeliveryMode = 'x'", {"persistent": "true", "JMSDeliveryMode": "x"}),
        ("JMSXGroupID = 'g'", {"JMSXGroupID": "g", "message-group": "h"}),
        ("JMSXGroupID = 'g'", {"message-group": "g"}),
        ("JMSXGroupID = 'g'", {"message_group": "g"}),
        ("JMSXGroupID = 'g'", {"_AMQ_GROUP_ID": "g"}),
        ("JMSXGroupID IS NULL", {}),
        ("JMSPriority = JMSPriority AND JMSType IS NULL", {}),
    ],
)
def test_jms_names_stand_for_headers_of_stomp(text: str, headers: dict[str, str]) -> None:
    """The header of that very name if there is one, else the one that STOMP's programs write."""
    assert outcome(text, headers) is TRUE


def test_a_selector_tells_the_headers_that_it_looks_at() -> None:
    """All names, quoted ones without their quotes, and those that JMS's names stand for."""
    found = compile_selector("x-type = 'a' OR \"b c\" IS NULL AND JMSPriority > 3 AND n-1 > x - y")
    assert found.names == {"x-type", "b c", "JMSPriority", "priority", "n-1", "x", "y"}
    assert compile_selector("JMSDeliveryMode = 'x'").names == {"JMSDeliveryMode", "persistent"}
    assert compile_selector("TRUE").names == set()


def test_equal_texts_are_compiled_once() -> None:
    """A thousand subscribers with one selector share it; it shows the text as it was written."""
    text = "  hyphenated_props:colour = 'equal'"
    found = compile_selector(text)
    assert compile_selector(text) is found
    assert found.text == text
    assert text in repr(found)


def test_lark_is_loaded_by_the_first_selector() -> None:
    """A broker without selectors does not pay for the parser."""
    code = """if True:
        import sys
        from stompd.broker.selector import compile_selector
        assert "lark" not in sys.modules
        compile_selector("a = 1")
        assert "lark" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


# -- Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (
            "",
            "column 1: expected the name of a header or a value; the selector ends here",
        ),
        (
            "colour == 1",
            'column 9: expected the name of a header or a value; found "= 1" after "colour ="',
        ),
        (
            "in = 3",
            'column 1: expected the name of a header or a value; found "in = 3"',
        ),
        (
            "colour 'red'",
            'column 8: expected a comparison, AND, OR or the end; found "\'red\'" after "colour"',
        ),
        (
            "a = 1 b = 2",
            'column 7: expected AND, OR or the end; found "b = 2" after "a = 1"',
        ),
        (
            "(a = 1",
            'column 7: expected ")"; the selector ends here after "(a = 1"',
        ),
        ("a = 1)", 'column 6: a ")" without its "("; found ")" after "a = 1"'),
        ("a IN (1))", 'column 9: a ")" without its "("'),
        ("a = )", "column 5: expected the name of a header or a value"),
        ("a IN 3", 'column 6: expected "("; found "3" after "a IN"'),
        ("a IN ()", 'column 7: expected a string or a number; found ")" after "a IN ("'),
        ("a IN (1", 'column 8: expected "," or ")"; the selector ends here after "a IN (1"'),
        ("a IN (b)", 'column 7: expected a string or a number; found "b)" after "a IN ("'),
        ("a IN (-'b')", 'column 8: expected a number; found "\'b\')" after "a IN (-"'),
        ("a LIKE b", 'column 8: expected a string; found "b" after "a LIKE"'),
        ("a LIKE 'b' ESCAPE", "column 18: expected a string; the selector ends here after"),
        (
            "a LIKE 'b' 'c'",
            "column 12: expected AND, OR, ESCAPE or the end; found \"'c'\" after \"a LIKE 'b'\"",
        ),
        ("a IS 3", 'column 6: expected NULL; found "3" after "a IS"'),
        ("a NOT 3", 'column 7: expected BETWEEN, IN or LIKE; found "3" after "a NOT"'),
        ("a BETWEEN 1 OR 2", 'column 13: expected AND; found "OR 2" after "a BETWEEN 1"'),
        ("a = 'b", "column 5: a string without its closing '; a ' within it is written twice"),
        ('"a = 3', "column 1: a name without its closing quote, or an empty one"),
        ('"" = 3', "column 1: a name without its closing quote, or an empty one"),
        ("a = §", "column 5: this character has no meaning here; a name with it goes in double"),
        ("a = \x00\x1b", 'found "\\x00\\x1b" after "a ="'),
        ("a = 0\ud800", 'found "\\xed\\xa0\\x80" after "a = 0"'),
        ("'a' = 1", "column 5: a string cannot be compared with a number"),
        ("1 + a < 'b'", "column 7: a number cannot be compared with a string"),
        ("a BETWEEN 1 AND (b = 2)", "column 3: a condition can be compared with TRUE and FALSE"),
        ("'a' BETWEEN 1 AND 2", "column 5: a string cannot be compared with a number"),
        ("(a = 1) = b", "column 9: a condition can be compared with TRUE and FALSE only"),
        ("a < TRUE", 'column 3: "<" is not for what is only true or false'),
        ("TRUE = 1", "column 6: a number cannot be compared with TRUE or FALSE"),
        ("5", "column 1: a number is no condition; compare it with something"),
        ("a AND 5 + 5", "column 7: a number is no condition"),
        ("a OR 'b'", "column 6: a string is no condition"),
        ("NOT 5", "column 5: a number is no condition"),
        ("a + 'b' > 1", "column 1: a string is no number"),
        ("1 < -'b'", "column 5: a string is no number"),
        ("(a = 1) * 2 = 2", "column 2: a condition is no number"),
        ("'a' IN (1)", "column 5: a string cannot be one of these values"),
        ("1 IN (1, 'b')", "column 3: a number cannot be one of these values"),
        ("TRUE IN (1)", "column 6: a condition cannot be one of these values"),
        ("1 LIKE 'b'", "column 3: LIKE asks for a header, not for a number"),
        ("'a' IS NULL", "column 5: IS NULL asks for a header, not for a string"),
        ("a LIKE 'b' ESCAPE 'xx'", "column 3: ESCAPE takes a string of one character"),
        ("a LIKE 'b' ESCAPE ''", "column 3: ESCAPE takes a string of one character"),
        ("a LIKE 'b!' ESCAPE '!'", "column 3: the pattern ends with its escape character"),
        ("a = 010", "column 5: a number with a leading 0 is octal to some and decimal to others"),
        ("a = 1.5L", "column 5: L is for whole numbers"),
        ("a = 1e999", "column 5: a number that is too large"),
        ("a = 9223372036854775809", "column 5: a whole number of more than 64 bits"),
        ("a = 0x8000000000000001", "column 5: a whole number of more than 64 bits"),
        ("a = " + "1" * 5000, "column 5: a whole number of more than 64 bits"),
        ("hyphenated_props:a = ", "column 22: expected the name of a header or a value"),
        ("no_hyphenated_props:a = 1", "column 20: this character has no meaning here"),
    ],
)
def test_an_error_says_where_and_what(text: str, detail: str) -> None:
    """The column, what was expected or is wrong, and the text on both sides of the place."""
    assert detail in refusal(text)


def test_an_error_quotes_no_more_than_the_surroundings() -> None:
    """A long selector is not sent back whole."""
    detail = refusal("a = 1 AND " * 100 + "b == 2" + " AND a = 1" * 100)
    assert detail.startswith("column 1004: ")
    assert len(detail) < 200


# -- Bounds ----------------------------------------------------------------------------------------


def test_a_selector_has_a_greatest_length() -> None:
    """The longest one is compiled; one character more is refused."""
    longest = "a = '" + "x" * (LONGEST - 6) + "'"
    assert compile_selector(longest).matches({"a": "x" * (LONGEST - 6)})
    assert refusal(longest + " ") == f"{LONGEST + 1} characters; at most {LONGEST} are allowed"


@pytest.mark.parametrize(
    ("opening", "core", "closing"),
    [
        ("(a = 1 AND ", "a = 1", ")"),
        ("NOT (a = 1 AND NOT ", "a = 1", ")"),
        ("(FALSE OR ", "a = 1", ")"),
    ],
)
def test_a_condition_has_a_greatest_depth(opening: str, core: str, closing: str) -> None:
    """At the limit it is evaluated, beyond it refused; Python's own limit is never met."""
    deep = DEEPEST - 1
    assert compile_selector(opening * deep + core + closing * deep).matches({"a": "1"})
    assert "nested too deeply" in refusal(opening * DEEPEST + core + closing * DEEPEST)
    most = LONGEST // len(opening + closing) - 1
    assert "nested too deeply" in refusal(opening * most + core + closing * most)


def test_arithmetic_has_a_greatest_depth() -> None:
    """The same for numbers within numbers."""
    deep = DEEPEST - 1
    assert compile_selector("(0+" * deep + "a" + ")" * deep + "=1").matches({"a": "1"})
    assert "nested too deeply" in refusal("-(a+" * 1000 + "a" + ")" * 1000 + "=1")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4000 + "a" + ")" * 4000 + " = 1",
        "NOT " * 2000 + "a = 1",
        "- " * 2000 + "a = 1",
        " AND ".join(["a = 1"] * 800),
        " OR ".join(["a = 2"] * 800) + " OR a = 1",
        " + ".join(["a"] * 2000) + " = 2000",
        " * ".join(["a"] * 2000) + " = 1",
    ],
)
def test_chains_are_not_deep(text: str) -> None:
    """Parentheses, NOT, signs and chains of one operator go as far as the length allows."""
    assert compile_selector(text).matches({"a": "1"})


def test_a_list_has_a_greatest_length() -> None:
    """The longest IN is searched as quickly as a short one; a longer one is refused."""
    values = [str(number) for number in range(MOST)]
    assert compile_selector(f"a IN ({','.join(values)})").matches({"a": "999"})
    assert refusal(f"a IN ({','.join([*values, '1'])})").startswith(
        f"column 3: a list of {MOST + 1} values; at most {MOST} are allowed"
    )


@pytest.mark.parametrize(
    "pattern", ["%a" * 1000 + "%b", "%_a" * 1000 + "%b%", "_%" * 1000 + "b", "%" * 4000 + "b"]
)
def test_many_wildcards_try_nothing_twice(pattern: str) -> None:
    """A pattern that would keep a backtracking matcher busy for ever is decided at once."""
    selector = compile_selector(f"a LIKE '{pattern}'")
    assert not selector.matches({"a": "a" * 20_000})
    assert selector.matches({"a": "a" * 20_000 + "b"})


def test_a_searched_piece_of_a_pattern_has_a_greatest_length() -> None:
    """Only where ``_`` and two ``%`` make it costly."""
    blanks = "_" * 257
    assert "more than 256 characters" in refusal(f"a LIKE '%{blanks}%'")
    assert compile_selector(f"a LIKE '{blanks}%{blanks}'").matches({"a": "a" * 600})
    assert compile_selector(f"a LIKE '%{'a' * 257}%'").matches({"a": "a" * 600})


# -- Any selector at all ---------------------------------------------------------------------------

NAMES = ("a", "b", "x-y", "c.d", "Not")
VALUES = (
    "",
    "0",
    "1",
    "2",
    "-1",
    "10",
    "1.5",
    "2.50",
    "abc",
    "TRUE",
    "false",
    "a%_b",
    " 3 ",
    "1e1",
)
_Tree: TypeAlias = tuple[object, ...]

_numbers = st.integers(0, 12) | st.sampled_from([0.5, 1.5, 2.0, 10.0])
_texts = st.sampled_from((*VALUES, "it's"))
_header = st.tuples(st.just("header"), st.sampled_from(NAMES))
_text = st.tuples(st.just("text"), _texts)
_number = st.tuples(st.just("number"), _numbers)
_figures = st.recursive(
    _header | _number,
    lambda inner: (
        st.tuples(st.sampled_from("+-*/"), inner, inner) | st.tuples(st.just("neg"), inner)
    ),
    max_leaves=4,
)
_signs = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
_patterns = st.text("a%_b!1", max_size=5).filter(lambda text: not re.search("(?<!!)(!!)*!$", text))
_simple = st.one_of(
    st.tuples(st.just("compare"), _signs, _figures, _figures),
    st.tuples(st.just("compare"), _signs, _header, _text | _header),
    st.tuples(st.just("compare"), _signs, _text, _header),
    st.tuples(st.just("between"), st.booleans(), _figures, _figures, _figures),
    st.tuples(
        st.just("in"),
        st.booleans(),
        _header,
        st.lists(_text | _number, min_size=1, max_size=4),
    ),
    st.tuples(st.just("in"), st.booleans(), _figures, st.lists(_number, min_size=1, max_size=4)),
    st.tuples(st.just("like"), st.booleans(), _header, _patterns, st.booleans()),
    st.tuples(st.just("null"), st.booleans(), _header),
    st.tuples(st.just("flag"), _header),
    st.tuples(st.just("bool"), st.booleans()),
)
_conditions = st.recursive(
    _simple,
    lambda inner: st.one_of(
        st.tuples(st.just("and"), st.lists(inner, min_size=2, max_size=3)),
        st.tuples(st.just("or"), st.lists(inner, min_size=2, max_size=3)),
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("is"), st.sampled_from(["=", "<>"]), inner, st.booleans()),
    ),
    max_leaves=8,
)


def written(tree: object) -> str:
    """Write an expression as a selector."""
    match tree:
        case ("header", str(name)):
            return '"Not"' if name == "Not" else name
        case ("text", str(text)):
            return "'" + text.replace("'", "''") + "'"
        case ("number", value) | ("bool", value):
            return str(value)
        case ("neg", inner):
            return f"(- {written(inner)})"
        case ("compare", sign, left, right):
            return f"{written(left)} {sign} {written(right)}"
        case ("between", no, value, low, high):
            return f"{written(value)} {'NOT ' * bool(no)}between {written(low)} AND {written(high)}"
        case ("in", no, value, list(values)):
            return f"{written(value)} {'not ' * bool(no)}IN ({', '.join(map(written, values))})"
        case ("like", no, value, pattern, escape):
            end = " ESCAPE '!'" * bool(escape)
            return f"{written(value)} {'NOT ' * bool(no)}LIKE '{pattern}'{end}"
        case ("null", no, value):
            return f"{written(value)} IS {'NOT ' * bool(no)}NULL"
        case ("flag", value):
            return written(value)
        case ("and" | "or" as word, list(parts)):
            return "(" + f" {word} ".join(map(written, parts)) + ")"
        case ("not", inner):
            return f"NOT ({written(inner)})"
        case ("is", sign, inner, value):
            return f"({written(inner)}) {sign} {value}"
        case (sign, left, right):
            return f"({written(left)} {sign} {written(right)})"
    raise AssertionError(tree)


def value_of(tree: object, headers: dict[str, str]) -> str | int | float | None:
    """What a value is worth; a header is its text."""
    match tree:
        case ("header", str(name)):
            return headers.get(name)
        case ("text", str(text)):
            return text
        case ("number", (int() | float()) as value):
            return value
    return number_of(tree, headers)


def number_of(tree: object, headers: dict[str, str]) -> int | float | None:
    """What a value is worth as a number."""
    match tree:
        case ("neg", inner):
            value = number_of(inner, headers)
            return None if value is None else -value
        case ("+" | "-" | "*" | "/" as sign, left, right):
            one, other = number_of(left, headers), number_of(right, headers)
            if one is None or other is None or (sign == "/" and other == 0):
                return None
            if sign == "/":
                if isinstance(one, int) and isinstance(other, int):
                    return trunc(Fraction(one, other))
                return one / other
            return one + other if sign == "+" else one - other if sign == "-" else one * other
    worth = value_of(tree, headers)
    if not isinstance(worth, str):
        return worth
    for kind in (int, float):
        try:
            return kind(worth)
        except ValueError:
            pass
    return None


def compared(sign: object, left: object, right: object, headers: dict[str, str]) -> bool | None:
    """SQL's comparison, with the conversions of headers."""
    one, other = value_of(left, headers), value_of(right, headers)
    if one is None or other is None:
        return None
    numbers = number_of(left, headers), number_of(right, headers)
    literal = any(isinstance(tree, tuple) and tree[0] == "text" for tree in (left, right))
    texts = isinstance(one, str) and isinstance(other, str)
    if not texts or (not literal and None not in numbers):
        one, other = numbers
    if one is None or other is None:
        return None
    order = (one > other) - (one < other)  # type: ignore[operator] # both are of one kind
    return {
        "=": order == 0,
        "<>": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[str(sign)]


def inverted(value: bool | None, *, no: object = True) -> bool | None:  # noqa: FBT001
    """NOT, if it is there."""
    return value if value is None or not no else not value


def truth_of(tree: object, headers: dict[str, str]) -> bool | None:
    """What an expression says, worked out the slow way."""
    match tree:
        case ("compare", sign, left, right):
            return compared(sign, left, right, headers)
        case ("between", no, value, low, high):
            both = [compared(">=", value, low, headers), compared("<=", value, high, headers)]
            return inverted(conjunction_of(both), no=no)
        case ("in", no, value, list(values)):
            any_of = disjunction_of([compared("=", value, each, headers) for each in values])
            return inverted(any_of, no=no)
        case ("like", no, ("header", str(name)), str(pattern), escape):
            if name not in headers:
                return None
            form = ""
            for part in re.findall("!.|." if escape else ".", pattern):
                form += {"%": ".*", "_": "."}.get(part, re.escape(part[-1]))
            return inverted(re.fullmatch(form, headers[name], re.DOTALL) is not None, no=no)
        case ("null", no, ("header", str(name))):
            return inverted(name not in headers, no=no)
        case ("flag", ("header", str(name))):
            return {"true": True, "1": True, "false": False, "0": False}.get(
                headers.get(name, "").lower()
            )
        case ("bool", bool(value)):
            return value
        case ("and", list(parts)):
            return conjunction_of([truth_of(part, headers) for part in parts])
        case ("or", list(parts)):
            return disjunction_of([truth_of(part, headers) for part in parts])
        case ("not", inner):
            return inverted(truth_of(inner, headers))
        case ("is", sign, inner, value):
            return inverted(truth_of(inner, headers), no=(sign == "=") != bool(value))
    raise AssertionError(tree)


@given(_conditions, st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES)))
def test_a_selector_agrees_with_a_naive_evaluator(tree: _Tree, headers: dict[str, str]) -> None:
    """Any expression says of any headers what the tables of three-valued logic say."""
    assert outcome(written(tree), headers) is truth_of(tree, headers)


_words = st.sampled_from(
    (
        *("a", "x-y", '"b c"', "'it''s'", "'a%'", "1", "2.5", "0x1F", "1e400", "TRUE", "false"),
        *("AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "ESCAPE", "IS", "NULL", "(", ")", ","),
        *("=", "<>", "<", ">=", "+", "-", "*", "/", "'", '"', ";", "JMSPriority", "a = 1"),
    )
)


@given(st.lists(_words, max_size=12).map(" ".join) | st.text(max_size=40))
@example("a = \udc80")
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    """Nothing that a peer writes raises anything but the protocol's error, then or later."""
    try:
        selector = compile_selector(text)
    except RemoteProtocolError as error:
        refused = error
    else:
        for headers in ({}, HEADERS, dict.fromkeys(selector.names, "1")):
            assert selector.matches(headers) in (True, False)
        return
    assert refused.message == "malformed selector"
    assert refused.detail.isascii()
