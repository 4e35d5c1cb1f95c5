"""The settings' models by subject. `base.config` loads them and is what the rest of the package imports."""
