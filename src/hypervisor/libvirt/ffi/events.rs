//! Events of a connection: what libvirt calls back with, told to a sink.

use std::{
    ffi::{c_char, c_int, c_void},
    mem, ptr,
};

use virt::{connect::Connect, error::Error};
use virt_sys as sys;

use super::{checked, name_of, read_values, uuid_of};
use crate::hypervisor::{EventSink, HostEvent, Lifecycle, libvirt::job};

/// Events of a connection, told to a sink until this is dropped.
pub(in crate::hypervisor::libvirt) struct Subscription {
    connection: Connect,
    callbacks: Vec<c_int>,
    /// What the close callback is given. Ours to free: drivers without that callback take it and say
    /// nothing.
    close_sink: Box<EventSink>,
}

impl Subscription {
    /// Subscribes. The driver must have lifecycle events; what else it lacks is left out.
    pub(in crate::hypervisor::libvirt) fn new(
        connection: &Connect,
        sink: &EventSink,
    ) -> Result<Self, Error> {
        let mut subscription = Self {
            connection: connection.clone(),
            callbacks: Vec::new(),
            close_sink: Box::new(EventSink::clone(sink)),
        };
        subscription.add(sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle as *const (), sink)?;
        for (event, callback) in [
            (sys::VIR_DOMAIN_EVENT_ID_REBOOT, rebooted as *const ()),
            (sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, device_added as *const ()),
            (sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, device_removed as *const ()),
            (sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, metadata_changed as *const ()),
            (sys::VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, migration_iteration as *const ()),
            (sys::VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, job_completed as *const ()),
        ] {
            let _ = subscription.add(event, callback, sink);
        }
        subscription.watch_close();
        Ok(subscription)
    }

    /// `callback` must be a function with the C signature of `event`.
    fn add(
        &mut self,
        event: sys::virDomainEventID,
        callback: *const (),
        sink: &EventSink,
    ) -> Result<(), Error> {
        // SAFETY: libvirt declares all domain events by one function type and calls each with the
        // arguments of its own; a function pointer fits an optional one.
        let callback = unsafe {
            mem::transmute::<*const (), sys::virConnectDomainEventGenericCallback>(callback)
        };
        let opaque = lend(sink);
        // SAFETY: the connection is alive while we hold it.
        let connection = unsafe { self.connection.as_ptr() };
        // SAFETY: libvirt gives `opaque` to the callback and in the end to `take_back`.
        let id = unsafe {
            sys::virConnectDomainEventRegisterAny(
                connection,
                ptr::null_mut(),
                event.cast_signed(),
                callback,
                opaque,
                Some(take_back),
            )
        };
        match checked(id) {
            Ok(id) => {
                self.callbacks.push(id);
                Ok(())
            }
            Err(error) => {
                // SAFETY: a refused registration leaves `opaque` to us.
                unsafe { take_back(opaque) };
                Err(error)
            }
        }
    }

    fn watch_close(&self) {
        // SAFETY: the connection is alive while we hold it.
        let connection = unsafe { self.connection.as_ptr() };
        let opaque = (&raw const *self.close_sink).cast_mut().cast();
        // A refusal means that there is nothing that could break.
        // SAFETY: the sink stays where it is until `drop` has unregistered the callback.
        unsafe { sys::virConnectRegisterCloseCallback(connection, Some(closed), opaque, None) };
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Each registration holds the connection, so none must stay. A callback that runs just now
        // keeps its sink until it ends; the close callback ends before its removal returns, by
        // libvirt's lock. Failures mean that there is nothing to remove any more.
        // SAFETY: the connection is alive while we hold it.
        let connection = unsafe { self.connection.as_ptr() };
        for id in &self.callbacks {
            // SAFETY: as above.
            unsafe { sys::virConnectDomainEventDeregisterAny(connection, *id) };
        }
        // SAFETY: as above.
        unsafe { sys::virConnectUnregisterCloseCallback(connection, Some(closed)) };
    }
}

/// Makes a sink into what libvirt carries along for a callback.
fn lend(sink: &EventSink) -> *mut c_void {
    Box::into_raw(Box::new(EventSink::clone(sink))).cast()
}

/// Frees what `lend` made.
///
/// # Safety
/// `opaque` comes from `lend` and is not used again.
unsafe extern "C" fn take_back(opaque: *mut c_void) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(opaque.cast::<EventSink>()) });
}

/// Hands an event to the sink of a callback.
///
/// # Safety
/// `opaque` points to an `EventSink` that is alive.
unsafe fn tell(opaque: *mut c_void, event: HostEvent) {
    // SAFETY: the caller's promise.
    let sink = unsafe { &*opaque.cast::<EventSink>() };
    sink(event);
}

unsafe extern "C" fn lifecycle(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    let change = match event.cast_unsigned() {
        sys::VIR_DOMAIN_EVENT_DEFINED => Lifecycle::Defined,
        sys::VIR_DOMAIN_EVENT_UNDEFINED => Lifecycle::Undefined,
        sys::VIR_DOMAIN_EVENT_STARTED => Lifecycle::Started,
        sys::VIR_DOMAIN_EVENT_SUSPENDED => Lifecycle::Suspended,
        sys::VIR_DOMAIN_EVENT_RESUMED => Lifecycle::Resumed,
        sys::VIR_DOMAIN_EVENT_STOPPED => Lifecycle::Stopped,
        sys::VIR_DOMAIN_EVENT_SHUTDOWN => Lifecycle::Shutdown,
        sys::VIR_DOMAIN_EVENT_PMSUSPENDED => Lifecycle::PmSuspended,
        sys::VIR_DOMAIN_EVENT_CRASHED => Lifecycle::Crashed,
        _ => Lifecycle::Other(event),
    };
    let (uuid, name) = (uuid_of(domain), name_of(domain));
    // SAFETY: libvirt hands back what `add` gave it.
    unsafe { tell(opaque, HostEvent::Lifecycle { uuid, name, change, detail }) };
    0
}

unsafe extern "C" fn rebooted(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt hands back what `add` gave it.
    unsafe { tell(opaque, changed(domain, "reboot")) };
}

unsafe extern "C" fn device_added(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _alias: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt hands back what `add` gave it.
    unsafe { tell(opaque, changed(domain, "device added")) };
}

unsafe extern "C" fn device_removed(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _alias: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt hands back what `add` gave it.
    unsafe { tell(opaque, changed(domain, "device removed")) };
}

unsafe extern "C" fn metadata_changed(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _kind: c_int,
    _namespace: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt hands back what `add` gave it.
    unsafe { tell(opaque, changed(domain, "metadata")) };
}

unsafe extern "C" fn migration_iteration(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    iteration: c_int,
    opaque: *mut c_void,
) {
    let iteration = u32::try_from(iteration).unwrap_or(0);
    let event = HostEvent::MigrationIteration { uuid: uuid_of(domain), iteration };
    // SAFETY: libvirt hands back what `add` gave it.
    unsafe { tell(opaque, event) };
}

unsafe extern "C" fn job_completed(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    parameters: sys::virTypedParameterPtr,
    count: c_int,
    opaque: *mut c_void,
) {
    let stats = Box::new(job::stats_of_event(&read_values(parameters, count)));
    // SAFETY: libvirt hands back what `add` gave it.
    unsafe { tell(opaque, HostEvent::JobCompleted { uuid: uuid_of(domain), stats }) };
}

unsafe extern "C" fn closed(_connection: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    let reason = match reason.cast_unsigned() {
        sys::VIR_CONNECT_CLOSE_REASON_EOF => "the hypervisor's daemon closed the connection",
        sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE => "the hypervisor's daemon no longer answers",
        sys::VIR_CONNECT_CLOSE_REASON_CLIENT => "the connection was closed here",
        _ => "the connection broke",
    };
    // SAFETY: libvirt hands back what `watch_close` gave it.
    unsafe { tell(opaque, HostEvent::Closed { reason }) };
}

fn changed(domain: sys::virDomainPtr, what: &'static str) -> HostEvent {
    HostEvent::Changed { uuid: uuid_of(domain), name: name_of(domain), what }
}
