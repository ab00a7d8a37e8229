from . import (
    convert as convert,
    data as data,
    files as files,
    images as images,
    losses as losses,
    nets as nets,
    optimize as optimize,
    scaling as scaling,
    training as training,
    transport as transport,
    vgg as vgg,
    video as video,
)
from .files.image_files import load_image as load_image, save_image as save_image
from .files.style_files import load_style as load_style, save_style as save_style
from .files.transport_files import load_transport as load_transport
from .files.vgg_files import load_vgg as load_vgg
from .images.arrays import Params as Params
from .losses.objective import Weights as Weights
from .nets.transform_net import stylize as stylize
from .optimize.pyramid import optimize_image as optimize_image

__version__: str
__all__: list[str]
