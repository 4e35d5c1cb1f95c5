"""One name means one thing: no two classes of the package share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "apps" / "elastic_inference"


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].add(str(path.relative_to(PACKAGE)))
    assert len(places) > 400
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_what_a_package_exposes_is_not_hidden_by_a_module_of_that_name() -> None:
    # Once `package.name` has been imported as a module, `from package import name` gives the module.
    hidden = [
        f"{path.parent.relative_to(PACKAGE)}: {name.value}"
        for path in PACKAGE.rglob("__init__.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign)
        and any(isinstance(each, ast.Name) and each.id == "__all__" for each in node.targets)
        for name in getattr(node.value, "elts", ())
        if isinstance(name, ast.Constant)
        and isinstance(name.value, str)
        and (path.parent / f"{name.value}.py").exists()
    ]
    assert not hidden
