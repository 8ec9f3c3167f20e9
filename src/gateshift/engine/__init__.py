"""Learning and measuring."""
