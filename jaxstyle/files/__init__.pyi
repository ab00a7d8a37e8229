from .downloads import cache_folder as cache_folder
from .figures import make_sheet as make_sheet
from .image_files import (
    load_image as load_image,
    load_settings as load_settings,
    save_image as save_image,
)
from .param_files import (
    digest_params as digest_params,
    load_params as load_params,
    save_params as save_params,
)
from .style_files import (
    find_style as find_style,
    load_style as load_style,
    load_style_file as load_style_file,
    save_style as save_style,
    shipped_paintings as shipped_paintings,
    shipped_styles as shipped_styles,
)
from .transport_files import (
    load_painting as load_painting,
    load_transport as load_transport,
    save_painting as save_painting,
)
from .trunk_files import load_trunk as load_trunk, save_trunk as save_trunk
from .vgg_files import Origin as Origin, load_vgg as load_vgg, save_vgg as save_vgg
