"""Archives: tables as folders of Parquet files, written part by part."""
