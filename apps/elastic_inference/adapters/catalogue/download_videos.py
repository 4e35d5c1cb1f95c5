"""Downloads the sample clips: console command `ei-download-sample-videos`, and `fetch_clips` for the demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from elastic_inference.adapters.catalogue.command import run
from elastic_inference.adapters.catalogue.entries import Catalogue, load_catalogue
from elastic_inference.adapters.catalogue.fetch import Fetcher
from elastic_inference.adapters.catalogue.progress import Console, Progress, Silent
from elastic_inference.domain.errors import DownloadError

DEFAULT_FOLDER = Path("videos")


def fetch_clips(
    videos_dir: Path,
    progress: Progress | None = None,
    names: Sequence[str] | None = None,
    fetcher: Fetcher | None = None,
    catalogue: Catalogue | None = None,
) -> dict[str, Path]:
    """Returns the sample clips by name (`bikes`: people, `carphone_pristine`: a face); downloads what is missing.

    Idempotent, and fast if nothing is missing. Raises DownloadError.
    """
    known = catalogue or load_catalogue()
    through = fetcher or Fetcher(progress=progress or Silent())
    found = {}
    for name in known.clips if names is None else names:
        if name not in known.clips:
            raise DownloadError(f"There is no sample clip {name}: expected one of {', '.join(known.clips)}.")
        entry = known.clips[name]
        found[name] = through.fetch(entry, known.url(entry), PurePosixPath(entry.file), videos_dir)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="download-sample-videos",
        description="Downloads the sample clips into a folder. Files that exist are checked, not downloaded again.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a clip (default: all)")
    parser.add_argument("--list", action="store_true", help="list the clips and exit")
    parser.add_argument("-o", "--videos-dir", type=Path, default=DEFAULT_FOLDER, help="folder (default: %(default)s)")
    parser.add_argument("--mirror", help="a private or offline mirror: a folder or URL with files of the same names")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Exit codes: 0, 1 for a failed download, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    catalogue = load_catalogue()
    if options.list:
        for name, clip in catalogue.clips.items():
            print(f"{name:<18} {clip.size / 1e6:4.1f} MB  {clip.shows}; {clip.licence}")
        return 0

    def work() -> None:
        fetcher = Fetcher(mirror=options.mirror, progress=Console())
        clips = fetch_clips(options.videos_dir, None, options.names or None, fetcher, catalogue)
        print(f"{len(clips)} clips are in {options.videos_dir.resolve()}")

    return run(work)


if __name__ == "__main__":
    sys.exit(main())
