//! A hypervisor in memory, for what a real one does not do on demand: hang, refuse, vanish.
//!
//! It knows guests, their states and jobs, and moves guests between the hosts of one [`FakeWorld`]. It
//! does not imitate libvirt beyond that: whatever can be tested against `test:///default` is.

mod migrator;
mod state;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{
    Baggage, Connector, CpuComparison, Domain, DomainCapabilities, DomainConfig, DomainState,
    EventSink, HostEvent, HostInfo, HostResources, Hypervisor, HypervisorError, JobKind,
    JobOperation, JobStats, Lifecycle, MigrationOrder, Migrator, Platform, SecretRef, SilentFacts,
    StoragePool, Volume, Watch, XmlForm,
};

/// Hosts that can reach each other by URI.
#[derive(Default)]
pub struct FakeWorld {
    hosts: Mutex<HashMap<String, Arc<FakeHypervisor>>>,
}

impl FakeWorld {
    /// A world without hosts: every URI is unreachable.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a host that answers at `uri`. Its UUID is made from the URI.
    pub fn add_host(self: &Arc<Self>, uri: &str) -> Arc<FakeHypervisor> {
        let host = Arc::new(FakeHypervisor {
            world: Arc::downgrade(self),
            state: Mutex::new(FakeState::new(uri)),
            changed: Condvar::new(),
            sinks: Arc::default(),
        });
        lock(&self.hosts).insert(uri.to_owned(), Arc::clone(&host));
        host
    }

    fn host(&self, uri: &str) -> Option<Arc<FakeHypervisor>> {
        lock(&self.hosts).get(uri).cloned()
    }
}

impl Connector for FakeWorld {
    fn open(&self, uri: &str) -> Result<Arc<dyn Migrator>, HypervisorError> {
        let host = self.host(uri).ok_or_else(|| HypervisorError::Unreachable {
            uri: uri.to_owned(),
            message: "no such host".to_owned(),
        })?;
        drop(host.enter("open")?);
        Ok(host)
    }
}

/// One host. Calls are named after the trait's methods; `open` is the connector's.
pub struct FakeHypervisor {
    world: Weak<FakeWorld>,
    state: Mutex<FakeState>,
    changed: Condvar,
    sinks: Arc<Mutex<Sinks>>,
}

struct FakeState {
    info: HostInfo,
    guests: BTreeMap<String, FakeGuest>,
    resources: HostResources,
    capabilities: DomainCapabilities,
    cpu: CpuComparison,
    networks: BTreeMap<String, bool>,
    pools: BTreeMap<String, StoragePool>,
    volumes: BTreeMap<String, Volume>,
    secrets: Vec<SecretRef>,
    reachable: bool,
    failures: HashMap<&'static str, VecDeque<HypervisorError>>,
    /// Calls that hang, and how many of them may pass.
    hanging: BTreeMap<&'static str, usize>,
    slow: HashMap<&'static str, Duration>,
    waiting: BTreeMap<&'static str, usize>,
    calls: Vec<&'static str>,
    orders: Vec<MigrationOrder>,
}

#[derive(Default)]
struct Sinks {
    by_id: BTreeMap<u64, EventSink>,
    next_id: u64,
}

struct FakeGuest {
    domain: Domain,
    xml: String,
    job: Option<JobStats>,
    completed: Option<JobStats>,
    cancelled: bool,
    ignores_shutdown: bool,
}

impl FakeGuest {
    fn new(domain: Domain, xml: &str) -> Self {
        Self {
            domain,
            xml: xml.to_owned(),
            job: None,
            completed: None,
            cancelled: false,
            ignores_shutdown: false,
        }
    }

    fn must_be_active(&self) -> Result<(), HypervisorError> {
        if self.domain.is_active() { Ok(()) } else { Err(invalid("domain is not running")) }
    }
}

/// A call that blocks; dropping this lets it go on.
pub struct Hanging {
    host: Arc<FakeHypervisor>,
    call: &'static str,
}

impl Hanging {
    /// Waits until a caller hangs in the call.
    pub fn wait_for_caller(&self) {
        let mut state = self.host.lock();
        let hangs = |state: &FakeState| {
            let nobody_passes = state.hanging.get(self.call) == Some(&0);
            nobody_passes && state.waiting.get(self.call).is_some_and(|callers| *callers > 0)
        };
        while !hangs(&state) {
            state = self.host.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets one call pass.
    pub fn let_one_pass(&self) {
        *self.host.lock().hanging.entry(self.call).or_default() += 1;
        self.host.changed.notify_all();
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.host.lock().hanging.remove(self.call);
        self.host.changed.notify_all();
    }
}

/// What a test does to a host.
impl FakeHypervisor {
    /// A guest as `add_guest` takes it: persistent, with an empty configuration.
    pub fn guest(name: &str, uuid: &str, state: DomainState) -> Domain {
        Domain {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            state,
            reason: 0,
            persistent: true,
            managed_save: false,
            autostart: false,
            config: DomainConfig::default(),
        }
    }

    /// Adds a guest, or replaces the one of that name. Watchers hear `Defined`.
    pub fn add_guest(&self, domain: Domain, xml: &str) {
        let (uuid, name) = (domain.uuid.clone(), domain.name.clone());
        self.add_guest_silently(domain, xml);
        self.tell(uuid, name, Lifecycle::Defined);
    }

    /// Adds a guest without a word to anybody, as if the event were lost.
    pub fn add_guest_silently(&self, domain: Domain, xml: &str) {
        self.lock().guests.insert(domain.name.clone(), FakeGuest::new(domain, xml));
    }

    /// Changes a guest and tells watchers `change`.
    pub fn change_guest(&self, name: &str, change: Lifecycle, edit: impl FnOnce(&mut Domain)) {
        let uuid = {
            let mut state = self.lock();
            let guest = state.guests.get_mut(name).expect("the guest exists");
            edit(&mut guest.domain);
            guest.domain.uuid.clone()
        };
        self.tell(uuid, name.to_owned(), change);
    }

    /// Changes a guest without a word to anybody, as if the event were lost.
    pub fn change_guest_silently(&self, name: &str, edit: impl FnOnce(&mut Domain)) {
        edit(&mut self.lock().guests.get_mut(name).expect("the guest exists").domain);
    }

    /// Removes a guest. Watchers hear `Undefined`.
    pub fn remove_guest(&self, name: &str) {
        let removed = self.lock().guests.remove(name).expect("the guest exists");
        self.tell(removed.domain.uuid, removed.domain.name, Lifecycle::Undefined);
    }

    /// Makes a job run on a guest, or ends it.
    pub fn set_job(&self, name: &str, operation: Option<JobOperation>) {
        self.lock().guests.get_mut(name).expect("the guest exists").job =
            operation.map(|operation| JobStats {
                kind: JobKind::Unbounded,
                operation,
                ..JobStats::default()
            });
    }

    /// What `job` tells of the job that runs on a guest.
    pub fn set_job_stats(&self, name: &str, stats: JobStats) {
        self.lock().guests.get_mut(name).expect("the guest exists").job = Some(stats);
    }

    /// Decides whether a guest ignores requests to shut down.
    pub fn ignore_shutdown(&self, name: &str, ignores: bool) {
        self.lock().guests.get_mut(name).expect("the guest exists").ignores_shutdown = ignores;
    }

    /// Changes what `host` answers.
    pub fn edit_host(&self, edit: impl FnOnce(&mut HostInfo)) {
        edit(&mut self.lock().info);
    }

    /// What `compare_cpu` answers.
    pub fn set_cpu(&self, answer: CpuComparison) {
        self.lock().cpu = answer;
    }

    /// What `resources` answers.
    pub fn set_resources(&self, resources: HostResources) {
        self.lock().resources = resources;
    }

    /// What `domain_capabilities` answers.
    pub fn set_capabilities(&self, capabilities: DomainCapabilities) {
        self.lock().capabilities = capabilities;
    }

    /// Adds a network.
    pub fn add_network(&self, name: &str, active: bool) {
        self.lock().networks.insert(name.to_owned(), active);
    }

    /// Adds a pool over a directory.
    pub fn add_pool(&self, directory: &str, pool: StoragePool) {
        self.lock().pools.insert(directory.to_owned(), pool);
    }

    /// Adds a volume at a path.
    pub fn add_volume(&self, path: &str, volume: Volume) {
        self.lock().volumes.insert(path.to_owned(), volume);
    }

    /// Adds a secret.
    pub fn add_secret(&self, secret: SecretRef) {
        self.lock().secrets.push(secret);
    }

    /// Lets the next call of that name fail; several queue up.
    pub fn fail_next(&self, call: &'static str, error: HypervisorError) {
        self.lock().failures.entry(call).or_default().push_back(error);
    }

    /// Lets calls of that name block until the answer is dropped.
    pub fn hang(self: &Arc<Self>, call: &'static str) -> Hanging {
        self.lock().hanging.insert(call, 0);
        Hanging { host: Arc::clone(self), call }
    }

    /// Lets calls of that name take so long.
    pub fn slow_down(&self, call: &'static str, time: Duration) {
        self.lock().slow.insert(call, time);
    }

    /// Breaks every connection, with an event, and refuses new ones.
    pub fn go_down(&self) {
        self.lock().reachable = false;
        let sinks = std::mem::take(&mut lock(&self.sinks).by_id);
        for sink in sinks.into_values() {
            sink(HostEvent::Closed { reason: "the host went down" });
        }
    }

    /// Accepts connections again.
    pub fn come_up(&self) {
        self.lock().reachable = true;
    }

    /// The migrations that were ordered so far.
    pub fn orders(&self) -> Vec<MigrationOrder> {
        self.lock().orders.clone()
    }

    /// The names of all calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.lock().calls.clone()
    }

    /// Tells every watcher an event.
    pub fn emit(&self, event: &HostEvent) {
        let sinks: Vec<_> = lock(&self.sinks).by_id.values().cloned().collect();
        for sink in sinks {
            sink(event.clone());
        }
    }
}

impl FakeHypervisor {
    fn lock(&self) -> MutexGuard<'_, FakeState> {
        lock(&self.state)
    }

    fn tell(&self, uuid: String, name: String, change: Lifecycle) {
        self.emit(&HostEvent::Lifecycle { uuid, name, change, detail: 0 });
    }

    /// What every call does first: be counted, hang or fail as told.
    fn enter(&self, call: &'static str) -> Result<MutexGuard<'_, FakeState>, HypervisorError> {
        let mut state = self.lock();
        state.calls.push(call);
        if let Some(time) = state.slow.get(call).copied() {
            drop(state);
            std::thread::sleep(time);
            state = self.lock();
        }
        loop {
            match state.hanging.get_mut(call) {
                None => break,
                Some(0) => state = self.wait_in(call, state),
                Some(passing) => {
                    *passing -= 1;
                    break;
                }
            }
        }
        state.check(call).map(|()| state)
    }

    fn wait_in<'a>(
        &self,
        call: &'static str,
        mut state: MutexGuard<'a, FakeState>,
    ) -> MutexGuard<'a, FakeState> {
        *state.waiting.entry(call).or_default() += 1;
        self.changed.notify_all();
        state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        *state.waiting.entry(call).or_default() -= 1;
        state
    }

    fn with_guest<T>(
        &self,
        call: &'static str,
        name: &str,
        act: impl FnOnce(&mut FakeGuest) -> Result<T, HypervisorError>,
    ) -> Result<T, HypervisorError> {
        let mut state = self.enter(call)?;
        act(state.guests.get_mut(name).ok_or_else(|| no_such_name(name))?)
    }

    /// Brings a guest from one set of states to another and tells watchers.
    fn transition(
        &self,
        call: &'static str,
        name: &str,
        from: &[DomainState],
        to: DomainState,
        change: Lifecycle,
    ) -> Result<(), HypervisorError> {
        let uuid = {
            let mut state = self.enter(call)?;
            let guest = state.guests.get_mut(name).ok_or_else(|| no_such_name(name))?;
            if !from.contains(&guest.domain.state) {
                return Err(invalid(format!("domain is {:?}", guest.domain.state)));
            }
            guest.domain.state = to;
            guest.domain.reason = if call == "destroy" { 2 } else { 0 };
            let (uuid, persistent) = (guest.domain.uuid.clone(), guest.domain.persistent);
            if to == DomainState::Shutoff && !persistent {
                state.guests.remove(name);
            }
            uuid
        };
        self.tell(uuid, name.to_owned(), change);
        Ok(())
    }
}

impl Hypervisor for FakeHypervisor {
    fn host(&self) -> Result<HostInfo, HypervisorError> {
        Ok(self.enter("host")?.info.clone())
    }

    fn domains(&self) -> Result<Vec<Domain>, HypervisorError> {
        Ok(self.enter("domains")?.guests.values().map(|guest| guest.domain.clone()).collect())
    }

    fn domain(&self, name: &str) -> Result<Domain, HypervisorError> {
        self.with_guest("domain", name, |guest| Ok(guest.domain.clone()))
    }

    fn domain_by_uuid(&self, uuid: &str) -> Result<Domain, HypervisorError> {
        let state = self.enter("domain_by_uuid")?;
        let found = state.guests.values().find(|guest| guest.domain.uuid == uuid);
        found.map(|guest| guest.domain.clone()).ok_or_else(|| HypervisorError::NotFound {
            message: format!("Domain not found: no domain with matching uuid '{uuid}'"),
        })
    }

    fn silent_facts(&self) -> Result<SilentFacts, HypervisorError> {
        let state = self.enter("silent_facts")?;
        let having = |fact: fn(&Domain) -> bool| {
            let domains = state.guests.values().map(|guest| &guest.domain);
            domains.filter(|domain| fact(domain)).map(|domain| domain.uuid.clone()).collect()
        };
        Ok(SilentFacts {
            autostart: having(|domain| domain.autostart),
            managed_save: having(|domain| domain.managed_save),
        })
    }

    fn domain_xml(&self, name: &str, _form: XmlForm) -> Result<String, HypervisorError> {
        self.with_guest("domain_xml", name, |guest| Ok(guest.xml.clone()))
    }

    fn active_job(&self, name: &str) -> Result<Option<String>, HypervisorError> {
        self.with_guest("active_job", name, |guest| {
            guest.must_be_active()?;
            Ok(guest.job.as_ref().map(|job| job.operation.describe().to_owned()))
        })
    }

    fn compare_cpu(
        &self,
        _cpu_xml: &str,
        _platform: &Platform,
    ) -> Result<CpuComparison, HypervisorError> {
        Ok(self.enter("compare_cpu")?.cpu.clone())
    }

    fn domain_capabilities(
        &self,
        _platform: &Platform,
    ) -> Result<DomainCapabilities, HypervisorError> {
        Ok(self.enter("domain_capabilities")?.capabilities.clone())
    }

    fn resources(&self, _page_kib: Option<u64>) -> Result<HostResources, HypervisorError> {
        Ok(self.enter("resources")?.resources)
    }

    fn max_vcpus(&self, _virt_type: Option<&str>) -> Result<u32, HypervisorError> {
        Ok(self.enter("max_vcpus")?.capabilities.max_vcpus.unwrap_or(255))
    }

    fn network_active(&self, name: &str) -> Result<Option<bool>, HypervisorError> {
        Ok(self.enter("network_active")?.networks.get(name).copied())
    }

    fn disk_capacity(&self, _name: &str, path: &str) -> Result<u64, HypervisorError> {
        let capacity = self.enter("disk_capacity")?.volumes.get(path).map(|volume| volume.capacity);
        capacity.ok_or(HypervisorError::Unsupported { message: format!("no size of {path}") })
    }

    fn volume(&self, path: &str) -> Result<Option<Volume>, HypervisorError> {
        Ok(self.enter("volume")?.volumes.get(path).cloned())
    }

    fn pool(&self, name: &str) -> Result<Option<StoragePool>, HypervisorError> {
        Ok(self.enter("pool")?.pools.values().find(|pool| pool.name == name).cloned())
    }

    fn pool_at(&self, directory: &str) -> Result<Option<StoragePool>, HypervisorError> {
        Ok(self.enter("pool_at")?.pools.get(directory).cloned())
    }

    fn has_secret(&self, secret: &SecretRef) -> Result<bool, HypervisorError> {
        Ok(self.enter("has_secret")?.secrets.contains(secret))
    }

    fn baggage(&self, name: &str, _disks: &[String]) -> Result<Baggage, HypervisorError> {
        self.with_guest("baggage", name, |_| Ok(Baggage::default()))
    }

    fn watch(&self, sink: EventSink) -> Result<Watch, HypervisorError> {
        drop(self.enter("watch")?);
        let mut sinks = lock(&self.sinks);
        let id = sinks.next_id;
        sinks.next_id += 1;
        sinks.by_id.insert(id, sink);
        Ok(Watch::new(FakeWatch { sinks: Arc::clone(&self.sinks), id }))
    }
}

struct FakeWatch {
    sinks: Arc<Mutex<Sinks>>,
    id: u64,
}

impl Drop for FakeWatch {
    fn drop(&mut self) {
        lock(&self.sinks).by_id.remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_such_name(name: &str) -> HypervisorError {
    HypervisorError::NotFound {
        message: format!("Domain not found: no domain with matching name '{name}'"),
    }
}

fn invalid(message: impl std::fmt::Display) -> HypervisorError {
    libvirt(55, format!("Requested operation is not valid: {message}"))
}

fn libvirt(code: u32, message: impl Into<String>) -> HypervisorError {
    HypervisorError::Libvirt { code, message: message.into() }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::hypervisor::{Route, Transfer};

    const UUID: &str = "11111111-2222-4333-8444-555555555555";

    fn two_hosts() -> (Arc<FakeWorld>, Arc<FakeHypervisor>, Arc<FakeHypervisor>) {
        let world = FakeWorld::new();
        let (source, destination) = (world.add_host("fake:///a"), world.add_host("fake:///b"));
        source.add_guest(FakeHypervisor::guest("web", UUID, DomainState::Running), "<domain/>");
        (world, source, destination)
    }

    fn live() -> MigrationOrder {
        MigrationOrder::new(Route::PeerToPeer("fake:///b".to_owned()), Transfer::Live)
    }

    #[test]
    fn a_guest_moves_between_hosts() {
        let (_world, source, destination) = two_hosts();
        source.migrate("web", &live()).unwrap();
        assert_eq!(source.domain("web").unwrap().state, DomainState::Shutoff);
        assert_eq!(destination.domain_by_uuid(UUID).unwrap().state, DomainState::Running);
        assert_eq!(source.completed_job("web").unwrap().unwrap().kind, JobKind::Completed);
    }

    #[test]
    fn an_aborted_migration_leaves_the_guest_where_it_was() {
        let (_world, source, destination) = two_hosts();
        let copying = source.hang("copy");
        thread::scope(|scope| {
            let migration = scope.spawn(|| source.migrate("web", &live()));
            copying.wait_for_caller();
            assert_eq!(source.active_job("web").unwrap().as_deref(), Some("outgoing migration"));
            source.abort_job("web").unwrap();
            let error = migration.join().unwrap().unwrap_err();
            assert!(matches!(error, HypervisorError::Libvirt { code: 78, .. }), "{error}");
        });
        assert_eq!(source.domain("web").unwrap().state, DomainState::Running);
        assert_eq!(destination.domains().unwrap(), []);
        assert!(source.abort_job("web").is_err());
    }

    #[test]
    fn failures_and_absence_are_as_ordered() {
        let (world, source, _) = two_hosts();
        source.fail_next("host", libvirt(1, "internal error: boom"));
        assert_eq!(source.host().unwrap_err().to_string(), "internal error: boom");
        assert!(source.host().is_ok());
        source.go_down();
        assert!(matches!(source.domains(), Err(HypervisorError::Unreachable { .. })));
        assert!(world.open("fake:///a").is_err());
        source.come_up();
        assert!(world.open("fake:///a").is_ok());
        assert!(world.open("fake:///elsewhere").is_err());
    }
}
