"""The control loop on a real control plane: `python -m tests.elasticity -h`. Not part of `make test`."""
