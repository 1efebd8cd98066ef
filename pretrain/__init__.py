"""How thaw's bundled weights were made: a ResNet50 distilled from packages' pictures alone."""
