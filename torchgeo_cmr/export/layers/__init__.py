"""What every layer shares: fields, outlines, links and the search area."""
