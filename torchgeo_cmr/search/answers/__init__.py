"""Results after the ranking: spread, grouped, compared and joined."""
