//! What a libvirt connection tells.

use std::collections::{BTreeSet, HashMap};

use virt::{domain::Domain as Guest, error::Error, storage_pool::StoragePool as Pool};
use virt_sys as sys;

use super::{Libvirt, ffi, ffi::Subscription, job};
use crate::hypervisor::{
    Baggage, CpuComparison, Domain, DomainCapabilities, DomainConfig, DomainState, Element,
    EventSink, HostInfo, HostResources, Hypervisor, HypervisorError, Platform, SecretRef,
    SilentFacts, StoragePool, Support, Volume, Watch, XmlForm,
};

impl Hypervisor for Libvirt {
    fn host(&self) -> Result<HostInfo, HypervisorError> {
        let connection = self.connection();
        let capabilities = connection.capabilities().map_err(|error| self.error(&error))?;
        let uuid = Element::parse(&capabilities)
            .ok()
            .and_then(|root| root.text_at("host/uuid").map(str::to_ascii_lowercase));
        let told = || -> Result<HostInfo, Error> {
            Ok(HostInfo {
                uri: connection.uri()?,
                driver: connection.driver_type()?,
                version: connection.hyp_version()?.into(),
                libvirt_version: connection.lib_version()?.into(),
                hostname: connection.hostname()?,
                uuid,
            })
        };
        told().map_err(|error| self.error(&error))
    }

    fn domains(&self) -> Result<Vec<Domain>, HypervisorError> {
        let guests = self.list(0)?;
        let persistent = self.uuids(sys::VIR_CONNECT_LIST_DOMAINS_PERSISTENT)?;
        let silent = self.silent_facts()?;
        let states = self.states()?;
        let described = guests.iter().map(|guest| {
            let mut domain = self.bare(guest)?;
            // One that came after the list of states was made has none yet.
            let state = states.get(&domain.uuid).map_or_else(|| self.state(guest), |it| Ok(*it));
            (domain.state, domain.reason) = state?;
            domain.persistent = persistent.contains(&domain.uuid);
            domain.autostart = silent.autostart.contains(&domain.uuid);
            domain.managed_save = silent.managed_save.contains(&domain.uuid);
            Ok(domain)
        });
        let mut domains = without_refused(described, &self.uri)?;
        domains.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(domains)
    }

    fn domain(&self, name: &str) -> Result<Domain, HypervisorError> {
        self.whole(&self.lookup(name)?)
    }

    fn domain_by_uuid(&self, uuid: &str) -> Result<Domain, HypervisorError> {
        let guest = self.connection().lookup_domain_by_uuid_string(uuid);
        self.whole(&guest.map_err(|error| self.error(&error))?)
    }

    fn silent_facts(&self) -> Result<SilentFacts, HypervisorError> {
        let known = |flags| match self.uuids(flags) {
            Err(HypervisorError::Unsupported { .. }) => Ok(BTreeSet::new()),
            other => other,
        };
        Ok(SilentFacts {
            autostart: known(sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)?,
            managed_save: known(sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)?,
        })
    }

    fn domain_xml(&self, name: &str, form: XmlForm) -> Result<String, HypervisorError> {
        let flags = match form {
            XmlForm::Live => 0,
            XmlForm::Inactive => sys::VIR_DOMAIN_XML_INACTIVE,
            XmlForm::InactiveSecure => sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE,
            XmlForm::Migratable => sys::VIR_DOMAIN_XML_MIGRATABLE,
        };
        self.lookup(name)?.xml_desc(flags).map_err(|error| self.error(&error))
    }

    fn active_job(&self, name: &str) -> Result<Option<String>, HypervisorError> {
        let guest = self.lookup(name)?;
        let told = ffi::job_stats(&guest, false).map_err(|error| self.error(&error))?;
        Ok(job::stats(told.0, &told.1).map(|stats| stats.operation.describe().to_owned()))
    }

    fn compare_cpu(
        &self,
        cpu_xml: &str,
        platform: &Platform,
    ) -> Result<CpuComparison, HypervisorError> {
        let compare = |emulator: Option<&str>| {
            let asked = [
                emulator,
                platform.arch.as_deref(),
                platform.machine.as_deref(),
                platform.virt_type.as_deref(),
            ];
            self.cpu_verdict(ffi::compare_hypervisor_cpu(self.connection(), asked, cpu_xml))
        };
        match compare(platform.emulator.as_deref()) {
            // This host may keep its emulator elsewhere; whether it can do so is another question.
            Err(HypervisorError::Libvirt { .. }) if platform.emulator.is_some() => compare(None),
            Err(HypervisorError::Unsupported { .. }) => {
                let fail = sys::VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE;
                let told = self.connection().compare_cpu(cpu_xml, fail);
                self.cpu_verdict(told)
            }
            other => other,
        }
    }

    fn domain_capabilities(
        &self,
        platform: &Platform,
    ) -> Result<DomainCapabilities, HypervisorError> {
        let told = self.connection().domain_capabilities(
            platform.emulator.as_deref(),
            platform.arch.as_deref(),
            platform.machine.as_deref(),
            platform.virt_type.as_deref(),
            0,
        );
        let xml = told.map_err(|error| self.error(&error))?;
        let root = Element::parse(&xml)
            .map_err(|error| self.unreadable("domain capabilities", &error.to_string()))?;
        Ok(read_capabilities(&root))
    }

    fn resources(&self, page_kib: Option<u64>) -> Result<HostResources, HypervisorError> {
        let connection = self.connection();
        let node = connection.node_info().map_err(|error| self.error(&error))?;
        let free_kib = match ffi::memory_stats(connection) {
            Ok(stats) => {
                let of = |name: &str| stats.get(name).copied().unwrap_or(0);
                Some(of("free") + of("buffers") + of("cached"))
            }
            Err(_) => connection.free_memory().ok().map(|bytes| bytes / 1024),
        };
        let pages = page_kib.and_then(|size| u32::try_from(size).ok());
        let free_pages = pages.and_then(|size| {
            let told = connection.free_pages(&[size], 0, node.nodes.max(1), 0);
            told.ok().map(|counts| counts.iter().sum())
        });
        Ok(HostResources { memory_kib: node.memory, free_kib, cpus: node.cpus, free_pages })
    }

    fn max_vcpus(&self, virt_type: Option<&str>) -> Result<u32, HypervisorError> {
        self.connection().max_vcpus(virt_type).map_err(|error| self.error(&error))
    }

    fn network_active(&self, name: &str) -> Result<Option<bool>, HypervisorError> {
        let found = self.connection().lookup_network_by_name(name);
        self.if_found(found, sys::VIR_ERR_NO_NETWORK)?
            .map(|network| network.is_active().map_err(|error| self.error(&error)))
            .transpose()
    }

    fn disk_capacity(&self, name: &str, path: &str) -> Result<u64, HypervisorError> {
        let guest = self.lookup(name)?;
        let told = guest.block_info(path, 0).map_err(|error| self.error(&error))?;
        Ok(told.capacity)
    }

    fn volume(&self, path: &str) -> Result<Option<Volume>, HypervisorError> {
        let found = self.connection().lookup_storage_vol_by_path(path);
        let Some(volume) = self.if_found(found, sys::VIR_ERR_NO_STORAGE_VOL)? else {
            return Ok(None);
        };
        let told = || -> Result<Volume, Error> {
            let pool = volume.lookup_storage_pool()?.name()?;
            Ok(Volume { pool, capacity: volume.info()?.capacity })
        };
        told().map(Some).map_err(|error| self.error(&error))
    }

    fn pool(&self, name: &str) -> Result<Option<StoragePool>, HypervisorError> {
        let found = self.connection().lookup_storage_pool_by_name(name);
        let pool = self.if_found(found, sys::VIR_ERR_NO_STORAGE_POOL)?;
        pool.map(|pool| self.describe_pool(&pool)).transpose()
    }

    fn pool_at(&self, directory: &str) -> Result<Option<StoragePool>, HypervisorError> {
        let found = self.connection().lookup_storage_pool_by_target_path(directory);
        let pool = self.if_found(found, sys::VIR_ERR_NO_STORAGE_POOL)?;
        pool.map(|pool| self.describe_pool(&pool)).transpose()
    }

    fn has_secret(&self, secret: &SecretRef) -> Result<bool, HypervisorError> {
        let found = match secret {
            SecretRef::Uuid(uuid) => self.connection().lookup_secret_by_uuid_string(uuid),
            SecretRef::Usage { kind, name } => {
                let kind = match kind.as_str() {
                    "volume" => sys::VIR_SECRET_USAGE_TYPE_VOLUME,
                    "ceph" => sys::VIR_SECRET_USAGE_TYPE_CEPH,
                    "iscsi" => sys::VIR_SECRET_USAGE_TYPE_ISCSI,
                    "tls" => sys::VIR_SECRET_USAGE_TYPE_TLS,
                    "vtpm" => sys::VIR_SECRET_USAGE_TYPE_VTPM,
                    _ => {
                        let message = format!("secrets of usage {kind} are not known");
                        return Err(HypervisorError::Unsupported { message });
                    }
                };
                self.connection().lookup_secret_by_usage(kind.cast_signed(), name)
            }
        };
        Ok(self.if_found(found, sys::VIR_ERR_NO_SECRET)?.is_some())
    }

    fn baggage(&self, name: &str, disks: &[String]) -> Result<Baggage, HypervisorError> {
        let guest = self.lookup(name)?;
        let count = |told: Result<usize, Error>| match told.map_err(|error| self.error(&error)) {
            Err(HypervisorError::Unsupported { .. }) => Ok(0),
            other => other,
        };
        let snapshots = count(guest.num_snapshots(0).map(|count| count as usize))?;
        let checkpoints = ffi::checkpoint_count(&guest);
        let checkpoints = count(checkpoints.map(|count| usize::try_from(count).unwrap_or(0)))?;
        // A guest that does not run has no block jobs, and libvirt refuses the question.
        let busy_disks = disks
            .iter()
            .filter(|disk| ffi::has_block_job(&guest, disk).unwrap_or(false))
            .cloned()
            .collect();
        Ok(Baggage { snapshots, checkpoints, busy_disks })
    }

    fn watch(&self, sink: EventSink) -> Result<Watch, HypervisorError> {
        let subscription = Subscription::new(self.connection(), &sink);
        subscription.map(Watch::new).map_err(|error| self.error(&error))
    }
}

impl Libvirt {
    fn list(
        &self,
        flags: sys::virConnectListAllDomainsFlags,
    ) -> Result<Vec<Guest>, HypervisorError> {
        self.connection().list_all_domains(flags).map_err(|error| self.error(&error))
    }

    fn uuids(
        &self,
        flags: sys::virConnectListAllDomainsFlags,
    ) -> Result<BTreeSet<String>, HypervisorError> {
        self.list(flags)?.iter().map(|guest| self.uuid(guest)).collect()
    }

    fn uuid(&self, guest: &Guest) -> Result<String, HypervisorError> {
        guest.uuid_string().map_err(|error| self.error(&error))
    }

    /// The states of all guests in one call; empty where the driver can't.
    fn states(&self) -> Result<HashMap<String, (DomainState, i32)>, HypervisorError> {
        match ffi::all_domain_states(self.connection()).map_err(|error| self.error(&error)) {
            Ok(states) => Ok(states
                .into_iter()
                .map(|(uuid, (state, reason))| (uuid, (state_of(state), reason)))
                .collect()),
            Err(HypervisorError::Unsupported { .. }) => Ok(HashMap::new()),
            Err(error) => Err(error),
        }
    }

    fn state(&self, guest: &Guest) -> Result<(DomainState, i32), HypervisorError> {
        let told = ffi::domain_state(guest).map_err(|error| self.error(&error))?;
        Ok((state_of(told.0), told.1))
    }

    /// A guest with what its XML says; the rest is for the caller to fill in.
    fn bare(&self, guest: &Guest) -> Result<Domain, HypervisorError> {
        let xml = guest.xml_desc(0).map_err(|error| self.error(&error))?;
        let name = guest.name().map_err(|error| self.error(&error))?;
        let config = DomainConfig::parse(&xml).unwrap_or_else(|error| {
            tracing::warn!(domain = name, %error, "domain XML is unreadable");
            DomainConfig::default()
        });
        Ok(Domain {
            uuid: self.uuid(guest)?,
            name,
            state: DomainState::NoState,
            reason: 0,
            persistent: false,
            managed_save: false,
            autostart: false,
            config,
        })
    }

    fn whole(&self, guest: &Guest) -> Result<Domain, HypervisorError> {
        let no = |told: Result<bool, Error>| match told.map_err(|error| self.error(&error)) {
            Err(HypervisorError::Unsupported { .. }) => Ok(false),
            other => other,
        };
        let (state, reason) = self.state(guest)?;
        Ok(Domain {
            state,
            reason,
            persistent: no(guest.is_persistent())?,
            // A guest without a definition is asked in vain.
            autostart: guest.autostart().unwrap_or(false),
            managed_save: no(guest.has_managed_save(0))?,
            ..self.bare(guest)?
        })
    }

    fn cpu_verdict(&self, told: Result<i32, Error>) -> Result<CpuComparison, HypervisorError> {
        match told {
            Ok(sys::VIR_CPU_COMPARE_IDENTICAL) => Ok(CpuComparison::Identical),
            Ok(sys::VIR_CPU_COMPARE_SUPERSET) => Ok(CpuComparison::Superset),
            Ok(_) => Ok(CpuComparison::Incompatible { reason: None }),
            Err(error) if error.code().to_raw() == sys::VIR_ERR_CPU_INCOMPATIBLE => {
                Ok(CpuComparison::Incompatible { reason: Some(error.message().to_owned()) })
            }
            Err(error) => Err(self.error(&error)),
        }
    }

    fn describe_pool(&self, pool: &Pool) -> Result<StoragePool, HypervisorError> {
        let told = || -> Result<StoragePool, Error> {
            let kind = Element::parse(&pool.xml_desc(0)?)
                .ok()
                .and_then(|root| root.attribute("type").map(str::to_owned))
                .unwrap_or_default();
            let info = pool.info()?;
            let (name, active) = (pool.name()?, pool.is_active()?);
            Ok(StoragePool { name, kind, active, available: info.available })
        };
        told().map_err(|error| self.error(&error))
    }

    /// `None` where libvirt says that there is no such thing.
    fn if_found<T>(
        &self,
        found: Result<T, Error>,
        absent: sys::virErrorNumber,
    ) -> Result<Option<T>, HypervisorError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code().to_raw() == absent => Ok(None),
            Err(error) => Err(self.error(&error)),
        }
    }

    fn unreadable(&self, what: &str, reason: &str) -> HypervisorError {
        HypervisorError::Libvirt {
            code: sys::VIR_ERR_XML_ERROR,
            message: format!("the {what} that {} gives are unreadable: {reason}", self.uri),
        }
    }
}

/// The guests that libvirt describes. Says once how many it does not.
fn without_refused(
    described: impl ExactSizeIterator<Item = Result<Domain, HypervisorError>>,
    uri: &str,
) -> Result<Vec<Domain>, HypervisorError> {
    let mut domains = Vec::with_capacity(described.len());
    let (mut refused, mut first) = (0, None);
    for domain in described {
        match domain {
            Ok(domain) => domains.push(domain),
            // It went while we looked.
            Err(HypervisorError::NotFound { .. }) => {}
            Err(error) if error.is_refusal() => {
                refused += 1;
                first = first.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = first {
        tracing::warn!(uri, guests = refused, %error, "guests that cannot be read are left out");
    }
    Ok(domains)
}

fn state_of(state: i32) -> DomainState {
    match state.cast_unsigned() {
        sys::VIR_DOMAIN_NOSTATE => DomainState::NoState,
        sys::VIR_DOMAIN_RUNNING => DomainState::Running,
        sys::VIR_DOMAIN_BLOCKED => DomainState::Blocked,
        sys::VIR_DOMAIN_PAUSED => DomainState::Paused,
        sys::VIR_DOMAIN_SHUTDOWN => DomainState::Shutdown,
        sys::VIR_DOMAIN_SHUTOFF => DomainState::Shutoff,
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        sys::VIR_DOMAIN_PMSUSPENDED => DomainState::PmSuspended,
        other => DomainState::Other(other),
    }
}

fn read_capabilities(root: &Element) -> DomainCapabilities {
    let mut devices = std::collections::BTreeMap::new();
    // `<os>` holds `<loader>`, everything else is under `<devices>`.
    for parent in [root.child("devices"), root.child("os")].into_iter().flatten() {
        for device in &parent.children {
            let Some(supported) = device.attribute("supported") else { continue };
            let values = device
                .children_named("enum")
                .filter_map(|list| {
                    let values = list.children_named("value").map(|value| value.text.clone());
                    Some((list.attribute("name")?.to_owned(), values.collect()))
                })
                .collect();
            devices.insert(device.name.clone(), Support { supported: supported == "yes", values });
        }
    }
    DomainCapabilities {
        machine: root.text_at("machine").map(str::to_owned),
        max_vcpus: root.attribute_at("vcpu", "max").and_then(|max| max.parse().ok()),
        devices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::fake::FakeHypervisor;

    #[test]
    fn a_guest_that_cannot_be_read_takes_no_other_with_it() {
        let guest = |name: &str| Ok(FakeHypervisor::guest(name, name, DomainState::Running));
        let denied = || {
            let message = "access denied: 'domain' denied access".to_owned();
            Err(HypervisorError::Libvirt { code: sys::VIR_ERR_ACCESS_DENIED, message })
        };
        let gone = || Err(HypervisorError::NotFound { message: "Domain not found".to_owned() });
        let names = |described: Vec<Result<Domain, HypervisorError>>| {
            let domains = without_refused(described.into_iter(), "test:///default")?;
            Ok(domains.into_iter().map(|domain| domain.name).collect::<Vec<_>>())
        };
        let described = vec![denied(), guest("a"), gone(), denied(), guest("b")];
        assert_eq!(names(described), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(vec![denied(), denied()]), Ok(Vec::new()));
        // Without a connection nothing is known of any guest.
        let (uri, message) = ("test:///default".to_owned(), "broken pipe".to_owned());
        let cut = HypervisorError::Unreachable { uri, message };
        assert_eq!(names(vec![guest("a"), Err(cut.clone())]), Err(cut));
    }
}
