//! What a client asks of a migration, validated in libvirt-cim's order and words as far as that can be
//! done without the hosts.

use std::{borrow::Cow, sync::Arc};

use super::{Family, Prefix, Terms, method_call, migration_settings::asked, ssh_key};
use crate::{
    checks::{
        self, GateRequest, Phase,
        builtin::{self, Inputs, Movement},
    },
    cim::{CimName, InstancePath, Namespace},
    hypervisor::{Domain, Migrator},
    migration::{Edits, GuestName, MigrationType, Request, Settings, Target},
    ops::{Arguments, MethodCall, Principal, ProviderError, Role, Space},
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
    pub(super) check_parameters: Option<Vec<Option<String>>>,
    /// Findings that shall not stop it.
    pub(super) overrides: Vec<String>,
}

impl Plan {
    /// What the parameters of a Check or Migrate method of the service with that prefix ask for.
    pub(super) fn new(
        prefix: Prefix,
        arguments: &Arguments,
        terms: &Terms,
    ) -> Result<Self, ProviderError> {
        let destination = destination(arguments)?;
        let guest = guest(prefix, arguments)?;
        let guest_name = match guest.string_key(&NAME) {
            Some(name) => name.to_owned(),
            None => return Err(failed("Missing key (Name) in ComputerSystem")),
        };
        let asked = asked(arguments.instance("MigrationSettingData"))?;
        let policy = &terms.destinations;
        let mut target = policy.resolve(prefix.driver(), &destination, asked.transport)?;
        if arguments.boolean("MigrationWithoutRootKey") == Some(true) {
            target.uri = ssh_key::uri_with_key(terms.ssh_key_directory.as_deref(), &target.uri)?;
        }
        let settings = Settings::decide(asked.settings, policy)?;
        let (check_parameters, overrides) = (asked.check_parameters, asked.overrides);
        Ok(Self { guest, guest_name, settings, target, check_parameters, overrides })
    }

    /// Whether that caller may override these findings: an administrator, those that can be.
    pub(super) fn check_overrides(&self, principal: &Principal) -> Result<(), ProviderError> {
        if !self.overrides.is_empty() && principal.role < Role::Admin {
            return Err(ProviderError::AccessDenied(format!(
                "OverrideFindings needs the role {}; user `{}` has the role {}",
                Role::Admin.name(),
                principal.name,
                principal.role.name(),
            )));
        }
        for entry in &self.overrides {
            let (code, program) =
                entry.split_once(':').map_or((entry.as_str(), None), |(code, it)| (code, Some(it)));
            let names_a_program = program.is_some_and(|program| !program.is_empty());
            let fits = program.is_none() || names_a_program && builtin::find(code).is_none();
            if !fits || !checks::can_be_overridden(code) {
                let shown: String = entry.chars().take(64).collect();
                let text = format!("OverrideFindings: {shown:?} can't be overridden");
                return Err(ProviderError::InvalidParameter(text));
            }
        }
        Ok(())
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

    /// What is asked of the migration machine.
    pub(super) fn request(
        self,
        guest: &Domain,
        edits: Edits,
        hypervisor: &str,
        call: &MethodCall,
    ) -> Request {
        Request {
            guest: guest.name.clone(),
            guest_uuid: guest.uuid.clone(),
            hypervisor: hypervisor.to_owned(),
            target: self.target,
            settings: self.settings,
            edits,
            check_parameters: self.check_parameters,
            overrides: self.overrides,
            owner: call.principal.name.clone(),
            tag: call.method.to_string(),
            parameters: method_call::keep(call.arguments.iter()),
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
        edits: &Edits,
        source: Arc<dyn Migrator>,
        destination: Arc<dyn Migrator>,
    ) -> Inputs {
        let new_name = edits.name.as_ref().map(GuestName::as_str);
        Inputs {
            source,
            destination_uri: self.target.uri.clone(),
            destination: Ok(destination),
            guest: guest.name.clone(),
            destination_name: new_name.unwrap_or(&guest.name).to_owned(),
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
            changes: edits.changes(),
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

/// The guest's path: of the service's prefix, in the namespace where guests are, and not at odds with
/// itself.
fn guest(prefix: Prefix, arguments: &Arguments) -> Result<InstancePath, ProviderError> {
    let path = arguments.path("ComputerSystem").map(Cow::into_owned);
    path.filter(|path| {
        let class = path.string_key(&CREATION_CLASS_NAME);
        let is_elsewhere =
            |name: &Namespace| !Space::find(name).is_ok_and(|space| space == Space::Virt);
        !path.namespace.as_ref().is_some_and(is_elsewhere)
            && Prefix::of_class(&path.class) == Some(prefix)
            && class.is_none_or(|class| class.eq_ignore_ascii_case(path.class.as_str()))
    })
    .ok_or_else(|| failed("Invalid REF in ComputerSystem"))
}

fn failed(text: &str) -> ProviderError {
    ProviderError::Failed(text.to_owned())
}
