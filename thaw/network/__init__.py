"""ResNet50: its weights, freezing, the head, the inference engines and the features."""
