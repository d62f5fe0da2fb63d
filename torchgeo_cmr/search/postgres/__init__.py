"""An archive in PostgreSQL: loaded part by part, searched by many."""
