"""Progress of long work, for who watches."""
