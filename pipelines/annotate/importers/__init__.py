"""Bodies that other people's trackers found, brought to our conventions, and back."""
