"""What a machine's accelerator does with the tracker and its training, within a few minutes."""
