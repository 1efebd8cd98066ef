"""From a mirror to images of any size, split by class."""
