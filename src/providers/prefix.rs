//! The three families of classes, one for each kind of hypervisor.

use std::{fmt, str::FromStr};

use crate::{cim::CimName, migration::Driver};

/// Which family of classes serves a hypervisor connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the variants are the prefixes")]
pub enum Prefix {
    Kvm,
    Xen,
    Lxc,
}

/// The text is no prefix.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is no class prefix: there are KVM, Xen and LXC", .0.escape_debug())]
pub struct PrefixError(pub String);

impl Prefix {
    /// Every prefix, in the order in which lists name their objects.
    pub const ALL: [Self; 3] = [Self::Kvm, Self::Xen, Self::Lxc];

    /// As it begins class names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Xen => "Xen",
            Self::Lxc => "LXC",
        }
    }

    /// The family that libvirt-cim has for a driver. A driver it does not know, such as `test`, is
    /// KVM unless the administrator says otherwise.
    pub fn of_uri(uri: &str) -> Self {
        if uri.starts_with("xen") {
            Self::Xen
        } else if uri.starts_with("lxc") {
            Self::Lxc
        } else {
            Self::Kvm
        }
    }

    /// The libvirt driver that destinations of its guests have.
    pub fn driver(self) -> Driver {
        match self {
            Self::Kvm => Driver::Qemu,
            Self::Xen => Driver::Xen,
            Self::Lxc => Driver::Lxc,
        }
    }

    /// The family that a class belongs to.
    pub fn of_class(class: &CimName) -> Option<Self> {
        let (prefix, _) = class.as_str().split_once('_')?;
        prefix.parse().ok()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let found = Self::ALL.into_iter().find(|prefix| prefix.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| PrefixError(text.to_owned()))
    }
}

macro_rules! families {
    ($($family:ident),* $(,)?) => {
        /// A class that each prefix has.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(super) enum Family {
            $($family),*
        }

        impl Family {
            /// The class with that prefix.
            pub(super) fn of(self, prefix: Prefix) -> CimName {
                CimName::literal(match (self, prefix) {
                    $((Self::$family, Prefix::Kvm) => concat!("KVM_", stringify!($family)),
                    (Self::$family, Prefix::Xen) => concat!("Xen_", stringify!($family)),
                    (Self::$family, Prefix::Lxc) => concat!("LXC_", stringify!($family)),)*
                })
            }

            /// Every family.
            pub(super) const ALL: &[Self] = &[$(Self::$family),*];

            /// The family of a class with that prefix.
            pub(super) fn of_class(class: &CimName, prefix: Prefix) -> Option<Self> {
                Self::ALL.iter().copied().find(|family| family.of(prefix) == *class)
            }
        }
    };
}

families! {
    ComputerSystem,
    ComputerSystemCreatedIndication,
    ComputerSystemDeletedIndication,
    ComputerSystemMigrationJobCreatedIndication,
    ComputerSystemMigrationJobDeletedIndication,
    ComputerSystemMigrationJobModifiedIndication,
    ComputerSystemModifiedIndication,
    ElementCapabilities,
    ElementConformsToProfile,
    ElementSettingData,
    EnabledLogicalElementCapabilities,
    HostSystem,
    HostedDependency,
    HostedService,
    ReferencedProfile,
    RegisteredProfile,
    ServiceAffectsElement,
    SettingsDefineCapabilities,
    SettingsDefineState,
    VirtualSystemManagementCapabilities,
    VirtualSystemManagementService,
    VirtualSystemMigrationCapabilities,
    VirtualSystemMigrationService,
    VirtualSystemMigrationSettingData,
    VirtualSystemSettingData,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;

    #[test]
    fn every_family_is_in_the_schema_with_every_prefix() {
        for prefix in Prefix::ALL {
            for family in Family::ALL {
                let class = family.of(prefix);
                assert!(Repository::builtin().contains(&class), "{class}");
                assert_eq!(Prefix::of_class(&class), Some(prefix));
            }
        }
    }

    #[track_caller]
    fn check(uri: &str, expected: Prefix) {
        assert_eq!(Prefix::of_uri(uri), expected, "{uri}");
    }

    #[test]
    fn the_driver_of_a_uri_decides_the_prefix() {
        check("qemu:///system", Prefix::Kvm);
        check("qemu+ssh://host/system", Prefix::Kvm);
        check("xen:///system", Prefix::Xen);
        check("lxc:///", Prefix::Lxc);
        check("test:///default", Prefix::Kvm);
    }

    #[test]
    fn prefixes_are_read_in_any_case_and_others_refused() {
        assert_eq!("xen".parse(), Ok(Prefix::Xen));
        assert_eq!("vmware".parse::<Prefix>(), Err(PrefixError("vmware".to_owned())));
        assert_eq!(Prefix::of_class(&CimName::literal("CIM_System")), None);
    }
}
