"""The one reader of YAML: keys given twice, what may make a short text huge, and errors that show no value."""

from __future__ import annotations

import pytest
import yaml

from elastic_inference.base import yaml_text
from elastic_inference.base.yaml_text import YamlLimits, YamlTextError, read, read_all, read_texts
from elastic_inference.domain.fields import shown_location

LIMITS = YamlLimits(depth=6, nodes=100)
WITH_ALIASES = YamlLimits(depth=6, nodes=10_000, aliases=True)
SECRET = "s3cret-that-nobody-may-see"


def problem(text: str | bytes, limits: YamlLimits = LIMITS) -> str:
    with pytest.raises(YamlTextError) as caught:
        read(text, limits)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a: expected each key once, but line 1 has it too"),
        ("x:\n- {b: 1}\n- {b: 1,\n   b: 2}\n", "line 4: b: expected each key once, but line 3 has it too"),
        ('a: 1\n"a": 2\n', "line 2: a: expected each key once"),
        ("1: x\n0x1: y\n", "line 2: a key: expected each key once"),
        ("a: 1\n--- \nb: 1\nb: 2\n", "line 4: b: expected each key once, but line 3 has it too"),
        ("x: !!omap [a: {b: 1, b: 2}]", "line 1: b: expected each key once"),
        (f"{SECRET}: 1\n{SECRET}: 2\n", "line 2: a key: expected each key once, but line 1 has it too"),
        ("a: 1\n? !!str {=: a}\n: 2\n", "line 2: expected a text as the key"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_its_line(text: str, words: str) -> None:
    assert words in problem(text)


def test_documents_with_aliases_may_override_what_they_merge_but_not_repeat_a_key() -> None:
    found = read("base: &b {x: 1, y: 2}\nown: {<<: *b, x: 3}\nmore: &m [*m]\n", WITH_ALIASES).value
    assert (found["own"], found["more"][0]) == ({"x": 3, "y": 2}, found["more"])
    assert "line 2: x: expected each key once" in problem("a: &a {y: 1}\nb: {<<: *a, x: 1, x: 2}\n", WITH_ALIASES)
    assert "a key: expected each key once" in problem("a: &a {y: 1}\nb: {<<: *a, <<: *a}\n", WITH_ALIASES)


def test_keys_that_only_look_alike_are_kept() -> None:
    assert read("1: a\n'1': b\nA: c\na: d\n", LIMITS).value == {1: "a", "1": "b", "A": "c", "a": "d"}
    assert read_texts("labels: [on, no, 1]\n", LIMITS) == {"labels": ["on", "no", "1"]}
    assert [each.value for each in read_all("a: 1\n---\na: 2\n", LIMITS)] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "text",
    [
        *(f"password: *{SECRET}", f"password: !{SECRET} x", f"password: &{SECRET}", f"password: '{SECRET}"),
        *(f"password: {{{SECRET}", f"password: @{SECRET}", f"a: !!int '{SECRET}'", f"? [{SECRET}]\n: 1"),
        *(f"password: {SECRET}\n a: : b", f"{SECRET}: 1\n{SECRET}: 1", f"%{SECRET}\n---\na", f'"\\{SECRET}"'),
        *(f"a: !{SECRET}!b c", f"a: !!timestamp {SECRET}", f"a: !!{SECRET}/it's b", f"a: *{SECRET}'s"),
        *(f"&{SECRET} a: 1\n&{SECRET} b: 1\nb: 2", f"a: !!map {SECRET}", f"<<: {SECRET}", f"<<: [{SECRET}]"),
    ],
)
def test_no_error_shows_what_may_be_a_password(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(limits: YamlLimits) -> str:
        try:
            read(text, limits)
        except YamlTextError as error:
            return str(error)
        return ""

    found = [shown(LIMITS), shown(WITH_ALIASES)]
    # Without libyaml, PyYAML's own parser makes other messages.
    monkeypatch.setattr(yaml_text, "_Safe", yaml.SafeLoader)
    found += [shown(LIMITS), shown(WITH_ALIASES)]
    assert "s3cret" not in str(found)
    assert max(map(len, found)) < 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1,\n  *b]", "line 2: expected no YAML alias"),
        ("a:\n  <<: {b: 1}", "line 2: expected no YAML merge"),
        ("[" * 10, "line 1: expected"),
        ("[[[[[[[1]]]]]]]", "line 1: expected fewer or flatter entries"),
        ("\n".join(["- 1"] * 200), "expected fewer or flatter entries"),
        ("a: 1\nb: !custom x", "line 2: expected no YAML tag"),
        ("a: 1\nb: 2024-99-99", "line 2: expected another value: a text needs quotes here"),
        ("a: {b: [c, }", "did not find expected"),
        ("a: 1\n---\nb: 1", "line 3: expected a single document"),
        (b"a: \xff", "expected a text in UTF-8"),
        ("a: \x01", "expected YAML"),
    ],
)
def test_errors_say_where_and_what_was_expected(text: str | bytes, words: str) -> None:
    assert words in problem(text)


def test_locations_are_shown_up_to_what_is_no_name() -> None:
    assert shown_location(["login", "password"]) == "login.password"
    assert shown_location(["types", "1"]) == "types.1"
    assert shown_location(["labels", SECRET, "more"]) == "labels.a key"
