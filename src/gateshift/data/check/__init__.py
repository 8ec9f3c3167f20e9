"""The dataset doctor: what is wrong with videos, lists and splits, before training starts."""
