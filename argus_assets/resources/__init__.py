"""What the assets reach the outside through: bucket, lake, database, settings."""
