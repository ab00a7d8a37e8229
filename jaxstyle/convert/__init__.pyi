from .onnx_nets import to_onnx
from .stablehlo import export_net

__all__ = [
    "export_net",
    "to_onnx",
]
