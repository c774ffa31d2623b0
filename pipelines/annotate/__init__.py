"""Labels for a clip: people, bodies, masks, background, camera, points, quality."""
