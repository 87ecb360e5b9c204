//! The libvirt calls that the `virt` crate lacks or gets wrong, and nothing else: the one place in
//! this room with unsafe code.
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

mod events;

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char, c_int, c_uint},
    mem, ptr, slice,
};

use virt::{connect::Connect, domain::Domain, error::Error};
use virt_sys as sys;

pub(super) use events::Subscription;

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
