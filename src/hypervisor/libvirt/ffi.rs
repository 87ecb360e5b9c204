//! The libvirt calls that the `virt` crate lacks or gets wrong, and nothing else: the one file of this
//! room with unsafe code.
//!
//! Lacking: events, the close callback, aborting a job, post-copy, comparing a CPU with a hypervisor,
//! statistics of memory, block jobs, checkpoints. Wrong in 0.5: `Domain::state` forgets errors,
//! `Domain::job_stats` reads a null slice where no job runs and frees C's memory, typed parameters
//! leak their strings, `Connect::all_domain_stats` leaks its records.
//!
//! What every block relies on: a `virt::Connect` or `Domain` holds a reference to the object its
//! `as_ptr` names, so that the pointer lives at least as long as the borrow; libvirt's objects may be
//! used from any thread, and `Error::last_error` reads the error of this thread's last call.

#![expect(unsafe_code, reason = "libvirt is a C library and `virt` covers it only in part")]

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    mem, ptr, slice,
};

use virt::{connect::Connect, domain::Domain, error::Error};
use virt_sys as sys;

use crate::hypervisor::{EventSink, HostEvent, Lifecycle};

/// A value of a typed parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Boolean(bool),
    Text(String),
}

/// Typed parameters by name; where a name repeats, the last one.
pub(super) type Values = HashMap<String, Value>;

/// The state of a guest and its reason (virDomainGetState).
pub(super) fn domain_state(domain: &Domain) -> Result<(c_int, c_int), Error> {
    let (mut state, mut reason) = (0, 0);
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: both results point to integers of ours.
    let result = unsafe { sys::virDomainGetState(pointer, &raw mut state, &raw mut reason, 0) };
    checked(result).map(|_| (state, reason))
}

/// The state and reason of every guest, by UUID, in one call (virConnectGetAllDomainStats).
pub(super) fn all_domain_states(
    connection: &Connect,
) -> Result<HashMap<String, (c_int, c_int)>, Error> {
    let mut records = ptr::null_mut();
    // SAFETY: the connection is alive while it is borrowed.
    let pointer = unsafe { connection.as_ptr() };
    // SAFETY: the result points to a pointer of ours.
    let count = unsafe {
        sys::virConnectGetAllDomainStats(pointer, sys::VIR_DOMAIN_STATS_STATE, &raw mut records, 0)
    };
    let count = checked(count)? as usize;
    let mut states = HashMap::with_capacity(count);
    for index in 0..count {
        // SAFETY: libvirt made an array of `count` pointers to records.
        let record = unsafe { records.add(index) };
        // SAFETY: as above.
        let record = unsafe { *record };
        // SAFETY: each record lives until the list is freed below.
        let record = unsafe { &*record };
        let values = read_values(record.params, record.nparams);
        let number = |name: &CStr| match values.get(&*name.to_string_lossy()) {
            Some(Value::Signed(number)) => c_int::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        let state = number(sys::VIR_DOMAIN_STATS_STATE_STATE);
        let reason = number(sys::VIR_DOMAIN_STATS_STATE_REASON);
        states.insert(uuid_of(record.dom), (state, reason));
    }
    if !records.is_null() {
        // SAFETY: libvirt made the list, and nothing of it was kept.
        unsafe { sys::virDomainStatsRecordListFree(records) };
    }
    Ok(states)
}

/// The running or, if `completed`, the last job of a guest and its statistics; the type is 0 where
/// there is none (virDomainGetJobStats).
pub(super) fn job_stats(domain: &Domain, completed: bool) -> Result<(c_int, Values), Error> {
    let flags = if completed {
        sys::VIR_DOMAIN_JOB_STATS_COMPLETED | sys::VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    } else {
        0
    };
    let (mut kind, mut parameters, mut count) = (0, ptr::null_mut(), 0);
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: the results point to variables of ours.
    let result = unsafe {
        sys::virDomainGetJobStats(
            pointer,
            &raw mut kind,
            &raw mut parameters,
            &raw mut count,
            flags,
        )
    };
    checked(result)?;
    let values = read_values(parameters, count);
    // SAFETY: libvirt made the array, which may be null; nothing of it was kept.
    unsafe { sys::virTypedParamsFree(parameters, count) };
    Ok((kind, values))
}

/// Cancels a guest's job (virDomainAbortJob).
pub(super) fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: as above.
    checked(unsafe { sys::virDomainAbortJob(pointer) }).map(drop)
}

/// Breaks off a migration in post-copy phase (virDomainAbortJobFlags).
pub(super) fn pause_post_copy(domain: &Domain) -> Result<(), Error> {
    let flags = sys::VIR_DOMAIN_ABORT_JOB_POSTCOPY;
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: as above.
    checked(unsafe { sys::virDomainAbortJobFlags(pointer, flags) }).map(drop)
}

/// Switches a migration to post-copy (virDomainMigrateStartPostCopy).
pub(super) fn start_post_copy(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: as above.
    checked(unsafe { sys::virDomainMigrateStartPostCopy(pointer, 0) }).map(drop)
}

/// Compares a CPU with what a hypervisor can give (virConnectCompareHypervisorCPU). An incompatible
/// one is an error of number VIR_ERR_CPU_INCOMPATIBLE that says why.
pub(super) fn compare_hypervisor_cpu(
    connection: &Connect,
    [emulator, arch, machine, virt_type]: [Option<&str>; 4],
    cpu_xml: &str,
) -> Result<c_int, Error> {
    let c_string = |text: Option<&str>| text.map(CString::new).transpose();
    let (emulator, arch) = (c_string(emulator)?, c_string(arch)?);
    let (machine, virt_type) = (c_string(machine)?, c_string(virt_type)?);
    let cpu_xml = CString::new(cpu_xml)?;
    // SAFETY: the connection is alive while it is borrowed.
    let pointer = unsafe { connection.as_ptr() };
    // SAFETY: the strings end in NUL or are null and outlive the call.
    let result = unsafe {
        sys::virConnectCompareHypervisorCPU(
            pointer,
            or_null(emulator.as_ref()),
            or_null(arch.as_ref()),
            or_null(machine.as_ref()),
            or_null(virt_type.as_ref()),
            cpu_xml.as_ptr(),
            sys::VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
        )
    };
    checked(result)
}

/// The host's memory statistics in KiB, by libvirt's names (virNodeGetMemoryStats).
pub(super) fn memory_stats(connection: &Connect) -> Result<HashMap<String, u64>, Error> {
    let all = sys::VIR_NODE_MEMORY_STATS_ALL_CELLS;
    let mut count = 0;
    // SAFETY: the connection is alive while it is borrowed.
    let pointer = unsafe { connection.as_ptr() };
    // SAFETY: without an array libvirt only tells how many there are.
    let result =
        unsafe { sys::virNodeGetMemoryStats(pointer, all, ptr::null_mut(), &raw mut count, 0) };
    checked(result)?;
    let empty = sys::virNodeMemoryStats { field: [0; 80], value: 0 };
    let mut stats = vec![empty; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the array has room for `count` entries.
    let result =
        unsafe { sys::virNodeGetMemoryStats(pointer, all, stats.as_mut_ptr(), &raw mut count, 0) };
    checked(result)?;
    Ok(stats.iter().map(|entry| (text_of(&entry.field), entry.value)).collect())
}

/// How many checkpoints a guest has (virDomainListAllCheckpoints).
pub(super) fn checkpoint_count(domain: &Domain) -> Result<c_int, Error> {
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: without an array libvirt only counts.
    checked(unsafe { sys::virDomainListAllCheckpoints(pointer, ptr::null_mut(), 0) })
}

/// Whether a job runs on a guest's disk (virDomainGetBlockJobInfo).
pub(super) fn has_block_job(domain: &Domain, disk: &str) -> Result<bool, Error> {
    let disk = CString::new(disk)?;
    let mut info = mem::MaybeUninit::uninit();
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: the string outlives the call, and the result has room; it is never read.
    let result =
        unsafe { sys::virDomainGetBlockJobInfo(pointer, disk.as_ptr(), info.as_mut_ptr(), 0) };
    checked(result).map(|found| found > 0)
}

/// Moves a guest; the source's libvirt talks to the destination's (virDomainMigrateToURI3).
pub(super) fn migrate_to_uri(
    domain: &Domain,
    uri: &str,
    parameters: &mut Parameters,
    flags: c_uint,
) -> Result<(), Error> {
    let uri = CString::new(uri)?;
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: the string and the parameters outlive the call.
    let result = unsafe {
        sys::virDomainMigrateToURI3(
            pointer,
            uri.as_ptr(),
            parameters.array,
            parameters.count.unsigned_abs(),
            flags,
        )
    };
    checked(result).map(drop)
}

/// Moves a guest; we talk to both ends (virDomainMigrate3).
pub(super) fn migrate_direct(
    domain: &Domain,
    destination: &Connect,
    parameters: &mut Parameters,
    flags: c_uint,
) -> Result<(), Error> {
    // SAFETY: the domain is alive while it is borrowed.
    let pointer = unsafe { domain.as_ptr() };
    // SAFETY: the connection is alive while it is borrowed.
    let destination = unsafe { destination.as_ptr() };
    // SAFETY: the parameters outlive the call.
    let moved = unsafe {
        sys::virDomainMigrate3(
            pointer,
            destination,
            parameters.array,
            parameters.count.unsigned_abs(),
            flags,
        )
    };
    if moved.is_null() {
        return Err(Error::last_error());
    }
    // SAFETY: the reference is ours, and `Domain` gives it back.
    drop(unsafe { Domain::from_ptr(moved) });
    Ok(())
}

/// Typed parameters for a call, in memory of libvirt's making.
pub(super) struct Parameters {
    array: sys::virTypedParameterPtr,
    count: c_int,
    room: c_int,
}

impl Parameters {
    pub(super) fn new() -> Self {
        Self { array: ptr::null_mut(), count: 0, room: 0 }
    }

    /// Adds a text; libvirt copies it. A name may repeat.
    pub(super) fn text(&mut self, name: &CStr, value: &str) -> Result<(), Error> {
        let value = CString::new(value)?;
        // SAFETY: the three fields describe an array that libvirt made or null; the strings outlive
        // the call.
        let result = unsafe {
            sys::virTypedParamsAddString(
                &raw mut self.array,
                &raw mut self.count,
                &raw mut self.room,
                name.as_ptr(),
                value.as_ptr(),
            )
        };
        checked(result).map(drop)
    }

    /// Adds a 64-bit number.
    pub(super) fn unsigned(&mut self, name: &CStr, value: u64) -> Result<(), Error> {
        // SAFETY: as in `text`.
        let result = unsafe {
            sys::virTypedParamsAddULLong(
                &raw mut self.array,
                &raw mut self.count,
                &raw mut self.room,
                name.as_ptr(),
                value,
            )
        };
        checked(result).map(drop)
    }

    /// Adds a C integer.
    pub(super) fn integer(&mut self, name: &CStr, value: c_int) -> Result<(), Error> {
        // SAFETY: as in `text`.
        let result = unsafe {
            sys::virTypedParamsAddInt(
                &raw mut self.array,
                &raw mut self.count,
                &raw mut self.room,
                name.as_ptr(),
                value,
            )
        };
        checked(result).map(drop)
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        // SAFETY: libvirt made the array, which may be null, and nobody else has it.
        unsafe { sys::virTypedParamsFree(self.array, self.count) };
    }
}

/// Events of a connection, told to a sink until this is dropped.
pub(super) struct Subscription {
    connection: Connect,
    callbacks: Vec<c_int>,
    /// What the close callback is given. Ours to free: drivers without that callback take it and say
    /// nothing.
    close_sink: Box<EventSink>,
}

impl Subscription {
    /// Subscribes. The driver must have lifecycle events; what else it lacks is left out.
    pub(super) fn new(connection: &Connect, sink: &EventSink) -> Result<Self, Error> {
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
    let stats = Box::new(super::job::stats_of_event(&read_values(parameters, count)));
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

/// The UUID of a domain that a callback or a record names; it is alive meanwhile.
fn uuid_of(domain: sys::virDomainPtr) -> String {
    let mut text: [c_char; sys::VIR_UUID_STRING_BUFLEN as usize] = [0; _];
    // SAFETY: callers pass domains that libvirt keeps alive; the buffer has the size asked for.
    unsafe { sys::virDomainGetUUIDString(domain, text.as_mut_ptr()) };
    text_of(&text)
}

/// The name of a domain, likewise.
fn name_of(domain: sys::virDomainPtr) -> String {
    // SAFETY: callers pass domains that libvirt keeps alive.
    let name = unsafe { sys::virDomainGetName(domain) };
    if name.is_null() {
        return String::new();
    }
    // SAFETY: the name ends in NUL and lives as long as the domain.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// Reads an array of typed parameters; of a type newer than this program nothing.
fn read_values(parameters: sys::virTypedParameterPtr, count: c_int) -> Values {
    let Ok(count @ 1..) = usize::try_from(count) else { return Values::new() };
    // SAFETY: callers pass what libvirt filled in, and it is not null when there are some.
    let parameters = unsafe { slice::from_raw_parts(parameters, count) };
    parameters
        .iter()
        .filter_map(|parameter| Some((text_of(&parameter.field), read_value(parameter)?)))
        .collect()
}

fn read_value(parameter: &sys::virTypedParameter) -> Option<Value> {
    let value = &parameter.value;
    Some(match parameter.type_.cast_unsigned() {
        // SAFETY: here and below: the type says which field libvirt filled in.
        sys::VIR_TYPED_PARAM_INT => Value::Signed(i64::from(unsafe { value.i })),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_UINT => Value::Unsigned(u64::from(unsafe { value.ui })),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_LLONG => Value::Signed(unsafe { value.l }),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_ULLONG => Value::Unsigned(unsafe { value.ul }),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_DOUBLE => Value::Float(unsafe { value.d }),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_BOOLEAN => Value::Boolean(unsafe { value.b } != 0),
        sys::VIR_TYPED_PARAM_STRING => {
            // SAFETY: as above.
            let text = unsafe { value.s };
            if text.is_null() {
                return None;
            }
            // SAFETY: the text ends in NUL and lives as long as the array.
            Value::Text(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        }
        _ => return None,
    })
}

/// A text in a buffer of fixed size.
fn text_of(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> =
        buffer.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn or_null(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_ptr())
}

/// libvirt's functions give -1 for failure.
fn checked(result: c_int) -> Result<c_int, Error> {
    if result < 0 { Err(Error::last_error()) } else { Ok(result) }
}
