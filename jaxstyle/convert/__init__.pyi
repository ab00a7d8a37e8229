from .onnx_nets import to_onnx as to_onnx
from .published_vgg import read_vgg as read_vgg
from .stablehlo import export_net as export_net
from .torch_nets import from_torch as from_torch
