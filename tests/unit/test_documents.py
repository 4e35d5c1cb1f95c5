"""The documents: short paragraphs, links that lead somewhere, every key and user in doc/redis.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from tests.support.manifests import PROJECT

from elastic_inference.adapters import acl
from elastic_inference.domain import keys

LINE = 120
# Parts of keys, not keys.
NO_KEYS = {keys.queue_prefix, keys.pod_member}
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("doc/**/*.md")])


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def paragraphs(text: str) -> list[str]:
    """The paragraphs and list items of a document, without tables, code and headings."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if not re.match(r"[#|<!]|    \w", line)]
    return re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_no_paragraph_is_over_six_lines(document: Path) -> None:
    for paragraph in paragraphs(document.read_text()):
        lines = max(paragraph.strip().count("\n") + 1, len(paragraph) / LINE)
        assert lines <= 6, f"{lines:.1f} lines: {paragraph.strip()[:100]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+://", target):
            continue
        name, _, anchor = target.partition("#")
        found = (document.parent / name).resolve() if name else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("name", ["apps", "kubernetes", "tools", "container", "tests"])
def test_every_document_that_a_file_names_exists(name: str) -> None:
    for path in (PROJECT / name).rglob("*"):
        if path.suffix in {".py", ".sh", ".yml", ".yaml", ".j2", ".template", ".json", ".Dockerfile"}:
            for document in re.findall(r"\bdoc/[\w/-]+\.md\b", path.read_text()):
                assert (PROJECT / document).exists(), f"{path} names {document}"


def test_the_redis_document_lists_every_key() -> None:
    names = {"infer_type": "<type>", "name": "<name>", "frame_id": "<id>", "pod": "<pod>", "index": "<i>"}
    text = (PROJECT / "doc" / "redis.md").read_text()
    for function in vars(keys).values():
        parameters = list(inspect.signature(function).parameters) if inspect.isfunction(function) else []
        if parameters and parameters[0] in {"infer_type", "identifier"} and function not in NO_KEYS:
            key = function(**{each: names.get(each, "<stream id>") for each in parameters})
            assert f"`{key}`" in text, function.__name__


def test_the_redis_document_lists_every_user() -> None:
    users = re.findall(r"^user (\w+) on", (Path(acl.__file__).parent / "users.acl").read_text(), re.MULTILINE)
    text = (PROJECT / "doc" / "redis.md").read_text()
    assert [user for user in users if f"**{user}**" not in text] == []
