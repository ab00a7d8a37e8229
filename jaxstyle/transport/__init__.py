"""Any painting in one pass: encode a photo, change its features, and decode them."""
