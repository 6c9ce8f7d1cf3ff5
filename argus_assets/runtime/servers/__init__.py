"""Entry points of server processes: Dagster's code server and webserver, as Argus runs them."""
