//! What a libvirt connection does to a guest.

use virt::{domain::Domain as Guest, error::Error};
use virt_sys as sys;

use super::{Libvirt, ffi, ffi::Parameters, job};
use crate::hypervisor::{
    Compression, Hypervisor, HypervisorError, JobStats, MigrationOrder, Migrator, Route,
    StorageCopy, Transfer,
};

impl Migrator for Libvirt {
    fn migrate(&self, guest: &str, order: &MigrationOrder) -> Result<(), HypervisorError> {
        let guest = self.lookup(guest)?;
        let mut parameters = parameters(order).map_err(|error| self.error(&error))?;
        let flags = flags(order);
        let result = match &order.route {
            Route::PeerToPeer(uri) => ffi::migrate_to_uri(&guest, uri, &mut parameters, flags),
            Route::Direct(uri) => {
                let destination = self.connector.connect(uri).map_err(not_begun)?;
                ffi::migrate_direct(&guest, destination.connection(), &mut parameters, flags)
            }
        };
        result.map_err(|error| self.error(&error))
    }

    fn abort_job(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, ffi::abort_job)
    }

    fn pause_post_copy(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, ffi::pause_post_copy)
    }

    fn job(&self, guest: &str) -> Result<Option<JobStats>, HypervisorError> {
        let told = self.act(guest, |guest| ffi::job_stats(guest, false))?;
        Ok(job::stats(told.0, &told.1))
    }

    fn completed_job(&self, guest: &str) -> Result<Option<JobStats>, HypervisorError> {
        let told = self.act(guest, |guest| ffi::job_stats(guest, true))?;
        Ok(job::stats(told.0, &told.1))
    }

    fn set_max_speed(&self, guest: &str, mib_per_second: u64) -> Result<(), HypervisorError> {
        self.act(guest, |guest| guest.migrate_set_max_speed(mib_per_second, 0).map(drop))
    }

    fn set_max_downtime(&self, guest: &str, milliseconds: u64) -> Result<(), HypervisorError> {
        self.act(guest, |guest| guest.migrate_set_max_downtime(milliseconds, 0).map(drop))
    }

    fn start_post_copy(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, ffi::start_post_copy)
    }

    fn shutdown(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, Guest::shutdown)
    }

    fn destroy(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, Guest::destroy)
    }

    fn start(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, Guest::create)
    }

    fn suspend(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, Guest::suspend)
    }

    fn resume(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, Guest::resume)
    }

    fn reboot(&self, guest: &str) -> Result<(), HypervisorError> {
        self.act(guest, |guest| guest.reboot(sys::VIR_DOMAIN_REBOOT_DEFAULT))
    }

    fn define(&self, xml: &str) -> Result<(), HypervisorError> {
        self.connection().define_domain_xml(xml).map(drop).map_err(|error| self.error(&error))
    }

    fn undefine(&self, guest: &str) -> Result<(), HypervisorError> {
        let guest = self.lookup(guest)?;
        // Firmware variables and TPM state may lie on storage that the destination uses. The flags
        // that keep them are younger than some drivers, which then have neither.
        let keep_nvram = sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM;
        for flags in [keep_nvram | sys::VIR_DOMAIN_UNDEFINE_KEEP_TPM, keep_nvram] {
            match guest.undefine_flags(flags) {
                Err(error) if error.code().to_raw() == sys::VIR_ERR_INVALID_ARG => {}
                other => return other.map_err(|error| self.error(&error)),
            }
        }
        guest.undefine().map_err(|error| self.error(&error))
    }

    fn is_free(&self, path: &str) -> Result<bool, HypervisorError> {
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        let pool = self.connection().lookup_storage_pool_by_target_path(directory);
        let pool = pool.map_err(|error| self.error(&error))?;
        pool.refresh(0).map_err(|error| self.error(&error))?;
        Ok(self.volume(path)?.is_none())
    }

    fn delete_volume(&self, path: &str) -> Result<(), HypervisorError> {
        let volume = self.connection().lookup_storage_vol_by_path(path);
        volume.and_then(|volume| volume.delete(0)).map(drop).map_err(|error| self.error(&error))
    }

    fn set_autostart(&self, guest: &str, autostart: bool) -> Result<(), HypervisorError> {
        self.act(guest, |guest| guest.set_autostart(autostart))
    }
}

impl Libvirt {
    fn act<T>(
        &self,
        guest: &str,
        act: impl FnOnce(&Guest) -> Result<T, Error>,
    ) -> Result<T, HypervisorError> {
        act(&self.lookup(guest)?).map_err(|error| self.error(&error))
    }
}

/// Without a connection nothing has been asked of the destination: a plain refusal, where
/// `Unreachable` would leave open whether the move goes on.
fn not_begun(error: HypervisorError) -> HypervisorError {
    HypervisorError::Libvirt { code: sys::VIR_ERR_NO_CONNECT, message: error.to_string() }
}

fn flags(order: &MigrationOrder) -> u32 {
    let when = |condition: bool, flag: u32| if condition { flag } else { 0 };
    let route = match order.route {
        Route::PeerToPeer(_) => sys::VIR_MIGRATE_PEER2PEER,
        Route::Direct(_) => 0,
    };
    let transfer = match order.transfer {
        Transfer::Offline => sys::VIR_MIGRATE_OFFLINE,
        Transfer::Live => sys::VIR_MIGRATE_LIVE,
        Transfer::Paused => 0,
    };
    let storage = match order.storage {
        StorageCopy::None => 0,
        StorageCopy::Full => sys::VIR_MIGRATE_NON_SHARED_DISK,
        StorageCopy::Incremental => sys::VIR_MIGRATE_NON_SHARED_INC,
    };
    route
        | transfer
        | storage
        | when(order.persist_destination, sys::VIR_MIGRATE_PERSIST_DEST)
        | when(order.undefine_source, sys::VIR_MIGRATE_UNDEFINE_SOURCE)
        | when(order.post_copy, sys::VIR_MIGRATE_POSTCOPY)
        | when(order.resume_post_copy, sys::VIR_MIGRATE_POSTCOPY_RESUME)
        | when(order.auto_converge.is_some(), sys::VIR_MIGRATE_AUTO_CONVERGE)
        | when(order.parallel.is_some(), sys::VIR_MIGRATE_PARALLEL)
        | when(!order.compression.is_empty(), sys::VIR_MIGRATE_COMPRESSED)
        | when(order.tls, sys::VIR_MIGRATE_TLS)
        | when(order.allow_unsafe, sys::VIR_MIGRATE_UNSAFE)
        | when(order.abort_on_io_error, sys::VIR_MIGRATE_ABORT_ON_ERROR)
        // Nobody may change the definition meanwhile; offline there is nothing to protect.
        | when(order.transfer != Transfer::Offline, sys::VIR_MIGRATE_CHANGE_PROTECTION)
}

fn parameters(order: &MigrationOrder) -> Result<Parameters, Error> {
    let mut parameters = Parameters::new();
    for (name, value) in [
        (sys::VIR_MIGRATE_PARAM_DEST_NAME, &order.destination_name),
        (sys::VIR_MIGRATE_PARAM_DEST_XML, &order.destination_xml),
        (sys::VIR_MIGRATE_PARAM_PERSIST_XML, &order.persistent_xml),
        (sys::VIR_MIGRATE_PARAM_URI, &order.migration_uri),
        (sys::VIR_MIGRATE_PARAM_TLS_DESTINATION, &order.tls_destination),
    ] {
        if let Some(value) = value {
            parameters.text(name, value)?;
        }
    }
    for (name, value) in [
        (sys::VIR_MIGRATE_PARAM_BANDWIDTH, order.bandwidth),
        (sys::VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY, order.post_copy_bandwidth),
    ] {
        if let Some(value) = value {
            parameters.unsigned(name, value)?;
        }
    }
    let converge = order.auto_converge.unwrap_or_default();
    for (name, value) in [
        (sys::VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL, converge.initial.map(i32::from)),
        (sys::VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT, converge.increment.map(i32::from)),
        (
            sys::VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
            order.parallel.map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
        ),
    ] {
        if let Some(value) = value {
            parameters.integer(name, value)?;
        }
    }
    for method in &order.compression {
        let method = match method {
            Compression::Xbzrle => "xbzrle",
            Compression::MultiThread => "mt",
            Compression::Zlib => "zlib",
            Compression::Zstd => "zstd",
        };
        parameters.text(sys::VIR_MIGRATE_PARAM_COMPRESSION, method)?;
    }
    for disk in &order.disks {
        parameters.text(sys::VIR_MIGRATE_PARAM_MIGRATE_DISKS, disk)?;
    }
    Ok(parameters)
}
