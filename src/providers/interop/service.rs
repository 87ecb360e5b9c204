//! The indication service (DSP1054): how indications are sent, and what it sends them for.

use std::time::Duration;

use super::{Server, end};
use crate::{
    cim::{CimName, Instance, InstancePath, Value},
    indications::{DESTINATION, FILTER, HANDLER, Limits, RemovalAction, Subscriptions},
    ops::{AssociationProvider, End, Far, InstanceProvider, Link, Outcome, Sink},
    providers::facts::Facts,
};

pub(super) const SERVICE: CimName = CimName::literal("CIM_IndicationService");
const CAPABILITIES: CimName = CimName::literal("CIM_IndicationServiceCapabilities");

/// ElementEffects: Manages.
const MANAGES: u16 = 5;

/// The keys of the service, which is where the object manager is.
pub(super) fn keys(server: &Server) -> Instance {
    Facts::named(SERVICE)
        .set("SystemCreationClassName", super::manager::SYSTEM_CLASS)
        .set("SystemName", server.system.as_str())
        .set("Name", "virtcimd")
        .done()
}

/// CIM_IndicationService.
pub(super) struct Service {
    class: CimName,
    keys: Instance,
    subscriptions: Subscriptions,
}

impl Service {
    pub(super) fn new(server: &Server, subscriptions: &Subscriptions) -> Self {
        Self { class: SERVICE, keys: keys(server), subscriptions: subscriptions.clone() }
    }

    fn instance(&self) -> Instance {
        let delivery = self.subscriptions.delivery();
        let action: u16 = match delivery.removal {
            RemovalAction::Remove => 2,
            RemovalAction::Disable => 3,
            RemovalAction::Ignore => 4,
        };
        let mut service = self.keys.clone();
        let mut set = |name, value: Value| service.set(CimName::literal(name), value);
        set("ElementName", "Indications of virtcimd".into());
        set("Started", true.into());
        // Enabled, OK.
        set("EnabledState", 2_u16.into());
        set("OperationalStatus", vec![2_u16].into());
        set("FilterCreationEnabled", true.into());
        set("DeliveryRetryAttempts", delivery.attempts.into());
        set("DeliveryRetryInterval", seconds(delivery.interval).into());
        set("SubscriptionRemovalAction", action.into());
        set("SubscriptionRemovalTimeInterval", seconds(delivery.removal_after).into());
        service
    }
}

/// In whole seconds, not fewer than it is.
fn seconds(duration: Duration) -> u32 {
    let more = u64::from(duration.subsec_nanos() > 0);
    u32::try_from(duration.as_secs().saturating_add(more)).unwrap_or(u32::MAX)
}

impl InstanceProvider for Service {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move { sink.put(self.instance()).await })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move { Ok(self.instance()) })
    }
}

/// CIM_IndicationServiceCapabilities: everything is the administrator's to set.
pub(super) fn capabilities(limits: &Limits) -> Instance {
    let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    Facts::of(CAPABILITIES)
        .set("InstanceID", "CIM:virtcimd:IndicationServiceCapabilities")
        .set("ElementName", "Capabilities of the indication service")
        .set("FilterCreationEnabledIsSettable", false)
        .set("DeliveryRetryAttemptsIsSettable", false)
        .set("DeliveryRetryIntervalIsSettable", false)
        .set("SubscriptionRemovalActionIsSettable", false)
        .set("SubscriptionRemovalTimeIntervalIsSettable", false)
        .set("MaxListenerDestinations", count(limits.destinations))
        .set("MaxActiveSubscriptions", count(limits.subscriptions))
        .set("SubscriptionsPersisted", true)
        .done()
}

/// CIM_ServiceAffectsElement: the service manages filters and destinations.
pub(super) struct Affects {
    class: CimName,
    ends: [End; 2],
    service: Instance,
    subscriptions: Subscriptions,
}

impl Affects {
    pub(super) fn new(server: &Server, subscriptions: &Subscriptions) -> Self {
        Self {
            class: CimName::literal("CIM_ServiceAffectsElement"),
            ends: [
                end("AffectingElement", [SERVICE]),
                end("AffectedElement", [FILTER, DESTINATION, HANDLER]),
            ],
            service: keys(server),
            subscriptions: subscriptions.clone(),
        }
    }
}

impl AssociationProvider for Affects {
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
        let link = |far| {
            let effects = Value::from(vec![MANAGES]);
            Link { far, properties: vec![(CimName::literal("ElementEffects"), effects)] }
        };
        Box::pin(async move {
            if *role == self.ends[1].role {
                return sink.put(link(Far::Path(path(&self.service)))).await;
            }
            let objects = self.subscriptions.objects();
            for class in [FILTER, DESTINATION, HANDLER] {
                for object in objects.of_class(&class) {
                    sink.put(link(Far::Instance(object.clone()))).await?;
                }
            }
            Ok(())
        })
    }
}

/// The path of an instance that has nothing but keys.
pub(super) fn path(keys: &Instance) -> InstancePath {
    let keys_of = keys.properties.iter().filter_map(|it| {
        let value = it.value.as_ref()?.as_str()?.to_owned();
        Some((it.name.clone(), value))
    });
    InstancePath::new(keys.class.clone(), keys_of)
}
