"""Kubernetes manifests from the templates in `kubernetes/`: what `tools/gen-k8s-yaml.sh` runs.

It needs Jinja2, PyYAML and pydantic only, which the script installs where there is no `.venv`.
"""
