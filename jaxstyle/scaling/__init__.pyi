from .sharding import Layout as Layout, make_row_mesh as make_row_mesh
