"""Services that Argus runs itself: PostgreSQL from a wheel, an S3 server for the demo."""
