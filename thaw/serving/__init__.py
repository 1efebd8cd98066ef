"""What a trained classifier is good for: predictions for files, and exports."""
