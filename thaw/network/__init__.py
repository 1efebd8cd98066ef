"""ResNet50: weights, freezing, the head, inference engines, features."""
