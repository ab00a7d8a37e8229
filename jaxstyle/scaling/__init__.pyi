from .sharding import (
    image_shardings as image_shardings,
    make_row_mesh as make_row_mesh,
    shard_images as shard_images,
    unshard_images as unshard_images,
)
