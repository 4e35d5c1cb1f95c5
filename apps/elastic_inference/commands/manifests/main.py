"""The command behind `tools/gen-k8s-yaml.sh`: options in, files out, and the next steps in a few lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.generate import CORE, Generator
from elastic_inference.commands.manifests.names import short_path
from elastic_inference.commands.manifests.options import Options, parse_arguments

EXIT_WRONG = 2


def main(arguments: Sequence[str] | None = None, project: Path | None = None) -> int:
    """Writes the manifests; returns the exit code: 0, or 2 for a mistake in the options or templates."""
    try:
        options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
        generator = Generator(project or Path(__file__).resolve().parents[4], options)
        written = generator.run()
    except ManifestError as error:
        sys.stderr.write(f"gen-k8s-yaml: {error}\n")
        return EXIT_WRONG
    for note in generator.notes:
        sys.stdout.write(f"gen-k8s-yaml: {note}\n")
    for file in written:
        private = " (mode 600: it holds secrets)" if file.holds_secrets else ""
        sys.stdout.write(f"{short_path(file.path)}{private}\n")
    if any(file.path.name == CORE for file in written) or options.secret_only:
        sys.stdout.write(
            "after kubectl apply, this shows the cameras' password and the dashboard's token (add -n NAMESPACE):\n"
            f"  {show_command(options)}\n"
        )
        if options.sites:
            names = ", ".join(f"{site.user}-password" for site in options.sites)
            sys.stdout.write(f"the Secret also has the passwords of the sites: {names}\n")
    return 0


def show_command(options: Options) -> str:
    """The one line that prints what cameras and viewers need from the cluster's Secret."""
    token = "" if options.open_dashboard else '{{"\\n"}}token: {{index .data "gateway-token" | base64decode}}'
    return (
        f"kubectl get secret {options.secret} -o go-template='camera: "
        f'{{{{index .data "camera-password" | base64decode}}}}{token}{{{{"\\n"}}}}\''
    )


if __name__ == "__main__":
    sys.exit(main())
