"""The models of the settings, by subject. The rest of the package imports them from `base.config`."""
