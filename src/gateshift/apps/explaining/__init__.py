"""What `gateshift explain` shows, and how: a look at one clip, its maps, the sheet, the video."""
