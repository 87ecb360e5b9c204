//! What a hypervisor call can fail with.

/// Why a hypervisor call failed. Messages are libvirt's own words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HypervisorError {
    /// No connection: the daemon is down, refuses, or the connection broke.
    #[error("cannot reach hypervisor at {uri}: {message}")]
    Unreachable {
        /// The connection URI.
        uri: String,
        /// libvirt's message.
        message: String,
    },
    /// There is no such guest.
    #[error("{message}")]
    NotFound {
        /// libvirt's message, which begins `Domain not found`.
        message: String,
    },
    /// The driver has no such call or feature.
    #[error("{message}")]
    Unsupported {
        /// libvirt's message.
        message: String,
    },
    /// The call did not return within its deadline; it goes on in its thread.
    #[error("hypervisor call `{call}` did not return within {seconds} s")]
    Deadline {
        /// The call.
        call: &'static str,
        /// The deadline.
        seconds: u64,
    },
    /// A migration was told to have failed, but its last step at the destination worked.
    #[error("{message}")]
    Unclear {
        /// libvirt's message.
        message: String,
    },
    /// All call slots were taken for the whole deadline.
    #[error("too many hypervisor calls are waiting")]
    Busy,
    /// Any other refusal.
    #[error("{message}")]
    Libvirt {
        /// libvirt's error number (virErrorNumber).
        code: u32,
        /// libvirt's message.
        message: String,
    },
}

impl HypervisorError {
    /// Whether the call was answered: what was refused is that call, about that guest, and others may be
    /// allowed.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::Unsupported { .. }
            | Self::Unclear { .. }
            | Self::Libvirt { .. } => true,
            Self::Unreachable { .. } | Self::Deadline { .. } | Self::Busy => false,
        }
    }
}
