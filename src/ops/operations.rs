//! The one door: every operation comes in here.

use std::sync::Arc;

use super::{
    Answer, Context, ObjectStream, Outcome, ProviderError, Registry, Sink, Space,
    association::{self, Traversal, Yield},
    audit::Record,
    authorise::{authorise, needed},
    classes::ClassForm,
    core::Core,
    namespaces::Scope,
    present::{Form, Presenter},
    shape::Shaper,
    stream::{Producers, Writer},
};
use crate::{
    cim::{
        AssociationFilter, CimError, CimName, Instance, InstanceOptions, InstancePath, ListKind,
        ObjectPath, Operation, Reply, Request, StatusCode,
    },
    repository::Repository,
};

/// Executes operations. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    core: Arc<Core>,
    producers: Producers,
}

impl Operations {
    /// Operations on these classes and providers.
    pub fn new(repository: Arc<Repository>, registry: Registry) -> Self {
        Self { core: Arc::new(Core { repository, registry }), producers: Producers::default() }
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

    /// Ends all streams that are being produced.
    pub async fn close(&self) {
        self.producers.close().await;
    }

    async fn answer(&self, ctx: &Context, request: Request) -> Result<Answer, CimError> {
        let Request { namespace, operation } = request;
        authorise(&ctx.principal, needed(&operation), operation.name())?;
        let scope = Scope::new(&namespace, &ctx.host)?;
        let core = &self.core;
        let whole = |reply| Ok(Answer::Whole(Ok(reply)));
        match operation {
            Operation::GetClass { class, options } => whole(core.get_class(&class, &options)?),
            Operation::EnumerateClasses { class, deep_inheritance, options } => {
                whole(core.enumerate_classes(class.as_ref(), deep_inheritance, &options)?)
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
                let form = match deep_inheritance {
                    true => Form::Instances(options),
                    false => Form::InstancesAs(class.clone(), options),
                };
                list(ListKind::NamedInstances, self.instances(scope, class, form)?).await
            }
            Operation::EnumerateInstanceNames { class } => {
                list(ListKind::InstanceNames, self.instances(scope, class, Form::Paths)?).await
            }
            Operation::Associators { object, filter, include_qualifiers, options } => {
                let wanted = Wanted::Objects { include_qualifiers, options };
                self.follow(scope, object, filter, Yield::Associators, wanted).await
            }
            Operation::AssociatorNames { object, filter } => {
                self.follow(scope, object, filter, Yield::Associators, Wanted::Paths).await
            }
            Operation::References { object, filter, include_qualifiers, options } => {
                let wanted = Wanted::Objects { include_qualifiers, options };
                self.follow(scope, object, filter, Yield::References, wanted).await
            }
            Operation::ReferenceNames { object, filter } => {
                self.follow(scope, object, filter, Yield::References, Wanted::Paths).await
            }
            Operation::InvokeMethod { object, method, parameters } => {
                whole(core.invoke(ctx, &scope, object, &method, parameters).await?)
            }
            Operation::CreateClass { .. }
            | Operation::ModifyClass { .. }
            | Operation::DeleteClass { .. }
            | Operation::SetQualifier { .. }
            | Operation::DeleteQualifier { .. }
            | Operation::CreateInstance { .. }
            | Operation::ModifyInstance { .. }
            | Operation::DeleteInstance { .. }
            | Operation::GetProperty { .. }
            | Operation::SetProperty { .. }
            | Operation::ExecQuery { .. }
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
            | Operation::EnumerationCount { .. } => {
                let text = format!("{} is not supported", operation.name());
                Err(CimError::new(StatusCode::NotSupported, text))
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
        let found = match core.registry.association(scope.space, &class.name) {
            Some(provider) => association::find(core, scope, provider, &path).await?,
            None => core.find(scope.space, &path).await?,
        };
        let mut instance = Shaper::deep(Arc::clone(&core.repository), options).shape(found);
        core.localise(scope, &mut instance);
        Ok(instance)
    }

    /// The instances of a class and of those derived from it.
    fn instances(
        &self,
        scope: Scope,
        class: CimName,
        form: Form,
    ) -> Result<ObjectStream, CimError> {
        self.core.class(&class, StatusCode::InvalidClass)?;
        let core = Arc::clone(&self.core);
        Ok(self.producers.start(|writer| enumerate(core, scope, class, form, writer)))
    }

    async fn follow(
        &self,
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
            ObjectPath::Instance(source) => {
                let form = match wanted {
                    Wanted::Paths => Form::Paths,
                    Wanted::Objects { options, .. } => Form::Instances(options),
                };
                let traversal = Traversal::new(&self.core, scope, source, filter, yields)?;
                list(kind, self.producers.start(|writer| traversal.run(form, writer))).await
            }
            ObjectPath::Class(source) => {
                let form = match wanted {
                    Wanted::Paths => ClassForm::Paths,
                    Wanted::Objects { include_qualifiers, options } => {
                        ClassForm::classes(include_qualifiers, options)
                    }
                };
                let core = &self.core;
                let found = core.class_traversal(&scope, &source.class, &filter, yields, &form)?;
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
async fn list(kind: ListKind, stream: ObjectStream) -> Result<Answer, CimError> {
    let stream = stream.begin().await?;
    Ok(if stream.is_exhausted() {
        Answer::Whole(Ok(Reply::Objects(kind, Vec::new())))
    } else {
        Answer::Stream(kind, stream)
    })
}

async fn enumerate(
    core: Arc<Core>,
    scope: Scope,
    class: CimName,
    form: Form,
    writer: Writer,
) -> Result<(), ProviderError> {
    let space = scope.space;
    let mut presenter = Presenter::new(Arc::clone(&core), scope, form, writer);
    for provider in core.providers(space, &class) {
        let mut found = Found { space, presenter: &mut presenter };
        match provider.enumerate(&mut found).await {
            Ok(()) | Err(ProviderError::Unreachable(_)) => {}
            Err(error) => return Err(error),
        }
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
}

impl Sink<Instance> for Found<'_> {
    fn put(&mut self, instance: Instance) -> Outcome<'_, ()> {
        Box::pin(async move {
            let path = self.presenter.core.path_of(&instance)?;
            self.presenter.show(self.space, path, instance).await
        })
    }
}
