//! Registered profiles: only what is really implemented, under the names libvirt-cim's clients know.
//!
//! Virtual System Migration is registered twice: libvirt-cim says 0.8.1, and other clients of this
//! model look for 1.0.0.

use std::sync::Arc;

use super::{
    end,
    fixed::{Fixed, FixedAssociation},
};
use crate::{
    cim::{CimName, Instance, InstancePath},
    ops::{
        AssociationProvider, End, InstanceProvider, Link, Outcome, ProviderError, Registry,
        RegistryError, Sink, Space,
    },
    providers::{
        Family, Host, Prefix, facts::Facts, host_system::host_system,
        migration_service::migration_service, name_of,
    },
};

/// A profile of DMTF's that each prefix implements.
struct Profile {
    id: &'static str,
    name: &'static str,
    version: &'static str,
    /// The family of its central (or, where it has none, its scoping) instances.
    element: Family,
    /// The id of the profile that scopes it.
    scope: Option<&'static str>,
}

static INSTANCE_ID: CimName = CimName::literal("InstanceID");

const SYSTEM_VIRTUALIZATION: &str = "CIM:DSP1042-SystemVirtualization-1.0.0";
const VIRTUAL_SYSTEM: &str = "CIM:DSP1057-VirtualSystem-1.0.0a";

const PROFILES: [Profile; 4] = [
    Profile {
        id: SYSTEM_VIRTUALIZATION,
        name: "System Virtualization",
        version: "1.0.0",
        element: Family::HostSystem,
        scope: Some(VIRTUAL_SYSTEM),
    },
    Profile {
        id: VIRTUAL_SYSTEM,
        name: "Virtual System Profile",
        version: "1.0.0a",
        element: Family::ComputerSystem,
        scope: None,
    },
    Profile {
        id: "CIM:DSP1081-VirtualSystemMigration-0.8.1",
        name: "Virtual System Migration",
        version: "0.8.1",
        element: Family::VirtualSystemMigrationService,
        scope: Some(SYSTEM_VIRTUALIZATION),
    },
    Profile {
        id: "CIM:DSP1081-VirtualSystemMigration-1.0.0",
        name: "Virtual System Migration",
        version: "1.0.0",
        element: Family::VirtualSystemMigrationService,
        scope: Some(SYSTEM_VIRTUALIZATION),
    },
];

/// Registers profiles, what conforms to them, and how they refer to each other.
pub(super) fn register(
    registry: &mut Registry,
    hosts: &[Host],
    indication_service: &Instance,
) -> Result<(), RegistryError> {
    let mut all = Vec::new();
    for host in hosts {
        let profiles: Vec<_> = PROFILES.iter().map(|it| it.instance(host.prefix)).collect();
        let scoped = PROFILES.iter().zip(&profiles).filter_map(|(profile, instance)| {
            let scope = PROFILES.iter().position(|it| Some(it.id) == profile.scope)?;
            Some((profiles[scope].clone(), instance.clone()))
        });
        let referenced = FixedAssociation::new(
            Family::ReferencedProfile.of(host.prefix),
            ["Antecedent", "Dependent"],
            scoped.collect(),
        );
        registry.associate(Space::Interop, Arc::new(referenced))?;
        registry.associate(Space::Interop, Arc::new(Conformance::new(host)))?;
        registry.serve(Space::Interop, Arc::new(Profiles(Fixed::new(profiles.clone()))))?;
        all.extend(profiles);
    }
    let (registration, indications) = (registration(), indications());
    all.push(indications.clone());
    let mut links: Vec<_> = all.into_iter().map(|it| (registration.clone(), it)).collect();
    links.push((indications.clone(), indication_service.clone()));
    let conforms = FixedAssociation::new(
        CimName::literal("CIM_ElementConformsToProfile"),
        ["ConformantStandard", "ManagedElement"],
        links,
    );
    let conforms = conforms.naming(indication_service.class.clone());
    registry.associate(Space::Interop, Arc::new(conforms))?;
    registry.serve(Space::Interop, Arc::new(Fixed::new(vec![registration, indications])))
}

/// DSP1054; with SequenceContext and SequenceNumber since 1.2.
fn indications() -> Instance {
    describe(
        CimName::literal("CIM_RegisteredProfile"),
        "CIM:DSP1054-Indications-1.2.0",
        "Indications",
        "1.2.0",
    )
}

/// DSP1033 itself.
fn registration() -> Instance {
    describe(
        CimName::literal("CIM_RegisteredProfile"),
        "CIM:DSP1033-ProfileRegistration-1.0.0",
        "Profile Registration",
        "1.0.0",
    )
}

fn describe(class: CimName, id: &str, name: &str, version: &str) -> Instance {
    Facts::of(class)
        .set("InstanceID", id)
        // DMTF.
        .set("RegisteredOrganization", 2_u16)
        .set("RegisteredName", name)
        .set("RegisteredVersion", version)
        // Not advertised: there is no SLP here, whatever libvirt-cim says.
        .set("AdvertiseTypes", vec![2_u16])
        .done()
}

impl Profile {
    fn instance(&self, prefix: Prefix) -> Instance {
        describe(Family::RegisteredProfile.of(prefix), self.id, self.name, self.version)
    }
}

/// The profiles of one prefix.
struct Profiles(Fixed);

impl InstanceProvider for Profiles {
    fn class(&self) -> &CimName {
        self.0.class()
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        self.0.enumerate(sink)
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        if path.key(&INSTANCE_ID).is_none() {
            // As libvirt-cim says it.
            let error = ProviderError::Failed("No InstanceID specified".to_owned());
            return Box::pin(async move { Err(error) });
        }
        self.0.get(path)
    }
}

/// ElementConformsToProfile, from profiles in the interop namespace to what they are about.
struct Conformance {
    host: Host,
    class: CimName,
    ends: [End; 2],
}

impl Conformance {
    fn new(host: &Host) -> Self {
        let mut elements: Vec<CimName> = Vec::new();
        for class in PROFILES.iter().map(|it| it.element.of(host.prefix)) {
            if !elements.contains(&class) {
                elements.push(class);
            }
        }
        Self {
            host: host.clone(),
            class: Family::ElementConformsToProfile.of(host.prefix),
            ends: [
                end("ConformantStandard", [Family::RegisteredProfile.of(host.prefix)]),
                end("ManagedElement", elements),
            ],
        }
    }

    async fn elements(
        &self,
        family: Family,
        sink: &mut dyn Sink<Link>,
    ) -> Result<(), ProviderError> {
        let (host, prefix) = (&self.host, self.host.prefix);
        if family == Family::ComputerSystem {
            for guest in host.computer_systems().await? {
                sink.put(guest.into()).await?;
            }
            return Ok(());
        }
        let info = host.info().await?;
        let element = match family == Family::HostSystem {
            true => host_system(prefix, &info),
            false => migration_service(prefix, &info),
        };
        sink.put(element.into()).await
    }
}

impl AssociationProvider for Conformance {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            let prefix = self.host.prefix;
            if *role == self.ends[0].role {
                let id = name_of(source, "InstanceID");
                let Some(profile) = PROFILES.iter().find(|it| it.id == id) else { return Ok(()) };
                return self.elements(profile.element, sink).await;
            }
            for profile in PROFILES.iter().filter(|it| it.element.of(prefix) == source.class) {
                sink.put(profile.instance(prefix).into()).await?;
            }
            Ok(())
        })
    }
}
