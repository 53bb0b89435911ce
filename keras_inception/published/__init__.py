"""What others published: ImageNet's classes and preprocessing, and files of weights converted."""
