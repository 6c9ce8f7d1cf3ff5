"""Many drives: what they say together that one alone does not. Pure: tables in, tables and models out."""
