"""``jaxstyle app``: a page in the browser to paint photos with."""
