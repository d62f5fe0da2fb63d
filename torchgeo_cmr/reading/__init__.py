"""Reading: pixels of scenes on their own grid or warped. Nothing here needs torch."""
