"""What every package needs: errors, files, paths, locks, the stage runner."""
