"""Which network, wired how, with which weights."""
