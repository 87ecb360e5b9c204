//! A CIM-XML client over HTTP, for `virtcimctl` and for delivering indications.
