"""Renders the manifest templates with Jinja2. Independent of Kubernetes; writes no file; called by the generator.

Templates include and import parts from `kubernetes/parts/`. Beside their values they have two functions:

    file("monitoring/rules.yml")   the text of a part as it is, without rendering it
    hash(text, …)                  16 hexadecimal digits, for annotations that replace pods when a text changes

A name without a value is an error, so that nothing half-filled is ever written.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import short_path

PARTS = "parts"
_HELP = "'Change a manifest' in doc/deployment.md lists the names"
# What a wrong expression in a template can raise, besides Jinja2's own errors.
_EXPRESSION_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


def short_hash(*texts: str) -> str:
    """A hash of all texts in their order, short enough for an annotation."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=2)
def _environment(parts: Path) -> jinja2.Environment:
    """Keeps the parts that it has compiled, and compiles one again once its file has changed."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(parts),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  YAML, not HTML
    )
    environment.globals.update(file=functools.partial(_text_of, parts), hash=short_hash)
    return environment


def _text_of(parts: Path, name: str) -> str:
    try:
        return (parts / name).read_text()
    except FileNotFoundError:
        raise jinja2.TemplateNotFound(name) from None


class Renderer:
    """The templates of one folder `kubernetes/`."""

    def __init__(self, kubernetes: Path) -> None:
        self._parts = kubernetes / PARTS
        self._environment = _environment(self._parts)

    def part(self, name: str, values: Mapping[str, Any]) -> str:
        """The part `name` of `kubernetes/parts/`, filled in. Raises ManifestError."""
        return self._guarded(values, lambda: self._environment.get_template(name).render(values))

    def template(self, path: Path, values: Mapping[str, Any]) -> str:
        """The template at `path`, filled in. Raises ManifestError."""
        return self._guarded(values, lambda: self._load(path).render(values))

    def block(self, path: Path, block: str, values: Mapping[str, Any]) -> str:
        """One `{% block … %}` of the template at `path`, filled in; empty if it has none. Raises ManifestError."""

        def render() -> str:
            template = self._load(path)
            found = template.blocks.get(block)
            return "".join(found(template.new_context(dict(values)))) if found else ""

        return self._guarded(values, render)

    def _load(self, path: Path) -> jinja2.Template:
        loader = jinja2.FileSystemLoader(path.parent)
        return loader.load(self._environment, path.name, self._environment.make_globals(None))

    def _guarded(self, values: Mapping[str, Any], render: Callable[[], str]) -> str:
        try:
            return render()
        except jinja2.TemplateSyntaxError as error:
            raise ManifestError(f"{_location(error.filename, error.lineno)}{error.message}") from None
        except jinja2.TemplateNotFound as error:
            parts = short_path(self._parts)
            raise ManifestError(f"{_line_of(error)}there is no file '{error.name}' in {parts}") from None
        except jinja2.UndefinedError as error:
            raise ManifestError(f"{_line_of(error)}{error}{_meant(str(error), values)}; {_HELP}") from None
        except (jinja2.TemplateError, *_EXPRESSION_ERRORS) as error:
            raise ManifestError(f"{_line_of(error)}{error}") from None
        except OSError as error:
            raise ManifestError(f"{error.filename} cannot be read: {error.strerror}") from None


def _location(path: str | None, line: int | None) -> str:
    return f"{short_path(Path(path))}:{line}: " if path else ""


def _line_of(error: Exception) -> str:
    """`file:line: ` of the template in which an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    found = [each for each in frames if each.filename.endswith((".j2", ".template"))]
    return _location(found[-1].filename, found[-1].lineno) if found else ""


def _meant(message: str, values: Mapping[str, Any]) -> str:
    found = re.match(r"'(\w+)' is undefined", message)
    close = difflib.get_close_matches(found[1], list(values), n=1) if found else []
    return f" (did you mean '{close[0]}'?)" if close else ""
