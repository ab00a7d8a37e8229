"""``jaxstyle video``."""
