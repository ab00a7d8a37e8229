from .onnx_nets import to_onnx
from .published_vgg import read_vgg
from .stablehlo import export_net
from .torch_nets import from_torch

__all__ = [
    "export_net",
    "from_torch",
    "read_vgg",
    "to_onnx",
]
