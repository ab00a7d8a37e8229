from .detail import restore_detail as restore_detail
