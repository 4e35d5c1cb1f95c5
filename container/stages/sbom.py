"""Writes the software bill of materials of an image (SBOM, CycloneDX 1.6 JSON) from what the image holds.

Runs in the build stage after application.sh, which installs the project.
Usage: sbom.py IMAGE ROOT... [--npm LOCK] >FILE       ROOT: folders that together become the image's root

It lists the Debian packages of /var/lib/dpkg/status.d, the installed Python distributions, and the npm packages that
are built into the dashboard. The same content gives the same file: there is no time and no random number in it.
"""

import argparse
import json
import re
import sys
import uuid
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]
SITE = "opt/ei/lib/python3*/site-packages"


def main() -> None:
    """Writes the document to standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("image")
    parser.add_argument("roots", nargs="+", type=Path, metavar="ROOT")
    parser.add_argument("--npm", type=Path, metavar="LOCK")
    options = parser.parse_args()
    found = [component for root in options.roots for component in (*debian(root), *python(root))]
    if options.npm:
        found += npm(json.loads(options.npm.read_text()))
    json.dump(document(options.image, found), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def document(image: str, found: list[Component]) -> Component:
    """The CycloneDX document. The project's own distribution is the image's version."""
    own = [each for each in found if each["name"] == "elastic-inference"]
    components = sorted((each for each in found if each not in own), key=lambda each: str(each["bom-ref"]))
    text = json.dumps([image, own, components])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": image,
                "version": own[0]["version"] if own else "0",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": image, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def component(purl: str, name: str, version: str, licence: str = "", **further: Any) -> Component:
    """A library; its package URL is also its reference."""
    found: Component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **further}
    if licence:
        found["licenses"] = [{"license": {"name": licence}}]
    return found


def debian(root: Path) -> list[Component]:
    """The Debian packages of the image's root. Their licences are in /usr/share/doc/*/copyright."""
    release = root / "usr" / "lib" / "os-release"
    text = release.read_text() if release.exists() else ""
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    distro = "debian-" + facts.get("VERSION_ID", "").strip('"')
    found = []
    for path in sorted((root / "var" / "lib" / "dpkg" / "status.d").glob("*")):
        fields = dict(re.findall(r"^([A-Z][A-Za-z-]*): *(.*)$", path.read_text(errors="replace"), re.MULTILINE))
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        # the versions of sources are in brackets where they differ: Source: gcc-14 (14.2.0-19)
        source = fields.get("Source", name).partition(" ")[0]
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={machine}&distro={quote(distro)}"
        found.append(component(purl, name, version, properties=[{"name": "debian:source", "value": source}]))
    return found


def python(root: Path) -> list[Component]:
    """The Python distributions of the image's environment."""
    folders = [str(folder) for folder in root.glob(SITE)]
    return [distribution(each) for each in distributions(path=folders)]


def distribution(found: Distribution) -> Component:
    """One Python distribution, with its licence if it names one in a line."""
    name, version = found.metadata["Name"], found.version
    licence = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    if "\n" in licence or len(licence) > 100:
        licence = ""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    return component(f"pkg:pypi/{normal}@{quote(version)}", name, version, licence)


def npm(lock: Component) -> list[Component]:
    """The npm packages that are part of the built dashboard: those of the lock that are not development tools."""
    found = []
    for path, each in lock["packages"].items():
        if not path or each.get("dev") or each.get("optional") or each.get("peer"):
            continue
        name = path.rpartition("node_modules/")[2]
        purl = f"pkg:npm/{quote(name, safe='/')}@{quote(each['version'])}"
        found.append(component(purl, name, each["version"], each.get("license", "")))
    return found


if __name__ == "__main__":
    main()
