//! The filter languages WQL, DMTF:CQL and DMTF:FQL: parse, type-check, evaluate.
