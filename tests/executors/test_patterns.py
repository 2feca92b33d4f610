"""Patterns of JSON Schema, as ECMA-262 has them, in an engine of linear time."""

import pytest

from segue.streams.json_schema.patterns import BadPattern, from_json_schema, from_pydantic

FOUND = [
    (r"^\p{L}+$", "Évora"),
    (r"^(?<year>\d{4})-(?<month>\d{2})$", "2026-11"),
    (r"b", "abc"),
    (r"^[\w-.]+$", "a-."),
    (r"^[[]$", "["),
    (r"^[a&&b]+$", "&"),
    (r"^[^]$", "x"),
    (r"^\cA\0\x41\u0042\u{1F600}\ud83d\ude00$", "\x01\0AB😀😀"),
    (r"^\/a\-\.$", "/a-."),
    (r"^a{,3}$", "a{,3}"),
    (r"^\s$", "\ufeff"),
    (r"\bé", "xé"),
    (r"^[\d\D]$", "é"),
    (r"^[^\S]$", " "),
    (r"^[\b]$", "\b"),
    (r"^[a-\d]+$", "a-5"),
    (r"^[--/]$", "."),
    (r"[a\]]", "]"),
    (r"[(?=]", "="),
    (r"^a(?:b|c(?:d))e$", "acde"),
    (r"^[\p{L}\p{N}_-]+$", "é_-1"),
    (r"^(?:a|b)*?$", "abab"),
    (r"^.{1,2048}$", "a" * 2048),
]

NOT_FOUND = [
    (r"^\d+$", "٣"),
    (r"^\d+$", "3\n"),
    (r"^\w+$", "é"),
    (r"^.$", "\u2028"),
    (r"^\s$", "\x1c"),
    (r"^[\w-.]+$", "["),
    (r"[]", "x"),
    (r"^(\w+\s?)*$", "a" * 37 + "!"),
]


@pytest.mark.parametrize(("pattern", "text"), FOUND)
def test_a_pattern_is_found(pattern: str, text: str) -> None:
    assert from_json_schema(pattern).found_in(text)


@pytest.mark.parametrize(("pattern", "text"), NOT_FOUND)
def test_a_pattern_is_not_found(pattern: str, text: str) -> None:
    assert not from_json_schema(pattern).found_in(text)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"^\d+\Z", r"ECMA-262 has no escape \Z"),
        (r"^(?=.*\d)", "lookahead or lookbehind"),
        (r"(?<!a)b", "lookahead or lookbehind"),
        (r"(a)\1", "backreference"),
        (r"(?<n>a)\k<n>", "backreference"),
        ("[", "the bracket at 0 is not closed"),
        ("(", "unclosed group"),
        (r"\ud800", "not a character"),
        ("a" * 10_001, "10,001 characters"),
        (r"\p{L}{1,1000}{1,1000}", "size limit"),
    ],
)
def test_a_pattern_that_can_not_be_used_says_why(pattern: str, why: str) -> None:
    with pytest.raises(BadPattern) as bad:
        from_json_schema(pattern).found_in("a")
    assert why in str(bad.value)


def test_a_pattern_of_pydantic_is_searched_as_pydantic_searches() -> None:
    assert from_pydantic(r"^\d\p{L}$").found_in("٣é")


def test_a_text_with_half_a_character_is_searched() -> None:
    assert from_json_schema("b$").found_in("\ud800b")


def test_the_cost_is_the_length_times_the_repetitions() -> None:
    pattern = from_json_schema(r"^(?:a{1,10}b){1,20}$")
    first = pattern.cost("a" * 100)
    pattern.found_in("a")
    assert pattern.cost("a" * 100) == 100 * (20 * 11)
    assert first > pattern.cost("a" * 100)
