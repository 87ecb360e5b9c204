//! SettingsDefineState: the settings of a guest; ElementSettingData: its settings as defaults.

use super::{Family, Host, association::Association, name_of, setting_data::setting_data};
use crate::{
    cim::{CimName, Instance, Value},
    ops::{Far, Link, Outcome, Sink},
};

pub(super) fn settings_define_state(host: &Host) -> Association {
    let ends: [(_, &[_]); 2] = [
        ("ManagedElement", &[Family::ComputerSystem]),
        ("SettingData", &[Family::VirtualSystemSettingData]),
    ];
    Association::new(host, Family::SettingsDefineState, ends, find_state)
}

fn find_state<'a>(
    host: &'a Host,
    source: &'a Instance,
    sink: &'a mut dyn Sink<Link>,
) -> Outcome<'a, ()> {
    Box::pin(async move {
        let prefix = host.prefix;
        let is_guest = Family::of_class(&source.class, prefix) == Some(Family::ComputerSystem);
        let key = if is_guest { "Name" } else { "VirtualSystemIdentifier" };
        match host.guest(name_of(source, key)).await? {
            Ok(guest) if is_guest => sink.put(setting_data(prefix, &guest).into()).await,
            Ok(guest) => sink.put(host.computer_system(&guest).into()).await,
            Err(_) => Ok(()),
        }
    })
}

/// As in libvirt-cim the settings of a guest are associated with themselves: they are its default and
/// what applies at its next start.
pub(super) fn element_setting_data(host: &Host) -> Association {
    let ends: [(_, &[_]); 2] = [
        ("ManagedElement", &[Family::VirtualSystemSettingData]),
        ("SettingData", &[Family::VirtualSystemSettingData]),
    ];
    Association::new(host, Family::ElementSettingData, ends, find_itself)
}

fn find_itself<'a>(
    _host: &'a Host,
    source: &'a Instance,
    sink: &'a mut dyn Sink<Link>,
) -> Outcome<'a, ()> {
    /// Is Default, Is Next.
    const YES: u16 = 1;
    let properties =
        ["IsDefault", "IsNext"].map(|property| (CimName::literal(property), Value::from(YES)));
    sink.put(Link { far: Far::Instance(source.clone()), properties: properties.into() })
}
