"""Fashion-MNIST: its download, its splits, and its images at any size."""
