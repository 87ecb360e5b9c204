//! CIM-XML (DSP0201) to `cim` and back, bounded in size and depth.
