"""Ways to what others published: ImageNet's classes and preprocessing, weights converted."""
