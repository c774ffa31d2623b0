"""Raw footage to clips: find sources, cut at shots, normalise, write `clips/<id>/`."""
