//! libvirt's job statistics in our words.

use std::ffi::{CStr, c_int};

use virt_sys as sys;

use super::ffi::{Value, Values};
use crate::hypervisor::{JobKind, JobOperation, JobStats};

/// What virDomainGetJobStats told; `None` where there is no job.
pub(super) fn stats(kind: c_int, values: &Values) -> Option<JobStats> {
    let kind = match kind.cast_unsigned() {
        sys::VIR_DOMAIN_JOB_BOUNDED => JobKind::Bounded,
        sys::VIR_DOMAIN_JOB_UNBOUNDED => JobKind::Unbounded,
        sys::VIR_DOMAIN_JOB_COMPLETED => JobKind::Completed,
        sys::VIR_DOMAIN_JOB_FAILED => JobKind::Failed,
        sys::VIR_DOMAIN_JOB_CANCELLED => JobKind::Cancelled,
        _ => return None,
    };
    Some(JobStats { kind, ..numbers(values) })
}

/// What a job-completed event told. It has no type of its own; libvirt before 3.3 said nothing of
/// success either, and then told only of jobs that ended well.
pub(super) fn stats_of_event(values: &Values) -> JobStats {
    let stats = numbers(values);
    let kind = match stats.success {
        Some(false) => JobKind::Failed,
        Some(true) | None => JobKind::Completed,
    };
    JobStats { kind, ..stats }
}

fn numbers(values: &Values) -> JobStats {
    let find = |name: &CStr| values.get(&*name.to_string_lossy());
    let unsigned = |name: &CStr| match find(name)? {
        Value::Unsigned(number) => Some(*number),
        Value::Signed(number) => u64::try_from(*number).ok(),
        Value::Float(_) | Value::Boolean(_) | Value::Text(_) => None,
    };
    let signed = |name: &CStr| match find(name)? {
        Value::Signed(number) => i32::try_from(*number).ok(),
        Value::Unsigned(number) => i32::try_from(*number).ok(),
        Value::Float(_) | Value::Boolean(_) | Value::Text(_) => None,
    };
    JobStats {
        kind: JobKind::None,
        operation: signed(sys::VIR_DOMAIN_JOB_OPERATION).map_or(JobOperation::Unknown, operation),
        elapsed: unsigned(sys::VIR_DOMAIN_JOB_TIME_ELAPSED),
        remaining: unsigned(sys::VIR_DOMAIN_JOB_TIME_REMAINING),
        downtime: unsigned(sys::VIR_DOMAIN_JOB_DOWNTIME),
        data_total: unsigned(sys::VIR_DOMAIN_JOB_DATA_TOTAL),
        data_processed: unsigned(sys::VIR_DOMAIN_JOB_DATA_PROCESSED),
        data_remaining: unsigned(sys::VIR_DOMAIN_JOB_DATA_REMAINING),
        memory_total: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_TOTAL),
        memory_processed: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_PROCESSED),
        memory_remaining: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_REMAINING),
        memory_rate: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_BPS),
        dirty_rate: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE),
        page_size: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE),
        iteration: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_ITERATION),
        post_copy_requests: unsigned(sys::VIR_DOMAIN_JOB_MEMORY_POSTCOPY_REQS),
        disk_total: unsigned(sys::VIR_DOMAIN_JOB_DISK_TOTAL),
        disk_processed: unsigned(sys::VIR_DOMAIN_JOB_DISK_PROCESSED),
        disk_remaining: unsigned(sys::VIR_DOMAIN_JOB_DISK_REMAINING),
        disk_rate: unsigned(sys::VIR_DOMAIN_JOB_DISK_BPS),
        throttle: signed(sys::VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE),
        success: match find(sys::VIR_DOMAIN_JOB_SUCCESS) {
            Some(Value::Boolean(success)) => Some(*success),
            _ => None,
        },
        error: match find(sys::VIR_DOMAIN_JOB_ERRMSG) {
            Some(Value::Text(message)) => Some(message.clone()),
            _ => None,
        },
    }
}

fn operation(number: i32) -> JobOperation {
    match number.cast_unsigned() {
        sys::VIR_DOMAIN_JOB_OPERATION_UNKNOWN => JobOperation::Unknown,
        sys::VIR_DOMAIN_JOB_OPERATION_START => JobOperation::Start,
        sys::VIR_DOMAIN_JOB_OPERATION_SAVE => JobOperation::Save,
        sys::VIR_DOMAIN_JOB_OPERATION_RESTORE => JobOperation::Restore,
        sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN => JobOperation::MigrationIn,
        sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT => JobOperation::MigrationOut,
        sys::VIR_DOMAIN_JOB_OPERATION_SNAPSHOT => JobOperation::Snapshot,
        sys::VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT => JobOperation::SnapshotRevert,
        sys::VIR_DOMAIN_JOB_OPERATION_DUMP => JobOperation::Dump,
        sys::VIR_DOMAIN_JOB_OPERATION_BACKUP => JobOperation::Backup,
        sys::VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_DELETE => JobOperation::SnapshotDelete,
        _ => JobOperation::Other(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, Value)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn no_job_is_none() {
        assert_eq!(stats(0, &Values::new()), None);
        assert_eq!(stats(99, &Values::new()), None);
    }

    #[test]
    fn strange_types_and_names_are_left_out() {
        let told = values(&[
            ("operation", Value::Signed(5)),
            ("data_total", Value::Unsigned(7)),
            ("data_remaining", Value::Signed(-1)),
            ("disk_bps", Value::Text("much".to_owned())),
            ("from_the_future", Value::Float(1.0)),
        ]);
        let stats = stats(2, &told).unwrap();
        assert_eq!(stats.kind, JobKind::Unbounded);
        assert_eq!(stats.operation, JobOperation::MigrationOut);
        assert_eq!(stats.data_total, Some(7));
        assert_eq!((stats.data_remaining, stats.disk_rate), (None, None));
    }

    #[test]
    fn a_completed_event_says_how_it_ended() {
        let failed = values(&[
            ("success", Value::Boolean(false)),
            ("errmsg", Value::Text("canceled by client".to_owned())),
        ]);
        let stats = stats_of_event(&failed);
        assert_eq!(stats.kind, JobKind::Failed);
        assert_eq!(stats.error.as_deref(), Some("canceled by client"));
        assert_eq!(stats_of_event(&Values::new()).kind, JobKind::Completed);
    }
}
