//! A guest as libvirt describes it.

/// A guest: identity, state, and what its XML says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Domain {
    /// The libvirt name.
    pub name: String,
    /// The UUID in canonical lower-case text.
    pub uuid: String,
    /// Its state now.
    pub state: DomainState,
    /// The state's reason (virDomainGetState), a number whose meaning depends on the state.
    pub reason: i32,
    /// Whether it has a definition that outlives it.
    pub persistent: bool,
    /// Whether a managed-save image exists.
    pub managed_save: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Facts from its XML.
    pub config: DomainConfig,
}

impl Domain {
    /// Whether it is active (has a running hypervisor process, be it paused).
    pub fn is_active(&self) -> bool {
        !matches!(self.state, DomainState::Shutoff)
    }

    /// What is wrong with a guest that neither runs as it should nor is simply paused or shut off.
    pub fn trouble(&self) -> Option<&'static str> {
        // virDomainRunningReason and virDomainPausedReason.
        const RUNNING_POST_COPY_FAILED: i32 = 11;
        const PAUSED_IO_ERROR: i32 = 5;
        const PAUSED_CRASHED: i32 = 10;
        const PAUSED_POST_COPY_FAILED: i32 = 13;
        match (self.state, self.reason) {
            (DomainState::Crashed, _) | (DomainState::Paused, PAUSED_CRASHED) => {
                Some("has crashed")
            }
            (DomainState::Paused, PAUSED_IO_ERROR) => Some("is paused by an I/O error"),
            (DomainState::Paused, PAUSED_POST_COPY_FAILED)
            | (DomainState::Running, RUNNING_POST_COPY_FAILED) => {
                Some("is in the middle of a post-copy migration that failed")
            }
            (DomainState::Shutdown, _) => Some("is shutting down"),
            _ => None,
        }
    }
}

/// libvirt's virDomainState.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the names are libvirt's")]
pub enum DomainState {
    NoState,
    Running,
    Blocked,
    Paused,
    Shutdown,
    Shutoff,
    Crashed,
    PmSuspended,
    /// A state newer than this program.
    Other(u32),
}

/// What the model needs of a guest's XML. Absent elements are `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the domain XML")]
pub struct DomainConfig {
    /// `domain/@type`, e.g. `kvm`.
    pub virt_type: Option<String>,
    pub os_type: Option<String>,
    pub arch: Option<String>,
    pub machine: Option<String>,
    pub boot_devices: Vec<String>,
    pub kernel: Option<String>,
    pub initrd: Option<String>,
    pub command_line: Option<String>,
    pub bootloader: Option<String>,
    pub bootloader_args: Option<String>,
    /// `os/init`, LXC only.
    pub init: Option<String>,
    pub emulator: Option<String>,
    pub on_poweroff: Option<String>,
    pub on_crash: Option<String>,
    pub acpi: bool,
    pub apic: bool,
    pub pae: bool,
    /// `clock/@offset`.
    pub clock_offset: Option<String>,
    pub description: Option<String>,
    /// The first graphics console.
    pub console: Option<Console>,
}

/// A graphics console.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Console {
    /// `vnc`, `spice`, `sdl`…
    pub kind: String,
    /// The listening address.
    pub host: Option<String>,
    /// The port; `None` where libvirt has not chosen one yet.
    pub port: Option<u16>,
}

/// Which XML of a guest (virDomainXMLFlags).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum XmlForm {
    /// As it is now.
    Live,
    /// As it is defined.
    Inactive,
    /// As it is defined, with secrets.
    InactiveSecure,
    /// As libvirt would send it to a destination.
    Migratable,
}
