"""Kubernetes manifests from the templates in `kubernetes/`: what `tools/gen-k8s-yaml.sh` runs.

Only the standard library, so that a machine with nothing but Python 3.11 can generate them.
"""
