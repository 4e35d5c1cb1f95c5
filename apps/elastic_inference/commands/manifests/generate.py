"""Writes the manifests: which template goes where. Called by the command only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.commands.manifests import available, credentials
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.git_ignore import keep_from_git
from elastic_inference.commands.manifests.names import short_path
from elastic_inference.commands.manifests.options import Options
from elastic_inference.commands.manifests.render import Renderer
from elastic_inference.commands.manifests.values import (
    Values,
    camera_values,
    sample_values,
    template_values,
    type_values,
)

SUFFIX = ".template"
CORE = "elastic-inference.yaml"
# The block of an autoscaler's template that holds the objects of one type.
ONE_TYPE = "one_type"
# What an autoscaler of one type needs besides.
_NEEDS = {
    "keda": "the TriggerAuthentication ei-queue: apply kubernetes/scale/keda once",
    "keda-push": "the scaler of housekeeping: generate the core with --set PUSH_SCALER=on",
}


@dataclass(frozen=True)
class Written:
    """One file that was written."""

    path: Path
    holds_secrets: bool


class Generator:
    """Renders the templates of a project for one set of options. `notes` are lines for the user."""

    def __init__(self, project: Path, options: Options) -> None:
        """`project` is the folder that contains `kubernetes/`. Raises ManifestError if it does not."""
        self.kubernetes = project / "kubernetes"
        if not self.kubernetes.is_dir():
            raise ManifestError(f"{self.kubernetes} is missing: expected the project's folder of templates")
        self._options = options
        self._renderer = Renderer(self.kubernetes)
        models = Path(options.models) if options.models else _prepared(project / "build" / "models")
        if options.models == "all":
            models = None
        clips = Path(options.clips) if options.clips else _prepared(project / "build" / "videos")
        for folder in (models, clips):
            if folder is not None and not folder.is_dir():
                raise ManifestError(f"{folder} is missing: expected a folder")
        self._types, notes = available.choose_types(models)
        # your own type, a camera and the Secret do not depend on the core's types
        self.notes = notes if options.template else []
        self._clips = clips

    def run(self) -> list[Written]:
        """Writes what the options ask for, and keeps the files with secrets out of git. Raises ManifestError."""
        written = self._write_all()
        notes = [keep_from_git(file.path) for file in written if file.holds_secrets]
        self.notes += filter(None, notes)
        return written

    def _write_all(self) -> list[Written]:
        if self._options.secret_only:
            return [self._secret()]
        if self._options.model:
            return self._own_type()
        if self._options.camera:
            return [self._own_camera()]
        source = Path(self._options.template)
        if source.is_dir():
            return self._from_folder(source)
        if not source.is_file():
            raise ManifestError(f"-f {source}: there is no such file or folder")
        if source.suffix != SUFFIX:
            raise ManifestError(f"-f {source}: expected a file that ends in .yaml{SUFFIX}, or a folder of them")
        return self._from_template(source, self._target(source.with_suffix("")))

    def _target(self, usual: Path) -> Path:
        """Where one file goes: its usual place, the file of `-o`, or the usual name in the folder of `-o`."""
        given = self._options.output
        if not given:
            return usual
        return Path(given) / usual.name if given.endswith("/") or Path(given).is_dir() else Path(given)

    def _from_folder(self, source: Path) -> list[Written]:
        templates = sorted(source.glob(f"*{SUFFIX}"))
        if not templates:
            raise ManifestError(f"{source} contains no *.yaml{SUFFIX}")
        folder = Path(self._options.output) if self._options.output else source
        if folder.exists() and not folder.is_dir():
            raise ManifestError(f"-o {folder}: expected a folder, since {source} is one")
        return [written for each in templates for written in self._from_template(each, folder / each.stem)]

    def _from_template(self, source: Path, target: Path) -> list[Written]:
        feeds = available.SAMPLES.get(source.name.partition(".")[0], ((), ()))[0]
        if source.parent.name == "sample-infer" and feeds and not set(feeds) & set(self._types):
            target.unlink(missing_ok=True)
            self.notes.append(f"{target.name} is left out: its types are")
            return []
        return [_write(target, self._renderer.template(source, self._values(target)))]

    def _secret(self) -> Written:
        target = self._target(self.kubernetes / "secret.yaml")
        core = self.kubernetes / CORE
        if credentials.read_kept(core):
            self.notes.append(f"the passwords are those of {core.relative_to(self.kubernetes.parent)}")
        return _write(target, self._renderer.part("credentials.yaml.j2", self._values(target)))

    def _own_type(self) -> list[Written]:
        name = self._options.types[0]
        folder = Path(self._options.output) if self._options.output else self.kubernetes / "types" / name
        if folder.exists() and not folder.is_dir():
            raise ManifestError(f"-o {folder}: expected a folder")
        clip = available.choose_clip(self._clips, ["bikes.mp4"])
        own = {"type": type_values(name, self._options.model), "sample": sample_values(name, [name], clip)}

        def write(file: str, part: str) -> Written:
            return _write(folder / file, self._renderer.part(part, {**self._values(folder / file), **own}))

        written = [write("deployment.yaml", "inference.yaml.j2"), write("sample.yaml", "file-stream.yaml.j2")]
        if self._options.autoscaler != "none":
            written.append(self._own_autoscaler(folder / "autoscaler.yaml", own))
        return written

    def _own_autoscaler(self, target: Path, own: Values) -> Written:
        name = self._options.autoscaler
        folder = self.kubernetes / "scale" / name
        values = {**self._values(target), **own}
        blocks = [self._renderer.block(each, ONE_TYPE, values) for each in sorted(folder.rglob(f"*{SUFFIX}"))]
        if not any(blocks):
            known = ", ".join(sorted(path.name for path in (self.kubernetes / "scale").glob("*/")))
            raise ManifestError(f"-a {name}: expected one of {known or '(none there)'}, or none")
        if note := _NEEDS.get(name):
            self.notes.append(f"autoscaler.yaml needs {note}")
        return _write(target, "".join(blocks))

    def _own_camera(self) -> Written:
        camera = self._options.camera
        if camera is None:
            raise ManifestError("no camera was given")
        if camera.note:
            self.notes.append(camera.note)
        target = self._target(self.kubernetes / "camera" / f"{camera.name}.yaml")
        values = {**self._values(target), "camera": camera_values(camera, self._options.types)}
        part = "camera-resource.yaml.j2" if camera.spec is not None else "camera.yaml.j2"
        return _write(target, self._renderer.part(part, values))

    def _values(self, target: Path) -> Values:
        """What the templates can use, with the passwords of an earlier `target`."""
        kept = credentials.read_kept(target)
        if self._options.secret_only:
            # passwords other than the installation's would lock out every pod
            kept = {**kept, **credentials.read_kept(self.kubernetes / CORE)}
        return template_values(self._options, self._types, self._clips, credentials.fresh(kept, self._options.sites))


def _prepared(folder: Path) -> Path | None:
    """What build.sh left in `folder`, empty after `-m none`; None if nothing was built on this machine."""
    return folder if folder.is_dir() else None


def _write(target: Path, text: str) -> Written:
    """Writes the file completely or not at all. Only its owner can read one with secrets."""
    private = "\nkind: Secret\n" in text
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary.replace(target)
    except OSError as error:
        raise ManifestError(f"{short_path(target)} can't be written: {error.strerror}") from None
    return Written(target, private)
