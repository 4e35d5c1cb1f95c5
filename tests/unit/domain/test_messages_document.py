"""doc/messages.md describes frames and results correctly."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import parse_result, result_json

MESSAGES = (Path(__file__).resolve().parents[3] / "doc" / "messages.md").read_text()


def test_the_table_of_the_frame_lists_its_keys() -> None:
    section = MESSAGES.partition("## Frame")[2].partition("\n## ")[0]
    first_cells = " ".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", first_cells)) == {each.name for each in fields(Frame)}


def test_the_example_of_a_result_can_be_parsed() -> None:
    section = MESSAGES.partition("## Result")[2]
    example = section.partition("```json\n")[2].partition("```")[0]
    assert result_json(parse_result(example)).startswith(b'{"v":1,')
