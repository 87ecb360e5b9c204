//! The one door: every operation comes in here.

use std::sync::{Arc, Once};

use super::{
    Answer, Context, Limits, ObjectStream, Outcome, ProviderError, Registry, Sink, Space,
    Statistics,
    association::{self, Traversal, Yield},
    audit::Record,
    authorise::{authorise, needed},
    classes::{ClassForm, fixed},
    contexts::Contexts,
    core::Core,
    namespaces::Scope,
    present::{Form, Presenter},
    pull::PullOperation,
    reach::Reach,
    select::Selector,
    shape::Shaper,
    stream::Producers,
    write::declared,
};
use crate::{
    cim::{
        AssociationFilter, CimError, CimName, ClassPath, Instance, InstanceOptions, InstancePath,
        ListKind, ObjectPath, Operation, Reply, Request, StatusCode,
    },
    repository::Repository,
};

/// Executes operations. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    pub(super) core: Arc<Core>,
    producers: Producers,
    contexts: Contexts,
    expiry: Arc<Once>,
}

impl Operations {
    /// Operations on these classes and providers.
    pub fn new(repository: Arc<Repository>, registry: Registry, limits: Limits) -> Self {
        Self {
            core: Arc::new(Core { repository, registry, query_limits: limits.query }),
            producers: Producers::default(),
            contexts: Contexts::new(limits.pull),
            expiry: Arc::new(Once::new()),
        }
    }

    /// The open enumerations. With the first use begins the task that ends those nobody asks for.
    pub(super) fn contexts(&self) -> &Contexts {
        self.expiry.call_once(|| {
            let contexts = self.contexts.clone();
            self.producers.spawn(|stop| async move { contexts.expire(stop).await });
        });
        &self.contexts
    }

    /// Executes one operation.
    pub async fn execute(&self, ctx: &Context, request: Request) -> Answer {
        let record = Record::begin(ctx, &request.operation);
        let answer = match self.answer(ctx, request).await {
            Ok(answer) => answer,
            Err(error) => Answer::Whole(Err(error)),
        };
        if let Some(record) = record {
            record.end(&answer);
        }
        answer
    }

    /// What was counted of all operations.
    pub fn statistics(&self) -> &Arc<Statistics> {
        self.core.registry.statistics()
    }

    /// Ends all streams that are being produced.
    pub async fn close(&self) {
        self.producers.close().await;
    }

    /// Boxed are the futures that are large: one that answers a single GetInstance need not have room for
    /// them.
    async fn answer(&self, ctx: &Context, request: Request) -> Result<Answer, CimError> {
        let Request { namespace, operation } = request;
        authorise(&ctx.principal, needed(&operation), operation.name())?;
        let scope = Scope::new(&namespace, &ctx.host)?;
        let core = &self.core;
        let whole = |reply| Ok(Answer::Whole(Ok(reply)));
        match operation {
            Operation::GetClass { class, options } => {
                Ok(Answer::Classes(core.get_class(&class, options)?))
            }
            Operation::EnumerateClasses { class, deep_inheritance, options } => {
                let list = core.enumerate_classes(class.as_ref(), deep_inheritance, options)?;
                Ok(Answer::Classes(list))
            }
            Operation::EnumerateClassNames { class, deep_inheritance } => {
                whole(core.enumerate_class_names(class.as_ref(), deep_inheritance)?)
            }
            Operation::GetQualifier { name } => whole(core.get_qualifier(&name)?),
            Operation::EnumerateQualifiers => whole(core.enumerate_qualifiers()),
            Operation::GetInstance { path, options } => {
                whole(Reply::Instance(self.get_instance(&scope, path, options).await?))
            }
            Operation::EnumerateInstances { class, deep_inheritance, options } => {
                let form = Form::of_list(&class, deep_inheritance, options);
                let stream = self.instances(scope, class, form, None)?;
                Box::pin(list(ctx, ListKind::NamedInstances, stream)).await
            }
            Operation::EnumerateInstanceNames { class } => {
                let stream = self.instances(scope, class, Form::Paths, None)?;
                Box::pin(list(ctx, ListKind::InstanceNames, stream)).await
            }
            Operation::Associators { object, filter, include_qualifiers, options } => {
                let wanted = Wanted::Objects { include_qualifiers, options };
                Box::pin(self.follow(ctx, scope, object, filter, Yield::Associators, wanted)).await
            }
            Operation::AssociatorNames { object, filter } => {
                Box::pin(self.follow(ctx, scope, object, filter, Yield::Associators, Wanted::Paths))
                    .await
            }
            Operation::References { object, filter, include_qualifiers, options } => {
                let wanted = Wanted::Objects { include_qualifiers, options };
                Box::pin(self.follow(ctx, scope, object, filter, Yield::References, wanted)).await
            }
            Operation::ReferenceNames { object, filter } => {
                Box::pin(self.follow(ctx, scope, object, filter, Yield::References, Wanted::Paths))
                    .await
            }
            Operation::InvokeMethod { object, method, parameters } => {
                whole(Box::pin(core.invoke(ctx, &scope, object, &method, parameters)).await?)
            }
            Operation::ExecQuery { language, query } => {
                let query = core.query(&language, &query)?;
                let class = query.from_class().clone();
                let form = Form::Instances(InstanceOptions::default());
                let stream = self.instances(scope, class, form, Some(Selector::Query(query)))?;
                Box::pin(list(ctx, ListKind::ObjectsWithPath, stream)).await
            }
            Operation::CreateInstance { instance } => {
                whole(Reply::InstanceName(Box::pin(core.create(&scope, instance)).await?))
            }
            Operation::ModifyInstance { instance, properties } => {
                Box::pin(core.modify(&scope, instance, properties)).await?;
                whole(Reply::Void)
            }
            Operation::DeleteInstance { path } => {
                Box::pin(core.delete(&scope, path)).await?;
                whole(Reply::Void)
            }
            Operation::GetProperty { path, property } => {
                let mut instance =
                    self.get_instance(&scope, path, InstanceOptions::default()).await?;
                let class = core.class(&instance.class, StatusCode::InvalidClass)?;
                let declared = declared(&class, &property)?;
                let value = instance.properties.iter_mut().find(|it| it.name == declared.name);
                let value = value.and_then(|property| property.value.take());
                whole(Reply::Property(declared.ty.clone(), value))
            }
            Operation::SetProperty { path, property, value } => {
                Box::pin(core.set_property(&scope, path, &property, value)).await?;
                whole(Reply::Void)
            }
            rest @ (Operation::CreateClass { .. }
            | Operation::ModifyClass { .. }
            | Operation::DeleteClass { .. }
            | Operation::SetQualifier { .. }
            | Operation::DeleteQualifier { .. }
            | Operation::OpenEnumerateInstances { .. }
            | Operation::OpenEnumerateInstancePaths { .. }
            | Operation::OpenAssociatorInstances { .. }
            | Operation::OpenAssociatorInstancePaths { .. }
            | Operation::OpenReferenceInstances { .. }
            | Operation::OpenReferenceInstancePaths { .. }
            | Operation::OpenQueryInstances { .. }
            | Operation::PullInstancesWithPath { .. }
            | Operation::PullInstancePaths { .. }
            | Operation::PullInstances { .. }
            | Operation::CloseEnumeration { .. }
            | Operation::EnumerationCount { .. }) => {
                let name = rest.name().to_owned();
                match PullOperation::from_operation(rest) {
                    Some(pull) => whole(Box::pin(self.pull_operation(ctx, &scope, pull)).await?),
                    None => Err(fixed(&name)),
                }
            }
        }
    }

    async fn get_instance(
        &self,
        scope: &Scope,
        path: InstancePath,
        options: InstanceOptions,
    ) -> Result<Instance, CimError> {
        let core = &self.core;
        let class = core.class(&path.class, StatusCode::InvalidClass)?;
        let path = core.conformer().path(&class, path)?;
        let found = core.existing(scope, &path).await?;
        let mut instance = Shaper::deep(Arc::clone(&core.repository), options).shape(found);
        core.localise(scope, &mut instance);
        Ok(instance)
    }

    /// The instances of a class and of those derived from it.
    pub(super) fn instances(
        &self,
        scope: Scope,
        class: CimName,
        form: Form,
        selector: Option<Selector>,
    ) -> Result<ObjectStream, CimError> {
        self.core.class(&class, StatusCode::InvalidClass)?;
        let core = Arc::clone(&self.core);
        Ok(self.producers.start(|writer| {
            let presenter = Presenter::new(core, scope, form, writer).selecting(selector);
            enumerate(class, presenter)
        }))
    }

    /// What an instance is associated with, or the associations themselves.
    pub(super) fn associated(
        &self,
        scope: Scope,
        traversal: Traversal,
        form: Form,
        selector: Option<Selector>,
    ) -> ObjectStream {
        let core = Arc::clone(&self.core);
        self.producers.start(|writer| {
            traversal.run(Presenter::new(core, scope, form, writer).selecting(selector))
        })
    }

    async fn follow(
        &self,
        ctx: &Context,
        scope: Scope,
        object: ObjectPath,
        filter: AssociationFilter,
        yields: Yield,
        wanted: Wanted,
    ) -> Result<Answer, CimError> {
        let kind = match wanted {
            Wanted::Paths => ListKind::ObjectPaths,
            Wanted::Objects { .. } => ListKind::ObjectsWithPath,
        };
        match object {
            // Only a class is named by its name alone. Clients that have one type for all paths, such as
            // the Java client, write it as an instance's without keys.
            ObjectPath::Instance(source) if !source.keys.is_empty() => {
                let form = match wanted {
                    Wanted::Paths => Form::Paths,
                    Wanted::Objects { options, .. } => Form::Instances(options),
                };
                let traversal = Traversal::new(&self.core, scope.clone(), source, filter, yields)?;
                list(ctx, kind, self.associated(scope, traversal, form, None)).await
            }
            ObjectPath::Instance(InstancePath { class, .. })
            | ObjectPath::Class(ClassPath { class, .. }) => {
                let form = match wanted {
                    Wanted::Paths => ClassForm::Paths,
                    Wanted::Objects { include_qualifiers, options } => {
                        ClassForm::classes(include_qualifiers, options)
                    }
                };
                let core = &self.core;
                let found = core.class_traversal(&scope, &class, &filter, yields, &form)?;
                Ok(Answer::Whole(Ok(Reply::Objects(kind, found))))
            }
        }
    }
}

/// What an association operation asks to see.
enum Wanted {
    Paths,
    /// Qualifiers are for classes only: those of instances are deprecated and never sent.
    Objects {
        include_qualifiers: bool,
        options: InstanceOptions,
    },
}

/// The answer that a stream makes. An error before its first object is an ordinary error, and so is
/// the end an ordinary empty list.
async fn list(ctx: &Context, kind: ListKind, stream: ObjectStream) -> Result<Answer, CimError> {
    let stream = ctx.while_wanted(stream.begin()).await??;
    Ok(if stream.is_exhausted() {
        Answer::Whole(Ok(Reply::Objects(kind, Vec::new())))
    } else {
        Answer::Stream(kind, stream)
    })
}

async fn enumerate(class: CimName, mut presenter: Presenter) -> Result<(), ProviderError> {
    let (core, space) = (Arc::clone(&presenter.core), presenter.scope.space);
    for provider in core.providers(space, &class) {
        let mut reach = Reach::default();
        let mut found = Found { space, presenter: &mut presenter, reach: &mut reach };
        let ended = provider.enumerate(&mut found).await;
        reach.ended(ended)?;
    }
    for provider in core.registry.associations_in(space) {
        if core.repository.is_a(provider.class(), &class) {
            association::enumerate(provider, space, &mut presenter).await?;
        }
    }
    Ok(())
}

/// Shows the instances that a provider finds.
struct Found<'a> {
    space: Space,
    presenter: &'a mut Presenter,
    reach: &'a mut Reach,
}

impl Sink<Instance> for Found<'_> {
    fn put(&mut self, instance: Instance) -> Outcome<'_, ()> {
        Box::pin(async move {
            self.reach.found()?;
            let path = self.presenter.core.path_of(&instance)?;
            self.presenter.show(self.space, path, instance).await
        })
    }
}
