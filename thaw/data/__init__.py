"""The dataset: Fashion-MNIST or a folder of pictures, its parts, and its images at any size."""
