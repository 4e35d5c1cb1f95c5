"""The renderer: how the templates of `kubernetes/` are set up for Jinja2, and the error message of a mistake in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.render import Renderer


@pytest.fixture
def kubernetes(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "port.j2").write_text("{% macro port(n) %}\nport: {{ n }}\nname: web\n{%- endmacro %}\n")
    (tmp_path / "parts" / "object.yaml.j2").write_text("kind: {{ kind }}\n")
    (tmp_path / "parts" / "rules.yml").write_text('text: "{{ $value }}"\n')
    return tmp_path


def rendered(kubernetes: Path, text: str, **values: object) -> str:
    path = kubernetes / "t.yaml.template"
    path.write_text(text)
    return Renderer(kubernetes).template(path, values)


def test_lines_of_directives_leave_no_blank_lines(kubernetes: Path) -> None:
    text = "{% for each in names %}\n  {% if each %}\n- {{ each }}\n  {% endif %}\n{% endfor %}\nlast: 1\n"
    assert rendered(kubernetes, text, names=["a", "", "b"]) == "- a\n- b\nlast: 1\n"


def test_a_part_comes_in_whole_or_as_a_macro_at_any_depth(kubernetes: Path) -> None:
    text = '{% import "port.j2" as p %}\n{% include "object.yaml.j2" %}\nports:\n  - {{ p.port(80) | indent(4) }}\n'
    assert rendered(kubernetes, text, kind="Pod") == "kind: Pod\nports:\n  - port: 80\n    name: web\n"


def test_a_file_comes_in_as_it_is(kubernetes: Path) -> None:
    assert rendered(kubernetes, '{{ file("rules.yml") | trim }}\n') == 'text: "{{ $value }}"\n'


def test_a_block_is_rendered_alone(kubernetes: Path) -> None:
    path = kubernetes / "t.yaml.template"
    path.write_text(
        "head\n{% for type in types %}\n{% block one scoped %}\n- {{ type }}\n{% endblock %}\n{% endfor %}\n"
    )
    renderer = Renderer(kubernetes)
    assert renderer.template(path, {"types": ["a", "b"]}) == "head\n- a\n- b\n"
    assert renderer.block(path, "one", {"type": "own"}) == "- own\n"
    assert renderer.block(path, "other", {"type": "own"}) == ""


def test_a_hash_distinguishes_texts(kubernetes: Path) -> None:
    hashes = {rendered(kubernetes, "{{ hash(*texts) }}", texts=texts) for texts in (["ab"], ["a", "b"], ["", "ab"])}
    assert {len(each) for each in hashes} == {16}
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a\n{{ registri }}",
            r"t.yaml.template:2: 'registri' is undefined \(did you mean 'registry'\?\); .*\.md",
        ),
        ("a\n\n{{ kind.of }}", "t.yaml.template:3: .* has no attribute 'of'"),
        ("{% if kind %}\na", "t.yaml.template:2: Unexpected end of template"),
        ("a\n{% unless kind %}", "t.yaml.template:2: Encountered unknown tag 'unless'"),
        ('a\n{% include "no.yaml.j2" %}', "t.yaml.template:2: there is no file 'no.yaml.j2' in .*parts"),
        ('{{ file("no.yml") }}', "t.yaml.template:1: there is no file 'no.yml' in .*parts"),
        ('a\n{% include "object.yaml.j2" %}', "parts/object.yaml.j2:1: 'kind' is undefined"),
        ("{{ 1 / 0 }}", "t.yaml.template:1: division by zero"),
    ],
)
def test_a_mistake_is_reported_with_its_file_and_line(text: str, message: str, kubernetes: Path) -> None:
    values = {} if "object" in text else {"kind": "Pod", "registry": "r"}
    with pytest.raises(ManifestError, match=message) as told:
        rendered(kubernetes, text, **values)
    assert "\n" not in str(told.value)
