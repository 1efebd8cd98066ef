"""params.yaml, validated; one frozen config for each stage."""
