"""``jaxstyle optimize``."""
