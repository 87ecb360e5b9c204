//! What is counted of operations (CIM_CIMOMStatisticalData): how many, how long, how large.
//!
//! A [`Meter`] goes with each operation from its request to the last byte of its answer. It follows the
//! operation into its tasks, so that [`Timed`] providers add their time to the operation they work for,
//! without the time they wait for a slow reader. Counting is some additions to atomic numbers.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    AssociationProvider, End, InstanceProvider, Link, MethodCall, MethodResult, MethodSpec,
    Outcome, Sink,
};
use crate::cim::{CimName, Instance, InstancePath, Property};

/// The operations that have a number in the value map of OperationType.
const NUMBERED: [(u16, &str); 23] = [
    (3, "GetClass"),
    (4, "GetInstance"),
    (5, "DeleteClass"),
    (6, "DeleteInstance"),
    (7, "CreateClass"),
    (8, "CreateInstance"),
    (9, "ModifyClass"),
    (10, "ModifyInstance"),
    (11, "EnumerateClasses"),
    (12, "EnumerateClassNames"),
    (13, "EnumerateInstances"),
    (14, "EnumerateInstanceNames"),
    (15, "ExecQuery"),
    (16, "Associators"),
    (17, "AssociatorNames"),
    (18, "References"),
    (19, "ReferenceNames"),
    (20, "GetProperty"),
    (21, "SetProperty"),
    (22, "GetQualifier"),
    (23, "SetQualifier"),
    (24, "DeleteQualifier"),
    (25, "EnumerateQualifiers"),
];

/// The operations that are younger than the value map; all methods together are one.
const OTHERS: [&str; 13] = [
    "InvokeMethod",
    "OpenEnumerateInstances",
    "OpenEnumerateInstancePaths",
    "OpenAssociatorInstances",
    "OpenAssociatorInstancePaths",
    "OpenReferenceInstances",
    "OpenReferenceInstancePaths",
    "OpenQueryInstances",
    "PullInstancesWithPath",
    "PullInstancePaths",
    "PullInstances",
    "CloseEnumeration",
    "EnumerationCount",
];

/// All types: those above and "Unknown", for operations that nobody knows.
const TYPES: usize = NUMBERED.len() + OTHERS.len() + 1;

/// A kind of operation, counted apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OperationType(usize);

impl OperationType {
    /// Calls of methods.
    pub const METHOD: Self = Self(NUMBERED.len());

    /// All of them, in the order of the value map.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TYPES).map(Self)
    }

    /// The type of an intrinsic operation. Names are compared without case, as when they are decoded.
    pub fn intrinsic(name: &str) -> Self {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let numbered = NUMBERED.iter().position(|(_, known)| is(known));
        let position = numbered.or_else(|| {
            let other = OTHERS.iter().skip(1).position(|known| is(known));
            other.map(|other| NUMBERED.len() + 1 + other)
        });
        Self(position.unwrap_or(TYPES - 1))
    }

    /// Its number in the value map of OperationType.
    pub fn number(self) -> u16 {
        match NUMBERED.get(self.0) {
            Some((number, _)) => *number,
            None if self.0 == TYPES - 1 => 0,
            None => 1,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let numbered = NUMBERED.get(self.0).map(|(_, name)| *name);
        let other = || OTHERS.get(self.0 - NUMBERED.len()).copied();
        numbered.or_else(other).unwrap_or("Unknown")
    }
}

/// What was counted of one type of operations.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// How many ended.
    pub operations: u64,
    /// From their requests to the ends of their answers, without the time in providers.
    pub server: Duration,
    /// In providers, also in what they prepare for later pulls.
    pub providers: Duration,
    /// Bytes of the requests' bodies.
    pub request_bytes: u64,
    /// Bytes of the answers' bodies.
    pub response_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    operations: AtomicU64,
    server_nanos: AtomicU64,
    provider_nanos: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

/// Counts all operations since it was made.
#[derive(Debug)]
pub struct Statistics {
    since: SystemTime,
    counters: [Counters; TYPES],
}

impl Default for Statistics {
    fn default() -> Self {
        Self { since: SystemTime::now(), counters: std::array::from_fn(|_| Counters::default()) }
    }
}

impl Statistics {
    /// When counting began.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// What was counted of that type.
    pub fn count(&self, operation: OperationType) -> Count {
        let counters = &self.counters[operation.0];
        Count {
            operations: counters.operations.load(Relaxed),
            server: Duration::from_nanos(counters.server_nanos.load(Relaxed)),
            providers: Duration::from_nanos(counters.provider_nanos.load(Relaxed)),
            request_bytes: counters.request_bytes.load(Relaxed),
            response_bytes: counters.response_bytes.load(Relaxed),
        }
    }
}

tokio::task_local! {
    static PROVIDERS: Arc<ProviderTime>;
}

/// The time that providers spend for one operation.
#[derive(Debug)]
struct ProviderTime {
    statistics: Arc<Statistics>,
    operation: OperationType,
    nanos: AtomicU64,
}

/// Measures one operation, which is counted when this is dropped.
#[derive(Debug)]
pub struct Meter {
    providers: Arc<ProviderTime>,
    begun: Instant,
    request_bytes: u64,
    response_bytes: u64,
}

impl Meter {
    /// Measures an operation whose request has arrived.
    pub fn start(
        statistics: &Arc<Statistics>,
        operation: OperationType,
        begun: Instant,
        request_bytes: usize,
    ) -> Self {
        let statistics = Arc::clone(statistics);
        let providers = ProviderTime { statistics, operation, nanos: AtomicU64::new(0) };
        let request_bytes = request_bytes as u64;
        Self { providers: Arc::new(providers), begun, request_bytes, response_bytes: 0 }
    }

    /// Work for the operation: the time of providers counts as its.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        PROVIDERS.scope(Arc::clone(&self.providers), work)
    }

    /// Work in a task of its own for the operation that is being executed, if one is measured.
    pub(super) fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
        let providers = PROVIDERS.try_with(Arc::clone).ok();
        async move {
            match providers {
                Some(providers) => PROVIDERS.scope(providers, work).await,
                None => work.await,
            }
        }
    }

    /// So many more bytes of the answer are on their way.
    pub fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let counters = &self.providers.statistics.counters[self.providers.operation.0];
        let providers = self.providers.nanos.load(Relaxed);
        counters.operations.fetch_add(1, Relaxed);
        counters.server_nanos.fetch_add(nanos(self.begun).saturating_sub(providers), Relaxed);
        counters.request_bytes.fetch_add(self.request_bytes, Relaxed);
        counters.response_bytes.fetch_add(self.response_bytes, Relaxed);
    }
}

/// A provider whose time is counted.
pub(super) struct Timed<P>(pub(super) P);

/// Counts the time until it is dropped, without `waited`.
struct Spent {
    begun: Instant,
    waited: u64,
}

impl Spent {
    fn begin() -> Self {
        Self { begun: Instant::now(), waited: 0 }
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        let spent = nanos(self.begun).saturating_sub(self.waited);
        // Without a measured operation, as in tests, there is nothing to add to.
        let _ = PROVIDERS.try_with(|providers| {
            providers.nanos.fetch_add(spent, Relaxed);
            let counters = &providers.statistics.counters[providers.operation.0];
            counters.provider_nanos.fetch_add(spent, Relaxed);
        });
    }
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Measures how long a provider waits until what it found is taken.
struct TimedSink<'a, T> {
    sink: &'a mut dyn Sink<T>,
    spent: &'a mut Spent,
}

impl<T: Send> Sink<T> for TimedSink<'_, T> {
    fn put(&mut self, item: T) -> Outcome<'_, ()> {
        let begun = Instant::now();
        let put = self.sink.put(item);
        let waited = &mut self.spent.waited;
        Box::pin(async move {
            let result = put.await;
            *waited += nanos(begun);
            result
        })
    }
}

fn timed<'a, T: Send + 'a>(work: impl FnOnce() -> Outcome<'a, T> + Send + 'a) -> Outcome<'a, T> {
    Box::pin(async move {
        let _spent = Spent::begin();
        work().await
    })
}

impl InstanceProvider for Timed<Arc<dyn InstanceProvider>> {
    fn class(&self) -> &CimName {
        self.0.class()
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            let mut spent = Spent::begin();
            self.0.enumerate(&mut TimedSink { sink, spent: &mut spent }).await
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        timed(|| self.0.get(path))
    }

    fn create(&self, instance: Instance) -> Outcome<'_, Instance> {
        timed(|| self.0.create(instance))
    }

    fn modify(&self, path: InstancePath, changes: Vec<Property>) -> Outcome<'_, ()> {
        timed(|| self.0.modify(path, changes))
    }

    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        timed(|| self.0.delete(path))
    }

    fn methods(&self) -> &'static [MethodSpec] {
        self.0.methods()
    }

    fn invoke(&self, call: MethodCall) -> Outcome<'_, MethodResult> {
        timed(|| self.0.invoke(call))
    }
}

impl AssociationProvider for Timed<Arc<dyn AssociationProvider>> {
    fn class(&self) -> &CimName {
        self.0.class()
    }

    fn ends(&self) -> &[End; 2] {
        self.0.ends()
    }

    fn links<'a>(
        &'a self,
        source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            let mut spent = Spent::begin();
            self.0.links(source, role, &mut TimedSink { sink, spent: &mut spent }).await
        })
    }

    fn create(&self, association: Instance) -> Outcome<'_, Instance> {
        timed(|| self.0.create(association))
    }

    fn modify(&self, path: InstancePath, changes: Vec<Property>) -> Outcome<'_, ()> {
        timed(|| self.0.modify(path, changes))
    }

    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        timed(|| self.0.delete(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, number: u16, shown: &str) {
        let operation = OperationType::intrinsic(name);
        assert_eq!((operation.number(), operation.name()), (number, shown));
    }

    #[test]
    fn operations_have_the_numbers_of_the_value_map() {
        check("GetClass", 3, "GetClass");
        check("getinstance", 4, "GetInstance");
        check("EnumerateQualifiers", 25, "EnumerateQualifiers");
        check("OpenEnumerateInstances", 1, "OpenEnumerateInstances");
        check("EnumerationCount", 1, "EnumerationCount");
        check("InvokeMethod", 0, "Unknown");
        check("Nonsense", 0, "Unknown");
        assert_eq!(OperationType::METHOD.number(), 1);
        assert_eq!(OperationType::METHOD.name(), "InvokeMethod");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_providers_is_not_the_servers() {
        let statistics = Arc::new(Statistics::default());
        let operation = OperationType::intrinsic("GetInstance");
        let mut meter = Meter::start(&statistics, operation, Instant::now(), 7);
        let work = meter.scope(async {
            // The task that produces a stream works for the same operation.
            tokio::spawn(Meter::inherit(async {
                drop(Spent { begun: Instant::now(), waited: u64::MAX });
                let begun = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
                drop(Spent { begun, waited: 2_000_000_000 });
            }))
            .await
        });
        work.await.unwrap();
        meter.sent(11);
        drop(meter);
        let count = statistics.count(operation);
        assert_eq!((count.operations, count.request_bytes, count.response_bytes), (1, 7, 11));
        assert!(count.providers >= Duration::from_secs(3), "{count:?}");
        assert_eq!(count.server, Duration::ZERO, "all time was the providers'");
        assert_eq!(statistics.count(OperationType::METHOD), Count::default());
    }
}
