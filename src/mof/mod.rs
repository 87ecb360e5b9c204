//! MOF text (DSP0004 annex A) to classes, qualifiers and instances; every error with line and column.
