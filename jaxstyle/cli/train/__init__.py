"""``jaxstyle train``."""
