"""``jaxstyle stylize``."""
