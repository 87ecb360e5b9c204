//! VirtualSystemMigrationSettingData as a client sends it → what the migration machine is asked for.
//!
//! Types are right already (`ops` conforms them); here numbers get their meaning. A number without one
//! is refused by the property's name, for MigrationType and TransportType in libvirt-cim's words.

use std::fmt::Display;

use crate::{
    cim::{CimName, Instance, Scalar, Value},
    hypervisor::{Compression, StorageCopy},
    migration::{MigrationType, SettingsSpec, TimeoutAction, Transport},
    ops::ProviderError,
};

/// What a client asks for; what it leaves out is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Asked {
    /// How the guest is moved.
    pub(super) settings: SettingsSpec,
    /// How the destination is reached.
    pub(super) transport: Option<Transport>,
    /// Lines for the check programs, some of them NULL. NULL and an empty array are told apart: the
    /// programs are given no file, or an empty one.
    pub(super) check_parameters: Option<Vec<Option<String>>>,
    /// Codes of findings that shall not stop it.
    pub(super) overrides: Vec<String>,
}

/// Reads setting data; without any, everything is left out.
pub(super) fn asked(data: Option<&Instance>) -> Result<Asked, ProviderError> {
    let Some(data) = data else { return Ok(Asked::default()) };
    let data = Data(data);
    let settings = SettingsSpec {
        migration_type: data.number("MigrationType").map(migration_type).transpose()?,
        priority: data.number("Priority"),
        bandwidth: data.bandwidth()?,
        max_downtime: data.number("MaxDowntime"),
        auto_converge: data.flag("AutoConverge"),
        post_copy: data.flag("PostCopy"),
        parallel_connections: data.number("ParallelConnections"),
        compression: data.number("Compression").map(compression).transpose()?,
        encrypt_data: data.flag("EncryptData"),
        storage_copy: data.number("StorageCopy").map(storage_copy).transpose()?,
        storage_copy_disks: data.disks()?,
        migration_uri: data.text("MigrationURI").map(str::to_owned),
        migration_timeout: data.number("MigrationTimeout"),
        timeout_action: data.number("TimeoutAction").map(timeout_action).transpose()?,
        persist_at_destination: data.flag("PersistAtDestination"),
        undefine_source: data.flag("UndefineSource"),
    };
    Ok(Asked {
        settings,
        transport: data.number("TransportType").map(transport).transpose()?,
        check_parameters: data.texts("CheckParameters"),
        overrides: data.texts("OverrideFindings").into_iter().flatten().flatten().collect(),
    })
}

fn migration_type(number: u16) -> Result<MigrationType, ProviderError> {
    Ok(match number {
        1 => MigrationType::Offline,
        2 => MigrationType::Live,
        3 => MigrationType::Resume,
        4 => MigrationType::Restart,
        other => {
            return Err(ProviderError::Failed(format!("Unsupported migration type {other}")));
        }
    })
}

fn transport(number: u16) -> Result<Transport, ProviderError> {
    Ok(match number {
        2 => Transport::Ssh,
        3 => Transport::Tls,
        4 => Transport::TlsStrict,
        5 => Transport::Tcp,
        32768 => Transport::Unix,
        other => {
            return Err(ProviderError::Failed(format!(
                "Failed to construct a valid libvirt URI: TransportType {other} is not one of 2 \
                 (SSH), 3 (TLS), 4 (TLS strict), 5 (TCP), 32768 (UNIX)"
            )));
        }
    })
}

fn compression(number: u16) -> Result<Option<Compression>, ProviderError> {
    Ok(match number {
        0 => None,
        1 => Some(Compression::Xbzrle),
        2 => Some(Compression::MultiThread),
        3 => Some(Compression::Zlib),
        4 => Some(Compression::Zstd),
        other => {
            let allowed = "0 (none), 1 (XBZRLE), 2 (multithreaded), 3 (zlib) or 4 (zstd)";
            return Err(out_of_range("Compression", other, allowed));
        }
    })
}

fn storage_copy(number: u16) -> Result<StorageCopy, ProviderError> {
    Ok(match number {
        0 => StorageCopy::None,
        1 => StorageCopy::Full,
        2 => StorageCopy::Incremental,
        other => {
            let allowed = "0 (none), 1 (full) or 2 (incremental)";
            return Err(out_of_range("StorageCopy", other, allowed));
        }
    })
}

fn timeout_action(number: u16) -> Result<TimeoutAction, ProviderError> {
    Ok(match number {
        1 => TimeoutAction::Abort,
        2 => TimeoutAction::Pause,
        3 => TimeoutAction::PostCopy,
        other => {
            let allowed = "1 (abort), 2 (pause) or 3 (post-copy)";
            return Err(out_of_range("TimeoutAction", other, allowed));
        }
    })
}

fn out_of_range(property: &str, value: impl Display, allowed: &str) -> ProviderError {
    ProviderError::InvalidParameter(format!("{property}: {value} is not allowed: {allowed}"))
}

/// Setting data, read by the names of its properties.
struct Data<'a>(&'a Instance);

impl<'a> Data<'a> {
    fn value(&self, property: &'static str) -> Option<&'a Value> {
        self.0.value(&CimName::literal(property))
    }

    fn number<N: TryFrom<i128>>(&self, property: &'static str) -> Option<N> {
        self.value(property).and_then(Value::as_integer).and_then(|number| number.try_into().ok())
    }

    fn flag(&self, property: &'static str) -> Option<bool> {
        self.value(property).and_then(Value::as_bool)
    }

    fn text(&self, property: &'static str) -> Option<&'a str> {
        self.value(property).and_then(Value::as_str)
    }

    fn texts(&self, property: &'static str) -> Option<Vec<Option<String>>> {
        let text =
            |element: &Option<Scalar>| element.as_ref().and_then(Scalar::as_str).map(str::to_owned);
        Some(self.value(property)?.array()?.iter().map(text).collect())
    }

    fn disks(&self) -> Result<Option<Vec<String>>, ProviderError> {
        let property = "StorageCopyDisks";
        let disks = self.texts(property).map(|disks| disks.into_iter().collect::<Option<_>>());
        match disks {
            Some(None) => Err(out_of_range(property, "NULL", "every entry names a disk")),
            Some(disks) => Ok(disks),
            None => Ok(None),
        }
    }

    /// In MiB/s, at least 1.
    fn bandwidth(&self) -> Result<Option<u64>, ProviderError> {
        let bytes = match self.text("BandwidthUnit") {
            None => 1 << 20,
            Some(unit) => bytes_per_second(unit).ok_or_else(|| {
                let allowed = "`byte / second` or `bit / second`, times a power of 10 or 2 such as \
                               `* 10^6` or `* 2^20`";
                out_of_range("BandwidthUnit", format!("`{}`", unit.escape_debug()), allowed)
            })?,
        };
        let Some(number) = self.number::<u64>("Bandwidth") else { return Ok(None) };
        let whole = (u128::from(number) * bytes) >> 20;
        Ok(Some(match whole {
            0 if number > 0 => 1,
            whole => u64::try_from(whole).unwrap_or(u64::MAX),
        }))
    }
}

/// How many bytes per second a programmatic unit (DSP0004 annex C) is; `None` for what measures no
/// bandwidth. Bits are rounded up to a byte.
fn bytes_per_second(unit: &str) -> Option<u128> {
    let compact: String = unit.chars().filter(|c| !c.is_whitespace()).collect();
    let (base, factor) = compact.split_once('*').unwrap_or((&compact, "10^0"));
    let (radix, exponent) = factor.split_once('^')?;
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let factor = match radix {
        "10" => 10_u128.checked_pow(exponent),
        "2" => 2_u128.checked_pow(exponent),
        _ => None,
    };
    // Beyond, a bandwidth is out of every range anyway.
    let factor = factor.filter(|factor| *factor <= 1 << 60)?;
    match base {
        "byte/second" => Some(factor),
        "bit/second" => Some(factor.div_ceil(8)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::ProviderError;

    fn data(properties: Vec<(&'static str, Value)>) -> Instance {
        let class = CimName::literal("KVM_VirtualSystemMigrationSettingData");
        let mut instance = Instance::new(class);
        for (property, value) in properties {
            instance.set(CimName::literal(property), value);
        }
        instance
    }

    #[test]
    fn what_is_left_out_is_left_to_others() {
        assert_eq!(asked(None).unwrap(), Asked::default());
        assert_eq!(asked(Some(&data(Vec::new()))).unwrap(), Asked::default());
    }

    #[test]
    fn every_property_arrives() {
        let asked = asked(Some(&data(vec![
            ("MigrationType", 3_u16.into()),
            ("Priority", 7_u16.into()),
            ("Bandwidth", 100_u16.into()),
            ("TransportType", 5_u16.into()),
            ("MaxDowntime", 300_u64.into()),
            ("AutoConverge", true.into()),
            ("PostCopy", false.into()),
            ("ParallelConnections", 4_u16.into()),
            ("Compression", 4_u16.into()),
            ("EncryptData", true.into()),
            ("StorageCopy", 2_u16.into()),
            ("StorageCopyDisks", vec!["vda".to_owned()].into()),
            ("MigrationURI", "tcp://192.0.2.7".into()),
            ("MigrationTimeout", 60_u32.into()),
            ("TimeoutAction", 2_u16.into()),
            ("PersistAtDestination", true.into()),
            ("UndefineSource", false.into()),
            ("CheckParameters", Value::Array(vec![Some("a=1".into()), None])),
            ("OverrideFindings", Value::Array(vec![Some("VMC007".into()), None])),
        ])));
        let expected = Asked {
            settings: SettingsSpec {
                migration_type: Some(MigrationType::Resume),
                priority: Some(7),
                bandwidth: Some(100),
                max_downtime: Some(300),
                auto_converge: Some(true),
                post_copy: Some(false),
                parallel_connections: Some(4),
                compression: Some(Some(Compression::Zstd)),
                encrypt_data: Some(true),
                storage_copy: Some(StorageCopy::Incremental),
                storage_copy_disks: Some(vec!["vda".to_owned()]),
                migration_uri: Some("tcp://192.0.2.7".to_owned()),
                migration_timeout: Some(60),
                timeout_action: Some(TimeoutAction::Pause),
                persist_at_destination: Some(true),
                undefine_source: Some(false),
            },
            transport: Some(Transport::Tcp),
            check_parameters: Some(vec![Some("a=1".to_owned()), None]),
            overrides: vec!["VMC007".to_owned()],
        };
        assert_eq!(asked.unwrap(), expected);
    }

    #[test]
    fn no_check_parameters_and_none_in_the_array_are_two_things() {
        let parameters = |value: Option<Value>| {
            let data = data(value.into_iter().map(|it| ("CheckParameters", it)).collect());
            asked(Some(&data)).unwrap().check_parameters
        };
        assert_eq!(parameters(None), None);
        assert_eq!(parameters(Some(Value::Array(Vec::new()))), Some(Vec::new()));
    }

    #[track_caller]
    fn refuses(property: &'static str, value: impl Into<Value>, expected: ProviderError) {
        let error = asked(Some(&data(vec![(property, value.into())]))).unwrap_err();
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{error}");
        assert!(error.to_string().starts_with(&expected.to_string()), "{error}");
    }

    #[test]
    fn numbers_without_a_meaning_are_refused_by_name() {
        for number in [0, 5, 77] {
            let text = format!("Unsupported migration type {number}");
            refuses("MigrationType", number, ProviderError::Failed(text));
        }
        for number in [0_u16, 1, 6, 99, 32769] {
            let text = "Failed to construct a valid libvirt URI: TransportType";
            refuses("TransportType", number, ProviderError::Failed(text.to_owned()));
        }
        for (property, number) in
            [("Compression", 5_u16), ("StorageCopy", 3), ("TimeoutAction", 0), ("TimeoutAction", 4)]
        {
            let text = format!("{property}: {number} is not allowed");
            refuses(property, number, ProviderError::InvalidParameter(text));
        }
        let disks = Value::Array(vec![None]);
        let text = "StorageCopyDisks: NULL".to_owned();
        refuses("StorageCopyDisks", disks, ProviderError::InvalidParameter(text));
        let text = "BandwidthUnit: `furlong`".to_owned();
        refuses("BandwidthUnit", "furlong", ProviderError::InvalidParameter(text));
    }

    #[track_caller]
    fn check_bandwidth(number: u16, unit: &str, expected: Option<u64>) {
        let data = data(vec![("Bandwidth", number.into()), ("BandwidthUnit", unit.into())]);
        let found = asked(Some(&data)).ok().map(|asked| asked.settings.bandwidth.unwrap());
        assert_eq!(found, expected, "{number} {unit}");
    }

    #[test]
    fn bandwidth_has_a_unit() {
        check_bandwidth(100, "byte / second * 2^20", Some(100));
        check_bandwidth(1000, "bit / second * 10^6", Some(119));
        check_bandwidth(10, "bit/second*10^9", Some(1192));
        check_bandwidth(1, "byte / second", Some(1));
        check_bandwidth(0, "byte / second", Some(0));
        check_bandwidth(2, "byte / second * 2 ^ +30", Some(2048));
        check_bandwidth(1, "byte / second * 3^2", None);
        check_bandwidth(1, "byte / second * 10^-3", None);
        check_bandwidth(1, "byte / second * 10^99", None);
        check_bandwidth(1, "byte", None);
        check_bandwidth(1, "", None);
    }
}
