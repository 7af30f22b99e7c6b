"""Pictures, videos and sequences: reading, drawing and showing them."""
