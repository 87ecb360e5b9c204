//! What the server counts of the operations of all its clients, each type apart.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::end;
use crate::{
    cim::{CimName, DateTime, Instance, InstancePath},
    ops::{
        AssociationProvider, End, InstanceProvider, Link, OperationType, Outcome, ProviderError,
        Sink, Statistics,
    },
    providers::facts::Facts,
};

const CLASS: CimName = CimName::literal("CIM_CIMOMStatisticalData");
static INSTANCE_ID: CimName = CimName::literal("InstanceID");

/// CIM_CIMOMStatisticalData.
pub(super) struct Counts {
    class: CimName,
    statistics: Arc<Statistics>,
}

impl Counts {
    pub(super) fn new(statistics: Arc<Statistics>) -> Self {
        Self { class: CLASS, statistics }
    }

    fn instance(&self, operation: OperationType) -> Instance {
        let count = self.statistics.count(operation);
        let other = (operation.number() == 1).then(|| operation.name());
        Facts::of(self.class.clone())
            .set("InstanceID", id(operation))
            .set("ElementName", operation.name())
            .set_some("StartStatisticTime", timestamp(self.statistics.since()))
            .set_some("StatisticTime", timestamp(SystemTime::now()))
            .set("OperationType", operation.number())
            .set_some("OtherOperationType", other)
            .set("NumberOfOperations", count.operations)
            .set_some("CimomElapsedTime", interval(count.server))
            .set_some("ProviderElapsedTime", interval(count.providers))
            .set("RequestSize", count.request_bytes)
            .set("ResponseSize", count.response_bytes)
            .done()
    }
}

fn id(operation: OperationType) -> String {
    format!("CIM:virtcimd:{}", operation.name())
}

fn interval(duration: Duration) -> Option<DateTime> {
    DateTime::interval(duration)
}

fn timestamp(time: SystemTime) -> Option<DateTime> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    DateTime::timestamp(i64::try_from(since.as_micros()).ok()?, 0)
}

impl InstanceProvider for Counts {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for operation in OperationType::all() {
                sink.put(self.instance(operation)).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        let asked = path.key(&INSTANCE_ID).and_then(|key| key.as_str()).unwrap_or_default();
        let is = |operation: &OperationType| id(*operation).eq_ignore_ascii_case(asked);
        let found = OperationType::all().find(is).map(|operation| self.instance(operation));
        Box::pin(async move { found.ok_or_else(|| ProviderError::no_instance_with(&INSTANCE_ID)) })
    }
}

/// CIM_ElementStatisticalData: all of them are the object manager's.
pub(super) struct OfManager {
    class: CimName,
    ends: [End; 2],
    manager: Instance,
    counts: Arc<Counts>,
}

impl OfManager {
    pub(super) fn new(manager: &Instance, counts: Arc<Counts>) -> Self {
        Self {
            class: CimName::literal("CIM_ElementStatisticalData"),
            ends: [end("ManagedElement", [manager.class.clone()]), end("Stats", [CLASS])],
            manager: manager.clone(),
            counts,
        }
    }
}

impl AssociationProvider for OfManager {
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
            if *role == self.ends[1].role {
                return sink.put(self.manager.clone().into()).await;
            }
            for operation in OperationType::all() {
                sink.put(self.counts.instance(operation).into()).await?;
            }
            Ok(())
        })
    }
}
