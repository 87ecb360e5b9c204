//! NewSystemSettingData and NewResourceSettingData: what shall be different at the destination.
//!
//! libvirt-cim ignores both. Here what libvirt can change on the way is changed, and anything else is
//! refused by its name. A client may send all that it has read back: what is as it is, or what the
//! class says by default, is no change.
//!
//! | ResourceType | which device | what of it |
//! |---|---|---|
//! | 10 Ethernet Adapter | Address: its MAC; or the end of InstanceID | Connection or PoolID: a network, a bridge if ResourceSubType is `bridge` |
//! | 17 Disk Drive, 31 Logical Disk | AddressOnParent: `vda`; or the end of InstanceID | HostResource or Address: the image's path |
//! | 24 Graphics controller | ResourceSubType: `vnc`, `spice` | Address: `IP:PORT`, port -1 is libvirt's choice |

use std::net::IpAddr;

use super::{Prefix, setting_data::setting_data};
use crate::{
    cim::{CimName, Instance, Scalar, Value},
    hypervisor::Domain,
    migration::{DiskEdit, Edits, GraphicsEdit, GuestName, NetworkEdit, NetworkSource, Port},
    ops::{Arguments, ProviderError},
    repository::Repository,
};

const SYSTEM: &str = "NewSystemSettingData";
const RESOURCE: &str = "NewResourceSettingData";

/// No guest has more devices that can be changed.
const MAX_RESOURCES: usize = 256;

/// What only names or describes settings.
const DESCRIPTIVE: [&str; 5] =
    ["InstanceID", "Caption", "Description", "ElementName", "Generation"];

/// Reads what the parameters of a Check or Migrate method want to be different.
pub(super) fn edits(
    prefix: Prefix,
    guest: &Domain,
    arguments: &Arguments,
) -> Result<Edits, ProviderError> {
    let mut edits = Edits::default();
    if let Some(data) = arguments.instance(SYSTEM) {
        edits.name = new_name(prefix, guest, data)?;
    }
    let resources = arguments.value(RESOURCE).and_then(Value::array).unwrap_or_default();
    if resources.len() > MAX_RESOURCES {
        return Err(wrong(&format!("more than {MAX_RESOURCES} elements")));
    }
    for resource in resources.iter().flatten() {
        if let Scalar::EmbeddedInstance(resource) = resource {
            Resource(resource).add_to(&mut edits)?;
        }
    }
    edits.check().map_err(|error| wrong(&error.to_string()))?;
    Ok(edits)
}

fn new_name(
    prefix: Prefix,
    guest: &Domain,
    data: &Instance,
) -> Result<Option<GuestName>, ProviderError> {
    let now = setting_data(prefix, guest);
    let mut name: Option<&str> = None;
    for property in &data.properties {
        let Some(value) = &property.value else { continue };
        let is = |name: &str| property.name == *name;
        if is("InstanceID") || now.value(&property.name) == Some(value) {
            continue;
        }
        if is("ElementName") || is("VirtualSystemIdentifier") {
            let wanted = value.as_str().unwrap_or_default();
            if name.is_some_and(|other| other != wanted) {
                let text = format!("{SYSTEM}: ElementName and VirtualSystemIdentifier differ");
                return Err(ProviderError::InvalidParameter(text));
            }
            name = Some(wanted);
        } else if !is_default(data, &property.name, value) {
            return Err(cannot_change(SYSTEM, &property.name));
        }
    }
    let name = name.map(|name| GuestName::try_from(name.to_owned())).transpose();
    name.map_err(|error| ProviderError::InvalidParameter(format!("{SYSTEM}: {error}")))
}

fn is_default(data: &Instance, property: &CimName, value: &Value) -> bool {
    let class = Repository::builtin().class(&data.class);
    let declared = class.as_ref().and_then(|class| class.property(property));
    declared.is_some_and(|declared| declared.default.as_ref() == Some(value))
}

fn cannot_change(parameter: &str, property: &CimName) -> ProviderError {
    let text = format!("{parameter}: {property} can't be changed by a migration");
    ProviderError::InvalidParameter(text)
}

/// One resource's settings.
struct Resource<'a>(&'a Instance);

impl<'a> Resource<'a> {
    fn add_to(&self, edits: &mut Edits) -> Result<(), ProviderError> {
        let kind = self.value("ResourceType").and_then(Value::as_integer);
        match kind {
            Some(10) => edits.networks.push(self.network()?),
            Some(17 | 31) => edits.disks.push(self.disk()?),
            Some(24) => edits.graphics.push(self.graphics()?),
            Some(other) => {
                let text = format!(
                    "ResourceType {other} can't be changed by a migration: only 10 (Ethernet \
                     Adapter), 17 (Disk Drive), 31 (Logical Disk) and 24 (Graphics controller) can"
                );
                return Err(wrong(&text));
            }
            None => return Err(wrong("ResourceType is missing")),
        }
        Ok(())
    }

    fn network(&self) -> Result<NetworkEdit, ProviderError> {
        self.only(&["Address", "ResourceSubType", "Connection", "PoolID"])?;
        let mac = self.text("Address").or_else(|| self.device_of_id());
        let mac =
            mac.ok_or_else(|| wrong("Address is missing: an interface is named by its MAC"))?;
        // libvirt-cim's pools are `NetworkPool/NAME`.
        let pool = self.text("PoolID").map(|id| id.rsplit('/').next().unwrap_or(id));
        let source = self.first("Connection")?.or(pool);
        let source =
            source.ok_or_else(|| wrong("Connection is missing: the network or bridge"))?.to_owned();
        let source = match self.text("ResourceSubType") {
            None | Some("network") => NetworkSource::Network(source),
            Some("bridge") => NetworkSource::Bridge(source),
            Some(other) => {
                let text = format!("ResourceSubType {other:?} is neither network nor bridge");
                return Err(wrong(&text));
            }
        };
        Ok(NetworkEdit { mac: mac.to_owned(), source })
    }

    fn disk(&self) -> Result<DiskEdit, ProviderError> {
        self.only(&["AddressOnParent", "HostResource", "Address"])?;
        let target = self.text("AddressOnParent").or_else(|| self.device_of_id());
        let target = target
            .ok_or_else(|| wrong("AddressOnParent is missing: a disk is named like vda"))?
            .to_owned();
        let path = self.first("HostResource")?.or_else(|| self.text("Address"));
        let path = path.ok_or_else(|| wrong("HostResource is missing: the disk's image"))?;
        Ok(DiskEdit { target, path: path.to_owned() })
    }

    fn graphics(&self) -> Result<GraphicsEdit, ProviderError> {
        self.only(&["ResourceSubType", "Address"])?;
        let address = self.text("Address").ok_or_else(|| wrong("Address is missing: IP:PORT"))?;
        let (listen, port) = listener(address).ok_or_else(|| {
            wrong(&format!("Address {address:?} is not an IP address, or one with a port"))
        })?;
        Ok(GraphicsEdit { kind: self.text("ResourceSubType").map(str::to_owned), listen, port })
    }

    /// Refuses every other property that says something.
    fn only(&self, known: &[&str]) -> Result<(), ProviderError> {
        for property in &self.0.properties {
            let Some(value) = &property.value else { continue };
            let mut allowed = DESCRIPTIVE.iter().chain(known).chain(&["ResourceType"]);
            let is_allowed = allowed.any(|allowed| property.name == **allowed);
            if !is_allowed && !is_default(self.0, &property.name, value) {
                return Err(cannot_change(RESOURCE, &property.name));
            }
        }
        Ok(())
    }

    fn value(&self, property: &'static str) -> Option<&'a Value> {
        self.0.value(&CimName::literal(property))
    }

    fn text(&self, property: &'static str) -> Option<&'a str> {
        self.value(property).and_then(Value::as_str)
    }

    /// The one element of an array of texts.
    fn first(&self, property: &'static str) -> Result<Option<&'a str>, ProviderError> {
        match self.value(property).and_then(Value::array) {
            None | Some([]) => Ok(None),
            Some([Some(only)]) => Ok(only.as_str()),
            Some(_) => Err(wrong(&format!("{property} has more than one element"))),
        }
    }

    /// libvirt-cim's InstanceIDs are `GUEST/DEVICE`.
    fn device_of_id(&self) -> Option<&'a str> {
        let (_, device) = self.text("InstanceID")?.rsplit_once('/')?;
        (!device.is_empty()).then_some(device)
    }
}

fn wrong(text: &str) -> ProviderError {
    ProviderError::InvalidParameter(format!("{RESOURCE}: {text}"))
}

/// `IP`, `IPv4:PORT`, `[IPv6]:PORT`.
fn listener(text: &str) -> Option<(Option<IpAddr>, Option<Port>)> {
    if let Ok(address) = text.parse() {
        return Some((Some(address), None));
    }
    let (address, port) = text.rsplit_once(':')?;
    let address = match address.strip_prefix('[') {
        Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(address.parse().ok()?),
    };
    let port = match port {
        "-1" => Port::Automatic,
        number => Port::Number(number.parse().ok().filter(|port| *port > 0)?),
    };
    Some((Some(address), Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(properties: Vec<(&'static str, Value)>) -> Result<Edits, ProviderError> {
        let mut data = Instance::new(CimName::literal("CIM_ResourceAllocationSettingData"));
        for (property, value) in properties {
            data.set(CimName::literal(property), value);
        }
        let mut edits = Edits::default();
        Resource(&data).add_to(&mut edits).map(|()| edits)
    }

    #[track_caller]
    fn refuses(properties: Vec<(&'static str, Value)>, text: &str) {
        let error = resource(properties).unwrap_err();
        assert!(matches!(error, ProviderError::InvalidParameter(_)), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }

    #[test]
    fn an_interface_gets_a_network_or_a_bridge() {
        let mac = || ("Address", Value::from("52:54:00:00:00:01"));
        let kind = || ("ResourceType", Value::from(10_u16));
        let to = |source| vec![NetworkEdit { mac: "52:54:00:00:00:01".to_owned(), source }];
        let connection = || ("Connection", Value::from(vec!["br0".to_owned()]));
        let found = resource(vec![kind(), mac(), connection()]).unwrap().networks;
        assert_eq!(found, to(NetworkSource::Network("br0".to_owned())));
        let bridge = ("ResourceSubType", Value::from("bridge"));
        let found = resource(vec![kind(), mac(), connection(), bridge]).unwrap().networks;
        assert_eq!(found, to(NetworkSource::Bridge("br0".to_owned())));
        let id = ("InstanceID", Value::from("web/52:54:00:00:00:01"));
        let pool = ("PoolID", Value::from("NetworkPool/lan"));
        let found = resource(vec![kind(), id, pool]).unwrap().networks;
        assert_eq!(found, to(NetworkSource::Network("lan".to_owned())));
        refuses(vec![kind(), connection()], "Address is missing");
        refuses(vec![kind(), mac()], "Connection is missing");
        let odd = ("ResourceSubType", Value::from("tunnel"));
        refuses(vec![kind(), mac(), connection(), odd], "ResourceSubType \"tunnel\"");
        let two = ("Connection", Value::from(vec!["a".to_owned(), "b".to_owned()]));
        refuses(vec![kind(), mac(), two], "Connection has more than one element");
    }

    #[test]
    fn a_disk_gets_another_image() {
        let path = || ("HostResource", Value::from(vec!["/srv/web.img".to_owned()]));
        let expected = vec![DiskEdit { target: "vda".to_owned(), path: "/srv/web.img".to_owned() }];
        for kind in [17_u16, 31] {
            let kind = ("ResourceType", Value::from(kind));
            let target = ("AddressOnParent", Value::from("vda"));
            assert_eq!(resource(vec![kind, target, path()]).unwrap().disks, expected);
        }
        let kind = || ("ResourceType", Value::from(17_u16));
        let id = || ("InstanceID", Value::from("web/vda"));
        let address = ("Address", Value::from("/srv/web.img"));
        assert_eq!(resource(vec![kind(), id(), address]).unwrap().disks, expected);
        refuses(vec![kind(), path()], "AddressOnParent is missing");
        refuses(vec![kind(), id()], "HostResource is missing");
    }

    #[track_caller]
    fn check_graphics(address: &str, expected: Option<(&str, Option<Port>)>) {
        let kind = ("ResourceType", Value::from(24_u16));
        let found = resource(vec![kind, ("Address", Value::from(address))]).ok();
        let expected = expected.map(|(listen, port)| {
            vec![GraphicsEdit { kind: None, listen: listen.parse().ok(), port }]
        });
        assert_eq!(found.map(|edits| edits.graphics), expected, "{address}");
    }

    #[test]
    fn a_console_listens_elsewhere() {
        check_graphics("0.0.0.0", Some(("0.0.0.0", None)));
        check_graphics("::1", Some(("::1", None)));
        check_graphics("127.0.0.1:5901", Some(("127.0.0.1", Some(Port::Number(5901)))));
        check_graphics("[::]:-1", Some(("::", Some(Port::Automatic))));
        for wrong in ["", "localhost", "127.0.0.1:0", "127.0.0.1:70000", "[::1]", "127.0.0.1:x"] {
            check_graphics(wrong, None);
        }
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_its_name() {
        refuses(vec![], "ResourceType is missing");
        refuses(vec![("ResourceType", Value::from(4_u16))], "ResourceType 4");
        let disk = vec![
            ("ResourceType", Value::from(17_u16)),
            ("InstanceID", Value::from("web/vda")),
            ("Address", Value::from("/srv/web.img")),
            ("Weight", Value::from(3_u32)),
        ];
        refuses(disk, "NewResourceSettingData: Weight can't be changed");
    }
}
