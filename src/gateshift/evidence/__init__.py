"""What networks said of videos, and how far to believe what follows from it."""
