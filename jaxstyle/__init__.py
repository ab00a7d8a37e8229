"""Neural style transfer as pure functions of JAX arrays.

The public names are those of the stub beside this file. Each is imported on first use,
so that ``import jaxstyle`` takes no time and loads no library.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
