//! The built-in checks by their codes. A code, once given, never means anything else.

use std::collections::BTreeMap;

/// A built-in check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Check {
    /// `VMC001`…
    pub code: &'static str,
    /// What it looks at.
    pub title: &'static str,
    /// Whether its errors can't be switched off, weakened or overridden.
    pub mandatory: bool,
}

macro_rules! checks {
    ($($name:ident = $code:literal, $mandatory:literal, $title:literal;)*) => {
        $(
            #[doc = $title]
            pub(super) const $name: Check =
                Check { code: $code, title: $title, mandatory: $mandatory };
        )*

        /// All of them, by code.
        pub const CATALOG: &[Check] = &[$($name,)*];
    };
}

checks! {
    DESTINATION = "VMC001", true, "the destination can be reached and is not the source";
    STATE = "VMC002", true, "the guest is in a state that can be moved and no job runs on it";
    CPU = "VMC003", false, "the destination can give the guest its CPU";
    PLATFORM = "VMC004", false, "the destination offers the guest's machine and device models";
    STORAGE = "VMC005", false, "the destination reaches the guest's disks";
    UNSAFE = "VMC006", false, "no disk is on storage from which libvirt calls migration unsafe";
    DEVICES = "VMC007", false, "no device ties the guest to its host";
    NETWORKS = "VMC008", false, "the guest's networks are active at the destination";
    MEMORY = "VMC009", false, "the destination has room for the guest's memory";
    IDENTITY = "VMC010", true, "the guest's name and UUID are free at the destination";
    VERSIONS = "VMC011", false, "the destination's hypervisor and libvirt are not older";
    BAGGAGE = "VMC012", false, "no snapshots, saved state or block jobs hang on the guest";
    SECRETS = "VMC013", false, "the destination has the secrets that the guest's devices need";
    SPACE = "VMC014", false, "the destination has room for the disks that are copied";
    VCPUS = "VMC015", false, "the destination allows as many vCPUs as the guest has";
    TSC = "VMC016", false, "the guest does not rely on the source's clock rate";
    OPTIONS = "VMC017", false, "both hypervisors can do what was asked for together";
    ADDRESSES = "VMC021", false, "no console listens on an address of the source's own";
    CHANGES = "VMC022", true, "what is to be different at the destination can be changed";
}

/// The check with that code.
pub fn find(code: &str) -> Option<&'static Check> {
    CATALOG.iter().find(|check| check.code == code)
}

/// What the administrator makes of a check.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Level {
    /// It says what it finds.
    #[default]
    Default,
    /// Its errors are warnings.
    Warn,
    /// It is left out.
    Off,
}

/// What the administrator makes of the checks, by code.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Levels(BTreeMap<&'static str, Level>);

/// Why a level is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LevelError {
    /// There is no such check.
    #[error("there is no built-in check {code:?}: they are {}", codes())]
    Unknown {
        /// What was given.
        code: String,
    },
    /// The check has to stay as it is.
    #[error("{code} can't be weakened: it makes sure that {title}")]
    Mandatory {
        /// The code.
        code: &'static str,
        /// What it looks at.
        title: &'static str,
    },
}

fn codes() -> String {
    CATALOG.iter().map(|check| check.code).collect::<Vec<_>>().join(", ")
}

impl Levels {
    /// Takes the administrator's word for each code.
    ///
    /// # Errors
    /// Every [`LevelError`], in order.
    pub fn new<'a>(
        levels: impl IntoIterator<Item = (&'a str, Level)>,
    ) -> Result<Self, Vec<LevelError>> {
        let mut accepted = BTreeMap::new();
        let mut errors = Vec::new();
        for (code, level) in levels {
            match find(code) {
                None => errors.push(LevelError::Unknown { code: code.to_owned() }),
                Some(Check { code, title, mandatory: true }) if level != Level::Default => {
                    errors.push(LevelError::Mandatory { code, title });
                }
                Some(check) => {
                    accepted.insert(check.code, level);
                }
            }
        }
        if errors.is_empty() { Ok(Self(accepted)) } else { Err(errors) }
    }

    pub(super) fn of(&self, check: &Check) -> Level {
        self.0.get(check.code).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_each_there_once() {
        assert!(CATALOG.windows(2).all(|pair| pair[0].code < pair[1].code));
        for check in CATALOG {
            let number = check.code.strip_prefix("VMC").unwrap();
            assert!(number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()));
        }
    }

    #[test]
    fn levels_that_can_not_be_are_all_named() {
        let levels = [("VMC003", Level::Off), ("VMC099", Level::Warn), ("VMC001", Level::Off)];
        let errors = Levels::new(levels).unwrap_err();
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("there is no built-in check \"VMC099\": they are VMC001, "));
        assert_eq!(
            told[1],
            "VMC001 can't be weakened: it makes sure that the destination can be reached and is not \
             the source"
        );
        assert!(Levels::new([("VMC010", Level::Warn)]).is_err());
        assert!(Levels::new([("vmc003", Level::Warn)]).is_err());
        let levels = Levels::new([("VMC010", Level::Default), ("VMC003", Level::Off)]).unwrap();
        assert_eq!((levels.of(&CPU), levels.of(&STATE)), (Level::Off, Level::Default));
    }
}
