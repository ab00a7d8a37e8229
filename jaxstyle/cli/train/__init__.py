"""``jaxstyle train``, and the training of the decoder."""
