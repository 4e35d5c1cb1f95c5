"""The template language: what it fills in, repeats, leaves out, and refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.commands.manifests.template import TemplateError, loops, render

PARTS = {"port.part": "port: @PORT@\nname: web", "nested.part": "spec:\n  #@ include port.part"}


def rendered(text: str, lists: dict[str, list[dict[str, str]]] | None = None, **values: str) -> str:
    return render(text, "t", values, lists or {}, PARTS.__getitem__)


def test_values_are_filled_in() -> None:
    assert rendered("image: @REGISTRY@/a:@TAG@", REGISTRY="r:5000", TAG="1.2") == "image: r:5000/a:1.2\n"


def test_a_loop_repeats_its_body_with_each_entrys_values() -> None:
    text = "#@ for TYPE in TYPES\n- @TYPE@\n#@ end\nlast"
    assert rendered(text, {"TYPES": [{"TYPE": "a"}, {"TYPE": "b"}]}) == "- a\n- b\nlast\n"


@pytest.mark.parametrize(("value", "shown"), [("yes", "a: 1\n"), ("", "b: 2\n")])
def test_a_condition_asks_whether_a_name_has_a_value(value: str, shown: str) -> None:
    assert rendered("#@ if X\na: 1\n#@ end\n#@ if not X\nb: 2\n#@ end", X=value) == shown


def test_a_part_takes_the_indentation_of_its_line() -> None:
    assert rendered("a:\n  #@ include nested.part", PORT="1") == "a:\n  spec:\n    port: 1\n    name: web\n"


def test_a_value_that_is_set_ends_with_its_block() -> None:
    text = "#@ if X\n#@ set P = inner\n@P@\n#@ end\n@P@"
    assert rendered(text, X="1", P="outer") == "inner\nouter\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: @NOTHING@", "t:1: @NOTHING@ has no value"),
        ("#@ if X\na", "t:1: '#@ if' has no '#@ end'"),
        ("a\n#@ end", "t:2: '#@ end' without"),
        ("#@ unless X", "t:1: unknown directive 'unless'"),
        ("#@ for A in B\n#@ end", "LIST one of"),
        ("#@ include no.part", "t:1: there is no part 'no.part'"),
        ("#@ if UNKNOWN\n#@ end", "UNKNOWN is not a known name"),
        ("#@ set A", "expected '#@ set NAME = value'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message.replace("(", r"\(")):
        rendered(text)


def test_the_loops_of_a_template_stand_alone() -> None:
    text = "head\n#@ for TYPE in TYPES\n#@ if X\n@TYPE@\n#@ end\n#@ end\nmiddle\n#@ for P in PORTS\n@P@\n#@ end"
    assert loops(text, "t", "TYPES") == "#@ for TYPE in TYPES\n#@ if X\n@TYPE@\n#@ end\n#@ end\n"
    assert loops("nothing", "t", "TYPES") == ""


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="@#\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_text_without_directives_comes_out_as_it_went_in(text: str) -> None:
    assert rendered(text) == text + "\n"
