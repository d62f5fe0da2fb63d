"""Tasks whose encoders others have trained."""
