//! Moves guests between the hosts of a world, and changes them.

use super::{FakeGuest, FakeHypervisor, FakeState, invalid, libvirt, no_such_name};
use crate::hypervisor::{
    Domain, DomainConfig, DomainState, Element, HostEvent, HypervisorError, JobKind, JobOperation,
    JobStats, Lifecycle, MigrationOrder, Migrator, Route, Transfer,
};

impl Migrator for FakeHypervisor {
    /// Begins a job, then copies: `hang("copy")` keeps it copying until it is released or the job is
    /// cancelled, `fail_next("copy", …)` breaks it. The destination is asked by `accept`.
    fn migrate(&self, guest: &str, order: &MigrationOrder) -> Result<(), HypervisorError> {
        let (Route::PeerToPeer(uri) | Route::Direct(uri)) = &order.route;
        let destination = self.world.upgrade().and_then(|world| world.host(uri));
        let destination = destination
            .ok_or_else(|| libvirt(38, format!("unable to connect to server at '{uri}'")))?;
        match destination.enter("accept").map(drop) {
            Err(HypervisorError::Unreachable { message, .. }) => return Err(libvirt(38, message)),
            other => other?,
        }
        self.with_guest("migrate", guest, |found| {
            if found.job.is_some() {
                return Err(invalid(format!(
                    "another migration job is already running for domain '{guest}'"
                )));
            }
            if found.domain.is_active() == (order.transfer == Transfer::Offline) {
                return Err(invalid("domain is not in the state that this transfer needs"));
            }
            found.cancelled = false;
            found.job = Some(JobStats {
                kind: JobKind::Unbounded,
                operation: JobOperation::MigrationOut,
                data_total: Some(1 << 30),
                data_processed: Some(0),
                data_remaining: Some(1 << 30),
                ..JobStats::default()
            });
            Ok(())
        })?;
        self.lock().orders.push(order.clone());
        let copied = self.copy(guest);
        let mut state = self.lock();
        let found = state.guests.get_mut(guest).ok_or_else(|| no_such_name(guest))?;
        let job = found.job.take();
        copied?;
        found.completed = job.map(|job| JobStats { kind: JobKind::Completed, ..job });
        let domain = Domain {
            name: order.destination_name.clone().unwrap_or_else(|| guest.to_owned()),
            persistent: order.persist_destination,
            autostart: false,
            ..found.domain.clone()
        };
        let xml = order.destination_xml.clone().unwrap_or_else(|| found.xml.clone());
        let moved = FakeGuest::new(domain, &xml);
        let uuid = found.domain.uuid.clone();
        found.domain.state = DomainState::Shutoff;
        // VIR_DOMAIN_SHUTOFF_MIGRATED
        found.domain.reason = 4;
        if order.undefine_source || !found.domain.persistent {
            state.guests.remove(guest);
        }
        drop(state);
        let name = moved.domain.name.clone();
        destination.lock().guests.insert(name.clone(), moved);
        destination.tell(uuid.clone(), name, Lifecycle::Started);
        self.tell(uuid, guest.to_owned(), Lifecycle::Stopped);
        Ok(())
    }

    fn abort_job(&self, guest: &str) -> Result<(), HypervisorError> {
        self.with_guest("abort_job", guest, |found| {
            if found.job.is_none() {
                return Err(invalid("no job is active on the domain"));
            }
            found.cancelled = true;
            Ok(())
        })?;
        self.changed.notify_all();
        Ok(())
    }

    fn pause_post_copy(&self, guest: &str) -> Result<(), HypervisorError> {
        self.with_guest("pause_post_copy", guest, |found| match found.job {
            Some(_) => Ok(()),
            None => Err(invalid("current job is not outgoing migration in post-copy mode")),
        })
    }

    fn job(&self, guest: &str) -> Result<Option<JobStats>, HypervisorError> {
        self.with_guest("job", guest, |found| {
            found.must_be_active()?;
            Ok(found.job.clone())
        })
    }

    fn completed_job(&self, guest: &str) -> Result<Option<JobStats>, HypervisorError> {
        self.with_guest("completed_job", guest, |found| Ok(found.completed.clone()))
    }

    fn set_max_speed(&self, guest: &str, _mib_per_second: u64) -> Result<(), HypervisorError> {
        self.with_guest("set_max_speed", guest, |_| Ok(()))
    }

    fn set_max_downtime(&self, guest: &str, _milliseconds: u64) -> Result<(), HypervisorError> {
        self.with_guest("set_max_downtime", guest, |_| Ok(()))
    }

    fn start_post_copy(&self, guest: &str) -> Result<(), HypervisorError> {
        self.with_guest("start_post_copy", guest, |found| match found.job {
            Some(_) => Ok(()),
            None => Err(invalid(
                "post-copy can only be started while outgoing migration is in progress",
            )),
        })
    }

    fn shutdown(&self, guest: &str) -> Result<(), HypervisorError> {
        if self.lock().guests.get(guest).is_some_and(|found| found.ignores_shutdown) {
            return self.with_guest("shutdown", guest, |_| Ok(()));
        }
        let from = [DomainState::Running];
        self.transition("shutdown", guest, &from, DomainState::Shutoff, Lifecycle::Stopped)
    }

    fn destroy(&self, guest: &str) -> Result<(), HypervisorError> {
        let from = [DomainState::Running, DomainState::Paused, DomainState::Crashed];
        self.transition("destroy", guest, &from, DomainState::Shutoff, Lifecycle::Stopped)
    }

    fn start(&self, guest: &str) -> Result<(), HypervisorError> {
        let from = [DomainState::Shutoff];
        self.transition("start", guest, &from, DomainState::Running, Lifecycle::Started)
    }

    fn suspend(&self, guest: &str) -> Result<(), HypervisorError> {
        let from = [DomainState::Running];
        self.transition("suspend", guest, &from, DomainState::Paused, Lifecycle::Suspended)
    }

    fn resume(&self, guest: &str) -> Result<(), HypervisorError> {
        let from = [DomainState::Paused];
        self.transition("resume", guest, &from, DomainState::Running, Lifecycle::Resumed)
    }

    fn reboot(&self, guest: &str) -> Result<(), HypervisorError> {
        let uuid = self.with_guest("reboot", guest, |found| match found.domain.state {
            DomainState::Running => Ok(found.domain.uuid.clone()),
            _ => Err(invalid("domain is not running")),
        })?;
        self.emit(&HostEvent::Changed { uuid, name: guest.to_owned(), what: "reboot" });
        Ok(())
    }

    fn define(&self, xml: &str) -> Result<(), HypervisorError> {
        drop(self.enter("define")?);
        let root = Element::parse(xml).map_err(|error| libvirt(27, error.to_string()))?;
        let (Some(name), Some(uuid)) = (root.text_at("name"), root.text_at("uuid")) else {
            return Err(libvirt(27, "XML error: name or uuid is missing"));
        };
        let same = self.lock().guests.get(name).map(|guest| guest.domain.clone());
        let mut domain = match same {
            Some(same) if same.uuid == uuid => Domain { persistent: true, ..same },
            Some(_) => return Err(libvirt(9, format!("domain '{name}' already exists"))),
            None => FakeHypervisor::guest(name, uuid, DomainState::Shutoff),
        };
        domain.config = DomainConfig::of(&root);
        self.add_guest(domain, xml);
        Ok(())
    }

    fn undefine(&self, guest: &str) -> Result<(), HypervisorError> {
        let uuid = {
            let mut state = self.enter("undefine")?;
            let found = state.guests.get_mut(guest).ok_or_else(|| no_such_name(guest))?;
            found.domain.persistent = false;
            let uuid = found.domain.uuid.clone();
            if !found.domain.is_active() {
                state.guests.remove(guest);
            }
            uuid
        };
        self.tell(uuid, guest.to_owned(), Lifecycle::Undefined);
        Ok(())
    }

    fn is_free(&self, path: &str) -> Result<bool, HypervisorError> {
        Ok(!self.enter("is_free")?.volumes.contains_key(path))
    }

    fn delete_volume(&self, path: &str) -> Result<(), HypervisorError> {
        let deleted = self.enter("delete_volume")?.volumes.remove(path);
        deleted.map(drop).ok_or_else(|| libvirt(50, format!("no storage vol with path '{path}'")))
    }

    fn set_autostart(&self, guest: &str, autostart: bool) -> Result<(), HypervisorError> {
        self.with_guest("set_autostart", guest, |found| {
            if !found.domain.persistent {
                return Err(invalid("cannot set autostart for transient domain"));
            }
            found.domain.autostart = autostart;
            Ok(())
        })
    }
}

impl FakeHypervisor {
    fn copy(&self, guest: &str) -> Result<(), HypervisorError> {
        let mut state = self.lock();
        state.calls.push("copy");
        let cancelled =
            |state: &FakeState| state.guests.get(guest).is_none_or(|found| found.cancelled);
        while state.hanging.contains_key("copy") && !cancelled(&state) && state.reachable {
            state = self.wait_in("copy", state);
        }
        if cancelled(&state) {
            return Err(libvirt(78, "operation aborted: job 'migration out' canceled by client"));
        }
        state.check("copy")
    }
}
