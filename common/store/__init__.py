"""The database as both sides see it: tables, engines, and the gate that refuses a schema that is not at head."""
