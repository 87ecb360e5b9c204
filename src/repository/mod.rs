//! The resolved class tree: built from `schema/` at start, immutable afterwards.
