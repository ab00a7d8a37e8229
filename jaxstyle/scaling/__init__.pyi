from .sharding import divide_images, image_shardings, join_images, make_row_mesh

__all__ = [
    "divide_images",
    "image_shardings",
    "join_images",
    "make_row_mesh",
]
