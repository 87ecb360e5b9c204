//! Following associations from an instance (DSP0200 §5.3.2.14 to §5.3.2.17), and the associations
//! themselves as instances.
//!
//! ```text
//! source ──candidates──▶ associations whose class and ends fit the filter
//!                        none: empty, and an Open… operation looks whether there is such a source
//!        ──find────────▶ the source must exist, else its own GetInstance error
//!        ──links───────▶ provider ──▶ filter by the far class ──▶ no duplicates ──▶ presenter
//! ```

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use super::{
    AssociationProvider, End, Far, Link, Outcome, ProviderError, Sink, Space, core::Core,
    namespaces::Scope, present::Presenter, reach::Reach,
};
use crate::cim::{
    AssociationFilter, CimError, CimName, Instance, InstancePath, KeyValue, ObjectPath, StatusCode,
    Value,
};

/// What following associations yields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Yield {
    /// The objects at the far ends.
    Associators,
    /// The associations.
    References,
}

/// A request to follow associations, whose parameters are valid.
pub(super) struct Traversal {
    core: Arc<Core>,
    scope: Scope,
    source: InstancePath,
    result_class: Option<CimName>,
    yields: Yield,
    candidates: Vec<Candidate>,
    /// Whether a source that does not exist is an error also where nothing can be found from it.
    strict: bool,
}

/// An association and the end where the source stands.
#[derive(Clone)]
struct Candidate {
    space: Space,
    provider: Arc<dyn AssociationProvider>,
    near: usize,
}

impl Candidate {
    fn near(&self) -> &End {
        &self.provider.ends()[self.near]
    }

    fn far(&self) -> &End {
        &self.provider.ends()[1 - self.near]
    }
}

impl Traversal {
    /// Validates the classes a request names: those that do not exist are invalid parameters.
    pub(super) fn new(
        core: &Arc<Core>,
        scope: Scope,
        source: InstancePath,
        filter: AssociationFilter,
        yields: Yield,
    ) -> Result<Self, CimError> {
        let class = core.class(&source.class, StatusCode::InvalidParameter)?;
        for class in filter.association_class.iter().chain(&filter.result_class) {
            core.class(class, StatusCode::InvalidParameter)?;
        }
        let source = core.conformer().path(&class, source)?;
        let candidates = candidates(core, &source.class, &filter);
        let result_class = filter.result_class;
        let core = Arc::clone(core);
        Ok(Self { core, scope, source, result_class, yields, candidates, strict: false })
    }

    /// The same, but from a source that must exist: NOT_FOUND of the Open… operations (DSP0200).
    pub(super) fn strictly(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Shows what the source is associated with.
    ///
    /// The source may be named in any namespace, for clients begin in the interop one or in
    /// root/cimv2: it is looked for where its class lives.
    pub(super) async fn run(self, mut presenter: Presenter) -> Result<(), ProviderError> {
        let space = self.core.home(&self.scope, &self.source.class);
        if self.candidates.is_empty() {
            let mut at_home = self.scope;
            at_home.space = space;
            return match self.strict {
                true => self.core.existing(&at_home, &self.source).await.map(drop),
                false => Ok(()),
            };
        }
        let source = self.core.find(space, &self.source).await?;
        let path = self.core.referred(&self.scope, space, self.core.path_of(&source)?);
        // A provider yields nothing twice, so duplicates come only with a second one.
        let mut seen = (self.candidates.len() > 1).then(HashSet::new);
        for candidate in &self.candidates {
            let links = Links {
                candidate,
                source: path.clone(),
                result_class: self.result_class.as_ref(),
                yields: self.yields,
                seen: seen.as_mut(),
                reach: &mut Reach::default(),
                presenter: &mut presenter,
            };
            links.collect(&source).await?;
        }
        Ok(())
    }
}

/// The associations that the filter admits and that objects of class `source` can take part in.
fn candidates(core: &Core, source: &CimName, filter: &AssociationFilter) -> Vec<Candidate> {
    let is_a = |class: &CimName, of: &CimName| core.repository.is_a(class, of);
    let named = |role: &Option<CimName>, end: &End| role.as_ref().is_none_or(|it| *it == end.role);
    let mut candidates = Vec::new();
    for (space, provider) in core.registry.associations() {
        if filter.association_class.as_ref().is_some_and(|class| !is_a(provider.class(), class)) {
            continue;
        }
        for near in [0, 1] {
            let candidate = Candidate { space, provider: Arc::clone(provider), near };
            let (here, there) = (candidate.near(), candidate.far());
            let fits = here.classes.iter().any(|class| is_a(source, class))
                && named(&filter.role, here)
                && named(&filter.result_role, there)
                && filter
                    .result_class
                    .as_ref()
                    .is_none_or(|wanted| there.classes.iter().any(|class| is_a(class, wanted)));
            if fits {
                candidates.push(candidate);
            }
        }
    }
    candidates
}

/// Takes the links of one association from one source.
struct Links<'a> {
    candidate: &'a Candidate,
    /// The source as references name it.
    source: InstancePath,
    result_class: Option<&'a CimName>,
    yields: Yield,
    /// What was shown already, where duplicates can come.
    seen: Option<&'a mut HashSet<String>>,
    reach: &'a mut Reach,
    presenter: &'a mut Presenter,
}

impl Sink<Link> for Links<'_> {
    fn put(&mut self, link: Link) -> Outcome<'_, ()> {
        Box::pin(self.take(link))
    }
}

impl Links<'_> {
    async fn collect(mut self, source: &Instance) -> Result<(), ProviderError> {
        let role = &self.candidate.near().role;
        let ended = self.candidate.provider.links(source, role, &mut self).await;
        self.reach.ended(ended)
    }

    async fn take(&mut self, link: Link) -> Result<(), ProviderError> {
        // Where no link fits, nothing else waits.
        tokio::task::consume_budget().await;
        self.reach.found()?;
        let core = Arc::clone(&self.presenter.core);
        let far = match &link.far {
            Far::Path(path) => path.clone(),
            Far::Instance(instance) => core.path_of(instance)?,
        };
        if self.result_class.is_some_and(|wanted| !core.repository.is_a(&far.class, wanted)) {
            return Ok(());
        }
        match self.yields {
            Yield::Associators => self.show_far(far, link.far).await,
            Yield::References => self.show_association(far, link.properties).await,
        }
    }

    async fn show_far(&mut self, path: InstancePath, far: Far) -> Result<(), ProviderError> {
        if !self.is_new(&path) {
            return Ok(());
        }
        let space = self.presenter.core.home(&self.presenter.scope, &path.class);
        match far {
            Far::Path(_) => self.presenter.show_at(space, path).await,
            Far::Instance(instance) => self.presenter.show(space, path, instance).await,
        }
    }

    async fn show_association(
        &mut self,
        far: InstancePath,
        properties: Vec<(CimName, Value)>,
    ) -> Result<(), ProviderError> {
        let (core, scope) = (&self.presenter.core, &self.presenter.scope);
        let far = core.referred(scope, core.home(scope, &far.class), far);
        let ends = [(self.candidate.near(), self.source.clone()), (self.candidate.far(), far)];
        let association = association(self.candidate.provider.class(), ends, properties);
        let path = core.path_of(&association)?;
        if !self.is_new(&path) {
            return Ok(());
        }
        self.presenter.show(self.candidate.space, path, association).await
    }

    fn is_new(&mut self, path: &InstancePath) -> bool {
        self.seen.as_mut().is_none_or(|seen| seen.insert(identity(path)))
    }
}

/// The instance of an association between the objects at its ends.
fn association(
    class: &CimName,
    ends: [(&End, InstancePath); 2],
    properties: Vec<(CimName, Value)>,
) -> Instance {
    let mut association = Instance::new(class.clone());
    for (end, object) in ends {
        association.set(end.role.clone(), ObjectPath::Instance(object));
    }
    for (name, value) in properties {
        association.set(name, value);
    }
    association
}

/// A text that two paths share if and only if they name the same object.
fn identity(path: &InstancePath) -> String {
    let mut keys: Vec<String> = path
        .keys
        .iter()
        .map(|key| {
            let name = key.name.as_ref().map_or_else(String::new, |name| name.as_str().to_owned());
            let value = match &key.value {
                KeyValue::Reference(object) => match &**object {
                    ObjectPath::Instance(path) => identity(path),
                    ObjectPath::Class(path) => path.class.as_str().to_ascii_lowercase(),
                },
                other => format!("{other:?}"),
            };
            format!("{}={value:?}", name.to_ascii_lowercase())
        })
        .collect();
    keys.sort_unstable();
    let namespace = path.namespace.as_ref().map_or("", |it| it.as_str()).to_ascii_lowercase();
    let mut text = format!("{namespace}:{}", path.class.as_str().to_ascii_lowercase());
    for key in keys {
        write!(text, ",{key}").expect("a string takes any text");
    }
    text
}

/// Shows every association that `provider` serves, found from its first end.
pub(super) async fn enumerate(
    provider: &Arc<dyn AssociationProvider>,
    space: Space,
    presenter: &mut Presenter,
) -> Result<(), ProviderError> {
    let candidate = Candidate { space, provider: Arc::clone(provider), near: 0 };
    let core = Arc::clone(&presenter.core);
    for class in &candidate.near().classes {
        let home = core.home(&presenter.scope, class);
        let Some(sources) = core.registry.instance(home, class) else {
            continue;
        };
        let mut reach = Reach::default();
        let mut each = FromEach { candidate: &candidate, home, reach: &mut reach, presenter };
        let ended = sources.enumerate(&mut each).await;
        reach.ended(ended)?;
    }
    Ok(())
}

/// Follows an association from each instance it gets.
struct FromEach<'a> {
    candidate: &'a Candidate,
    home: Space,
    /// Of all sources of one class, which are behind one hypervisor.
    reach: &'a mut Reach,
    presenter: &'a mut Presenter,
}

impl Sink<Instance> for FromEach<'_> {
    fn put(&mut self, source: Instance) -> Outcome<'_, ()> {
        Box::pin(async move {
            let core = Arc::clone(&self.presenter.core);
            let path = core.path_of(&source)?;
            let links = Links {
                candidate: self.candidate,
                source: core.referred(&self.presenter.scope, self.home, path),
                result_class: None,
                yields: Yield::References,
                seen: None,
                reach: self.reach,
                presenter: self.presenter,
            };
            links.collect(&source).await
        })
    }
}

/// The association of that path, whose keys are conformed, if both objects exist and are associated. Its
/// references are those that a list has, however the client has written them.
pub(super) async fn find(
    core: &Core,
    scope: &Scope,
    provider: &Arc<dyn AssociationProvider>,
    path: &InstancePath,
) -> Result<Instance, ProviderError> {
    let [near, far] = provider.ends();
    let (source, source_path) = object_at(core, scope, path, near).await?;
    let (_, wanted) = object_at(core, scope, path, far).await?;
    let mut only = Only { core, wanted: &wanted, found: None };
    provider.links(&source, &near.role, &mut only).await?;
    let Some(properties) = only.found else {
        return Err(ProviderError::no_instance_with(&far.role));
    };
    Ok(association(provider.class(), [(near, source_path), (far, wanted)], properties))
}

/// The object at an end of an association's path, and how references name it.
async fn object_at(
    core: &Core,
    scope: &Scope,
    association: &InstancePath,
    end: &End,
) -> Result<(Instance, InstancePath), ProviderError> {
    let missing = || ProviderError::no_instance_with(&end.role);
    let Some(ObjectPath::Instance(object)) =
        association.key(&end.role).and_then(KeyValue::as_reference)
    else {
        return Err(missing());
    };
    // Providers count on it that what stands at an end may stand there.
    if !end.classes.iter().any(|class| core.repository.is_a(&object.class, class)) {
        return Err(missing());
    }
    let space = match &object.namespace {
        Some(namespace) => Space::find(namespace).map_err(|_| missing())?,
        None => core.home(scope, &object.class),
    };
    match core.find(space, object).await {
        Ok(found) => {
            let path = core.referred(scope, space, core.path_of(&found)?);
            Ok((found, path))
        }
        Err(ProviderError::NotFound(_)) => Err(missing()),
        Err(error) => Err(error),
    }
}

/// Keeps what the link to one object says.
struct Only<'a> {
    core: &'a Core,
    wanted: &'a InstancePath,
    found: Option<Vec<(CimName, Value)>>,
}

impl Sink<Link> for Only<'_> {
    fn put(&mut self, link: Link) -> Outcome<'_, ()> {
        Box::pin(async move {
            let far = match &link.far {
                Far::Path(path) => path.clone(),
                Far::Instance(instance) => self.core.path_of(instance)?,
            };
            if far.same_object(self.wanted) {
                self.found = Some(link.properties);
            }
            Ok(())
        })
    }
}
