"""What `gateshift bench` measures, and how: steps of both sides in turns, their memory, the page."""
