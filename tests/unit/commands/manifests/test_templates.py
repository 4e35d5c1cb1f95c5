"""The templates themselves: what their author must not forget."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.manifests import PROJECT

KUBERNETES = PROJECT / "kubernetes"
TEMPLATES = sorted([*KUBERNETES.rglob("*.template"), *KUBERNETES.rglob("*.j2")])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(KUBERNETES)))
def test_each_macro_is_indented_by_the_column_it_stands_in(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r"( *)\{\{ (?:\w+\.)?\w+(?:\([^|]*\))? .*?\| indent\((\d+)\) \}\}$", line)
        if "| indent(" in line and not line.lstrip().startswith(("{#", "Each macro")):
            assert found, f"{path}:{number}: expected the line's spaces and {{{{ … | indent(n) }}}}"
            assert len(found[1]) == int(found[2]), f"{path}:{number}"


def test_every_part_is_used() -> None:
    text = "".join(path.read_text() for path in TEMPLATES)
    generator = (PROJECT / "apps/elastic_inference/commands/manifests/generate.py").read_text()
    parts = KUBERNETES / "parts"
    for path in (each for each in parts.rglob("*") if each.is_file()):
        assert f'"{path.relative_to(parts).as_posix()}"' in text + generator, path
