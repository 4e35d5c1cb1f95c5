"""The clips of the table in doc/cameras.md and of the gate's tests. `python -m tests.support.gated_cases` prints it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support.gated_clips import DAY, FPS, NIGHT, Scene, Walker, run


class Case(NamedTuple):
    """A clip; of its frames at most `passes` pass, and at most `decoded` are decoded."""

    scene: Scene
    passes: float = 1.0
    decoded: float = 1.0


FAR = Walker(6, 12, 36)
CASES = {
    "nothing moves": Case(Scene(12), 0.35, 0.75),
    "night noise": Case(Scene(8, NIGHT, 0.35), 0.5),
    "rain": Case(Scene(14, rain=150), 0.7),
    "a light is switched": Case(Scene(14, light_at_s=8.3), 0.6),
    "somebody walks by": Case(Scene(14, walkers=(Walker(6, 60, 120),)), 0.85, 0.95),
    "a slow walker at a distance": Case(Scene(14, walkers=(FAR,))),
    "a slow walker in night noise": Case(Scene(14, NIGHT, 0.35, walkers=(FAR,))),
    "a light is switched on somebody who stands": Case(
        Scene(14, light_at_s=10.3, walkers=(Walker(2, 120, 120, 2.5),)), 0.9
    ),
    "a slow walker in rain": Case(Scene(14, rain=150, walkers=(FAR,))),
    "somebody stands still and walks on": Case(Scene(14, DAY, walkers=(Walker(4, 50, 60, 3),)), 0.9),
}


def main() -> None:
    """Prints the rows of the table; it takes a minute or two."""
    with tempfile.TemporaryDirectory() as folder:
        for name, case in CASES.items():
            frames = int(case.scene.seconds * FPS)
            found = run(case.scene.write(Path(folder) / "clip.mkv"), frames)
            recall = found.shown(case.scene.boxes) if case.scene.walkers else None
            shown = " | ".join(f"{part:.3g}" for part in recall) if recall else "– | –"
            print(f"| {name} | {found.share:.2f} | {found.decoded / frames:.2f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
