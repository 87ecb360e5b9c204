//! A guest's XML with a few values changed and every other byte as it was.
//!
//! libvirt accepts another XML for the destination as long as the guest can't see the difference. The
//! document may hold what we know nothing of (metadata, other namespaces), so it is not rebuilt:
//! the places to change are found, and only they are replaced.

use std::ops::Range;

use quick_xml::{
    Reader,
    escape::escape,
    events::{BytesStart, Event},
};

use super::{DiskEdit, Edits, GraphicsEdit, NetworkEdit, NetworkSource, PlanError, Port};

/// libvirt's documents are about ten deep; a backing chain nests two levels an image.
const MAX_DEPTH: usize = 512;

/// The XML with the edits applied, each of them.
pub(super) fn rewrite(xml: &str, edits: &Edits) -> Result<String, PlanError> {
    let devices = scan(xml)?;
    let mut changes = Changes::default();
    if let Some(name) = &edits.name {
        let range = devices.name.clone().ok_or_else(|| malformed("it has no name"))?;
        changes.list.push((range, escape(name.as_str()).into_owned()));
    }
    for edit in &edits.networks {
        change_network(&devices, edit, &mut changes)?;
    }
    for edit in &edits.disks {
        change_disk(&devices, edit, &mut changes)?;
    }
    for edit in &edits.graphics {
        change_graphics(&devices, edit, &mut changes)?;
    }
    Ok(splice(xml, changes.list))
}

type Change = (Range<usize>, String);

/// What is to be replaced, and in which devices.
#[derive(Debug, Default)]
struct Changes {
    list: Vec<Change>,
    /// Where they begin.
    devices: Vec<usize>,
}

impl Changes {
    /// The only device of that kind for which `is_it` holds, to be changed now and never again.
    fn begin<'a>(
        &mut self,
        devices: &'a Devices,
        kind: &'static str,
        selector: &str,
        is_it: impl Fn(&Device) -> bool,
    ) -> Result<&'a Device, PlanError> {
        let selector = || selector.to_owned();
        let mut matching =
            devices.list.iter().filter(|device| device.tag.name == kind && is_it(device));
        let device = match (matching.next(), matching.next()) {
            (Some(device), None) => device,
            (None, _) => return Err(PlanError::NoDevice { kind, selector: selector() }),
            (Some(_), Some(_)) => {
                return Err(PlanError::ManyDevices { kind, selector: selector() });
            }
        };
        let start = device.tag.range.start;
        if self.devices.contains(&start) {
            return Err(PlanError::Twice { kind, selector: selector() });
        }
        self.devices.push(start);
        Ok(device)
    }
}

/// Replaces the ranges, which do not overlap.
fn splice(xml: &str, mut changes: Vec<Change>) -> String {
    changes.sort_by_key(|(range, _)| range.start);
    let mut result = String::with_capacity(xml.len() + 256);
    let mut copied = 0;
    for (range, text) in changes {
        result.push_str(&xml[copied..range.start]);
        result.push_str(&text);
        copied = range.end;
    }
    result.push_str(&xml[copied..]);
    result
}

/// A start tag: where it stands and what it says.
#[derive(Clone, Debug)]
struct Tag {
    range: Range<usize>,
    name: String,
    /// Values as they are written, with their references.
    attributes: Vec<(String, String)>,
    empty: bool,
}

impl Tag {
    fn get(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, key: &str, value: &str) {
        let value = escape(value).into_owned();
        match self.attributes.iter_mut().find(|(own, _)| own == key) {
            Some((_, own)) => *own = value,
            None => self.attributes.push((key.to_owned(), value)),
        }
    }

    fn remove(&mut self, key: &str) {
        self.attributes.retain(|(own, _)| own != key);
    }

    fn write(self) -> Change {
        let mut text = format!("<{}", self.name);
        for (key, value) in &self.attributes {
            text.push_str(&format!(" {key}=\"{}\"", value.replace('"', "&quot;")));
        }
        text.push_str(if self.empty { "/>" } else { ">" });
        (self.range, text)
    }
}

/// A device: its own tag, and its direct children with the range of each as a whole.
#[derive(Debug)]
struct Device {
    tag: Tag,
    children: Vec<(Tag, Range<usize>)>,
}

impl Device {
    fn child(&self, name: &str) -> Option<&Tag> {
        self.children.iter().map(|(tag, _)| tag).find(|tag| tag.name == name)
    }
}

/// What of the document can be changed.
#[derive(Debug, Default)]
struct Devices {
    /// The text of the guest's name.
    name: Option<Range<usize>>,
    list: Vec<Device>,
}

fn malformed(reason: impl ToString) -> PlanError {
    PlanError::Document { reason: reason.to_string() }
}

/// Finds the name and the devices with their children.
fn scan(xml: &str) -> Result<Devices, PlanError> {
    let mut reader = Reader::from_str(xml);
    let mut found = Devices::default();
    let mut path: Vec<Tag> = Vec::new();
    loop {
        let start = position(&reader);
        let event = reader.read_event().map_err(malformed)?;
        let end = position(&reader);
        match event {
            Event::Start(tag) => {
                if path.len() == MAX_DEPTH {
                    return Err(malformed("it is nested too deep"));
                }
                let tag = read_tag(&tag, start..end, false)?;
                open(&mut found, &path, &tag);
                path.push(tag);
            }
            Event::Empty(tag) => {
                let tag = read_tag(&tag, start..end, true)?;
                open(&mut found, &path, &tag);
            }
            Event::End(_) => {
                let tag = path.pop().ok_or_else(|| malformed("it ends before it begins"))?;
                close(&mut found, &path, &tag, start, end);
            }
            Event::DocType(_) => return Err(malformed("it has a document type")),
            Event::Eof => break,
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
    if path.is_empty() { Ok(found) } else { Err(malformed("it ends early")) }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn read_tag(tag: &BytesStart<'_>, range: Range<usize>, empty: bool) -> Result<Tag, PlanError> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(malformed)?;
        attributes.push((attribute.key.as_ref().to_owned(), attribute.value.to_string()));
    }
    Ok(Tag { range, name: tag.name().as_ref().to_owned(), attributes, empty })
}

fn is_device(path: &[Tag]) -> bool {
    matches!(path, [domain, devices] if domain.name == "domain" && devices.name == "devices")
}

fn open(found: &mut Devices, path: &[Tag], tag: &Tag) {
    if is_device(path) {
        found.list.push(Device { tag: tag.clone(), children: Vec::new() });
    } else if path.len() == 3
        && is_device(&path[..2])
        && let Some(device) = found.list.last_mut()
    {
        device.children.push((tag.clone(), tag.range.clone()));
    }
}

fn close(found: &mut Devices, path: &[Tag], tag: &Tag, start: usize, end: usize) {
    if let [domain] = path
        && domain.name == "domain"
        && tag.name == "name"
    {
        found.name = Some(tag.range.end..start);
    }
    if path.len() == 3
        && is_device(&path[..2])
        && let Some((_, whole)) =
            found.list.last_mut().and_then(|device| device.children.last_mut())
    {
        whole.end = end;
    }
}

fn inapplicable<T>(
    kind: &'static str,
    selector: &str,
    reason: impl ToString,
) -> Result<T, PlanError> {
    let (selector, reason) = (selector.to_owned(), reason.to_string());
    Err(PlanError::Inapplicable { kind, selector, reason })
}

fn change_network(
    devices: &Devices,
    edit: &NetworkEdit,
    changes: &mut Changes,
) -> Result<(), PlanError> {
    let device = changes.begin(devices, "interface", &edit.mac, |device| {
        let mac = device.child("mac").and_then(|mac| mac.get("address"));
        mac.is_some_and(|mac| mac.eq_ignore_ascii_case(&edit.mac))
    })?;
    let kind = device.tag.get("type").unwrap_or_default();
    if !matches!(kind, "network" | "bridge") {
        let reason = format!("it is of type {kind}");
        return inapplicable("interface", &edit.mac, reason);
    }
    let Some(source) = device.child("source") else {
        return inapplicable("interface", &edit.mac, "it has no source");
    };
    let (kind, name) = match &edit.source {
        NetworkSource::Network(name) => ("network", name),
        NetworkSource::Bridge(name) => ("bridge", name),
    };
    let mut source = source.clone();
    // What libvirt wrote of the source's own port.
    for stale in ["network", "bridge", "portgroup", "portid", "dev", "mode"] {
        source.remove(stale);
    }
    source.set(kind, name);
    let mut tag = device.tag.clone();
    tag.set("type", kind);
    changes.list.push(tag.write());
    changes.list.push(source.write());
    Ok(())
}

fn change_disk(devices: &Devices, edit: &DiskEdit, changes: &mut Changes) -> Result<(), PlanError> {
    let device = changes.begin(devices, "disk", &edit.target, |device| {
        device.child("target").and_then(|target| target.get("dev")) == Some(&edit.target)
    })?;
    let key = match device.tag.get("type").unwrap_or("file") {
        "file" => "file",
        "block" => "dev",
        other => {
            return inapplicable("disk", &edit.target, format!("its source is of type {other}"));
        }
    };
    let Some(source) = device.child("source") else {
        return inapplicable("disk", &edit.target, "it is empty");
    };
    let mut source = source.clone();
    source.set(key, &edit.path);
    changes.list.push(source.write());
    // The backing chain is that of the old image; without it libvirt looks at the new one.
    for (tag, whole) in &device.children {
        if tag.name == "backingStore" {
            changes.list.push((whole.clone(), String::new()));
        }
    }
    Ok(())
}

fn change_graphics(
    devices: &Devices,
    edit: &GraphicsEdit,
    changes: &mut Changes,
) -> Result<(), PlanError> {
    let selector = edit.selector();
    let device = changes.begin(devices, "graphics", selector, |device| {
        edit.kind.as_deref().is_none_or(|kind| device.tag.get("type") == Some(kind))
    })?;
    let mut tag = device.tag.clone();
    if !matches!(tag.get("type"), Some("vnc" | "spice" | "rdp")) {
        return inapplicable("graphics", selector, "it does not listen");
    }
    if let Some(port) = edit.port {
        let (number, automatic) = match port {
            Port::Automatic => ("-1".to_owned(), "yes"),
            Port::Number(number) => (number.to_string(), "no"),
        };
        tag.set("port", &number);
        tag.set("autoport", automatic);
    }
    if let Some(address) = &edit.listen {
        let listens: Vec<&Tag> =
            device.children.iter().map(|(tag, _)| tag).filter(|tag| tag.name == "listen").collect();
        match listens.as_slice() {
            [] => {}
            [listen] if listen.get("type") == Some("address") => {
                let mut listen = (*listen).clone();
                listen.set("address", &address.to_string());
                changes.list.push(listen.write());
            }
            [listen] => {
                let kind = listen.get("type").unwrap_or("unknown");
                let reason = format!("it listens on {kind}, not on an address");
                return inapplicable("graphics", selector, reason);
            }
            [_, _, ..] => return inapplicable("graphics", selector, "it listens more than once"),
        }
        tag.set("listen", &address.to_string());
    }
    changes.list.push(tag.write());
    Ok(())
}
