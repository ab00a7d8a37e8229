from .sharding import image_shardings, make_row_mesh, shard_images, unshard_images

__all__ = [
    "image_shardings",
    "make_row_mesh",
    "shard_images",
    "unshard_images",
]
