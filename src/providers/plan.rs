//! What a client asks of a migration, validated in libvirt-cim's order and words as far as that can be
//! done without the hosts.

use std::{borrow::Cow, sync::Arc};

use super::{Family, Prefix, migration_settings::asked};
use crate::{
    checks::{
        GateRequest, Phase,
        builtin::{Inputs, Movement},
    },
    cim::{CimName, InstancePath},
    hypervisor::{Domain, Migrator},
    migration::{DestinationPolicy, MigrationType, Settings, Target},
    ops::{Arguments, ProviderError},
};

const NAME: CimName = CimName::literal("Name");
const CREATION_CLASS_NAME: CimName = CimName::literal("CreationClassName");

/// A migration that a client asks for, or asks about.
pub(super) struct Plan {
    /// The guest as the client names it.
    guest: InstancePath,
    /// Its name.
    pub(super) guest_name: String,
    /// How it is to move.
    pub(super) settings: Settings,
    /// Where to.
    pub(super) target: Target,
    /// What the check programs are told.
    check_parameters: Option<Vec<Option<String>>>,
}

impl Plan {
    /// What the parameters of a Check or Migrate method of the service with that prefix ask for.
    pub(super) fn new(
        prefix: Prefix,
        arguments: &Arguments,
        policy: &DestinationPolicy,
    ) -> Result<Self, ProviderError> {
        let destination = destination(arguments)?;
        let guest = guest(prefix, arguments)?;
        let guest_name = match guest.string_key(&NAME) {
            Some(name) => name.to_owned(),
            None => return Err(failed("Missing key (Name) in ComputerSystem")),
        };
        let asked = asked(arguments.instance("MigrationSettingData"))?;
        if arguments.boolean("MigrationWithoutRootKey") == Some(true) {
            let text = "Migration with special ssh key is not enabled in config file.";
            return Err(failed(text));
        }
        let target = policy.resolve(prefix.driver(), &destination, asked.transport)?;
        let settings = Settings::decide(asked.settings, policy)?;
        let check_parameters = asked.check_parameters;
        Ok(Self { guest, guest_name, settings, target, check_parameters })
    }

    /// Whether the guest's path names a guest in every key, as GetInstance would ask once it has found
    /// one of that name.
    pub(super) fn check_path(&self, prefix: Prefix) -> Result<(), ProviderError> {
        let is_guest = self.guest.class == Family::ComputerSystem.of(prefix);
        if is_guest && self.guest.string_key(&CREATION_CLASS_NAME).is_some() {
            Ok(())
        } else {
            Err(ProviderError::no_instance_with(&CREATION_CLASS_NAME))
        }
    }

    /// What the gate is asked about that guest.
    pub(super) fn gate_request(&self, guest: &Domain, source_uri: String) -> GateRequest {
        GateRequest {
            guest: guest.name.clone(),
            guest_uuid: guest.uuid.clone(),
            source_uri,
            destination_host: self.target.name.clone(),
            destination_uri: self.target.uri.clone(),
            migration_type: self.settings.migration_type.as_str(),
            transport: self.target.transport.as_str(),
            phase: Phase::Check,
            parameters: self.check_parameters.clone(),
        }
    }

    /// What the built-in checks judge.
    pub(super) fn inputs(
        &self,
        guest: &Domain,
        source: Arc<dyn Migrator>,
        destination: Arc<dyn Migrator>,
    ) -> Inputs {
        Inputs {
            source,
            destination_uri: self.target.uri.clone(),
            destination: Ok(destination),
            guest: guest.name.clone(),
            destination_name: guest.name.clone(),
            movement: match self.settings.migration_type {
                MigrationType::Offline => Movement::Offline,
                MigrationType::Live => Movement::Live,
                MigrationType::Resume => Movement::Paused,
                MigrationType::Restart => Movement::Restart,
            },
            storage: self.settings.storage,
            disks: self.settings.disks.clone(),
            post_copy: self.settings.post_copy,
            parallel: self.settings.parallel.is_some(),
        }
    }
}

/// The destination as the client names it: a text, or the Name of a system, whatever its class.
fn destination(arguments: &Arguments) -> Result<Cow<'_, str>, ProviderError> {
    if let Some(text) = arguments.string("DestinationHost") {
        return Ok(text.into());
    }
    let system = arguments.path("DestinationSystem");
    let name = system.as_ref().and_then(|path| path.string_key(&NAME)).map(str::to_owned);
    name.map(Cow::from).ok_or_else(|| failed("Missing key (Name) in DestinationSystem"))
}

/// The guest's path: of the service's prefix, and not at odds with itself.
fn guest(prefix: Prefix, arguments: &Arguments) -> Result<InstancePath, ProviderError> {
    let path = arguments.path("ComputerSystem").map(Cow::into_owned);
    path.filter(|path| {
        let class = path.string_key(&CREATION_CLASS_NAME);
        Prefix::of_class(&path.class) == Some(prefix)
            && class.is_none_or(|class| class.eq_ignore_ascii_case(path.class.as_str()))
    })
    .ok_or_else(|| failed("Invalid REF in ComputerSystem"))
}

fn failed(text: &str) -> ProviderError {
    ProviderError::Failed(text.to_owned())
}
