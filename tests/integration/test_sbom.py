"""container/stages/sbom.py: the bill of materials of an image with two Debian packages and this environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.conftest import REPOSITORY
from tests.support.manifests import PROJECT

SBOM = REPOSITORY / "container" / "stages" / "sbom.py"
STATUS = """Package: {name}
Status: install ok installed
Maintainer: Somebody <x@example.org>
Architecture: amd64
Source: {source}
Version: {version}
Description: text
 Version: not this one
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "system"
    status = folder / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    (status / "libstdc++6").write_text(STATUS.format(name="libstdc++6", source="gcc-14 (14.2)", version="14.2.0-19"))
    (status / "tzdata").write_text(STATUS.format(name="tzdata", source="tzdata", version="1:2026b-1~deb13u1"))
    (folder / "usr/lib").mkdir(parents=True)
    (folder / "usr/lib/os-release").write_text('PRETTY_NAME="Debian"\nVERSION_ID="13"\n')
    return folder


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The packages of this environment, where an image has them."""
    site = tmp_path / "packages/opt/ei/lib/python3.13/site-packages"
    site.parent.mkdir(parents=True)
    site.symlink_to(Path(pytest.__file__).parents[1])
    return tmp_path / "packages"


def written(*arguments: str | Path) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, str(SBOM), *map(str, arguments)]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return text, json.loads(text)


def test_every_package_is_listed_in_a_valid_document(root: Path, packages: Path) -> None:
    lock = REPOSITORY / "spa" / "package-lock.json"
    text, document = written("ei-gateway-server", root, packages, "--npm", lock)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    purls = {each["purl"] for each in document["components"]}
    assert len(purls) == len(document["components"]), "no package appears twice"
    assert "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13" in purls
    assert "pkg:deb/debian/tzdata@1%3A2026b-1~deb13u1?arch=amd64&distro=debian-13" in purls
    assert f"pkg:pypi/prometheus-client@{version('prometheus-client')}" in purls
    vue = json.loads(lock.read_text())["packages"]["node_modules/vue"]["version"]
    assert f"pkg:npm/vue@{vue}" in purls
    assert not any("eslint" in purl for purl in purls), "tools of development are not in the image"
    assert document["metadata"]["component"]["name"] == "ei-gateway-server"
    assert document["metadata"]["component"]["version"] == version("elastic-inference")


def test_the_same_content_gives_the_same_file(root: Path, packages: Path) -> None:
    first, _ = written("ei-websocket-server", root, packages)
    assert written("ei-websocket-server", root, packages)[0] == first


@pytest.mark.parametrize("path", sorted((PROJECT / "container").glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_every_image_holds_its_own(path: Path) -> None:
    (command,) = (each for each in path.read_text().replace("\\\n", "").splitlines() if "sbom.py" in each)
    names = re.findall(r"ei-[a-z]+(?:-[a-z]+)*", command)
    assert set(names) == {path.stem}
    assert f"/application/var/lib/db/sbom/{path.stem}.cdx.json" in command
