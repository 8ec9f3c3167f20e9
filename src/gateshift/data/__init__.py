"""From a dataset on disk to a batch of clips."""
