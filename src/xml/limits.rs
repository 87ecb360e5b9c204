//! How much one message may ask of us.

/// Bounds on one message, enforced while it is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of the message.
    pub bytes: usize,
    /// Elements inside each other, counted through the texts of embedded objects.
    pub depth: usize,
    /// Elements altogether; each embedded object's text counts for itself.
    pub elements: usize,
    /// Attributes on one element.
    pub attributes: usize,
    /// Embedded objects inside each other.
    pub embedded: usize,
}

impl Default for Limits {
    /// For requests. The largest that a client of this model sends is a migration with 256 KiB of
    /// check parameters, escaped twice; a path of a reference in a reference is some 20 deep.
    fn default() -> Self {
        Self { bytes: 4 << 20, depth: 64, elements: 100_000, attributes: 16, embedded: 8 }
    }
}

impl Limits {
    /// For replies, which a client asked for: ten thousand guests are some 30 MiB.
    #[must_use]
    pub fn for_replies() -> Self {
        Self { bytes: 256 << 20, elements: 20_000_000, ..Self::default() }
    }
}
