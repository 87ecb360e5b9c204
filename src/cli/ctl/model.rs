//! The migration model as a client sees it: finding guests and services, calling methods.
//!
//! Only what DSP1081 and libvirt-cim have in common is relied on, so that any server with this model
//! will do; what ours adds (`Findings`, progress numbers) is read where it is there.

use anyhow::{Context as _, bail};

use crate::{
    cim::{
        CimName, Instance, InstanceOptions, InstancePath, KeyValue, ListKind, Namespace, Object,
        ObjectPath, Operation, ParamValue, Reply, Request, Scalar, Value,
    },
    client::{Client, ClientError},
};

const NAME: CimName = CimName::literal("Name");

/// A server and the namespace of its virtualization classes.
pub(super) struct Model {
    client: Client,
    namespace: Namespace,
}

/// What a method returned.
pub(super) struct Returned {
    /// The return value; 0 where the server sent none.
    pub(super) code: i128,
    out: Vec<ParamValue>,
}

impl Returned {
    /// The output parameter of that name; `None` if NULL or absent.
    pub(super) fn out(&self, name: &CimName) -> Option<&Value> {
        self.out.iter().find(|parameter| parameter.name == *name)?.value.as_ref()
    }
}

impl Model {
    pub(super) fn new(client: Client, namespace: Namespace) -> Self {
        Self { client, namespace }
    }

    pub(super) async fn execute(&self, operation: Operation) -> Result<Reply, ClientError> {
        self.client.execute(&Request { namespace: self.namespace.clone(), operation }).await
    }

    /// The paths of all instances of a class and its subclasses.
    pub(super) async fn names(&self, class: &CimName) -> anyhow::Result<Vec<InstancePath>> {
        let reply =
            self.execute(Operation::EnumerateInstanceNames { class: class.clone() }).await?;
        let Reply::Objects(ListKind::InstanceNames, objects) = reply else {
            bail!("the server answered EnumerateInstanceNames with something else");
        };
        let path = |object| match object {
            Object::InstancePath(path) => Some(path),
            Object::Instance(_) | Object::Class(..) | Object::ClassPath(_) => None,
        };
        Ok(objects.into_iter().filter_map(path).collect())
    }

    /// All instances of a class and its subclasses.
    pub(super) async fn instances(&self, class: &CimName) -> anyhow::Result<Vec<Instance>> {
        let operation = Operation::EnumerateInstances {
            class: class.clone(),
            deep_inheritance: true,
            options: InstanceOptions::default(),
        };
        let Reply::Objects(ListKind::NamedInstances, objects) = self.execute(operation).await?
        else {
            bail!("the server answered EnumerateInstances with something else");
        };
        let instance = |object| match object {
            Object::Instance(instance) => Some(instance),
            Object::InstancePath(_) | Object::Class(..) | Object::ClassPath(_) => None,
        };
        Ok(objects.into_iter().filter_map(instance).collect())
    }

    /// One instance.
    pub(super) async fn instance(&self, path: &InstancePath) -> anyhow::Result<Instance> {
        let operation =
            Operation::GetInstance { path: path.clone(), options: InstanceOptions::default() };
        match self.execute(operation).await? {
            Reply::Instance(instance) => Ok(instance),
            _ => bail!("the server answered GetInstance with something else"),
        }
    }

    /// The path of the guest of that name. `prefix` (`KVM`, `Xen`, `LXC`) decides between guests of
    /// the same name on different hypervisors.
    pub(super) async fn guest(
        &self,
        name: &str,
        prefix: Option<&str>,
    ) -> anyhow::Result<InstancePath> {
        let all = self.names(&CimName::literal("CIM_ComputerSystem")).await?;
        let is_guest = |path: &InstancePath| {
            let class = path.class.as_str().to_ascii_lowercase();
            let prefix = prefix.map(|prefix| format!("{}_", prefix.to_ascii_lowercase()));
            class.ends_with("_computersystem")
                && prefix.is_none_or(|prefix| class.starts_with(&prefix))
        };
        let mut found: Vec<_> = all
            .into_iter()
            .filter(|path| is_guest(path) && path.string_key(&NAME) == Some(name))
            .collect();
        match (found.pop(), found.is_empty()) {
            (None, _) => bail!("there is no guest `{name}` on {}", self.client.endpoint()),
            (Some(path), true) => Ok(path.in_namespace(self.namespace.clone())),
            (Some(path), false) => {
                found.push(path);
                let classes: Vec<_> = found.iter().map(|path| path.class.as_str()).collect();
                bail!(
                    "several guests are named `{name}` ({}): choose one with --prefix",
                    classes.join(", ")
                )
            }
        }
    }

    /// The migration service for guests of that class.
    pub(super) async fn migration_service(
        &self,
        guest: &InstancePath,
    ) -> anyhow::Result<InstancePath> {
        let prefix = guest.class.as_str().split('_').next().unwrap_or_default();
        let class = CimName::parse(&format!("{prefix}_VirtualSystemMigrationService"))?;
        let service = self.names(&class).await?.into_iter().next();
        service.with_context(|| format!("{} has no {class}", self.client.endpoint()))
    }

    /// Calls a method.
    pub(super) async fn call(
        &self,
        object: InstancePath,
        method: CimName,
        arguments: impl IntoIterator<Item = (CimName, Value)>,
    ) -> anyhow::Result<Returned> {
        let parameter = |(name, value): (CimName, Value)| {
            let mut typed = Instance::new(CimName::literal("Arguments"));
            typed.set(name.clone(), value);
            let property = typed.properties.remove(0);
            ParamValue { name, ty: Some(property.ty), value: property.value }
        };
        let parameters = arguments.into_iter().map(parameter).collect();
        let object = ObjectPath::Instance(object.in_namespace(self.namespace.clone()));
        match self.execute(Operation::InvokeMethod { object, method, parameters }).await? {
            Reply::Method { return_value, out, .. } => Ok(Returned {
                code: return_value.as_ref().and_then(Value::as_integer).unwrap_or(0),
                out,
            }),
            _ => bail!("the server answered a method call with something else"),
        }
    }
}

/// The class of the setting data that goes with guests of that class.
pub(super) fn setting_data_class(guest: &InstancePath) -> anyhow::Result<CimName> {
    let prefix = guest.class.as_str().split('_').next().unwrap_or_default();
    Ok(CimName::parse(&format!("{prefix}_VirtualSystemMigrationSettingData"))?)
}

/// Text of a property, empty if NULL.
pub(super) fn text<'a>(instance: &'a Instance, property: &'static str) -> &'a str {
    instance.value(&CimName::literal(property)).and_then(Value::as_str).unwrap_or_default()
}

/// Number of a property.
pub(super) fn number(instance: &Instance, property: &'static str) -> Option<i128> {
    instance.value(&CimName::literal(property)).and_then(Value::as_integer)
}

/// All texts of an array property.
pub(super) fn texts<'a>(instance: &'a Instance, property: &'static str) -> Vec<&'a str> {
    let elements =
        instance.value(&CimName::literal(property)).and_then(Value::array).unwrap_or_default();
    elements.iter().flatten().filter_map(Scalar::as_str).collect()
}

/// A key of a path as text.
pub(super) fn key_text(path: &InstancePath, name: &CimName) -> String {
    match path.key(name) {
        Some(KeyValue::String(text)) => text.clone(),
        Some(KeyValue::Integer(n)) => n.to_string(),
        Some(KeyValue::Boolean(_) | KeyValue::Real(_) | KeyValue::Reference(_)) | None => {
            String::new()
        }
    }
}
