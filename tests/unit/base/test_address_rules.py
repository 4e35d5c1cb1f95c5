"""Where cameras of the pool may be."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

import pytest

from elastic_inference.base.address_rules import DEFAULT_NETWORKS, AddressRules
from elastic_inference.domain.errors import SourceError


def rules(*networks: str, folder: Path | None = None, **names: Sequence[str]) -> AddressRules:
    def resolve(host: str) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            found = names.get(host.partition(".")[0])
        if found is None:
            raise OSError("unknown")
        return found

    return AddressRules(networks or DEFAULT_NETWORKS, folder, resolve)


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "172.31.0.1", "192.168.7.7", "fd12::7", "::ffff:10.0.0.7"], ids=lambda each: each
)
def test_private_addresses_are_allowed(address: str) -> None:
    assert rules().resolve(address)


SPECIAL = [
    *["127.0.0.1", "127.8.9.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::1", "::"],
    *["fe80::1", "fe80::1%2", "ff02::1", "fd00:ec2::254", "100.100.100.200", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
]


@pytest.mark.parametrize("address", [*SPECIAL, "8.8.8.8", "2001:4860::8888", "172.32.0.1"])
def test_others_are_refused_with_what_to_do(address: str) -> None:
    with pytest.raises(SourceError, match="CAMERA_NETWORKS"):
        rules().resolve(address)


@pytest.mark.parametrize("address", SPECIAL)
def test_a_large_network_does_not_allow_what_is_special(address: str) -> None:
    everything = rules("0.0.0.0/0", "::/0")
    assert everything.resolve("8.8.8.8")
    with pytest.raises(SourceError):
        everything.resolve(address)


def test_what_is_special_can_be_allowed_by_name() -> None:
    found = rules("127.0.0.1", "ff02::/16")
    assert found.resolve("127.0.0.1")
    assert found.resolve("::ffff:127.0.0.1")
    assert found.resolve("ff02::1")
    for refused in ("127.0.0.2", "10.0.0.7", "::1"):
        with pytest.raises(SourceError):
            found.resolve(refused)


def test_a_name_is_used_with_an_address_that_is_allowed() -> None:
    named = rules(inside=["8.8.8.8", "10.0.0.7"], outside=["8.8.8.8"], metadata=["169.254.169.254"])
    assert named.resolve("inside.example") == "10.0.0.7"
    for host in ("outside.example", "metadata.example", "unknown.example"):
        with pytest.raises(SourceError):
            named.resolve(host)


def test_files_lie_below_the_folder_of_videos(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a b.mp4").touch()
    (tmp_path / "secret.mp4").touch()
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    found = rules(folder=folder)
    assert found.file(f"file://{folder}/a%20b.mp4") == folder / "a b.mp4"
    bad = [f"{folder}/link.mp4", f"{folder}/../secret.mp4", f"{folder}/%2e%2e/secret.mp4", "/etc/passwd"]
    for path in [*bad, f"{folder}/none.mp4", f"{folder}/loop.mp4", f"{folder}/a\0b", f"{folder}/{'x' * 5000}"]:
        with pytest.raises(SourceError, match="VIDEO_DIR"):
            found.file(f"file://{path}")
    with pytest.raises(SourceError, match="VIDEO_DIR"):
        rules().file(f"file://{folder}/a%20b.mp4")
    outside = tmp_path / "linked"
    outside.symlink_to(folder)
    assert rules(folder=outside).file(f"file://{outside}/a%20b.mp4") == folder / "a b.mp4", "the folder may be a link"
