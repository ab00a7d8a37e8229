from .exports import (
    export_net as export_net,
    export_painting as export_painting,
    to_onnx as to_onnx,
)
from .published_vgg import read_vgg as read_vgg
from .torch_nets import from_torch as from_torch
