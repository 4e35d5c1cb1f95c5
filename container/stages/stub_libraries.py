"""Replaces libraries that a module is linked with, but whose functions no service calls, with stubs.

A stub has the names of the functions that the module asks for, and no code: a call would end the process. Libraries in
FOLDER that only the replaced ones needed are removed. Called by packages.sh in the build stage; needs binutils.
Usage: stub_libraries.py MODULE FOLDER NAME...     replaces FOLDER/NAME-*
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Stubs the libraries."""
    module, folder, *names = sys.argv[1:]
    for name in names:
        (library,) = Path(folder).glob(f"{name}-*")
        write_stub(library, wanted_functions(module, library.name))
    remove_unneeded(Path(module), Path(folder))


def objdump(option: str, file: str | Path) -> str:
    """What objdump says of a file."""
    command = ["objdump", option, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  from this build


def wanted_functions(module: str, library: str) -> dict[str, list[str]]:
    """The functions that a module takes from a library, by the version of their interface."""
    references = re.search(rf"required from {re.escape(library)}:\n((?:    .*\n)+)", objdump("-p", module))
    versions = re.findall(r"(\S+)$", references[1], re.MULTILINE) if references else []
    symbols = objdump("-T", module)
    return {each: re.findall(rf"\*UND\*\s+[0-9a-f]+ +\({each}\) +(\S+)", symbols) for each in versions}


def write_stub(library: Path, functions: dict[str, list[str]]) -> None:
    """Replaces the library."""
    names = [name for each in functions.values() for name in each]
    if not names:
        raise SystemExit(f"stub_libraries: nothing refers to {library.name}")
    code = "".join(f".globl {name}\n.type {name}, %function\n{name}: .long 0\n" for name in names)
    scopes = (f"{version} {{ global: {'; '.join(each)}; }};\n" for version, each in functions.items())
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "stub")
        base.with_suffix(".s").write_text(f'{code}.section .note.GNU-stack, "", %progbits\n')
        base.with_suffix(".map").write_text("".join(scopes))
        assemble = ["as", "-o", f"{base}.o", f"{base}.s"]
        link = [
            "ld",
            "-shared",
            "-soname",
            library.name,
            "--version-script",
            f"{base}.map",
            "-o",
            str(library),
            f"{base}.o",
        ]
        for command in (assemble, link):
            subprocess.run(command, check=True)  # noqa: S603  from this build


def remove_unneeded(module: Path, folder: Path) -> None:
    """Removes libraries of the folder that neither the module nor another library there needs."""
    while True:
        users = [module, *(file for file in folder.iterdir() if not file.is_symlink())]
        needed = {name for user in users for name in re.findall(r"NEEDED +(\S+)", objdump("-p", user))}
        unneeded = [file for file in folder.iterdir() if file.name not in needed]
        for file in unneeded:
            file.unlink()
        if not unneeded:
            return


if __name__ == "__main__":
    main()
