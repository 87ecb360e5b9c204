//! What the model needs of a guest's XML.

use super::{Console, DomainConfig, Element, ElementError, Platform};

impl DomainConfig {
    /// Reads a guest's XML. What is absent or strange is left out.
    ///
    /// # Errors
    /// [`ElementError`] if it is not XML at all.
    pub fn parse(xml: &str) -> Result<Self, ElementError> {
        Ok(Self::of(&Element::parse(xml)?))
    }

    /// Reads a `<domain>` element.
    pub fn of(domain: &Element) -> Self {
        let text = |path: &str| domain.text_at(path).map(str::to_owned);
        let attribute = |path: &str, name: &str| domain.attribute_at(path, name).map(str::to_owned);
        Self {
            virt_type: domain.attribute("type").map(str::to_owned),
            os_type: text("os/type"),
            arch: attribute("os/type", "arch"),
            machine: attribute("os/type", "machine"),
            boot_devices: boot_devices(domain),
            kernel: text("os/kernel"),
            initrd: text("os/initrd"),
            command_line: text("os/cmdline"),
            bootloader: text("bootloader"),
            bootloader_args: text("bootloader_args"),
            init: text("os/init"),
            emulator: text("devices/emulator"),
            on_poweroff: text("on_poweroff"),
            on_crash: text("on_crash"),
            acpi: feature(domain, "acpi"),
            apic: feature(domain, "apic"),
            pae: feature(domain, "pae"),
            clock_offset: attribute("clock", "offset"),
            description: text("description"),
            console: domain.at("devices/graphics").and_then(console),
        }
    }
}

impl Platform {
    /// What a `<domain>` element asks for.
    pub fn of(domain: &Element) -> Self {
        Self {
            emulator: domain.text_at("devices/emulator").map(str::to_owned),
            arch: domain.attribute_at("os/type", "arch").map(str::to_owned),
            machine: domain.attribute_at("os/type", "machine").map(str::to_owned),
            virt_type: domain.attribute("type").map(str::to_owned),
        }
    }
}

fn boot_devices(domain: &Element) -> Vec<String> {
    let devices = domain.child("os").into_iter().flat_map(|os| os.children_named("boot"));
    devices.filter_map(|boot| boot.attribute("dev")).map(str::to_owned).collect()
}

/// `<acpi/>` and `<apic eoi='on'/>` are on; `<pae state='off'/>` is not.
fn feature(domain: &Element, name: &str) -> bool {
    domain
        .at("features")
        .and_then(|features| features.child(name))
        .is_some_and(|feature| feature.attribute("state") != Some("off"))
}

fn console(graphics: &Element) -> Option<Console> {
    let listen = graphics.child("listen").and_then(|listen| listen.attribute("address"));
    // -1 says that libvirt chooses at start.
    let port = graphics.attribute("port").and_then(|port| port.parse().ok());
    Some(Console {
        kind: graphics.attribute("type")?.to_owned(),
        host: graphics.attribute("listen").or(listen).map(str::to_owned),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(xml: &str, expected: DomainConfig) {
        assert_eq!(DomainConfig::parse(xml), Ok(expected), "{xml}");
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_empty_domain_has_nothing() {
        check("<domain/>", DomainConfig::default());
        check("<domain><os/><features/><devices/></domain>", DomainConfig::default());
        check("<domain><os><type> </type></os></domain>", DomainConfig::default());
    }

    #[test]
    fn a_kvm_guest() {
        check(
            "<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
               <name>web</name>
               <title>ignored</title>
               <description>the shop &amp; more</description>
               <os firmware='efi'>
                 <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
                 <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
                 <boot dev='hd'/><boot dev='network'/><boot/>
                 <bootmenu enable='yes'/>
               </os>
               <features><acpi/><apic eoi='on'/><pae state='off'/></features>
               <clock offset='utc'><timer name='rtc'/></clock>
               <on_poweroff>destroy</on_poweroff>
               <on_crash>restart</on_crash>
               <devices>
                 <emulator>/usr/bin/qemu-system-x86_64</emulator>
                 <graphics type='vnc' port='5901' autoport='yes' listen='127.0.0.1'>
                   <listen type='address' address='127.0.0.1'/>
                 </graphics>
                 <graphics type='spice' port='5902'/>
               </devices>
               <qemu:commandline><qemu:arg value='-S'/></qemu:commandline>
             </domain>",
            DomainConfig {
                virt_type: some("kvm"),
                os_type: some("hvm"),
                arch: some("x86_64"),
                machine: some("pc-q35-7.2"),
                boot_devices: vec!["hd".to_owned(), "network".to_owned()],
                emulator: some("/usr/bin/qemu-system-x86_64"),
                on_poweroff: some("destroy"),
                on_crash: some("restart"),
                acpi: true,
                apic: true,
                clock_offset: some("utc"),
                description: some("the shop & more"),
                console: Some(Console {
                    kind: "vnc".to_owned(),
                    host: some("127.0.0.1"),
                    port: Some(5901),
                }),
                ..DomainConfig::default()
            },
        );
    }

    #[test]
    fn a_paravirtualised_xen_guest() {
        check(
            "<domain type='xen'>
               <bootloader>/usr/bin/pygrub</bootloader>
               <bootloader_args>--quiet</bootloader_args>
               <os>
                 <type>linux</type>
                 <kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd>
                 <cmdline>root=/dev/xvda ro</cmdline>
               </os>
               <features><pae/></features>
               <clock offset='localtime'/>
             </domain>",
            DomainConfig {
                virt_type: some("xen"),
                os_type: some("linux"),
                bootloader: some("/usr/bin/pygrub"),
                bootloader_args: some("--quiet"),
                kernel: some("/boot/vmlinuz"),
                initrd: some("/boot/initrd"),
                command_line: some("root=/dev/xvda ro"),
                pae: true,
                clock_offset: some("localtime"),
                ..DomainConfig::default()
            },
        );
    }

    #[test]
    fn a_container() {
        check(
            "<domain type='lxc'><os><type arch='x86_64'>exe</type><init>/sbin/init</init></os></domain>",
            DomainConfig {
                virt_type: some("lxc"),
                os_type: some("exe"),
                arch: some("x86_64"),
                init: some("/sbin/init"),
                ..DomainConfig::default()
            },
        );
    }

    #[test]
    fn consoles() {
        #[track_caller]
        fn check(graphics: &str, expected: Option<(&str, Option<&str>, Option<u16>)>) {
            let xml = format!("<domain><devices>{graphics}</devices></domain>");
            let expected = expected.map(|(kind, host, port)| Console {
                kind: kind.to_owned(),
                host: host.map(str::to_owned),
                port,
            });
            assert_eq!(DomainConfig::parse(&xml).unwrap().console, expected, "{graphics}");
        }
        check("", None);
        check("<graphics/>", None);
        check("<graphics type='vnc' port='-1' autoport='yes'/>", Some(("vnc", None, None)));
        check("<graphics type='vnc' port='99999'/>", Some(("vnc", None, None)));
        check(
            "<graphics type='spice' port='5900'><listen type='address' address='::'/></graphics>",
            Some(("spice", Some("::"), Some(5900))),
        );
        check("<graphics type='vnc'><listen type='none'/></graphics>", Some(("vnc", None, None)));
        check(
            "<graphics type='vnc' socket='/run/x.sock'><listen type='socket' socket='/run/x.sock'/></graphics>",
            Some(("vnc", None, None)),
        );
        check("<graphics type='sdl' display=':0'/>", Some(("sdl", None, None)));
    }

    #[test]
    fn not_xml_is_an_error() {
        assert!(DomainConfig::parse("domain").is_err());
    }
}
