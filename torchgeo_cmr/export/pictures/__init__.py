"""Pictures of results: contact sheets, clips, pages and rasters."""
