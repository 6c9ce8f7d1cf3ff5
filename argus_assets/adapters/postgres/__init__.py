"""PostgreSQL: connections, migrations, and one module for each thing that is kept there."""
