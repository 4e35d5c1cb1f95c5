"""Runs targets with atheris (libFuzzer): it changes inputs so that they reach more lines of our code.

Each target runs as a separate process of this module. atheris is in build/fuzz, not beside our own packages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import traceback
from pathlib import Path

from tests.fuzz.outcome import Outcome

NAME = "atheris"
REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "build" / "fuzz"
# An input that takes longer, or needs more memory, is a finding.
INPUT_LIMIT_S = 20
MEMORY_LIMIT_MB = 1024
MAX_LENGTH = 8192


def packages() -> Path:
    """Where `make test-fuzz` has installed atheris."""
    return FOLDER / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)


def is_there() -> bool:
    """Whether atheris has a wheel for this Python and machine."""
    return (packages() / "atheris").is_dir()


def run_target(name: str, runs: int, limit_s: float, number: int) -> Outcome:
    """Exactly `runs` inputs from the seed `number`, the same ones for the same code; or, if -1, those of `limit_s`."""
    outcome = Outcome(NAME, name)
    if not is_there():
        outcome.skipped = f"skipped: atheris has no wheel for this Python and machine ({sys.platform})"
        return outcome
    # The options set the maximum length of an input, the memory limit, and where a finding is written.
    limits = [f"-timeout={INPUT_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MB}", f"-max_len={MAX_LENGTH}"]
    with tempfile.TemporaryDirectory(prefix="ei-fuzz-") as folder:
        bounds = [f"-runs={runs}", f"-seed={number}"]
        bounds += [f"-max_total_time={max(1, round(limit_s))}"] if runs < 0 else []
        command = [sys.executable, "-m", "tests.fuzz.with_atheris", name, folder, *limits, *bounds]
        done = subprocess.run(
            [*command, "-print_final_stats=1", f"-artifact_prefix={folder}/find-"],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": folder},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    counted = re.findall(r"number_of_executed_units:\s*(\d+)|^#(\d+)\s", done.stderr, re.MULTILINE)
    outcome.inputs = max((int(final or seen) for final, seen in counted), default=0)
    if done.returncode or not outcome.inputs:
        outcome.find = f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return outcome


def main(arguments: list[str]) -> None:
    """The child process: `NAME FOLDER libFuzzer's options`; does not return."""
    name, folder, *options = arguments
    sys.path.append(str(packages()))
    import atheris

    with atheris.instrument_imports(include=["elastic_inference"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus = Path(folder, "corpus")
    corpus.mkdir()
    for index, each in enumerate(target.seeds()):
        (corpus / f"{index:03}").write_bytes(each)

    def run_one(data: bytes) -> None:
        try:
            target.run(data)
        except BaseException:
            print(f"input: {data[:2000]!r}\n{traceback.format_exc(limit=-12)}", flush=True)
            raise

    atheris.Setup([sys.argv[0], *options, str(corpus)], run_one, enable_python_coverage=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
