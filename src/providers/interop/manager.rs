//! The object manager, its namespaces, and how it is spoken to.

use super::{Server, end};
use crate::{
    cim::{CimName, Instance, InstancePath},
    ops::{AssociationProvider, End, Far, Link, Outcome, ProviderError, Sink, Space},
    providers::{
        Family, Host,
        facts::{Facts, strings},
        host_system::host_system,
    },
};

const MANAGER: CimName = CimName::literal("CIM_ObjectManager");
/// What libvirt-cim's brokers say the server runs on, and clients copy into what they create.
pub(super) const SYSTEM_CLASS: &str = "CIM_ComputerSystem";
const MANAGER_NAME: &str = "virtcimd";

fn in_system(class: CimName, server: &Server) -> Facts {
    Facts::named(class)
        .set("SystemCreationClassName", SYSTEM_CLASS)
        .set("SystemName", server.system.as_str())
}

/// The server itself. pywbem takes brand and version from ElementName and Description.
pub(super) fn object_manager(server: &Server) -> Instance {
    let description = concat!("virtcimd version ", env!("CARGO_PKG_VERSION"));
    in_system(MANAGER, server)
        .set("Name", MANAGER_NAME)
        .set("ElementName", "virtcimd")
        .set("Description", description)
        .set("Started", true)
        // Enabled, OK; counting costs too little to be switched off.
        .set("EnabledState", 2_u16)
        .set("OperationalStatus", vec![2_u16])
        .set("GatherStatisticalData", true)
        .done()
}

/// The namespaces, under each name that they are found by.
pub(super) fn namespaces(server: &Server) -> Vec<Instance> {
    let named = |space: Space| {
        space.advertised().iter().map(move |name| {
            let alias =
                (*name != space.name()).then(|| format!("Another name of {}", space.name()));
            namespace(server, name).set_some("Caption", alias).done()
        })
    };
    Space::ALL.into_iter().flat_map(named).collect()
}

fn namespace(server: &Server, name: &str) -> Facts {
    in_system(CimName::literal("CIM_Namespace"), server)
        .set("ObjectManagerCreationClassName", MANAGER.as_str())
        .set("ObjectManagerName", MANAGER_NAME)
        .set("Name", name)
        // Other: a version later than the value map knows.
        .set("ClassInfo", 1_u16)
        .set("DescriptionOfClassInfo", "CIM 2.49 and libvirt-cim")
        .set("ClassType", 2_u16)
}

/// The server itself, as the successor of the object manager has it.
pub(super) fn wbem_server(server: &Server) -> Instance {
    let description = concat!("virtcimd version ", env!("CARGO_PKG_VERSION"));
    in_system(CimName::literal("CIM_WBEMServer"), server)
        .set("Name", MANAGER_NAME)
        .set("ElementName", "virtcimd")
        .set("Description", description)
        .set("Started", true)
        .set("EnabledState", 2_u16)
        .set("OperationalStatus", vec![2_u16])
        .done()
}

/// The namespaces, as their successor has them.
pub(super) fn wbem_namespaces() -> Vec<Instance> {
    let names = Space::ALL.into_iter().flat_map(Space::advertised);
    let namespace = |name: &&'static str| {
        Facts::of(CimName::literal("CIM_WBEMServerNamespace"))
            .set("InstanceID", format!("virtcimd:{name}"))
            .set("ElementName", *name)
            .set("Name", *name)
            .done()
    };
    names.map(namespace).collect()
}

/// CIM-XML as this server speaks it; what stands here is what `ops` and `http` do.
pub(super) fn mechanism(server: &Server) -> Instance {
    // Basic Read, Basic Write, Instance Manipulation, Association Traversal, Query Execution,
    // Indications, Pulled Read, Pulled Read Count, Pulled Query Execution.
    let functional_profiles = vec![2_u16, 3, 5, 6, 7, 9, 10, 11, 12];
    // 3 Basic, 2 None, 1 Other.
    let (mut authentication, mut words) = (vec![], vec![]);
    if server.authenticates {
        (authentication, words) = (vec![3_u16], vec!["Basic"]);
    }
    if server.certificates {
        authentication.push(1);
        words.push("TLS client certificates");
    }
    if authentication.is_empty() {
        (authentication, words) = (vec![2], vec!["None"]);
    }
    in_system(CimName::literal("CIM_CIMXMLCommunicationMechanism"), server)
        .set("Name", "CIM-XML")
        .set("CommunicationMechanism", 2_u16)
        .set("FunctionalProfilesSupported", functional_profiles)
        .set("MultipleOperationsSupported", false)
        .set("AuthenticationMechanismsSupported", authentication)
        .set("AuthenticationMechanismDescriptions", strings(words))
        // The newest that the value map has.
        .set("Version", "1.2")
        .set("AdvertiseTypes", vec![2_u16])
        .set("CIMXMLProtocolVersion", 1_u16)
        .set("CIMValidated", false)
        .set("PulledEnumerationClosureOnExceedingServerLimitsSupported", false)
        .set("PulledEnumerationContinuationOnErrorSupported", false)
        .set("PulledEnumerationMinimumOperationTimeout", 1_u32)
        .set("PulledEnumerationMaximumOperationTimeout", server.max_operation_timeout)
        .set("PulledEnumerationNoOperationTimeoutSupported", false)
        .done()
}

/// The hosts that host the object manager and the indication service: HostedService, across namespaces.
pub(super) struct HostsServices {
    class: CimName,
    ends: [End; 2],
    manager: Instance,
    indications: InstancePath,
    hosts: Vec<Host>,
}

impl HostsServices {
    pub(super) fn new(manager: &Instance, indications: InstancePath, hosts: &[Host]) -> Self {
        let systems = hosts.iter().map(|host| Family::HostSystem.of(host.prefix));
        Self {
            class: CimName::literal("CIM_HostedService"),
            ends: [
                end("Antecedent", systems),
                end("Dependent", [MANAGER, indications.class.clone()]),
            ],
            manager: manager.clone(),
            indications,
            hosts: hosts.to_vec(),
        }
    }
}

impl AssociationProvider for HostsServices {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        _source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            if *role == self.ends[0].role {
                sink.put(self.manager.clone().into()).await?;
                let far = Far::Path(self.indications.clone());
                return sink.put(Link { far, properties: Vec::new() }).await;
            }
            for host in &self.hosts {
                match host.info().await {
                    Ok(info) => sink.put(host_system(host.prefix, &info).into()).await?,
                    Err(ProviderError::Unreachable(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }
}
