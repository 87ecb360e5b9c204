//! Host facts to CIM and CIM calls to the host, one file for each class family.
